//! HTTP/2: heads as the library for frames gives them, and the search for pseudo-header fields in header blocks.

use crate::http1::{Lines, check_request, check_response, lines};
use crate::random::Random;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use std::collections::VecDeque;
use wire::h1::response::RequestKind;
use wire::h1::{BodyLength, HeadLimits, RequestHead, ResponseHead};
use wire::h2::{BlockScan, PseudoFields, flatten_request, flatten_response, flatten_trailers};

/// Header fields as lines of `name: value`; an empty line begins another head of the same connection. The octets are a header block, too.
///
/// - Each head becomes a request or a response, which is written as exactly one message of HTTP/1 and one of HTTP/2 with the same meaning.
/// - Trailers become the same trailers, but for those that may not be sent as such.
/// - The scan of a block finds the pseudo-header fields that were encoded, however the block is cut, and whatever the dynamic table holds.
///
/// Returns whether any head was accepted.
pub fn http2_head(data: &[u8]) -> bool {
    let mut random = Random::of(data);
    let heads = heads(data);
    check_blocks(&heads, &mut random);
    check_any_block(data, &mut random);
    let mut accepted = false;
    for head in &heads {
        accepted |= request(head, &mut random);
        accepted |= response(head, &mut random);
        trailers(head);
    }
    accepted
}

/// At most eight heads with at most 64 fields each.
fn heads(data: &[u8]) -> Vec<Lines> {
    let mut heads = vec![Lines::new()];
    for line in data.split(|octet| *octet == b'\n').take(256) {
        let colon = line.iter().skip(1).position(|octet| *octet == b':');
        if line.is_empty() && heads.len() < 8 {
            heads.push(Lines::new());
        }
        match (colon, heads.last_mut()) {
            (Some(colon), Some(head)) if head.len() < 64 => {
                let (name, value) = line.split_at(colon + 1);
                let value = value.get(1..).unwrap_or_default();
                head.push((name.to_vec(), value.strip_prefix(b" ").unwrap_or(value).to_vec()));
            }
            _ => {}
        }
    }
    heads
}

fn pseudo<'a>(head: &'a Lines, name: &str) -> Option<&'a [u8]> {
    head.iter().find(|(other, _)| other == name.as_bytes()).map(|(_, value)| &value[..])
}

/// The fields that the library accepts: it resets the stream where a name is not in lower case, or belongs to one connection of HTTP/1.
fn map(head: &Lines) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in head.iter().filter(|(name, _)| !name.starts_with(b":")) {
        let is_of_http1 = match &name[..] {
            b"connection" | b"transfer-encoding" | b"upgrade" | b"keep-alive" | b"proxy-connection" => true,
            b"te" => value != b"trailers",
            _ => false,
        };
        if is_of_http1 || name.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        map.append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?);
    }
    Some(map)
}

/// The target as the library makes it of the pseudo-header fields.
fn uri(head: &Lines) -> Option<Uri> {
    let text = |name| pseudo(head, name).map(std::str::from_utf8);
    let mut parts = http::uri::Parts::default();
    if let Some(authority) = text(":authority") {
        parts.authority = Some(authority.ok()?.parse::<Authority>().ok()?);
    }
    if let (Some(scheme), true) = (text(":scheme"), parts.authority.is_some()) {
        parts.scheme = Some(scheme.ok()?.parse::<Scheme>().ok()?);
    }
    if let Some(path) = text(":path") {
        parts.path_and_query = Some(path.ok().filter(|path| !path.is_empty())?.parse::<PathAndQuery>().ok()?);
    }
    Uri::from_parts(parts).ok()
}

fn request(head: &Lines, random: &mut Random) -> bool {
    let method = pseudo(head, ":method").and_then(|method| Method::from_bytes(method).ok());
    let (Some(method), Some(uri), Some(headers)) = (method, uri(head), map(head)) else { return false };
    let protocol = pseudo(head, ":protocol").and_then(|protocol| std::str::from_utf8(protocol).ok());
    if protocol.is_some() && method != Method::CONNECT {
        return false;
    }
    let ended = protocol.is_none() && random.one_in(2);
    let mut sent = Request::new(());
    (*sent.method_mut(), *sent.uri_mut(), *sent.headers_mut()) = (method, uri, headers);
    let (sent, ()) = sent.into_parts();
    let (mut flat, mut out) = (RequestHead::default(), b"before".to_vec());
    if flatten_request(&sent, protocol, ended, &HeadLimits::default(), &mut flat, &mut out).is_err() {
        return false;
    }
    let buffer = out.get(6..).unwrap_or_default();
    assert!(!ended || flat.body == BodyLength::None);
    assert_eq!(flat.fields(buffer).all("host").count(), 0);
    assert!(flat.fields(buffer).all("cookie").count() <= 1);
    let kept = |(name, _): &(Vec<u8>, Vec<u8>)| name != b"host" && name != b"cookie" && name != b"content-length";
    let came: Lines = said_by(&sent.headers).into_iter().filter(kept).collect();
    let laid: Lines = sorted(lines(flat.fields(buffer))).into_iter().filter(kept).collect();
    assert_eq!(laid, came);
    check_request(&flat, buffer, random);
    true
}

fn response(head: &Lines, random: &mut Random) -> bool {
    let status = pseudo(head, ":status").and_then(|status| StatusCode::from_bytes(status).ok());
    let (Some(status), Some(headers)) = (status, map(head)) else { return false };
    let mut sent = Response::new(());
    (*sent.status_mut(), *sent.headers_mut()) = (status, headers);
    let (sent, ()) = sent.into_parts();
    let kind = if random.one_in(4) { RequestKind::Head } else { RequestKind::Other };
    let is_bodiless = random.one_in(4) || kind == RequestKind::Head;
    let (mut flat, mut out) = (ResponseHead::default(), b"before".to_vec());
    if flatten_response(&sent, is_bodiless, &HeadLimits::default(), &mut flat, &mut out).is_err() {
        return false;
    }
    let buffer = out.get(6..).unwrap_or_default();
    assert_eq!(flat.status, status.as_u16());
    check_response(&flat, buffer, kind, random);
    true
}

fn trailers(head: &Lines) {
    let Some(map) = map(head) else { return };
    let (mut index, mut out) = (Vec::new(), Vec::new());
    let Ok(flat) = flatten_trailers(&map, &HeadLimits::default(), &mut index, &mut out) else { return };
    let back = wire::h2::trailers(flat);
    for name in ["content-length", "host", "te", "trailer", "authorization"] {
        assert!(!back.contains_key(name), "{name} is sent as a trailer");
    }
    let (mut index, mut out) = (Vec::new(), Vec::new());
    let again = flatten_trailers(&back, &HeadLimits::default(), &mut index, &mut out).map(lines);
    assert_eq!(again.map(sorted), Ok(said_by(&back)));
}

fn sorted(mut lines: Lines) -> Lines {
    lines.sort_by(|one, other| one.0.cmp(&other.0));
    lines
}

fn said_by(map: &HeaderMap) -> Lines {
    sorted(map.iter().map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec())).collect())
}

/// Octets that nobody encoded: what is found does not depend on where they are cut.
fn check_any_block(data: &[u8], random: &mut Random) {
    let scan = |cuts: &[usize]| {
        let mut scan = BlockScan::default();
        // Twice, so that the second block sees the table of the first.
        [(); 2].map(|()| {
            scan.begin();
            let mut begin = 0;
            for end in cuts {
                scan.take(data.get(begin..*end).unwrap_or_default());
                begin = *end;
            }
            scan.end()
        })
    };
    assert_eq!(scan(&random.cuts(data.len())), scan(&[data.len()]));
}

/// An encoder of header blocks (RFC 7541), with a table of 4,096 octets, that chooses representations at random.
#[derive(Default)]
struct Encoder {
    /// The dynamic table, the youngest entry first.
    table: VecDeque<(Vec<u8>, Vec<u8>)>,
}

impl Encoder {
    fn field(&mut self, (name, value): &(Vec<u8>, Vec<u8>), random: &mut Random, out: &mut Vec<u8>) {
        let known = self.table.iter().position(|(other, same)| other == name && same == value);
        if let (Some(at), true) = (known, random.one_in(2)) {
            return integer(62 + at, 0x80, 7, out);
        }
        let in_static: &[(&[u8], &[u8], usize)] = &[
            (b":method", b"GET", 2),
            (b":method", b"POST", 3),
            (b":path", b"/", 4),
            (b":scheme", b"http", 6),
            (b":scheme", b"https", 7),
            (b":status", b"200", 8),
            (b":status", b"404", 13),
        ];
        let entry = in_static.iter().find(|(other, same, _)| other == name && same == value);
        if let (Some((_, _, index)), true) = (entry, random.one_in(2)) {
            return integer(*index, 0x80, 7, out);
        }
        let dynamic = self.table.iter().position(|(other, _)| other == name).map(|at| at + 62);
        let index = match &name[..] {
            b":authority" => Some(1),
            b":method" => Some(2),
            b":path" => Some(4),
            b":scheme" => Some(6),
            b":status" => Some(8 + random.below(7)),
            _ => None,
        };
        let index = if random.one_in(2) { dynamic.or(index) } else { index.or(dynamic) };
        let index = index.filter(|_| random.one_in(2)).unwrap_or(0);
        let (pattern, bits) = random.pick(&[(0x40, 6), (0x40, 6), (0, 4), (0x10, 4)]).unwrap_or((0, 4));
        integer(index, pattern, bits, out);
        if index == 0 {
            string(name, out);
        }
        string(value, out);
        if pattern == 0x40 {
            self.table.push_front((name.clone(), value.clone()));
            while self.size() > 4096 {
                self.table.pop_back();
            }
        }
    }

    fn size(&self) -> usize {
        self.table.iter().map(|(name, value)| name.len() + value.len() + 32).sum()
    }
}

fn integer(number: usize, pattern: u8, bits: u32, out: &mut Vec<u8>) {
    let most = (1_usize << bits) - 1;
    if number < most {
        return out.push(pattern | low(number));
    }
    out.push(pattern | low(most));
    let mut rest = number - most;
    while rest >= 128 {
        out.push(0x80 | low(rest & 0x7f));
        rest >>= 7;
    }
    out.push(low(rest));
}

fn low(number: usize) -> u8 {
    number.to_le_bytes().first().copied().unwrap_or_default()
}

fn string(text: &[u8], out: &mut Vec<u8>) {
    integer(text.len(), 0, 7, out);
    out.extend_from_slice(text);
}

fn check_blocks(heads: &[Lines], random: &mut Random) {
    let (mut encoder, mut scan) = (Encoder::default(), BlockScan::default());
    for head in heads {
        let mut block = Vec::new();
        for field in head {
            if random.one_in(16) {
                // A change of the table's size to the one that it has.
                integer(4096, 0x20, 5, &mut block);
            }
            encoder.field(field, random, &mut block);
        }
        scan.begin();
        let mut begin = 0;
        for end in random.cuts(block.len()) {
            scan.take(block.get(begin..end).unwrap_or_default());
            begin = end;
        }
        let is = |test: fn(&[u8]) -> bool| head.iter().any(|(name, _)| test(name));
        let expected = PseudoFields {
            status: is(|name| name == b":status"),
            other: is(|name| name.starts_with(b":") && name != b":status"),
        };
        assert_eq!(scan.end(), expected, "{}", block.escape_ascii());
    }
}
