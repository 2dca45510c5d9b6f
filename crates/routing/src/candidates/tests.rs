use super::*;
use crate::claims::Claims;
use crate::explain::explain;
use crate::fixture::{answering, ask, exact, host, listener, prefix, regex};
use crate::judge::judge;
use crate::table::{Pick, Table};
use ir::{Demands, HeaderMatch, HeaderName, Route, ValueMatch};
use proptest::prelude::*;

/// Paths over few letters, so that they lie within each other often.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![Just("/"), Just("a"), Just("A"), Just("b"), Just("/a"), Just("/b")];
    proptest::collection::vec(part, 0..5).prop_map(|parts| format!("/{}", parts.concat()))
}

fn matched() -> impl Strategy<Value = MatchPath> {
    let of = |text: StringMatch, ignore_case| MatchPath::Text { text, ignore_case };
    prop_oneof![
        1 => Just(MatchPath::Any),
        4 => (text(), any::<bool>()).prop_map(move |(text, ignore)| of(exact(&text), ignore)),
        6 => (text(), any::<bool>()).prop_map(move |(text, ignore)| of(prefix(&text), ignore)),
        1 => text().prop_map(move |text| of(regex(&format!("{text}.*")), false)),
    ]
}

fn demands() -> impl Strategy<Value = Demands> {
    let needs_header = Demands {
        headers: vec![HeaderMatch {
            name: HeaderName::parse("x-a").unwrap(),
            value: ValueMatch::Text(exact("1")),
            invert: false,
        }],
        ..Demands::default()
    };
    let needs_post = Demands { method: Some(exact("POST")), ..Demands::default() };
    prop_oneof![3 => Just(Demands::default()), 1 => Just(needs_header), 1 => Just(needs_post)]
}

fn rules() -> impl Strategy<Value = Vec<Arc<Route>>> {
    let rule = (matched(), demands());
    proptest::collection::vec(rule, 0..60).prop_map(|rules| {
        (200..).zip(rules).map(|(number, (path, demands))| answering(number, path, demands)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_index_the_plain_order_and_explain_agree(rules in rules(), target in text(), post: bool, header: bool) {
        let table = Table::build(&listener([host("a.test", rules.clone())]), &mut |_| 0);
        let method = if post { "POST" } else { "GET" };
        let line = if header { "\nX-A: 1" } else { "" };
        ask(&format!("{method} {target} HTTP/1.1\nHost: a.test{line}"), |view| {
            let first = rules.iter().find(|rule| judge(&rule.matches, view, &Claims::default()).is_ok());
            let picked = match table.pick(view, &Claims::default()) {
                Pick::Route(entry) => Some(&entry.config),
                Pick::NoRoute(_) | Pick::NoHost | Pick::ToHttps => None,
            };
            prop_assert_eq!(picked, first);
            let (explanation, explained) = explain(&table, view, &Claims::default());
            prop_assert_eq!(explained.map(|entry| &entry.config), first);
            let lost = explanation.rules.iter().filter(|verdict| verdict.lost.is_some()).count();
            prop_assert_eq!(lost + usize::from(first.is_some()), explanation.rules.len());
            Ok(())
        })?;
    }
}

#[test]
fn thousands_of_paths_are_not_looked_through() {
    let exact_paths =
        (0..2_000).map(|n| answering(201, crate::fixture::path(exact(&format!("/e/{n}"))), Demands::default()));
    let prefixes =
        (0..2_000).map(|n| answering(202, crate::fixture::path(prefix(&format!("/p/{n}/"))), Demands::default()));
    let entries: Vec<Arc<RouteEntry>> =
        exact_paths.chain(prefixes).map(|route| Arc::new(RouteEntry::build(&route, &mut |_| 0))).collect();
    let candidates = Candidates::build(&entries);
    let mut seen = Vec::new();
    assert_eq!(
        candidates.first(b"/e/1999", |number| {
            seen.push(number);
            true
        }),
        Some(1999)
    );
    assert_eq!(
        candidates.first(b"/p/7/x", |number| {
            seen.push(number);
            true
        }),
        Some(2007)
    );
    assert_eq!(
        candidates.first(b"/other", |number| {
            seen.push(number);
            true
        }),
        None
    );
    assert_eq!(seen, [1999, 2007]);
}
