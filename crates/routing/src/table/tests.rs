use super::*;
use crate::claims::Claims;
use crate::fixture::{answering, ask, exact, host, hosts, listener, path, prefix};
use ir::{Action, Demands};
use proptest::prelude::*;

fn build(listener: &HttpTable) -> Table {
    Table::build(listener, &mut |_| 0)
}

/// The status that a request is answered with: that of its route, or 404.
fn answer(table: &Table, host: &str, target: &str) -> u16 {
    ask(&format!("GET {target} HTTP/1.1\nHost: {host}"), |view| match table.pick(view, &Claims::default()) {
        Pick::Route(entry) => match &entry.config.action {
            Action::Respond(response) => response.status,
            other => panic!("{other:?}"),
        },
        Pick::NoRoute(_) | Pick::NoHost | Pick::ToHttps => 404,
    })
}

#[test]
fn s_32_a_wildcard_covers_deeper_names_but_not_the_bare_suffix() {
    let table = build(&hosts(&[("*.a.test", 201)]));
    assert_eq!(answer(&table, "x.a.test", "/"), 201);
    assert_eq!(answer(&table, "x.y.A.test:8080", "/"), 201);
    assert_eq!(answer(&table, "a.test", "/"), 404);
    assert_eq!(answer(&table, ".a.test", "/"), 404);
    assert_eq!(answer(&table, "xa.test", "/"), 404);
}

#[test]
fn s_34_the_most_specific_host_wins() {
    let table = build(&hosts(&[("*", 201), ("*.test", 202), ("*.a.test", 203), ("x.a.test", 204)]));
    for (host, status) in [("x.a.test", 204), ("y.a.test", 203), ("x.y.a.test", 203), ("a.test", 202), ("a.other", 201)]
    {
        assert_eq!(answer(&table, host, "/"), status, "{host}");
    }
}

#[test]
fn s_34_nothing_falls_through_to_a_wider_host() {
    let narrow = host("x.a.test", vec![answering(201, path(prefix("/foo")), Demands::default())]);
    let wide = host("*.a.test", vec![answering(202, path(prefix("/")), Demands::default())]);
    let table = build(&listener([narrow, wide]));
    assert_eq!(answer(&table, "x.a.test", "/foo"), 201);
    assert_eq!(answer(&table, "x.a.test", "/bar"), 404);
    assert_eq!(answer(&table, "y.a.test", "/bar"), 202);
}

#[test]
fn s_60_the_first_rule_that_matches_wins_whatever_is_longer() {
    let rules = vec![
        answering(201, path(prefix("/a")), Demands::default()),
        answering(202, path(exact("/a/b")), Demands::default()),
    ];
    assert_eq!(answer(&build(&listener([host("a.test", rules)])), "a.test", "/a/b"), 201);
}

#[test]
fn a_name_of_many_dots_is_not_looked_up_at_each() {
    let name = "a.".repeat(20_000);
    let listener = hosts(&[("*.a.test", 201), ("*.test", 202)]);
    assert_eq!(suffixes(&name, build(&listener).suffixes.longest()).count(), 4);
    let deep = format!("{name}a.test");
    assert_eq!(build(&listener).host(&deep).map(|host| host.pattern.to_string()).as_deref(), Some("*.a.test"));
}

#[test]
fn a_change_of_one_host_copies_one_shard() {
    let names: Vec<String> = (0..10_000).map(|n| format!("h{n}.test")).collect();
    let mut all: Vec<(&str, u16)> = names.iter().map(|name| (name.as_str(), 201)).collect();
    let before = build(&hosts(&all));
    all[77].1 = 202;
    let changed = [HostPattern::parse("h77.test").unwrap()];
    let after = before.update(&hosts(&all), &changed, &mut |_| 0);
    let (same, shards) = before.exact.shared_with(&after.exact);
    assert_eq!(same, shards - 1);
    assert!(shards >= 100, "{shards}");
    assert_eq!(answer(&before, "h77.test", "/"), 201);
    assert_eq!(answer(&after, "h77.test", "/"), 202);
}

#[test]
fn a_table_that_grows_out_of_its_shards_is_laid_out_anew() {
    let few = build(&hosts(&[]));
    let names: Vec<String> = (0..2_000).flat_map(|n| [format!("h{n}.test"), format!("*.w{n}.test")]).collect();
    let all: Vec<(&str, u16)> = names.iter().map(|name| (name.as_str(), 201)).collect();
    let changed: Vec<HostPattern> = names.iter().map(|name| HostPattern::parse(name).unwrap()).collect();
    let many = few.update(&hosts(&all), &changed, &mut |_| 0);
    assert!(!many.exact.is_outgrown() && !many.suffixes.is_outgrown());
    assert_eq!(many.hosts(), 4_000);
    assert_eq!(answer(&many, "x.w1999.test", "/"), 201);
}

/// Names over few labels, so that they cover each other often.
fn name() -> impl Strategy<Value = String> {
    let label = prop_oneof![Just("a"), Just("b"), Just("test")];
    proptest::collection::vec(label, 1..4).prop_map(|labels| labels.join("."))
}

fn pattern() -> impl Strategy<Value = String> {
    prop_oneof![5 => name(), 4 => name().prop_map(|name| format!("*.{name}")), 1 => Just("*".to_owned())]
}

fn set(of: &[(String, u16)]) -> HttpTable {
    hosts(&of.iter().map(|(pattern, status)| (pattern.as_str(), *status)).collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn the_host_is_the_most_specific_of_all_that_cover_the_name(
        patterns in proptest::collection::vec((pattern(), 200_u16..210), 0..12),
        asked in name(),
    ) {
        let table = build(&set(&patterns));
        let asked_for = HostPattern::parse(&asked).unwrap();
        let covering = patterns.iter().filter_map(|(pattern, _)| HostPattern::parse(pattern).ok());
        let narrowest = covering.filter(|pattern| pattern.covers(&asked_for)).reduce(|a, b| if a.covers(&b) { b } else { a });
        prop_assert_eq!(table.host(&asked).map(|host| host.pattern.clone()), narrowest.clone());
        prop_assert_eq!(table.covering(&asked).next().map(|host| host.pattern.clone()), narrowest);
    }

    #[test]
    fn updates_give_what_building_anew_gives(
        versions in proptest::collection::vec(proptest::collection::vec((pattern(), 200_u16..210), 0..8), 1..5),
        asked in proptest::collection::vec(name(), 1..6),
    ) {
        let mut table = build(&hosts(&[]));
        let mut before: Vec<(String, u16)> = Vec::new();
        for version in versions {
            let listener = set(&version);
            let both = before.iter().chain(&version);
            let changed: Vec<HostPattern> = both.filter_map(|(pattern, _)| HostPattern::parse(pattern).ok()).collect();
            table = table.update(&listener, &changed, &mut |_| 0);
            let anew = build(&listener);
            prop_assert_eq!(table.hosts(), anew.hosts());
            for name in &asked {
                prop_assert_eq!(answer(&table, name, "/"), answer(&anew, name, "/"));
            }
            before = version;
        }
    }
}

#[test]
fn s_70_a_host_that_wants_https_sends_requests_there_before_any_route() {
    let mut host = host("a.com", Vec::new());
    host.https_redirect = true;
    let table = build(&listener([host]));
    request("http", "a.com", |view| assert!(matches!(table.pick(view, &Claims::default()), Pick::ToHttps)));
    // S-71: as the client reached a trusted proxy.
    request("https", "a.com", |view| assert!(matches!(table.pick(view, &Claims::default()), Pick::NoRoute(_))));
}

fn request(scheme: &'static str, host: &str, check: impl FnOnce(&RequestView<'_>)) {
    let fields = wire::view::Fields::new(&[], &[]);
    let authority = host.as_bytes();
    check(&RequestView {
        method: b"GET",
        scheme,
        authority,
        host,
        path: b"/x",
        query: Some(b"q=1"),
        fields,
        destination: None,
    });
}
