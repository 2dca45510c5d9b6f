//! Properties of heads that are translated to the other version and back.

use super::*;
use crate::edit::Edits;
use crate::h1::{HeadLimits, OutFraming, RequestHead, RequestParts, ResponseHead, ResponseParts};
use crate::h1::{response::RequestKind, write_request, write_response};
use crate::view::Fields;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use proptest::prelude::*;

type Lines = Vec<(String, Vec<u8>)>;

/// Names that each version or hop handles in its own way.
const SPECIAL: [&str; 16] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "upgrade",
    "transfer-encoding",
    "content-length",
    "http2-settings",
    "host",
    "te",
    "expect",
    "cookie",
    "set-cookie",
    "date",
    "server",
    "x-forwarded-for",
    "accept",
];

/// Names that concern one connection, or the framing.
fn is_of_one_hop(name: &str, value: &[u8]) -> bool {
    match name {
        "te" => value != b"trailers",
        "connection" | "keep-alive" | "proxy-connection" | "upgrade" => true,
        "transfer-encoding" | "content-length" | "http2-settings" => true,
        _ => false,
    }
}

/// Lines that any head may have.
fn lines() -> impl Strategy<Value = Lines> {
    let named = "[a-z][a-z0-9_.-]{0,9}".prop_filter("special", |name| !SPECIAL.contains(&name.as_str()));
    let common = prop::sample::select(vec!["set-cookie", "date", "server", "accept", "x-forwarded-for"]);
    let name = prop_oneof![3 => named, 1 => common.prop_map(str::to_owned)];
    prop::collection::vec((name, value()), 0..12)
}

/// Values of visible characters, inner spaces, and octets beyond ASCII.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let octet = prop_oneof![8 => 0x21..0x7f_u8, 1 => Just(b' '), 1 => Just(b'\t'), 1 => 0x80..=0xff_u8];
    prop::collection::vec(octet, 0..20).prop_map(|octets| octets.trim_ascii().to_vec())
}

fn map(lines: &Lines) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value).unwrap());
    }
    map
}

/// The fields of a head, by name, and for each name in order.
fn said(lines: impl Iterator<Item = (String, Vec<u8>)>) -> Lines {
    let mut lines: Lines = lines.collect();
    lines.sort_by(|one, other| one.0.cmp(&other.0));
    lines
}

fn said_flat(fields: Fields<'_>) -> Lines {
    said(fields.iter().map(|(name, value)| (String::from_utf8(name.to_ascii_lowercase()).unwrap(), value.to_vec())))
}

fn said_by(map: &HeaderMap) -> Lines {
    said(map.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())))
}

fn parts<'a>(head: &'a RequestHead, buffer: &'a [u8]) -> RequestParts<'a> {
    RequestParts {
        method: head.method.of(buffer),
        path: head.target.of(buffer),
        query: None,
        authority: head.host.of(buffer),
        fields: head.fields(buffer),
        nominates: head.nominates,
        framing: OutFraming::from(head.body),
        upgrade: None,
        close: false,
    }
}

fn answer<'a>(head: &'a ResponseHead, buffer: &'a [u8], framing: OutFraming) -> ResponseParts<'a> {
    ResponseParts {
        status: head.status,
        fields: head.fields(buffer),
        nominates: head.nominates,
        framing,
        upgrade: None,
        close: false,
    }
}

/// A parsed HTTP/1 request.
fn read(raw: &[u8]) -> Option<RequestHead> {
    let mut head = RequestHead::default();
    head.parse(raw, &HeadLimits::default()).ok().flatten().map(|_| head)
}

/// The framing of a body in HTTP/1.
fn framing() -> impl Strategy<Value = OutFraming> {
    prop_oneof![
        Just(OutFraming::None),
        (1..1_000_000_000_000_u64).prop_map(OutFraming::Length),
        Just(OutFraming::Chunked)
    ]
}

fn framing_line(framing: OutFraming) -> String {
    match framing {
        OutFraming::None => String::new(),
        OutFraming::Length(length) => format!("Content-Length: {length}\r\n"),
        OutFraming::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
    }
}

/// The rest of an HTTP/1 head: lines, with names in capitals, and the framing.
fn end_head(raw: &mut Vec<u8>, lines: &Lines, framing: OutFraming) {
    for (name, value) in lines {
        raw.extend_from_slice(name.to_uppercase().as_bytes());
        raw.extend_from_slice(b": ");
        raw.extend_from_slice(value);
        raw.extend_from_slice(b"\r\n");
    }
    raw.extend_from_slice(framing_line(framing).as_bytes());
    raw.extend_from_slice(b"\r\n");
}

proptest! {
    /// HTTP/1 to HTTP/2 and back: all fields that are not of one hop, and the framing.
    #[test]
    fn a_request_of_http_1_comes_back_as_it_was(
        lines in lines(),
        hops in prop::collection::vec((0..SPECIAL.len() - 9, "[a-z]{1,6}"), 0..4),
        framing in framing(),
        path in "/[a-z0-9/]{0,12}(\\?[a-z=&%0-9]{0,9})?",
    ) {
        let mut raw = format!("POST {path} HTTP/1.1\r\nHost: a.test\r\n").into_bytes();
        let mut nominated = Vec::new();
        for (at, value) in &hops {
            let name = SPECIAL[*at];
            if matches!(name, "transfer-encoding" | "content-length" | "host") {
                continue;
            }
            if name == "connection" {
                nominated.push(value.clone());
            }
            raw.extend_from_slice(format!("{}: {value}\r\n", name.to_uppercase()).as_bytes());
        }
        end_head(&mut raw, &lines, framing);
        let head = read(&raw);
        prop_assume!(head.is_some());
        let head = head.unwrap();
        let sent = request(&parts(&head, &raw), &Edits::default(), true).unwrap();
        let framed = [("content-length".to_owned(), framing)].into_iter().filter_map(|(name, framing)| match framing {
            OutFraming::Length(length) => Some((name, length.to_string().into_bytes())),
            OutFraming::None | OutFraming::Chunked => None,
        });
        let passed = lines.iter().filter(|(name, value)| !is_of_one_hop(name, value) && !nominated.contains(name));
        prop_assert_eq!(said_by(sent.headers()), said(passed.clone().cloned().chain(framed)));

        let (parts_of, ()) = sent.into_parts();
        let (mut flat, mut out) = (RequestHead::default(), Vec::new());
        let ended = framing == OutFraming::None;
        flatten_request(&parts_of, None, ended, &HeadLimits::default(), &mut flat, &mut out).unwrap();
        let mut written = Vec::new();
        write_request(&mut written, &parts(&flat, &out), &Edits::default());
        let again = read(&written).unwrap();
        prop_assert_eq!(again.target.of(&written), path.as_bytes());
        prop_assert_eq!(again.host.of(&written), b"a.test");
        prop_assert_eq!(OutFraming::from(again.body), framing);
        let kept = said_flat(again.fields(&written));
        let kept: Lines = kept.into_iter().filter(|(name, value)| name != "host" && !is_of_one_hop(name, value)).collect();
        prop_assert_eq!(kept, said(passed.cloned()));
    }

    /// HTTP/2 to HTTP/2 through the flat head: everything, except that cookies become one line.
    #[test]
    fn a_request_of_http_2_stays_what_it_is(
        lines in lines(),
        cookies in prop::collection::vec("[a-z]=[a-z0-9]{0,5}", 0..4),
    ) {
        let mut request = Request::get("https://a.test/x?y").body(()).unwrap();
        *request.headers_mut() = map(&lines);
        for cookie in &cookies {
            request.headers_mut().append("cookie", cookie.parse().unwrap());
        }
        let (from, ()) = request.into_parts();
        let (mut flat, mut out) = (RequestHead::default(), Vec::new());
        flatten_request(&from, None, true, &HeadLimits::default(), &mut flat, &mut out).unwrap();
        let sent = super::request(&parts(&flat, &out), &Edits::default(), true).unwrap();
        let joined = (!cookies.is_empty()).then(|| ("cookie".to_owned(), cookies.join("; ").into_bytes()));
        prop_assert_eq!(said_by(sent.headers()), said(lines.into_iter().chain(joined)));
        prop_assert_eq!(sent.uri(), &from.uri);
    }

    /// Responses: HTTP/1 to HTTP/2 and back.
    #[test]
    fn an_answer_of_http_1_comes_back_as_it_was(lines in lines(), status in 200..600_u16, framing in framing()) {
        prop_assume!(!matches!(status, 204 | 304) && framing != OutFraming::None);
        let mut raw = format!("HTTP/1.1 {status} X\r\nConnection: x-gone\r\nX-Gone: 1\r\nKeep-Alive: 5\r\n").into_bytes();
        end_head(&mut raw, &lines, framing);
        let mut head = ResponseHead::default();
        head.parse(&raw, RequestKind::Other, &HeadLimits::default()).unwrap().unwrap();
        let sent: Response<()> = response(&answer(&head, &raw, framing), &Edits::default());
        let (from, ()) = sent.into_parts();
        let (mut flat, mut out) = (ResponseHead::default(), Vec::new());
        flatten_response(&from, false, &HeadLimits::default(), &mut flat, &mut out).unwrap();
        let mut written = Vec::new();
        write_response(&mut written, &answer(&flat, &out, framing), &Edits::default());
        let mut again = ResponseHead::default();
        again.parse(&written, RequestKind::Other, &HeadLimits::default()).unwrap().unwrap();
        let kept = said_flat(again.fields(&written));
        let kept: Lines = kept.into_iter().filter(|(name, value)| !is_of_one_hop(name, value)).collect();
        prop_assert_eq!(kept, said(lines.into_iter().filter(|(name, _)| name != "x-gone")));
        prop_assert_eq!((again.status, OutFraming::from(again.body)), (status, framing));
    }

    /// Trailers both ways, without fields that are not allowed in trailers.
    #[test]
    fn trailers_come_back_as_they_were(lines in lines()) {
        let (mut index, mut flat) = (Vec::new(), Vec::new());
        let kept = flatten_trailers(&map(&lines), &HeadLimits::default(), &mut index, &mut flat).unwrap();
        let back = trailers(kept);
        let may = lines.into_iter().filter(|(name, _)| crate::h1::body::may_trail(name));
        prop_assert_eq!(said_by(&back), said(may));
    }
}
