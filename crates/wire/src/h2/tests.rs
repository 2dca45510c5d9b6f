use super::*;
use crate::edit::Edits;
use crate::h1::{BodyLength, HeadLimits, OutFraming, RequestHead, RequestParts, ResponseHead, ResponseParts};
use crate::view::Fields;
use http::{HeaderMap, Request, Response};

fn flat(request: Request<()>, protocol: Option<&str>, ended: bool) -> Result<(RequestHead, Vec<u8>), FlatError> {
    let (parts, ()) = request.into_parts();
    let (mut head, mut out) = (RequestHead::default(), Vec::new());
    flatten_request(&parts, protocol, ended, &HeadLimits::default(), &mut head, &mut out)?;
    Ok((head, out))
}

fn get(uri: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut builder = Request::get(uri);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_request_reads_like_one_of_http_1() {
    let (head, out) =
        flat(get("https://a.test:8443/x?y=1", &[("x-a", "1"), ("content-length", "5")]), None, false).unwrap();
    assert_eq!(text(head.method.of(&out)), "GET");
    assert_eq!(text(head.target.of(&out)), "/x?y=1");
    assert_eq!(text(head.host.of(&out)), "a.test:8443");
    assert_eq!(head.body, BodyLength::Length(5));
    assert_eq!(head.fields(&out).get("x-a"), Some(&b"1"[..]));
    let (head, _) = flat(get("https://a.test/", &[]), None, false).unwrap();
    assert_eq!(head.body, BodyLength::Chunked);
}

#[test]
fn rfc_9113_8_2_3_cookies_are_joined() {
    let (head, out) =
        flat(get("https://a.test/", &[("cookie", "a=1"), ("x-b", "2"), ("cookie", "c=3")]), None, true).unwrap();
    assert_eq!(head.fields(&out).all("cookie").collect::<Vec<_>>(), [b"a=1; c=3"]);
    assert_eq!(head.fields(&out).len(), 2);
    let (head, out) =
        flat(get("https://a.test/", &[("cookie", ""), ("cookie", "a=1"), ("cookie", "")]), None, true).unwrap();
    assert_eq!(head.fields(&out).all("cookie").collect::<Vec<_>>(), [b"a=1"]);
}

#[test]
fn rfc_9113_8_3_1_the_host_is_one() {
    assert_eq!(flat(get("https://a.test/", &[("host", "b.test")]), None, true).unwrap_err(), FlatError::Host);
    assert_eq!(flat(get("/", &[]), None, true).unwrap_err(), FlatError::Host);
    let (head, out) = flat(get("https://a.test/", &[("host", "A.test")]), None, true).unwrap();
    assert_eq!((text(head.host.of(&out)), head.fields(&out).get("host")), ("a.test", None));
    let (head, out) = flat(get("/", &[("host", "c.test")]), None, true).unwrap();
    assert_eq!(text(head.host.of(&out)), "c.test");
}

#[test]
fn invalid_lengths_are_rejected() {
    for lengths in [&["x"][..], &["1", "1"], &["+1"], &["1, 1"]] {
        let headers: Vec<_> = lengths.iter().map(|length| ("content-length", *length)).collect();
        assert_eq!(flat(get("https://a.test/", &headers), None, false).unwrap_err(), FlatError::ContentLength);
    }
}

#[test]
fn rfc_8441_an_extended_connect_becomes_an_upgrade_and_back() {
    let request = Request::connect("https://a.test/chat").body(()).unwrap();
    let (head, out) = flat(request, Some("websocket"), false).unwrap();
    assert_eq!((text(head.method.of(&out)), head.body), ("GET", BodyLength::None));
    assert_eq!(head.upgrade.map(|span| text(span.of(&out))), Some("websocket"));
    let sent = parts(&head, &out, Some(b"websocket"), |parts| super::request(parts, &Edits::default(), true)).unwrap();
    assert_eq!((sent.method().as_str(), sent.uri().to_string().as_str()), ("CONNECT", "https://a.test/chat"));
}

#[test]
fn every_expectation_is_looked_at() {
    let expect = |values: &[&str]| {
        let headers: Vec<_> = values.iter().map(|value| ("expect", *value)).collect();
        flat(get("https://a.test/", &headers), None, false).map(|(head, _)| head.expect_continue)
    };
    assert_eq!(expect(&["100-continue", "100-Continue"]), Ok(true));
    assert_eq!(expect(&["100-continue", "x"]), Err(FlatError::Expectation));
    assert_eq!(expect(&[]), Ok(false));
}

#[test]
fn rfc_9110_8_6_a_status_without_content_has_no_length() {
    for (status, declared) in [(204, None), (103, None), (304, Some(7)), (200, Some(7))] {
        let (from, ()) =
            Response::builder().status(status).header("content-length", "7").body(()).unwrap().into_parts();
        let mut head = ResponseHead::default();
        flatten_response(&from, true, &HeadLimits::default(), &mut head, &mut Vec::new()).unwrap();
        assert_eq!(head.declared_length, declared, "{status}");
    }
}

fn parts<R>(head: &RequestHead, out: &[u8], upgrade: Option<&[u8]>, with: impl FnOnce(&RequestParts<'_>) -> R) -> R {
    with(&RequestParts {
        method: head.method.of(out),
        path: head.target.of(out),
        query: None,
        authority: head.host.of(out),
        fields: head.fields(out),
        nominates: head.nominates,
        framing: OutFraming::from(head.body),
        upgrade,
        close: false,
    })
}

#[test]
fn a_written_head_has_the_edits_and_no_fields_of_one_connection() {
    let raw = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: x-gone\r\nX-Gone: 1\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nTE: trailers\r\nX-Kept: 2\r\n\r\n";
    let mut head = RequestHead::default();
    head.parse(raw, &HeadLimits::default()).unwrap().unwrap();
    let other = text::Authority::parse("b.test").unwrap();
    let mut edits = Edits::default();
    edits.set("x-new", "3");
    edits.authority = Some(&other);
    let sent = parts(&head, raw, None, |parts| super::request(parts, &edits, false)).unwrap();
    let names: Vec<_> = sent.headers().keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["te", "x-kept", "x-new"]);
    assert_eq!(sent.uri().to_string(), "http://b.test/");
}

#[test]
fn a_response_survives_both_translations() {
    let (from, ()) = Response::builder()
        .status(404)
        .header("set-cookie", "a=1")
        .header("set-cookie", "b=2")
        .header("content-length", "7")
        .body(())
        .unwrap()
        .into_parts();
    let (mut head, mut out) = (ResponseHead::default(), b"before".to_vec());
    flatten_response(&from, false, &HeadLimits::default(), &mut head, &mut out).unwrap();
    assert_eq!((head.status, head.body), (404, BodyLength::Length(7)));
    let fields = head.fields(&out[6..]);
    let parts = ResponseParts {
        status: 404,
        fields,
        nominates: false,
        framing: OutFraming::Length(7),
        upgrade: None,
        close: true,
    };
    let sent = super::response(&parts, &Edits::default());
    assert_eq!(sent.headers().get_all("set-cookie").iter().count(), 2);
    assert_eq!(sent.headers().get("content-length").unwrap(), "7");
    assert!(!sent.headers().contains_key("connection"));
}

#[test]
fn trailers_that_could_change_the_message_are_left_out() {
    let mut map = HeaderMap::new();
    map.insert("grpc-status", "0".parse().unwrap());
    map.insert("content-length", "3".parse().unwrap());
    let (mut index, mut out) = (Vec::new(), Vec::new());
    let flat = flatten_trailers(&map, &HeadLimits::default(), &mut index, &mut out).unwrap();
    assert_eq!(flat.iter().collect::<Vec<_>>(), [(&b"grpc-status"[..], &b"0"[..])]);
    assert_eq!(trailers(flat).len(), 1);
    assert!(trailers(Fields::new(&[], &[])).is_empty());
}
