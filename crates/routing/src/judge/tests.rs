//! Tests of conditions, by row.

use super::*;
use crate::fixture::{ask, exact, get, path as at, prefix, regex};
use ir::{Demands, HeaderMatch, HeaderName};

fn on_path(text: StringMatch, target: &str) -> bool {
    get(target, |view| judge(&RouteMatch::new(at(text), Demands::default()), view, &Claims::default()).is_ok())
}

fn with(demands: Demands, head: &str) -> Result<(), RouteMismatch> {
    ask(head, |view| judge(&RouteMatch::new(MatchPath::Any, demands), view, &Claims::default()))
}

fn on_header(name: &str, value: ValueMatch, invert: bool, lines: &str) -> bool {
    let headers = vec![HeaderMatch { name: HeaderName::parse(name).unwrap(), value, invert }];
    with(Demands { headers, ..Demands::default() }, &format!("GET / HTTP/1.1\nHost: A.test:80{lines}")).is_ok()
}

fn on_query(name: &str, value: ValueMatch, target: &str) -> bool {
    let query = vec![QueryMatch { name: name.into(), value }];
    with(Demands { query, ..Demands::default() }, &format!("GET {target} HTTP/1.1\nHost: a.test")).is_ok()
}

#[test]
fn vs_12_a_prefix_is_plain_text_and_a_query_is_no_part_of_the_path() {
    assert!(on_path(prefix("/api"), "/api"));
    assert!(on_path(prefix("/api"), "/apifoo"));
    assert!(!on_path(prefix("/api/"), "/api"));
    assert!(on_path(exact("/api"), "/api?x=1"));
    assert!(!on_path(exact("/api"), "/api/"));
    assert!(on_path(regex("/v[0-9]+"), "/v12?x"));
    assert!(!on_path(regex("/v[0-9]+"), "/v12/x"));
}

#[test]
fn vs_13_case_is_ignored_in_exact_and_prefix_alone() {
    let ignoring = |text: StringMatch, target: &str| {
        let matches = RouteMatch::new(MatchPath::Text { text, ignore_case: true }, Demands::default());
        get(target, |view| judge(&matches, view, &Claims::default()).is_ok())
    };
    assert!(ignoring(exact("/Api"), "/aPI"));
    assert!(!ignoring(exact("/Api"), "/aPI/"));
    assert!(ignoring(prefix("/Api"), "/aPIfoo"));
    assert!(!ignoring(prefix("/Api"), "/ap"));
    assert!(!ignoring(regex("/api"), "/API"));
}

#[test]
fn vs_14_method_authority_and_scheme_are_compared_with_case() {
    let head = "GET / HTTP/1.1\nHost: A.test:8080";
    let method = |text| with(Demands { method: Some(text), ..Demands::default() }, head);
    assert_eq!(method(exact("GET")), Ok(()));
    assert_eq!(method(exact("get")), Err(RouteMismatch::Method));
    let authority = |text| with(Demands { authority: Some(text), ..Demands::default() }, head);
    assert_eq!(authority(exact("A.test:8080")), Ok(()));
    assert_eq!(authority(exact("a.test")), Err(RouteMismatch::Authority));
    let scheme = |text| with(Demands { scheme: Some(text), ..Demands::default() }, head);
    assert_eq!(scheme(regex("https?")), Ok(()));
    assert_eq!(scheme(exact("https")), Err(RouteMismatch::Scheme));
}

#[test]
fn vs_15_one_value_that_matches_is_enough_and_presence_needs_none() {
    let two = "\nX-User: a\nx-user: b";
    for text in [exact("a"), exact("b"), prefix("b"), regex("[ab]")] {
        assert!(on_header("x-user", ValueMatch::Text(text), false, two));
    }
    for text in [exact("a,b"), prefix("a,"), regex("a,b"), exact("c"), exact("")] {
        assert!(!on_header("x-user", ValueMatch::Text(text), false, two));
    }
    assert!(on_header("x-user", ValueMatch::Text(exact("a,b")), false, "\nx-user: a,b"));
    assert!(on_header("x-user", ValueMatch::Text(exact("")), false, "\nx-user: a\nx-user:"));
    assert!(on_header("x-user", ValueMatch::Present, false, "\nx-user:"));
    assert!(!on_header("x-user", ValueMatch::Present, false, ""));
    assert!(!on_header("x-user", ValueMatch::Text(regex(".*")), false, ""));
    assert!(on_header("host", ValueMatch::Text(exact("A.test:80")), false, ""));
}

#[test]
fn vs_16_no_value_may_match_and_an_absent_header_is_judged_as_an_empty_one() {
    assert!(on_header("x-user", ValueMatch::Text(exact("a")), true, ""));
    assert!(on_header("x-user", ValueMatch::Text(exact("a")), true, "\nx-user: b"));
    assert!(!on_header("x-user", ValueMatch::Text(exact("a")), true, "\nx-user: a"));
    for lines in ["\nx-user: a\nx-user: b", "\nx-user: b\nx-user: a", "\nx-user: b\nX-User: c\nx-user: a"] {
        assert!(!on_header("x-user", ValueMatch::Text(exact("a")), true, lines), "{lines}");
    }
    assert!(!on_header("cookie", ValueMatch::Text(exact("a=1")), true, "\ncookie: b=2\ncookie: a=1"));
    assert!(!on_header("x-user", ValueMatch::Text(regex(".*")), true, ""));
    assert!(on_header("x-user", ValueMatch::Present, true, ""));
    assert!(!on_header("x-user", ValueMatch::Present, true, "\nx-user: a"));
}

#[test]
fn vs_17_the_first_value_of_a_parameter_counts_undecoded() {
    assert!(on_query("x", ValueMatch::Text(exact("1")), "/?x=1&x=2"));
    assert!(!on_query("x", ValueMatch::Text(exact("2")), "/?x=1&x=2"));
    assert!(on_query("x", ValueMatch::Text(exact("")), "/?x="));
    assert!(on_query("x", ValueMatch::Text(exact("")), "/?y&x"));
    assert!(!on_query("x", ValueMatch::Present, "/?xx=1&y=x"));
    assert!(!on_query("x", ValueMatch::Present, "/"));
    assert!(on_query("x", ValueMatch::Text(exact("a%20b")), "/?x=a%20b"));
    assert!(on_query("x", ValueMatch::Text(regex("[0-9]+")), "/?x=12"));
}

#[test]
fn the_first_unmet_demand_is_named() {
    let headers = ["x-a", "x-b"].map(|name| HeaderMatch {
        name: HeaderName::parse(name).unwrap(),
        value: ValueMatch::Present,
        invert: false,
    });
    let demands = Demands { headers: headers.to_vec(), ..Demands::default() };
    assert_eq!(with(demands, "GET / HTTP/1.1\nHost: a\nx-a: 1"), Err(RouteMismatch::Header(1)));
}

#[test]
fn vs_22_one_text_of_a_claim_that_matches_is_enough() {
    let token = r#"{"sub": "alice", "n": 7, "scope": "read write", "a": {"b": ["x", "y"]}, "dotted.name": "z"}"#;
    let token = Claims::new(serde_json::from_str(token).unwrap(), &[]);
    let judged = |claims: &Claims, path: &[&str], value: ValueMatch, invert| {
        let path = path.iter().map(|name| (*name).into()).collect();
        let demands = Demands { claims: vec![ClaimMatch { path, value, invert }], ..Demands::default() };
        // A client cannot set it by a header.
        let head = "GET / HTTP/1.1\nHost: a.test\nx-request.auth.claims.sub: bob\nsub: bob";
        ask(head, |view| judge(&RouteMatch::new(MatchPath::Any, demands), view, claims))
    };
    let text = ValueMatch::Text;
    for (path, value) in [
        (&["sub"][..], text(exact("alice"))),
        (&["sub"], text(prefix("al"))),
        (&["sub"], ValueMatch::Present),
        (&["scope"], text(exact("write"))),
        (&["a", "b"], text(regex("[y]"))),
        (&["dotted.name"], text(exact("z"))),
    ] {
        assert_eq!(judged(&token, path, value.clone(), false), Ok(()), "{path:?}");
        assert_eq!(judged(&token, path, value.clone(), true), Err(RouteMismatch::Claim(0)), "{path:?}");
        assert_eq!(judged(&Claims::default(), path, value.clone(), false), Err(RouteMismatch::Claim(0)), "{path:?}");
        assert_eq!(judged(&Claims::default(), path, value, true), Ok(()), "{path:?}");
    }
    for (path, value) in [
        (&["sub"][..], text(exact("bob"))),
        (&["n"], text(exact("7"))),
        (&["scope"], text(exact("read write"))),
        (&["a"], ValueMatch::Present),
        (&["dotted", "name"], text(exact("z"))),
    ] {
        assert_eq!(judged(&token, path, value.clone(), false), Err(RouteMismatch::Claim(0)), "{path:?}");
        assert_eq!(judged(&token, path, value, true), Ok(()), "{path:?}");
    }
}
