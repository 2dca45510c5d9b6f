//! HTTP/1: heads. However the octets are cut, the result is the same; and what is accepted is written as exactly one message that says the
//! same.

use crate::random::Random;
use ir::{HttpSettings, HttpTable, PathNormalization};
use routing::{RawRequest, Scratch, prepare};
use std::fmt::Debug;
use wire::edit::Edits;
use wire::forwarded::Peer;
use wire::h1::request::RequestHead;
use wire::h1::response::{RequestKind, ResponseHead};
use wire::h1::{
    BodyLength, HeadError, HeadLimits, MAX_FIELDS, OutFraming, RequestParts, ResponseParts, Style, Underscores,
    Version, write_request_in, write_response_in,
};
use wire::view::{Fields, RequestView};

/// Name and value of each header line.
pub(crate) type Lines = Vec<(Vec<u8>, Vec<u8>)>;

const NORMALIZATIONS: [PathNormalization; 5] = [
    PathNormalization::None,
    PathNormalization::Base,
    PathNormalization::MergeSlashes,
    PathNormalization::DecodeAndMergeSlashes,
    PathNormalization::DecodeSlashes,
];

/// Limits for heads that were written: larger than those of heads that are read, because lines may be added.
const WRITTEN: HeadLimits =
    HeadLimits { bytes: 1 << 20, fields: MAX_FIELDS, http10: true, underscores: Underscores::Allow, absolute: false };

/// The head of a request and of a response.
///
/// - Every prefix agrees with the whole, and a parser that is called again and again agrees with one that is called once.
/// - An accepted head has valid names and values, and at most one way to find the end of its body.
/// - An accepted request, once it is normalised and written, is exactly one request with the same meaning. The same holds for responses,
///   and for both by way of HTTP/2.
///
/// Returns whether the octets begin with a complete head.
pub fn http1_head(data: &[u8]) -> bool {
    let mut random = Random::of(data);
    let limits = HeadLimits {
        bytes: if random.one_in(4) { 64 + random.below(256) } else { 60 << 10 },
        fields: if random.one_in(4) { 1 + random.below(8) } else { 64 },
        http10: random.one_in(2),
        underscores: random.pick(&[Underscores::Allow, Underscores::Reject, Underscores::Drop]).unwrap_or_default(),
        absolute: false,
    };
    let cuts = random.cuts(data.len());

    let mut growing = RequestHead::default();
    let request = |head: &RequestHead, length| (length, request_values(head, data));
    let request = read_in_pieces(
        data,
        &cuts,
        |octets| {
            let mut head = RequestHead::default();
            head.parse(octets, &limits).map(|length| length.map(|length| request(&head, length)))
        },
        |octets| growing.parse(octets, &limits).map(|length| length.map(|length| request(&growing, length))),
    );

    let kinds = [RequestKind::Other, RequestKind::Head, RequestKind::Upgrade, RequestKind::Connect];
    let kind = random.pick(&kinds).unwrap_or_default();
    let mut growing = ResponseHead::default();
    let response = |head: &ResponseHead, length| (length, response_values(head, data));
    let response = read_in_pieces(
        data,
        &cuts,
        |octets| {
            let mut head = ResponseHead::default();
            head.parse(octets, kind, &limits).map(|length| length.map(|length| response(&head, length)))
        },
        |octets| growing.parse(octets, kind, &limits).map(|length| length.map(|length| response(&growing, length))),
    );

    if let Ok(Some((length, _))) = request {
        let mut head = RequestHead::default();
        assert_eq!(head.parse(data, &limits), Ok(Some(length)));
        check_head(data, length, &limits, head.fields(data));
        assert!(is_token(head.method.of(data)));
        assert!(head.version == Version::Http11 || limits.http10);
        let hosts = head.fields(data).all("host").count();
        assert!(hosts == 1 || (hosts == 0 && head.version == Version::Http10));
        check_framing(head.fields(data), head.body);
        check_request(&head, data, &mut random);
    }
    if let Ok(Some((length, _))) = response {
        let mut head = ResponseHead::default();
        assert_eq!(head.parse(data, kind, &limits), Ok(Some(length)));
        check_head(data, length, &limits, head.fields(data));
        check_response(&head, data, kind, &mut random);
    }
    matches!(request, Ok(Some(_))) || matches!(response, Ok(Some(_)))
}

/// The result of the whole, after it was compared with the results of prefixes: of one parser for each (`one`), and of one parser that sees
/// the input grow (`growing`).
fn read_in_pieces<T: PartialEq + Debug>(
    data: &[u8],
    cuts: &[usize],
    one: impl Fn(&[u8]) -> Result<Option<T>, HeadError>,
    mut growing: impl FnMut(&[u8]) -> Result<Option<T>, HeadError>,
) -> Result<Option<T>, HeadError> {
    let whole = one(data);
    let mut ended = false;
    for end in cuts {
        let seen = data.get(..*end).unwrap_or_default();
        let prefix = one(seen);
        match &prefix {
            Ok(None) => {}
            Ok(Some(_)) => assert_eq!(prefix, whole, "a complete head changes when octets follow it"),
            Err(_) => assert!(whole.is_err(), "an error does not stay: {prefix:?}, then {whole:?}"),
        }
        if ended {
            continue;
        }
        match growing(seen) {
            // An error inside a line may be found only when the head ends.
            Ok(None) => assert!(!matches!(prefix, Ok(Some(_))), "the growing head is not complete: {prefix:?}"),
            Ok(Some(head)) => {
                assert_eq!(Ok(Some(head)), prefix, "the growing head is another one");
                ended = true;
            }
            Err(error) => {
                assert!(prefix.is_err(), "the growing head has the error {error:?}: {prefix:?}");
                ended = true;
            }
        }
    }
    whole
}

/// Everything that a head says, for comparisons.
fn request_values(head: &RequestHead, buffer: &[u8]) -> impl PartialEq + Debug + use<> {
    let whole = (head.method, head.target, head.version, head.body, head.declares_empty, head.host, head.upgrade);
    (whole, head.expect_continue, head.keep_alive, head.nominates, lines(head.fields(buffer)))
}

fn response_values(head: &ResponseHead, buffer: &[u8]) -> impl PartialEq + Debug + use<> {
    let whole = (head.status, head.body, head.declared_length, head.keep_alive, head.nominates, head.upgrade);
    (whole, lines(head.fields(buffer)))
}

/// Lines with names in lower case.
pub(crate) fn lines(fields: Fields<'_>) -> Lines {
    fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec())).collect()
}

fn check_head(data: &[u8], length: usize, limits: &HeadLimits, fields: Fields<'_>) {
    assert!(length <= data.len().min(limits.bytes));
    assert!(data.get(..length).is_some_and(|head| head.ends_with(b"\r\n\r\n")));
    assert!(fields.len() <= limits.fields);
    for (name, value) in fields.iter() {
        assert!(is_token(name), "{}", name.escape_ascii());
        assert!(is_value(value), "{}", value.escape_ascii());
        assert!(limits.underscores == Underscores::Allow || !name.contains(&b'_'));
    }
}

/// RFC 9110 §5.6.2.
fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|octet| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(octet))
}

/// RFC 9110 §5.5: no control character but a tab, and no blanks around it.
fn is_value(value: &[u8]) -> bool {
    let blank = |octet: Option<&u8>| matches!(octet, Some(b' ' | b'\t'));
    let allowed = value.iter().all(|octet| matches!(octet, b'\t' | b' '..=b'~' | 0x80..));
    allowed && !blank(value.first()) && !blank(value.last())
}

/// RFC 9112 §6.3: at most one of `Content-Length` and `Transfer-Encoding: chunked`, and the body is what it says.
fn check_framing(fields: Fields<'_>, body: BodyLength) {
    let lengths: Vec<_> = fields.all("content-length").collect();
    let codings: Vec<_> = fields.all("transfer-encoding").collect();
    match (&lengths[..], &codings[..]) {
        ([], []) => assert_eq!(body, BodyLength::None),
        ([length], []) => {
            let length = std::str::from_utf8(length).ok().and_then(|length| length.parse::<u64>().ok());
            let expected = match length {
                Some(0) => BodyLength::None,
                Some(length) => BodyLength::Length(length),
                None => BodyLength::UntilClose,
            };
            assert_eq!(body, expected, "the length is {lengths:?}");
        }
        ([], [coding]) => {
            assert!(coding.eq_ignore_ascii_case(b"chunked"));
            assert_eq!(body, BodyLength::Chunked);
        }
        _ => assert_eq!((lengths.len(), codings.len()), (0, 0), "two readers may find different ends"),
    }
}

/// The lines that are passed on: not those of one hop (RFC 9110 §7.6.1), those that `Connection` names, the framing, nor the host of a
/// request.
fn passed_on(fields: Fields<'_>, is_request: bool) -> Lines {
    let named: Vec<Vec<u8>> = fields
        .all("connection")
        .flat_map(|value| value.split(|octet| *octet == b','))
        .map(|option| option.trim_ascii().to_ascii_lowercase())
        .collect();
    let stays = |(name, value): &(Vec<u8>, Vec<u8>)| match &name[..] {
        b"connection" | b"keep-alive" | b"proxy-connection" | b"upgrade" | b"http2-settings" => false,
        b"transfer-encoding" | b"content-length" => false,
        b"te" => value.eq_ignore_ascii_case(b"trailers") && !named.contains(name),
        b"host" if is_request => false,
        _ => !named.contains(name),
    };
    lines(fields).into_iter().filter(stays).collect()
}

/// The lines as HTTP/2 carries them: sorted by name, cookies as one (RFC 9113 §8.2.3).
fn in_http2(mut lines: Lines) -> Lines {
    let cookies: Vec<&[u8]> = lines.iter().filter(|(name, _)| name == b"cookie").map(|(_, value)| &value[..]).collect();
    let said: Vec<&[u8]> = cookies.iter().copied().filter(|cookie| !cookie.is_empty()).collect();
    let cookie = (!cookies.is_empty()).then(|| (b"cookie".to_vec(), said.join(&b"; "[..])));
    lines.retain(|(name, _)| name != b"cookie");
    lines.extend(cookie);
    lines.sort_by(|one, other| one.0.cmp(&other.0));
    lines
}

/// A table without hosts; only its settings count.
pub(crate) fn table(path_normalization: PathNormalization) -> HttpTable {
    HttpTable {
        hosts: ir::Map::default(),
        settings: HttpSettings { path_normalization, ..HttpSettings::default() },
        forward: None,
    }
}

/// A request as it is routed; `None` where it is refused.
pub(crate) fn prepared<R>(
    head: &RequestHead,
    buffer: &[u8],
    table: &HttpTable,
    with: impl FnOnce(&RequestView<'_>) -> R,
) -> Option<R> {
    let raw = RawRequest {
        method: head.method.of(buffer),
        target: head.target.of(buffer),
        host: head.host.of(buffer),
        fields: head.fields(buffer),
        original_port: None,
    };
    let certificate = wire::forwarded::Certificate::Drop;
    let peer = Peer {
        address: &std::net::IpAddr::from([192, 0, 2, 1]).into(),
        scheme: "http",
        trusted_proxies: 0,
        certificate,
        port: None,
    };
    prepare(raw, table.settings, &peer, &mut Scratch::default()).ok().map(|prepared| with(&prepared.view))
}

/// A request that was read is written as one request, in either version, that is routed as it was.
pub(crate) fn check_request(head: &RequestHead, buffer: &[u8], random: &mut Random) {
    let table = table(random.pick(&NORMALIZATIONS).unwrap_or(PathNormalization::Base));
    prepared(head, buffer, &table, |view| {
        let upgrade = head.switch(buffer);
        let parts = RequestParts::of(head, view, upgrade);
        let style = Style { keep_case: random.one_in(2), http10: false };
        let mut written = Vec::new();
        write_request_in(&mut written, &parts, &Edits::default(), style);
        let text = || written.escape_ascii().to_string();

        let mut again = RequestHead::default();
        assert_eq!(again.parse(&written, &WRITTEN), Ok(Some(written.len())), "{}", text());
        let has_body = upgrade.is_none();
        assert!(!has_body || again.body == head.body, "{}", text());
        assert_eq!(again.switch(&written).is_some(), upgrade.is_some(), "{}", text());
        assert_eq!(passed_on(again.fields(&written), true), passed_on(view.fields, true), "{}", text());
        let said = |view: &RequestView<'_>| {
            let (path, query) = (view.path.to_vec(), view.query.map(<[u8]>::to_vec));
            (view.method.to_vec(), view.authority.to_vec(), view.host.to_owned(), path, query)
        };
        let routed = prepared(&again, &written, &table, said);
        assert_eq!(routed, Some(said(view)), "{}", text());

        check_request_in_http2(head, &parts);
    });
}

fn check_request_in_http2(head: &RequestHead, parts: &RequestParts<'_>) {
    // A head that HTTP/2 cannot carry is refused.
    let Some(sent) = wire::h2::request(parts, &Edits::default(), true) else { return };
    let protocol = parts.upgrade.map(|_| "websocket");
    let ended = parts.upgrade.is_none() && matches!(parts.framing, OutFraming::None | OutFraming::Length(0));
    let (sent, ()) = sent.into_parts();
    let (mut again, mut out) = (RequestHead::default(), b"before".to_vec());
    let read = wire::h2::flatten_request(&sent, protocol, ended, &WRITTEN, &mut again, &mut out);
    assert_eq!(read, Ok(()), "{sent:?}");
    let buffer = out.get(6..).unwrap_or_default();
    assert_eq!(again.method.of(buffer), parts.method);
    assert_eq!(again.host.of(buffer), parts.authority);
    assert!(parts.upgrade.is_some() || again.body == head.body, "{sent:?}");
    let key = |(name, _): &(Vec<u8>, Vec<u8>)| parts.upgrade.is_none() || name != b"sec-websocket-key";
    let came = passed_on(parts.fields, true).into_iter().filter(key).collect();
    assert_eq!(in_http2(passed_on(again.fields(buffer), true)), in_http2(came));
}

/// A response that was read is written as one response, in either version, that says the same.
pub(crate) fn check_response(head: &ResponseHead, buffer: &[u8], kind: RequestKind, random: &mut Random) {
    // HTTP/1 refuses a second `Host` in responses, too, where it means nothing; HTTP/2 passes it on.
    if head.fields(buffer).all("host").count() > 1 {
        return;
    }
    let framing = match (head.body, head.declared_length) {
        (BodyLength::None, Some(length)) if kind == RequestKind::Head || head.status == 304 => {
            OutFraming::Length(length)
        }
        (body, _) => OutFraming::from(body),
    };
    let upgrade = head.upgrade.filter(|_| head.status == 101).map(|protocol| protocol.of(buffer));
    let parts = ResponseParts {
        status: head.status,
        fields: head.fields(buffer),
        nominates: head.nominates,
        framing,
        upgrade,
        close: false,
    };
    let http10 = head.body != BodyLength::Chunked && random.one_in(4);
    let mut written = Vec::new();
    let style = Style { keep_case: random.one_in(2), http10 };
    write_response_in(&mut written, &parts, &Edits::default(), style);
    let text = || written.escape_ascii().to_string();
    let mut again = ResponseHead::default();
    assert_eq!(again.parse(&written, kind, &WRITTEN), Ok(Some(written.len())), "{}", text());
    assert_eq!(again.status, head.status, "{}", text());
    // A body of no octets needs no `Content-Length` where the connection is closed.
    let empty = head.body == BodyLength::None && again.body == BodyLength::UntilClose;
    assert!(again.body == head.body || empty, "{:?} became {:?}: {}", head.body, again.body, text());
    assert_eq!(passed_on(again.fields(&written), false), passed_on(parts.fields, false), "{}", text());

    if head.status == 101 {
        return;
    }
    let (sent, ()) = wire::h2::response(&parts, &Edits::default()).into_parts();
    let (mut again, mut out) = (ResponseHead::default(), b"before".to_vec());
    let is_bodiless = kind == RequestKind::Head || head.body == BodyLength::None;
    let read = wire::h2::flatten_response(&sent, is_bodiless, &WRITTEN, &mut again, &mut out);
    assert_eq!(read, Ok(()), "{sent:?}");
    let buffer = out.get(6..).unwrap_or_default();
    assert_eq!(again.status, head.status);
    assert_eq!(in_http2(passed_on(again.fields(buffer), false)), in_http2(passed_on(parts.fields, false)));
}
