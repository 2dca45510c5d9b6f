//! Which head of a backend gives which head for the client, as tables.

use super::*;
use crate::fixture::route;
use ir::{Action, Demands, FieldName, Forward, MatchPath, Operator, RouteMatch};
use std::borrow::Cow;
use wire::h1::{HeadLimits, Style, write_response_in};

struct NoFacts;

impl Facts for NoFacts {
    fn request(&self, _: &FieldName) -> Option<Cow<'_, [u8]>> {
        None
    }

    fn response(&self) -> Option<(u16, Fields<'_>)> {
        None
    }

    fn put(&self, _: &Operator, _: &mut Vec<u8>) {}
}

/// A head as its text, with `|` for each line end.
fn parsed<R>(text: &str, request_kind: RequestKind, with: impl FnOnce(BackendHead<'_>) -> R) -> R {
    let text = format!("HTTP/1.1 {text}||").replace('|', "\r\n");
    let mut head = ResponseHead::default();
    head.parse(text.as_bytes(), request_kind, &HeadLimits::default()).unwrap().unwrap();
    with(BackendHead::new(&head, text.as_bytes(), request_kind))
}

/// What the client receives, without the headers that every response gets, and the translation for gRPC-Web.
fn sent(text: &str, request_kind: RequestKind, client: ClientFraming, web: Option<Call>) -> String {
    let headers = HeaderSettings { server: None, debug: false, ..HeaderSettings::default() };
    let forward = Action::Forward(Forward::to(Vec::new()));
    let route = RouteEntry::build(&route(RouteMatch::new(MatchPath::Any, Demands::default()), forward), &mut |_| 0);
    let (date, elapsed, filters) = (HttpDate::from_text("now"), Decimal::from(7_u64), FilterState::default());
    parsed(text, request_kind, |backend| {
        let context = ResponseContext {
            backend,
            client,
            is_last: false,
            headers: &headers,
            route: &route,
            target: 0,
            filters: &filters,
            set_cookie: None,
            accept: Some("accepted"),
            web,
            date: &date,
            elapsed: &elapsed,
        };
        let mut edits = Edits::default();
        let ClientHead { parts, web } = response_head(&context, &NoFacts, &mut edits);
        let mut out = Vec::new();
        write_response_in(&mut out, &parts, &edits, Style::default());
        let text = String::from_utf8(out).unwrap().replace("\r\n", "|");
        let text = text.strip_prefix("HTTP/1.1 ").unwrap().trim_end_matches('|').to_owned();
        let web = web.map(|web| format!(" {web:?}")).unwrap_or_default();
        format!("{text}{web}")
    })
}

#[test]
fn each_framing_is_that_which_the_client_understands() {
    use ClientFraming::{Chunks, Close, Frames};
    use RequestKind::{Head, Other};
    let table = [
        ("200 OK|date: d|content-length: 5", Other, Chunks, "200 OK|date: d|content-length: 5"),
        ("200 OK|date: d|transfer-encoding: chunked", Other, Chunks, "200 OK|date: d|transfer-encoding: chunked"),
        // Without a length the body ends with the backend's connection.
        ("200 OK|date: d", Other, Chunks, "200 OK|date: d|transfer-encoding: chunked"),
        // S-120: HTTP/1.0 has no chunks.
        ("200 OK|date: d", Other, Close, "200 OK|date: d|connection: close"),
        ("200 OK|date: d|content-length: 5", Other, Close, "200 OK|date: d|content-length: 5"),
        ("200 OK|date: d", Other, Frames, "200 OK|date: d|transfer-encoding: chunked"),
        // The length of the body that is not sent.
        ("200 OK|date: d|content-length: 5", Head, Chunks, "200 OK|date: d|content-length: 5"),
        ("200 OK|date: d", Head, Chunks, "200 OK|date: d"),
        ("304 Not Modified|date: d", Other, Chunks, "304 Not Modified|date: d"),
        ("204 No Content|date: d", Other, Chunks, "204 No Content|date: d"),
        // A time is added only if the response has none.
        ("204 No Content", Other, Chunks, "204 No Content|date: now"),
    ];
    for (head, kind, client, expected) in table {
        assert_eq!(sent(head, kind, client, None), expected, "{head} {kind:?} {client:?}");
    }
}

#[test]
fn s_118_only_a_requested_switch_of_protocols_is_valid() {
    use ClientFraming::{Chunks, Frames};
    let switch = "101 Switching Protocols|date: d|connection: upgrade|upgrade: websocket";
    assert_eq!(
        sent(switch, RequestKind::Upgrade, Chunks, None),
        "101 Switching Protocols|date: d|sec-websocket-accept: accepted|upgrade: websocket|connection: upgrade"
    );
    let table = [
        (switch, RequestKind::Upgrade, Chunks, true),
        ("101 Switching Protocols|connection: upgrade|upgrade: h2c", RequestKind::Upgrade, Chunks, false),
        ("101 Switching Protocols", RequestKind::Upgrade, Chunks, false),
        ("403 Forbidden|content-length: 0", RequestKind::Upgrade, Frames, true),
        // RFC 8441 §5: to a client in HTTP/2 a success is the switch.
        ("200 OK|content-length: 0", RequestKind::Upgrade, Frames, false),
        ("200 OK|content-length: 0", RequestKind::Upgrade, Chunks, true),
        ("200 OK|content-length: 0", RequestKind::Other, Frames, true),
    ];
    for (head, kind, client, expected) in table {
        assert_eq!(parsed(head, kind, |head| head.is_valid(client)), expected, "{head} {kind:?} {client:?}");
    }
}

#[test]
fn s_119_responses_that_are_no_grpc_become_a_status() {
    let call = |answer| Some(Call { request: Writing::Binary, answer });
    let table = [
        (
            "200 OK|date: d|content-type: application/grpc|content-length: 5",
            call(Writing::Text),
            "200 OK|date: d|content-type: application/grpc-web-text+proto|transfer-encoding: chunked Messages(Text)",
        ),
        (
            "200 OK|date: d|content-type: text/html|content-length: 5",
            call(Writing::Binary),
            "200 OK|date: d|content-type: application/grpc-web+proto|content-length: 0 Status(2)",
        ),
        (
            "200 OK|date: d|content-type: application/grpc|grpc-status: 5|content-length: 0",
            call(Writing::Binary),
            "200 OK|date: d|grpc-status: 5|content-type: application/grpc-web+proto|content-length: 0 Messages(Binary)",
        ),
    ];
    for (head, web, expected) in table {
        assert_eq!(sent(head, RequestKind::Other, ClientFraming::Chunks, web), expected, "{head}");
    }
}

#[test]
fn vs_40_the_status_and_that_of_grpc_decide_about_a_retry() {
    let policy = |on: &str| Retries { on: RetryOn::of_word(on).unwrap(), ..Retries::default() };
    let table = [
        ("503 Service Unavailable|content-length: 0", "5xx", false, true),
        ("503 Service Unavailable|content-length: 0", "unavailable", false, false),
        ("503 Service Unavailable|x-envoy-ratelimited: true|content-length: 0", "5xx", false, false),
        ("200 OK|grpc-status: 14|content-length: 0", "unavailable", true, true),
        ("200 OK|grpc-status: 14|content-length: 0", "unavailable", false, false),
        ("200 OK|grpc-status: 0|content-length: 0", "unavailable", true, false),
    ];
    for (head, on, is_grpc, expected) in table {
        let is_retriable = parsed(head, RequestKind::Other, |head| head.is_retriable(&policy(on), is_grpc));
        assert_eq!(is_retriable, expected, "{head} {on} {is_grpc}");
    }
    let status = |is_grpc| parsed(table[3].0, RequestKind::Other, |head| head.effective_status(is_grpc));
    assert_eq!([status(true), status(false)], [503, 200]);
}
