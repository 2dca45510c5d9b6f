use super::*;
use crate::claims::Claims;
use crate::fixture::{answering, ask, exact, host, listener, path, prefix};
use ir::{Demands, HeaderMatch, HeaderName, QueryMatch};

fn why(demands: Demands, head: &str) -> String {
    let rule = answering(201, path(prefix("/")), demands);
    let table = Table::build(&listener([host("a.test", vec![rule])]), &mut |_| 0);
    ask(head, |view| {
        let (explanation, winner) = explain(&table, view, &Claims::default());
        assert!(winner.is_none() && !explanation.found);
        explanation.rules.first().and_then(|verdict| verdict.lost.clone()).unwrap()
    })
}

#[test]
fn each_rule_before_the_winner_says_why_it_lost() {
    let rules = vec![
        answering(201, path(exact("/a")), Demands::default()),
        answering(202, path(prefix("/b")), Demands { method: Some(exact("POST")), ..Demands::default() }),
        answering(203, path(prefix("/")), Demands::default()),
        answering(204, path(prefix("/b")), Demands::default()),
    ];
    let table = Table::build(&listener([host("a.test", rules)]), &mut |_| 0);
    ask("GET /b HTTP/1.1\nHost: a.test", |view| {
        let (explanation, winner) = explain(&table, view, &Claims::default());
        let lost: Vec<Option<&str>> = explanation.rules.iter().map(|verdict| verdict.lost.as_deref()).collect();
        assert_eq!(
            lost,
            [Some("the path /b is not one that is `/a`"), Some("the method GET is not one that is `POST`"), None]
        );
        assert_eq!(explanation.rules.last().map(|verdict| verdict.demands.as_str()), Some("path begins with `/`"));
        assert!(explanation.found && winner.is_some());
    });
}

#[test]
fn s_34_wider_hosts_that_are_passed_over_are_named() {
    let one = |pattern: &str| host(pattern, vec![answering(201, path(prefix("/x")), Demands::default())]);
    let table = Table::build(&listener(["*", "*.test", "*.a.test", "x.a.test"].map(one)), &mut |_| 0);
    ask("GET / HTTP/1.1\nHost: X.a.test:80", |view| {
        let (explanation, winner) = explain(&table, view, &Claims::default());
        assert_eq!(explanation.host.as_deref(), Some("x.a.test"));
        assert_eq!(explanation.passed_over, ["*.a.test", "*.test", "*"]);
        assert!(winner.is_none());
    });
}

#[test]
fn a_host_that_nothing_covers_has_no_rules() {
    let table = Table::build(&listener([]), &mut |_| 0);
    ask("GET / HTTP/1.1\nHost: a.test", |view| {
        let (explanation, _) = explain(&table, view, &Claims::default());
        assert_eq!((explanation.host, explanation.rules.len(), explanation.found), (None, 0, false));
    });
}

#[test]
fn vs_15_to_vs_17_headers_and_parameters_are_told_with_what_came() {
    let header = |invert| Demands {
        headers: vec![HeaderMatch {
            name: HeaderName::parse("x-user").unwrap(),
            value: ValueMatch::Text(exact("alice")),
            invert,
        }],
        ..Demands::default()
    };
    assert_eq!(
        why(header(false), "GET / HTTP/1.1\nHost: a.test\nX-User: bob"),
        "the header x-user is `bob`, and has to be one that is `alice`"
    );
    assert_eq!(
        why(header(true), "GET / HTTP/1.1\nHost: a.test\nX-User: alice"),
        "the header x-user is `alice`, and may not be one that is `alice`"
    );
    let query = vec![QueryMatch { name: "v".into(), value: ValueMatch::Present }];
    assert_eq!(
        why(Demands { query, ..Demands::default() }, "GET /?w=1 HTTP/1.1\nHost: a.test"),
        "the query parameter v is not there, and has to be there"
    );
}
