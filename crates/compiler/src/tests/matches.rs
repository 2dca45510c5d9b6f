//! Conditions of routes (VS-11 to VS-17, VS-22).

use super::world::{compiled, findings, gateway, host, objects, set, virtual_service};
use crate::{Compiled, Memo, Settings, compile};
use ir::{MatchPath, Route, RouteMatch, StringMatch, ValueMatch};
use resources::set::Change;
use std::sync::Arc;

fn with(entry: &str) -> Compiled {
    let spec = format!(
        "  hosts: [a.test]\n  gateways: [gw]\n  http:\n  - match: [{entry}]\n    directResponse: {{status: 200}}\n  \
         - match: [{{uri: {{exact: /other}}}}]\n    directResponse: {{status: 201}}"
    );
    compiled(&[gateway("gw", "'*'"), virtual_service("one", &spec)].concat())
}

fn first(compiled: &Compiled) -> Arc<Route> {
    Arc::clone(&host(compiled, "a.test").routes[0])
}

fn matches(entry: &str) -> RouteMatch {
    first(&with(entry)).matches.clone()
}

#[test]
fn vs_12_the_three_kinds_of_paths() {
    let text = |entry: &str| matches(entry).path;
    let exact = MatchPath::Text { text: StringMatch::Exact("/a".into()), ignore_case: false };
    assert_eq!(text("{uri: {exact: /a}}"), exact);
    let prefix = MatchPath::Text { text: StringMatch::Prefix("/A".into()), ignore_case: true };
    assert_eq!(text("{uri: {prefix: /A}, ignoreUriCase: true}"), prefix);
    let MatchPath::Text { text: StringMatch::Regex(pattern), ignore_case } =
        text("{uri: {regex: '/a/.*'}, ignoreUriCase: true}")
    else {
        panic!("not a pattern");
    };
    assert!(!ignore_case, "VS-13");
    assert!(pattern.is_match(b"/a/b") && !pattern.is_match(b"x/a/b"));
}

#[test]
fn vs_15_an_empty_value_or_a_star_asks_for_presence() {
    let found = matches("{headers: {X-B: {regex: '*'}, x-a: {}}}");
    let names: Vec<_> = found.headers.iter().map(|header| (header.name.as_str(), &header.value)).collect();
    assert_eq!(names, [("x-a", &ValueMatch::Present), ("x-b", &ValueMatch::Present)]);
}

#[test]
fn vs_16_without_headers_are_turned_round() {
    let found = matches("{withoutHeaders: {x: {exact: one}}}");
    assert!(found.headers[0].invert);
    assert_eq!(found.headers[0].value, ValueMatch::Text(StringMatch::Exact("one".into())));
    assert!(!found.is_catch_all());
}

#[test]
fn vs_17_query_parameters() {
    let found = matches("{queryParams: {b: {exact: ''}, a: {regex: '*'}}}");
    assert_eq!((&*found.query[0].name, &found.query[0].value), ("a", &ValueMatch::Present));
    assert_eq!(found.query[1].value, ValueMatch::Text(StringMatch::Exact("".into())));
}

#[test]
fn vs_22_claims_are_matched_by_their_names_and_never_as_headers() {
    let found = matches(
        "{headers: {'@request.auth.claims.a.b': {exact: x}, x-a: {exact: 'y'}}, withoutHeaders: {'@request.auth.claims[c.d][e]': {prefix: z}}}",
    );
    assert_eq!(found.headers.len(), 1);
    let claim = |at: usize| (found.claims[at].path.join("|"), found.claims[at].invert);
    assert_eq!((claim(0), claim(1)), (("a|b".into(), false), ("c.d|e".into(), true)));
    assert_eq!(found.claims[0].value, ValueMatch::Text(StringMatch::Exact("x".into())));
    assert!(!found.is_catch_all());
}

#[test]
fn vs_22_claims_that_nobody_verifies_are_an_error() {
    let route = "{headers: {'@request.auth.claims.sub': {exact: a}}}";
    let without = with(route);
    assert_eq!(findings(&without), ["MG7023 VirtualService default/one"]);
    let spec = |of: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: p, namespace: istio-system}}\nspec: {{{of}}}\n---\n"
        )
    };
    let (mut memo, settings) = (Memo::default(), Settings::default());
    let text = "  hosts: [a.test]\n  gateways: [gw]\n  http:\n  - match: [ENTRY]\n    directResponse: {status: 200}"
        .replace("ENTRY", route);
    let first = set(&[gateway("gw", "'*'"), virtual_service("one", &text)].concat());
    let said = |compiled: &Compiled| findings(compiled).iter().any(|found| found.starts_with("MG7023"));
    assert!(said(&compile(&first, &settings, &mut memo)));
    let rules = "jwtRules: [{issuer: 'https://a'}]";
    let second = first.with(objects(&spec(rules)).into_iter().map(Change::Put));
    assert!(!said(&compile(&second, &settings, &mut memo)));
    let elsewhere = format!("selector: {{matchLabels: {{a: b}}}}, {rules}");
    let third = second.with(objects(&spec(&elsewhere)).into_iter().map(Change::Put));
    assert!(said(&compile(&third, &settings, &mut memo)));
}

#[test]
fn vs_23_a_route_is_named_by_rule_and_entry() {
    let spec = "  hosts: [a.test]\n  gateways: [gw]\n  http:\n  - name: r\n    match: [{name: m, uri: {exact: /m}}, {uri: {exact: /n}}]\n    \
                directResponse: {status: 200}";
    let compiled = compiled(&[gateway("gw", "'*'"), virtual_service("one", spec)].concat());
    let routes = &host(&compiled, "a.test").routes;
    assert_eq!((&*routes[0].name, &*routes[1].name), ("r.m", "r"));
    assert_eq!(routes[1].origin.to_string(), "VirtualService default/one http[0].match[1]");
}
