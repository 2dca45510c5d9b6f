//! AP-13: checks, and responses of services.

use super::{Changes, CheckVerdict, CheckedBody, CheckedConnection, CheckedRequest, Denial, HeaderAction, grpc, http};
use ir::policy::{HttpCheck, NamePattern};
use std::time::{Duration, UNIX_EPOCH};
use text::{HeaderName, HeaderValue, PathText};
use wire::edit::{Edits, FieldEdit};
use wire::ext_authz::{
    CheckResponse, DeniedResponse, HeaderValueOption, HttpResponse, HttpStatus, OkResponse, QueryParameter, Status,
};
use wire::h1::response::RequestKind;
use wire::h1::{HeadLimits, RequestHead, ResponseHead, write_request};
use wire::view::{Fields, RequestView};

/// Gives the check of a request with these header lines.
fn checked<T>(lines: &str, then: impl FnOnce(CheckedRequest<'_>) -> T) -> T {
    let text = format!("POST /a/b?c=d HTTP/1.1\r\nHost: A.test:80\r\n{lines}\r\n");
    let mut head = RequestHead::default();
    head.parse(text.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
    let view = RequestView {
        method: b"POST",
        scheme: "https",
        authority: b"A.test:80",
        host: "a.test",
        path: b"/a/b",
        query: Some(b"c=d"),
        fields: head.fields(text.as_bytes()),
        destination: None,
    };
    let mut edits = Edits::default();
    edits.set("x-forwarded-for", "1.2.3.4");
    edits.remove("x-envoy-internal");
    then(CheckedRequest {
        view: &view,
        edits: &edits.fields,
        protocol: "HTTP/1.1",
        id: "the-id",
        time: UNIX_EPOCH + Duration::new(7, 8),
        connection: connection(),
        size: Some(3),
        body: None,
    })
}

fn connection() -> CheckedConnection<'static> {
    CheckedConnection {
        source: "[::ffff:1.2.3.4]:5".parse().unwrap(),
        destination: Some("[2001:db8::1]:443".parse().unwrap()),
        source_principal: "spiffe://a/ns/b/sa/c",
        destination_principal: "CN=gateway",
        sni: Some("sni.test"),
    }
}

/// As in Envoy's filter for connections, there are no attributes of a request.
#[test]
fn ap_13_the_service_sees_a_connection_without_a_request() {
    let attributes = grpc::connection_check(&connection()).attributes.unwrap();
    let of_request = checked("", |request| grpc::check(&request, false)).attributes.unwrap();
    assert_eq!(attributes.request, None);
    assert_eq!((&attributes.source, &attributes.destination), (&of_request.source, &of_request.destination));
    assert_eq!(attributes.source.unwrap().principal, "spiffe://a/ns/b/sa/c");
    assert_eq!(attributes.tls_session.unwrap().sni, "sni.test");
}

#[test]
fn ap_13_the_service_sees_the_request_and_its_connection() {
    let lines = "X-A: 1\r\nx-a: 2\r\nCookie: a=1\r\nCookie: b=2\r\nX-Envoy-Internal: true\r\nX-Forwarded-For: 9.9.9.9\r\n\
                 Connection: x-hop\r\nX-Hop: 1\r\nTE: trailers\r\nX-Odd: \u{ff}\r\nContent-Length: 3\r\n";
    let attributes = checked(lines, |request| grpc::check(&request, false)).attributes.unwrap();
    let peer = |peer: wire::ext_authz::Peer| {
        let address = peer.address.unwrap().socket_address.unwrap();
        (address.address, address.port_value, peer.principal, peer.service)
    };
    let source = ("1.2.3.4".to_owned(), 5, "spiffe://a/ns/b/sa/c".to_owned(), String::new());
    assert_eq!(peer(attributes.source.unwrap()), source);
    let destination = ("2001:db8::1".to_owned(), 443, "CN=gateway".to_owned(), String::new());
    assert_eq!(peer(attributes.destination.unwrap()), destination);
    assert_eq!(attributes.tls_session.unwrap().sni, "sni.test");
    let request = attributes.request.unwrap();
    let time = request.time.unwrap();
    assert_eq!((time.seconds, time.nanos), (7, 8));
    let http = request.http.unwrap();
    assert_eq!((&*http.id, &*http.method, &*http.path), ("the-id", "POST", "/a/b?c=d"));
    assert_eq!((&*http.host, &*http.scheme, &*http.protocol, http.size), ("A.test:80", "https", "HTTP/1.1", 3));
    let headers: Vec<(&str, &str)> = http.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(
        headers,
        [
            (":authority", "A.test:80"),
            (":method", "POST"),
            (":path", "/a/b?c=d"),
            (":scheme", "https"),
            ("content-length", "3"),
            ("cookie", "a=1; b=2"),
            ("x-a", "1,2"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-odd", "\u{ff}"),
        ]
    );
}

#[test]
fn ap_13_the_body_is_text_or_octets_and_says_whether_it_is_whole() {
    let with = |octets: &'static [u8], is_partial, raw| {
        let body = Some(CheckedBody { octets, is_partial });
        let check = checked("", |request| grpc::check(&CheckedRequest { body, ..request }, raw));
        let http = check.attributes.unwrap().request.unwrap().http.unwrap();
        (http.body, http.raw_body, http.headers["x-envoy-auth-partial-body"].clone())
    };
    assert_eq!(with(b"a\xffb", false, false), ("a!b".to_owned(), vec![], "false".to_owned()));
    assert_eq!(with(b"a\xffb", true, true), (String::new(), b"a\xffb".to_vec(), "true".to_owned()));
}

fn option(key: &str, value: &str, append: Option<bool>, append_action: i32) -> HeaderValueOption {
    let header = wire::ext_authz::HeaderValue { key: key.into(), value: value.into(), raw_value: Vec::new() };
    HeaderValueOption { header: Some(header), append, append_action }
}

fn response(code: i32, http_response: Option<HttpResponse>) -> CheckResponse {
    CheckResponse { status: Some(Status { code }), http_response }
}

fn allowed(ok: OkResponse) -> Changes {
    match grpc::verdict(response(0, Some(HttpResponse::Ok(ok)))) {
        CheckVerdict::Allow(changes) => *changes,
        other => panic!("{other:?}"),
    }
}

/// The header lines of a request with these lines after the changes.
fn sent(lines: &str, changes: &Changes) -> Vec<String> {
    checked(lines, |request| {
        let mut edits = Edits::default();
        changes.edit_request(request.view.fields, &mut edits);
        let parts = wire::h1::RequestParts {
            method: b"GET",
            path: b"/",
            query: None,
            authority: b"h",
            fields: request.view.fields,
            nominates: false,
            framing: wire::h1::OutFraming::None,
            upgrade: None,
            close: false,
        };
        let mut out = Vec::new();
        write_request(&mut out, &parts, &edits);
        let text = String::from_utf8(out).unwrap();
        text.split("\r\n").skip(2).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    })
}

#[test]
fn ap_13_headers_are_written_by_their_actions() {
    for (append, action, without, with) in [
        (None, 0, &["x-a: new"][..], &["x-a: new"][..]),
        (None, 1, &["x-a: new"], &["x-a: old"]),
        (None, 2, &["x-a: new"], &["x-a: new"]),
        (None, 3, &[], &["x-a: new"]),
        (None, 77, &["x-a: new"], &["x-a: new"]),
        (Some(true), 2, &["x-a: new"], &["x-a: old", "x-a: new"]),
        (Some(false), 1, &["x-a: new"], &["x-a: new"]),
    ] {
        let changes =
            allowed(OkResponse { headers: vec![option("X-A", "new", append, action)], ..OkResponse::default() });
        assert_eq!(sent("", &changes), without, "{append:?} {action}");
        assert_eq!(sent("X-A: old\r\n", &changes), with, "{append:?} {action}");
    }
}

#[test]
fn ap_13_removals_come_after_what_is_written_and_values_that_cannot_be_written_remove() {
    let changes = allowed(OkResponse {
        headers: vec![
            option("x-a", "1", None, 0),
            option("x-b", "1\r\nx-evil: 1", None, 0),
            option("x c", "1", None, 0),
            option("x-d", "1", None, 0),
        ],
        headers_to_remove: vec!["X-A".into(), "x-e".into(), "no name".into()],
        ..OkResponse::default()
    });
    assert_eq!(sent("X-A: 0\r\nX-B: 0\r\nX-E: 0\r\nX-F: 0\r\n", &changes), ["x-f: 0", "x-d: 1"]);
}

#[test]
fn ap_13_pseudo_headers_the_host_and_the_framing_are_protected() {
    let names =
        [":path", ":authority", ":method", ":scheme", "Host", "content-length", "Transfer-Encoding", "connection"];
    let changes = allowed(OkResponse {
        headers: names.iter().map(|name| option(name, "evil", None, 2)).collect(),
        headers_to_remove: names.iter().map(|name| (*name).to_owned()).collect(),
        response_headers_to_add: names.iter().map(|name| option(name, "evil", None, 2)).collect(),
        ..OkResponse::default()
    });
    assert_eq!(changes, Changes::default());
}

#[test]
fn ap_13_headers_of_the_response_are_added_unless_told_otherwise() {
    let changes = allowed(OkResponse {
        response_headers_to_add: vec![option("x-a", "new", None, 0), option("x-b", "new", None, 2)],
        ..OkResponse::default()
    });
    let mut edits = Edits::default();
    changes.edit_response(Fields::new(&[], &[]), &mut edits);
    let actions: Vec<bool> = edits.fields.iter().map(|edit| matches!(edit, FieldEdit::Append(..))).collect();
    assert_eq!(actions, [true, false]);
}

#[test]
fn ap_13_parameters_of_the_query_are_set_and_removed_as_a_backend_reads_them() {
    let changes = |set: &[(&str, &str)], remove: &[&str]| {
        allowed(OkResponse {
            query_parameters_to_set: set
                .iter()
                .map(|(key, value)| QueryParameter { key: (*key).into(), value: (*value).into() })
                .collect(),
            query_parameters_to_remove: remove.iter().map(|name| (*name).to_owned()).collect(),
            ..OkResponse::default()
        })
    };
    let after = |changes: Changes, query: &str| {
        changes.query(Some(query.as_bytes())).map(|query| String::from_utf8(query).unwrap())
    };
    assert_eq!(after(changes(&[("b", "2")], &[]), "b=1&a=1&b=3").as_deref(), Some("a=1&b=2"));
    assert_eq!(after(changes(&[("b", "x&admin=1#\r\n")], &[]), "").as_deref(), Some("b=x%26admin=1%23%0D%0A"));
    assert_eq!(after(changes(&[], &["admin"]), "%61dmin=1&ADMIN=1&admin").as_deref(), Some("ADMIN=1"));
    assert_eq!(after(changes(&[("a", "1"), ("a", "2")], &["b"]), "b&b=1").as_deref(), Some("a=2"));
    assert_eq!(after(changes(&[], &["a"]), "a=1"), None);
}

#[test]
fn ap_13_a_response_allows_denies_or_is_an_error() {
    let denied = |code| DeniedResponse {
        status: Some(HttpStatus { code }),
        headers: vec![
            option("Set-Cookie", "a", None, 0),
            option("Set-Cookie", "b", None, 0),
            option("host", "c", None, 0),
        ],
        body: "no".into(),
    };
    let denial = |status, told: bool| {
        let name = HeaderName::parse("set-cookie").unwrap();
        let values = ["a", "b"].map(|value| (name.clone(), value.into()));
        let (headers, body) = if told { (values.to_vec(), b"no".to_vec()) } else { (vec![], vec![]) };
        Box::new(Denial { status, headers, body })
    };
    let allow = CheckVerdict::Allow(Box::default());
    for (response, wanted) in [
        (CheckResponse::default(), allow.clone()),
        (response(0, None), allow.clone()),
        (response(0, Some(HttpResponse::Denied(denied(401)))), allow),
        (response(7, None), CheckVerdict::Deny(denial(Some(403), false))),
        (response(7, Some(HttpResponse::Ok(OkResponse::default()))), CheckVerdict::Deny(denial(Some(403), false))),
        (response(16, Some(HttpResponse::Denied(denied(401)))), CheckVerdict::Deny(denial(Some(401), true))),
        (response(7, Some(HttpResponse::Denied(denied(0)))), CheckVerdict::Deny(denial(Some(403), true))),
        (response(7, Some(HttpResponse::Denied(denied(101)))), CheckVerdict::Deny(denial(Some(403), true))),
        (response(7, Some(HttpResponse::Denied(denied(1000)))), CheckVerdict::Deny(denial(Some(403), true))),
        (response(13, Some(HttpResponse::Error(denied(500)))), CheckVerdict::Error(Some(denial(Some(500), true)))),
        (response(13, Some(HttpResponse::Error(denied(0)))), CheckVerdict::Error(Some(denial(None, true)))),
    ] {
        assert_eq!(grpc::verdict(response.clone()), wanted, "{response:?}");
    }
}

#[test]
fn ap_13_a_response_with_too_many_changes_is_an_error() {
    let ok = |count: usize| OkResponse {
        headers: (0..count).map(|at| option(&format!("x-{at}"), "1", None, 0)).collect(),
        ..OkResponse::default()
    };
    assert_eq!(allowed(ok(256)).request.len(), 256);
    assert_eq!(grpc::verdict(response(0, Some(HttpResponse::Ok(ok(257))))), CheckVerdict::Error(None));
}

fn options() -> HttpCheck {
    HttpCheck {
        path_prefix: Some(PathText::parse("/check").unwrap()),
        request_headers: vec![NamePattern::parse("x-in-*")],
        additional_headers: vec![(HeaderName::parse("X-From").unwrap(), HeaderValue::parse("gateway").unwrap())],
        to_upstream_on_allow: vec![NamePattern::parse("x-user*")],
        to_downstream_on_allow: vec![NamePattern::parse("x-seen")],
        to_downstream_on_deny: Vec::new(),
    }
}

#[test]
fn ap_13_the_http_form_sends_the_request_without_its_body_and_with_chosen_headers() {
    let head = |lines: &str, body: Option<CheckedBody<'static>>| {
        let check = checked(lines, |request| http::check(&options(), &CheckedRequest { body, ..request }));
        let (parts, edits) = check.head();
        let mut out = Vec::new();
        write_request(&mut out, &parts, &edits);
        (String::from_utf8(out).unwrap(), check.body.clone())
    };
    let lines = "Authorization: a\r\nX-In-A: 1\r\nX-Other: 1\r\nX-From: client\r\nContent-Length: 3\r\nCookie: a\r\n";
    assert_eq!(
        head(lines, None),
        (
            "POST /check/a/b?c=d HTTP/1.1\r\nhost: A.test:80\r\nauthorization: a\r\nx-in-a: 1\r\nx-from: gateway\r\n\
             content-length: 0\r\n\r\n"
                .to_owned(),
            vec![]
        )
    );
    let (head, body) = head("", Some(CheckedBody { octets: b"abc", is_partial: true }));
    assert!(head.ends_with("x-envoy-auth-partial-body: true\r\ncontent-length: 3\r\n\r\n"), "{head}");
    assert_eq!(body, b"abc");
}

fn answered(options: &HttpCheck, head: &str, body: &[u8]) -> CheckVerdict {
    let text = format!("HTTP/1.1 {}\r\n\r\n", head.replace('\n', "\r\n"));
    let mut read = ResponseHead::default();
    read.parse(text.as_bytes(), RequestKind::Other, &HeadLimits::default()).unwrap().unwrap();
    http::verdict(options, read.status, read.fields(text.as_bytes()), body)
}

#[test]
fn ap_13_in_the_http_form_200_allows_and_gives_chosen_headers() {
    let head = "200 OK\nX-User: a\nX-User: b\nX-User-Id: 1\nX-Seen: 1\nX-Other: 1\nx-envoy-auth-headers-to-remove: x-old, Host";
    let CheckVerdict::Allow(changes) = answered(&options(), head, b"") else { panic!() };
    let listed = |changes: &[super::HeaderChange]| -> Vec<(String, String, HeaderAction)> {
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        changes.iter().map(|one| (one.name.to_string(), text(&one.value), one.action)).collect()
    };
    let one = |name: &str, value: &str, action| (name.to_owned(), value.to_owned(), action);
    assert_eq!(
        listed(&changes.request),
        [
            one("x-user", "a", HeaderAction::Set),
            one("x-user", "b", HeaderAction::Append),
            one("x-user-id", "1", HeaderAction::Set)
        ]
    );
    assert_eq!(listed(&changes.response), [one("x-seen", "1", HeaderAction::Set)]);
    assert_eq!(changes.remove, [HeaderName::parse("x-old").unwrap()]);
}

#[test]
fn ap_13_in_the_http_form_5xx_is_an_error_and_everything_else_denies() {
    let names = |verdict: CheckVerdict| match verdict {
        CheckVerdict::Deny(denial) => {
            let names: Vec<String> = denial.headers.iter().map(|(name, _)| name.to_string()).collect();
            (denial.status.unwrap(), names.join(" "), String::from_utf8(denial.body).unwrap())
        }
        other => panic!("{other:?}"),
    };
    let head =
        "302 Found\nLocation: /login\nSet-Cookie: a\nSet-Cookie: b\nDate: now\nServer: x\nContent-Length: 2\nHost: a";
    let all = (302, "location set-cookie set-cookie".to_owned(), "no".to_owned());
    assert_eq!(names(answered(&options(), head, b"no")), all);
    let chosen = HttpCheck { to_downstream_on_deny: vec![NamePattern::parse("X-Why")], ..options() };
    let head = "401 Unauthorized\nWWW-Authenticate: Basic\nX-Why: a\nX-Other: b\nContent-Length: 0";
    assert_eq!(names(answered(&chosen, head, b"")), (401, "www-authenticate x-why".to_owned(), String::new()));
    for status in [201, 204, 304, 404, 429] {
        assert_eq!(names(answered(&options(), &format!("{status} X"), b"")).0, status);
    }
    for status in [500, 503, 599] {
        assert_eq!(answered(&options(), &format!("{status} X"), b""), CheckVerdict::Error(None));
    }
}
