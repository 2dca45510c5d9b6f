//! Converts heads of the `h2` library into flat ones.

use crate::h1::fields::parse_length;
use crate::h1::response::STATUSES;
use crate::h1::{BodyLength, HeadLimits, RequestHead, ResponseHead, Underscores, Version};
use crate::view::{Field, Fields, Span};
use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST};
use http::{HeaderMap, Method, request, response};

/// Why a head is rejected. Each has a response of its own, except that a malformed head resets the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FlatError {
    /// The message violates RFC 9113 §8 in a way that the library accepts: white space around a value, a name that is not a token, a status,
    /// an empty scheme, or a protocol of an extended CONNECT that is not a token (RFC 8441 §4). The stream is reset.
    #[error("the message is malformed")]
    Malformed,
    /// The protocol of an extended CONNECT is not known (RFC 9220 §3).
    #[error("the protocol of the CONNECT request is not known")]
    Protocol,
    /// There is no host, or there are two different ones (RFC 9113 §8.3.1).
    #[error("the request has no host, or several")]
    Host,
    /// Too many header lines or bytes.
    #[error("the head is too large")]
    TooLarge,
    /// `content-length` is not a number, or there are several.
    #[error("the content-length is not valid")]
    ContentLength,
    /// The name of a header has an underscore, and such names are rejected (PC-04).
    #[error("the name of a header has an underscore")]
    Underscore,
    /// `expect` is not `100-continue`.
    #[error("the expectation is unknown")]
    Expectation,
}

/// Appends a request's head to `out` in flat form; the positions in `head` count from the old end of `out`. `protocol` is that of an extended
/// CONNECT (RFC 8441), which becomes a request with `Upgrade`, as in HTTP/1. `ended`: there is no body.
pub fn flatten_request(
    parts: &request::Parts,
    protocol: Option<&str>,
    ended: bool,
    limits: &HeadLimits,
    head: &mut RequestHead,
    out: &mut Vec<u8>,
) -> Result<(), FlatError> {
    let base = out.len();
    check_pseudo_headers(parts, protocol)?;
    let method = if protocol.is_some() { Method::GET.as_str() } else { parts.method.as_str() };
    head.method = put(out, base, method.as_bytes());
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    head.target = put(out, base, target.as_bytes());
    // Malformed requests come first.
    flatten_request_fields(&parts.headers, protocol.is_some(), limits, (base, &mut head.index, out))?;
    let named = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = authority(named, &parts.headers)?;
    head.host = put(out, base, host);
    head.upgrade = protocol.map(|protocol| put(out, base, protocol.as_bytes()));
    head.expect_continue = expects_continue(&parts.headers)? && !ended;
    let declared = length(&parts.headers)?;
    head.declares_empty = declared == Some(0) && protocol.is_none();
    head.body = match (protocol, ended, declared) {
        (Some(_), ..) | (None, true, _) | (None, false, Some(0)) => BodyLength::None,
        (None, false, Some(length)) => BodyLength::Length(length),
        (None, false, None) => BodyLength::Chunked,
    };
    head.version = Version::Http11;
    head.keep_alive = true;
    head.nominates = false;
    check(&head.index, out.len() - base, limits)
}

fn flatten_request_fields(
    headers: &HeaderMap,
    switches: bool,
    limits: &HeadLimits,
    (base, index, out): (usize, &mut Vec<Field>, &mut Vec<u8>),
) -> Result<(), FlatError> {
    index.clear();
    let has_underscore = |name: &http::HeaderName| name.as_str().contains('_');
    let dropped = limits.underscores == Underscores::Drop;
    flatten_fields(headers, base, index, out, |name| {
        name == HOST || (switches && name == CONTENT_LENGTH) || (dropped && has_underscore(name))
    })?;
    let refused = limits.underscores == Underscores::Reject && headers.keys().any(has_underscore);
    if refused { Err(FlatError::Underscore) } else { Ok(()) }
}

/// Appends a response's head to `out` in flat form. `asked_head`: the request was HEAD; `ended`: there is no body.
pub fn flatten_response(
    parts: &response::Parts,
    (asked_head, ended): (bool, bool),
    limits: &HeadLimits,
    head: &mut ResponseHead,
    out: &mut Vec<u8>,
) -> Result<(), FlatError> {
    let base = out.len();
    let declared = length(&parts.headers)?;
    head.status = parts.status.as_u16();
    // One rule for both versions, except that HTTP/2 has no 101 (RFC 9113 §8.6).
    if !STATUSES.contains(&head.status) || head.status == 101 {
        return Err(FlatError::Malformed);
    }
    // RFC 9110 §8.6: these have no `Content-Length`, also in a response to HEAD.
    head.declared_length = declared.filter(|_| !matches!(head.status, 100..=199 | 204));
    let bodiless = asked_head || matches!(head.status, 100..=199 | 204 | 304);
    head.body = match (bodiless || ended, declared) {
        (true, _) | (false, Some(0)) => BodyLength::None,
        (false, Some(length)) => BodyLength::Length(length),
        (false, None) => BodyLength::Chunked,
    };
    head.keep_alive = true;
    head.nominates = false;
    head.upgrade = None;
    head.index.clear();
    flatten_fields(&parts.headers, base, &mut head.index, out, |_| false)?;
    check(&head.index, out.len() - base, limits)
}

/// Writes trailers to `out` in flat form, without fields that are not allowed in trailers; the positions in `index` refer to `out`. The limits
/// of heads apply.
pub fn flatten_trailers<'a>(
    trailers: &HeaderMap,
    limits: &HeadLimits,
    index: &'a mut Vec<Field>,
    out: &'a mut Vec<u8>,
) -> Result<Fields<'a>, FlatError> {
    index.clear();
    out.clear();
    if trailers.len() > limits.fields {
        return Err(FlatError::TooLarge);
    }
    flatten_fields(trailers, 0, index, out, |name| !crate::h1::body::may_trail(name.as_str()))?;
    check(index, out.len(), limits)?;
    Ok(Fields::new(out, index))
}

/// Checks pseudo-header fields that the library accepts. Without an authority, the library does not report the scheme.
fn check_pseudo_headers(parts: &request::Parts, protocol: Option<&str>) -> Result<(), FlatError> {
    if parts.uri.scheme_str() == Some("") {
        return Err(FlatError::Malformed);
    }
    match protocol {
        None => Ok(()),
        Some(protocol) if !is_token(protocol.as_bytes()) => Err(FlatError::Malformed),
        Some(protocol) if protocol.eq_ignore_ascii_case("websocket") => Ok(()),
        Some(_) => Err(FlatError::Protocol),
    }
}

/// RFC 9110 §5.6.2.
fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn check(index: &[Field], bytes: usize, limits: &HeadLimits) -> Result<(), FlatError> {
    if index.len() > limits.fields || bytes > limits.bytes { Err(FlatError::TooLarge) } else { Ok(()) }
}

/// Appends bytes; returns their position, counted from `base`.
fn put(out: &mut Vec<u8>, base: usize, bytes: &[u8]) -> Span {
    let start = out.len() - base;
    out.extend_from_slice(bytes);
    Span { start: start as u32, end: (out.len() - base) as u32 }
}

/// The host. If there are both `:authority` and `host`, they have to agree.
fn authority<'a>(named: Option<&'a [u8]>, headers: &'a HeaderMap) -> Result<&'a [u8], FlatError> {
    let mut hosts = headers.get_all(HOST).iter();
    match (named, hosts.next(), hosts.next()) {
        (_, _, Some(_)) => Err(FlatError::Host),
        (Some(named), Some(host), None) if !host.as_bytes().eq_ignore_ascii_case(named) => Err(FlatError::Host),
        (Some(named), _, None) => Ok(named),
        (None, Some(host), None) => Ok(host.as_bytes()),
        (None, None, None) => Err(FlatError::Host),
    }
}

fn length(headers: &HeaderMap) -> Result<Option<u64>, FlatError> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(None),
        (Some(length), None) => parse_length(length.as_bytes()).map(Some).map_err(|_| FlatError::ContentLength),
        (Some(_), Some(_)) => Err(FlatError::ContentLength),
    }
}

fn expects_continue(headers: &HeaderMap) -> Result<bool, FlatError> {
    let is_continue = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if headers.get_all(EXPECT).iter().all(is_continue) {
        Ok(headers.contains_key(EXPECT))
    } else {
        Err(FlatError::Expectation)
    }
}

/// Appends fields. Cookies, which HTTP/2 may split, become one line (RFC 9113 §8.2.3).
fn flatten_fields(
    headers: &HeaderMap,
    base: usize,
    index: &mut Vec<Field>,
    out: &mut Vec<u8>,
    skipped: impl Fn(&http::HeaderName) -> bool,
) -> Result<(), FlatError> {
    let mut cookie_seen = false;
    for (name, value) in headers {
        if !is_well_formed(name, value) {
            return Err(FlatError::Malformed);
        }
        if skipped(name) {
            continue;
        }
        if name == COOKIE {
            if !std::mem::replace(&mut cookie_seen, true) {
                index.push(cookies(headers, base, out));
            }
            continue;
        }
        let (name, value) = (put(out, base, name.as_str().as_bytes()), put(out, base, value.as_bytes()));
        index.push(Field { name, value });
    }
    Ok(())
}

/// Checks of RFC 9113 §8.2.1 that the library lacks: it accepts `"` in names, and white space around values.
fn is_well_formed(name: &http::HeaderName, value: &http::HeaderValue) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let value = value.as_bytes();
    !blank(value.first()) && !blank(value.last()) && !name.as_str().contains('"')
}

fn cookies(headers: &HeaderMap, base: usize, out: &mut Vec<u8>) -> Field {
    let name = put(out, base, COOKIE.as_str().as_bytes());
    let start = out.len();
    // Empty ones are left out: they would leave a space at an end of the value.
    let pieces = headers.get_all(COOKIE).iter().filter(|piece| !piece.is_empty());
    for (at, piece) in pieces.enumerate() {
        if at > 0 {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(piece.as_bytes());
    }
    Field { name, value: Span { start: (start - base) as u32, end: (out.len() - base) as u32 } }
}
