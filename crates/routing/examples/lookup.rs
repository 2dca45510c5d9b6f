//! What a look-up costs: `cargo run --release -p routing --example lookup`.
//!
//! Hosts by number, and paths by number in one host. The median of several rounds, in nanoseconds for one `pick`; `spread` is from
//! the least to the greatest round. A look-up "over all" takes every host in turn, so that the caches miss; "the same ten" is the
//! request that the bar of the scale benchmark asks for.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on stops")]

use ir::{
    Action, ClusterId, Demands, Forward, HeaderChanges, Host, HostPattern, HttpSettings, HttpTable, MatchPath,
    ObjectKind, Origin, Route, RouteMatch, StringMatch, Target, TargetCluster,
};
use routing::{Claims, Pick, Table};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::view::{Fields, RequestView};

const ROUNDS: usize = 11;
const LOOKUPS: usize = 400_000;

fn main() {
    println!("{:<44}{:>10}{:>20}", "", "ns", "spread");
    for count in [10, 10_000, 100_000] {
        hosts(count);
    }
    for count in [10, 1_000, 5_000] {
        paths(count);
    }
}

fn hosts(count: usize) {
    let names: Vec<String> = (0..count).map(|n| format!("host-{n}.apps.example.com")).collect();
    let listener = listener(names.iter().map(|name| host(name, vec![route(MatchPath::Any)])));
    let resident = resident();
    let started = Instant::now();
    let table = Table::build(&listener, &mut |_| 0);
    let (built, grown) = (started.elapsed(), self::resident().saturating_sub(resident));
    let all: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "/")).collect();
    let ten = all.get(..10).unwrap();
    measure(&format!("{count} hosts, the same ten"), &table, ten);
    measure(&format!("{count} hosts, over all"), &table, &shuffled(all.clone()));
    let missing: Vec<String> = names.iter().map(|name| name.replace("host", "nope")).collect();
    let missing: Vec<(&str, &str)> = missing.iter().map(|name| (name.as_str(), "/")).collect();
    measure(&format!("{count} hosts, none of them"), &table, &missing);
    let changed = [HostPattern::parse(names.last().unwrap()).unwrap()];
    let started = Instant::now();
    let next = table.update(&listener, &changed, &mut |_| 0);
    let updated = started.elapsed();
    println!("  built in {built:.1?}, {grown} KiB; one host changed in {updated:.1?}");
    // The old version goes on another thread in the gateway, so that its end is no part of what is measured.
    drop((table, next));
}

fn paths(count: usize) {
    let text = |text: StringMatch| MatchPath::Text { text, ignore_case: false };
    let exact = (0..count).map(|n| route(text(StringMatch::Exact(format!("/api/v1/items/{n}").into()))));
    let prefixes = (0..count).map(|n| route(text(StringMatch::Prefix(format!("/files/{n}/").into()))));
    let rules = exact.chain(prefixes).chain([route(MatchPath::Any)]).collect();
    let table = Table::build(&listener([host("a.example.com", rules)]), &mut |_| 0);
    let exact: Vec<String> = (0..count).map(|n| format!("/api/v1/items/{n}")).collect();
    let below: Vec<String> = (0..count).map(|n| format!("/files/{n}/readme.txt")).collect();
    let of = |paths: &[String]| -> Vec<(&'static str, String)> {
        paths.iter().map(|path| ("a.example.com", path.clone())).collect()
    };
    for (name, paths) in [("exact", of(&exact)), ("prefix", of(&below)), ("neither", of(&["/other".to_owned()]))] {
        let asked: Vec<(&str, &str)> = paths.iter().map(|(host, path)| (*host, path.as_str())).collect();
        measure(&format!("{count} exact and {count} prefixes, {name}"), &table, &shuffled(asked));
    }
}

fn measure(what: &str, table: &Table, asked: &[(&str, &str)]) {
    let mut rounds: Vec<Duration> = (0..ROUNDS).map(|_| round(table, asked)).collect();
    rounds.sort_unstable();
    let each = |at: usize| rounds.get(at).unwrap().as_nanos() as f64 / LOOKUPS as f64;
    println!("{what:<44}{:>10.1}{:>20}", each(ROUNDS / 2), format!("{:.1} - {:.1}", each(0), each(ROUNDS - 1)));
}

fn round(table: &Table, asked: &[(&str, &str)]) -> Duration {
    let mut found = 0_usize;
    let started = Instant::now();
    for (host, path) in asked.iter().cycle().take(LOOKUPS) {
        let view = RequestView {
            method: b"GET",
            scheme: "http",
            authority: host.as_bytes(),
            host,
            path: path.as_bytes(),
            query: None,
            fields: Fields::new(&[], &[]),
            destination: None,
        };
        found += usize::from(matches!(table.pick(black_box(&view), &Claims::default()), Pick::Route(_)));
    }
    black_box(found);
    started.elapsed()
}

/// In an order without a pattern, the same in every run.
fn shuffled<T>(mut items: Vec<T>) -> Vec<T> {
    let mut state = 1_u64;
    for at in (1..items.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        items.swap(at, (state >> 33) as usize % (at + 1));
    }
    items
}

/// Resident memory of this process, in KiB; 0 where `/proc` does not tell.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4
}

fn listener(hosts: impl IntoIterator<Item = Host>) -> HttpTable {
    HttpTable {
        hosts: hosts.into_iter().map(|host| (host.pattern.clone(), Arc::new(host))).collect(),
        settings: HttpSettings::default(),
        forward: None,
    }
}

fn host(name: &str, routes: Vec<Arc<Route>>) -> Host {
    Host { pattern: HostPattern::parse(name).unwrap(), routes: routes.into(), https_redirect: false }
}

fn route(path: MatchPath) -> Arc<Route> {
    let target = Target::plain(TargetCluster::Known(ClusterId::outbound(80, "", "backend")), 1);
    let forward = Forward::to(vec![target]);
    Arc::new(Route {
        name: "".into(),
        origin: Origin {
            kind: ObjectKind::VirtualService,
            namespace: "default".into(),
            name: "v".into(),
            rule: "http[0]".into(),
        },
        matches: RouteMatch::new(path, Demands::default()),
        stat_prefix: None,
        filters: Box::default(),
        action: Action::Forward(forward),
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
    })
}
