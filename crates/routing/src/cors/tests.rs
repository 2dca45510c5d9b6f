use super::*;
use crate::fixture::{ask, exact, prefix, regex};
use ir::StringMatch;

fn value(text: &str) -> HeaderValue {
    HeaderValue::parse(text).unwrap()
}

fn policy(origins: Vec<StringMatch>) -> Cors {
    Cors {
        origins,
        methods: value("GET,POST"),
        headers: value("x-user"),
        expose: value("x-total,x-page"),
        max_age: Some(86400),
        credentials: true,
        forwards_unmatched: true,
    }
}

type CorsFields = Vec<(&'static str, String)>;

/// The origin that is allowed, and the fields of the answer to a preflight.
fn cors_of(cors: &Cors, head: &str) -> (Option<String>, Option<CorsFields>) {
    ask(head, |view| {
        let request = CorsRequest::of(cors, view.fields);
        let answer = request.as_ref().and_then(|request| request.preflight(cors, view.method, view.fields));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields = answer.map(|answer| {
            assert_eq!((answer.status, answer.detail), (200, "cors_response"));
            answer.fields.iter().map(|(name, value)| (*name, text(value))).collect()
        });
        (request.and_then(CorsRequest::allowed_origin).map(|origin| text(&origin)), fields)
    })
}

const PREFLIGHT: &str =
    "OPTIONS / HTTP/1.1\nHost: a.test\nAccess-Control-Request-Method: PUT\nAccess-Control-Request-Headers: x-a,x-b";

#[test]
fn vs_46_an_allowed_preflight_is_told_all_of_the_policy() {
    let cors = policy(vec![exact("https://a.test")]);
    let (origin, fields) = cors_of(&cors, &format!("{PREFLIGHT}\nOrigin: https://a.test"));
    assert_eq!(origin.as_deref(), Some("https://a.test"));
    let expected = [
        ("access-control-allow-origin", "https://a.test"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET,POST"),
        ("access-control-allow-headers", "x-user"),
        ("access-control-max-age", "86400"),
        ("access-control-expose-headers", "x-total,x-page"),
    ];
    assert_eq!(fields.unwrap(), expected.map(|(name, value)| (name, value.to_owned())));
}

#[test]
fn vs_46_a_star_allows_what_is_asked_for() {
    let any = Cors {
        methods: value("*"),
        headers: value("*"),
        max_age: None,
        expose: value(""),
        ..policy(vec![regex(".*")])
    };
    let fields = cors_of(&any, &format!("{PREFLIGHT}\nOrigin: null")).1.unwrap();
    assert_eq!(fields[0].1, "null");
    assert_eq!(
        fields[2..],
        [("access-control-allow-methods", "PUT".into()), ("access-control-allow-headers", "x-a,x-b".into())]
    );
}

#[test]
fn vs_46_origins_match_as_texts_prefixes_and_patterns_and_in_their_case() {
    let cases = [
        (exact("https://a.test"), "https://a.test", true),
        (exact("https://a.test"), "https://A.test", false),
        (exact("*"), "https://b.test", true),
        (prefix("https://a."), "https://a.test", true),
        (prefix("https://a."), "http://a.test", false),
        (regex("https://[a-z]+\\.test"), "https://abc.test", true),
        (regex("https://[a-z]+\\.test"), "https://abc.test.evil", false),
    ];
    for (demand, origin, allowed) in cases {
        let cors = policy(vec![exact("https://other.test"), demand.clone()]);
        let got = cors_of(&cors, &format!("GET / HTTP/1.1\nHost: a.test\nOrigin: {origin}")).0;
        assert_eq!(got.is_some(), allowed, "{demand:?} {origin}");
    }
}

#[test]
fn vs_46_what_is_no_preflight_goes_on() {
    let cors = policy(vec![exact("https://a.test")]);
    let others = [
        "OPTIONS / HTTP/1.1\nHost: a.test\nOrigin: https://a.test",
        "GET / HTTP/1.1\nHost: a.test\nOrigin: https://a.test\nAccess-Control-Request-Method: PUT",
        "OPTIONS / HTTP/1.1\nHost: a.test\nOrigin: https://a.test\nAccess-Control-Request-Method:",
        PREFLIGHT,
    ];
    assert!(others.iter().all(|head| cors_of(&cors, head).1.is_none()));
}

#[test]
fn vs_46_a_preflight_of_another_origin_is_forwarded_or_allowed_nothing() {
    let head = format!("{PREFLIGHT}\nOrigin: https://evil.test");
    assert_eq!(cors_of(&policy(vec![exact("https://a.test")]), &head), (None, None));
    let ignoring = Cors { forwards_unmatched: false, ..policy(vec![exact("https://a.test")]) };
    let (origin, fields) = cors_of(&ignoring, &head);
    assert_eq!(origin, None);
    assert!(fields.unwrap().iter().all(|(name, _)| *name != ALLOW_ORIGIN && *name != EXPOSE_HEADERS));
    // Two origins are none that is in the list.
    let both = format!("{PREFLIGHT}\nOrigin: https://a.test\nOrigin: https://evil.test");
    assert_eq!(cors_of(&policy(vec![exact("https://a.test")]), &both), (None, None));
}

#[test]
fn vs_46_answers_tell_their_page_in_place_of_what_the_backend_said_and_vary_by_it() {
    let cors = policy(vec![exact("https://a.test")]);
    let names = |origin: Option<&str>| {
        let origin = origin.and_then(|origin| FieldValue::checked(origin.as_bytes()));
        let mut edits = Edits::default();
        edit_response(&cors, origin.as_ref(), &mut edits);
        edits
            .fields
            .iter()
            .map(|edit| format!("{edit:?}").split('(').next().unwrap().to_owned() + " " + edit.name())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(None), ["Append vary"]);
    let expected = [
        "Append vary",
        "Set access-control-allow-origin",
        "Set access-control-allow-credentials",
        "Set access-control-expose-headers",
    ];
    assert_eq!(names(Some("https://a.test")), expected);
}
