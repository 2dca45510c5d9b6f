//! Converts heads of the `h2` library into flat ones.

use crate::h1::fields::parse_length;
use crate::h1::response::STATUSES;
use crate::h1::{BodyLength, HeadLimits, RequestHead, ResponseHead, Underscores, Version};
use crate::view::{Field, Fields, Span, equals_ignoring_case};
use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, request, response};

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
    check_pseudo_headers(parts, protocol)?;
    let mut flat = Flat::new(&mut head.index, out);
    let method = if protocol.is_some() { Method::GET.as_str() } else { parts.method.as_str() };
    head.method = flat.put(method.as_bytes());
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let is_tunnel = limits.absolute && protocol.is_none() && parts.method == Method::CONNECT;
    head.target = match (limits.absolute, parts.uri.authority(), parts.uri.scheme_str()) {
        (true, Some(authority), _) if is_tunnel => flat.put(authority.as_str().as_bytes()),
        (true, Some(authority), Some(scheme)) => {
            let parts = [scheme, "://", authority.as_str(), target].map(|part| flat.put(part.as_bytes()));
            Span { start: parts[0].start, end: parts[3].end }
        }
        _ => flat.put(target.as_bytes()),
    };
    let mut special = SpecialFields::default();
    // Malformed requests come first.
    flat.put_fields(&parts.headers, |name, value| special.read(name, value, protocol.is_some(), limits.underscores))?;
    if special.has_refused_name {
        return Err(FlatError::Underscore);
    }
    let named = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    head.host = flat.put(authority(named, special.host)?);
    head.upgrade = protocol.map(|protocol| flat.put(protocol.as_bytes()));
    if special.expects_other {
        return Err(FlatError::Expectation);
    }
    head.expect_continue = special.expects_continue && !ended;
    let declared = length(special.length)?;
    head.declares_empty = declared == Some(0) && protocol.is_none();
    head.body = match (protocol, ended, declared) {
        // The octets of a tunnel are no body.
        (None, _, None) if is_tunnel => BodyLength::None,
        (Some(_), ..) | (None, true, _) | (None, false, Some(0)) => BodyLength::None,
        (None, false, Some(length)) => BodyLength::Length(length),
        (None, false, None) => BodyLength::Chunked,
    };
    head.version = Version::Http11;
    head.keep_alive = true;
    head.nominates = false;
    flat.check(limits)
}

/// Appends a response's head to `out` in flat form. `is_bodiless` says that no body follows: the request was HEAD, or the
/// stream has ended.
pub fn flatten_response(
    parts: &response::Parts,
    is_bodiless: bool,
    limits: &HeadLimits,
    head: &mut ResponseHead,
    out: &mut Vec<u8>,
) -> Result<(), FlatError> {
    let mut lengths = Single::default();
    parts.headers.get_all(CONTENT_LENGTH).iter().for_each(|value| lengths.add(value.as_bytes()));
    let declared = length(lengths)?;
    head.status = parts.status.as_u16();
    // One rule for both versions, except that HTTP/2 has no 101 (RFC 9113 §8.6).
    if !STATUSES.contains(&head.status) || head.status == 101 {
        return Err(FlatError::Malformed);
    }
    // RFC 9110 §8.6: these have no `Content-Length`, also in a response to HEAD.
    head.declared_length = declared.filter(|_| !matches!(head.status, 100..=199 | 204));
    let is_bodiless = is_bodiless || matches!(head.status, 100..=199 | 204 | 304);
    head.body = match (is_bodiless, declared) {
        (true, _) | (false, Some(0)) => BodyLength::None,
        (false, Some(length)) => BodyLength::Length(length),
        (false, None) => BodyLength::Chunked,
    };
    head.keep_alive = true;
    head.nominates = false;
    head.upgrade = None;
    let mut flat = Flat::new(&mut head.index, out);
    flat.put_fields(&parts.headers, |_, _| true)?;
    flat.check(limits)
}

/// Writes trailers to `out` in flat form, without fields that are not allowed in trailers; the positions in `index` refer to `out`. The limits
/// of heads apply.
pub fn flatten_trailers<'a>(
    trailers: &HeaderMap,
    limits: &HeadLimits,
    index: &'a mut Vec<Field>,
    out: &'a mut Vec<u8>,
) -> Result<Fields<'a>, FlatError> {
    out.clear();
    if trailers.len() > limits.fields {
        return Err(FlatError::TooLarge);
    }
    let mut flat = Flat::new(index, out);
    flat.put_fields(trailers, |name, _| crate::h1::body::may_trail(name.as_str()))?;
    flat.check(limits)?;
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

/// A field that a head may have once.
#[derive(Debug, Clone, Copy, Default)]
enum Single<'a> {
    #[default]
    None,
    One(&'a [u8]),
    Several,
}

impl<'a> Single<'a> {
    fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::None => Self::One(value),
            Self::One(_) | Self::Several => Self::Several,
        };
    }
}

/// The fields of a request that decide how it is read, found while it is laid flat.
#[derive(Debug, Default)]
struct SpecialFields<'a> {
    host: Single<'a>,
    length: Single<'a>,
    expects_continue: bool,
    /// `expect` is not `100-continue`.
    expects_other: bool,
    /// A name has an underscore, and such names are rejected.
    has_refused_name: bool,
}

impl<'a> SpecialFields<'a> {
    /// Reads a field; whether it is forwarded. A request that `switches` protocols has no body.
    fn read(&mut self, name: &HeaderName, value: &'a [u8], switches: bool, underscores: Underscores) -> bool {
        if *name == HOST {
            self.host.add(value);
            return false;
        }
        if *name == CONTENT_LENGTH {
            self.length.add(value);
            return !switches;
        }
        if *name == EXPECT {
            let is_continue = equals_ignoring_case(value, b"100-continue");
            (self.expects_continue, self.expects_other) = (true, self.expects_other || !is_continue);
        }
        match underscores {
            Underscores::Allow => true,
            Underscores::Reject => {
                self.has_refused_name |= name.as_str().contains('_');
                true
            }
            Underscores::Drop => !name.as_str().contains('_'),
        }
    }
}

/// The host. If there are both `:authority` and `host`, they have to agree.
fn authority<'a>(named: Option<&'a [u8]>, host: Single<'a>) -> Result<&'a [u8], FlatError> {
    match (named, host) {
        (_, Single::Several) | (None, Single::None) => Err(FlatError::Host),
        (Some(named), Single::One(host)) if !host.eq_ignore_ascii_case(named) => Err(FlatError::Host),
        (Some(named), _) => Ok(named),
        (None, Single::One(host)) => Ok(host),
    }
}

fn length(length: Single<'_>) -> Result<Option<u64>, FlatError> {
    match length {
        Single::None => Ok(None),
        Single::One(length) => parse_length(length).map(Some).map_err(|_| FlatError::ContentLength),
        Single::Several => Err(FlatError::ContentLength),
    }
}

/// The octets of a header line besides name and value.
const LINE_OCTETS: usize = b": \r\n".len();

/// A head that is laid flat: its index, and its octets, whose positions count from the old end of `out`.
struct Flat<'a> {
    index: &'a mut Vec<Field>,
    out: &'a mut Vec<u8>,
    base: usize,
}

impl<'a> Flat<'a> {
    fn new(index: &'a mut Vec<Field>, out: &'a mut Vec<u8>) -> Self {
        index.clear();
        Self { base: out.len(), index, out }
    }

    /// Appends octets; returns their position.
    fn put(&mut self, octets: &[u8]) -> Span {
        let start = self.out.len() - self.base;
        self.out.extend_from_slice(octets);
        Span { start: start as u32, end: (self.out.len() - self.base) as u32 }
    }

    /// Appends a field. In the octets it is a line, as in HTTP/1, which can be copied as a whole.
    fn put_field(&mut self, name: &[u8], value: &[u8]) {
        self.out.reserve(name.len() + value.len() + LINE_OCTETS);
        let name = self.put(name);
        self.out.extend_from_slice(b": ");
        let value = self.put(value);
        self.out.extend_from_slice(b"\r\n");
        self.index.push(Field { name, value });
    }

    /// Appends the fields that `keeps` says. Cookies, which HTTP/2 may split, become one line (RFC 9113 §8.2.3).
    fn put_fields<'h>(
        &mut self,
        headers: &'h HeaderMap,
        mut keeps: impl FnMut(&'h HeaderName, &'h [u8]) -> bool,
    ) -> Result<(), FlatError> {
        let mut has_cookies = false;
        for (name, value) in headers {
            if !is_well_formed(name, value.as_bytes()) {
                return Err(FlatError::Malformed);
            }
            if !keeps(name, value.as_bytes()) {
                continue;
            }
            if *name == COOKIE {
                if !std::mem::replace(&mut has_cookies, true) {
                    self.put_cookies(headers);
                }
                continue;
            }
            self.put_field(name.as_str().as_bytes(), value.as_bytes());
        }
        Ok(())
    }

    fn put_cookies(&mut self, headers: &HeaderMap) {
        // Empty ones are left out: they would leave a space at an end of the value.
        let pieces = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).filter(|piece| !piece.is_empty());
        self.put_field(COOKIE.as_str().as_bytes(), &pieces.collect::<Vec<_>>().join(&b"; "[..]));
    }

    /// Checks the limits. The octets around names and values do not count.
    fn check(&self, limits: &HeadLimits) -> Result<(), FlatError> {
        let octets = self.out.len() - self.base - self.index.len() * LINE_OCTETS;
        let is_too_large = self.index.len() > limits.fields || octets > limits.bytes;
        if is_too_large { Err(FlatError::TooLarge) } else { Ok(()) }
    }
}

/// Checks of RFC 9113 §8.2.1 that the library lacks: it accepts `"` in names, and white space around values.
fn is_well_formed(name: &HeaderName, value: &[u8]) -> bool {
    let blank = |octet: Option<&u8>| matches!(octet, Some(b' ' | b'\t'));
    !blank(value.first()) && !blank(value.last()) && !name.as_str().bytes().any(|octet| octet == b'"')
}
