//! The parts that requests and responses share: the index of header lines, and the headers that frame a message.

use super::{BodyLength, HeadError, HeadLimits, MAX_FIELDS, Underscores, Version};
use crate::view::{Field, Span, equals_ignoring_case};
use memchr::memchr_iter;

/// The header fields that concern the framing and the connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Framing {
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    /// `Connection` names `upgrade`.
    pub(super) upgrade_named: bool,
    pub(super) upgrade: Option<Span>,
    pub(super) host: Option<Span>,
    pub(super) expect_continue: bool,
    /// `Expect` is not `100-continue`.
    pub(super) expects_other: bool,
    /// `Connection` names other headers, which are not forwarded.
    pub(super) nominates: bool,
}

/// The position of `part` in a buffer. It is empty unless `part` belongs to the buffer's allocation.
pub(super) fn span_of(buffer: &[u8], part: &[u8]) -> Span {
    let start = (part.as_ptr() as usize).wrapping_sub(buffer.as_ptr() as usize);
    let end = start.saturating_add(part.len());
    if end > buffer.len() {
        return Span::default();
    }
    Span { start: start as u32, end: end as u32 }
}

/// Checks that every LF follows a CR, which httparse does not.
fn check_line_ends(head: &[u8]) -> Result<(), HeadError> {
    for at in memchr_iter(b'\n', head) {
        if at.checked_sub(1).and_then(|before| head.get(before)) != Some(&b'\r') {
            return Err(HeadError::BareLineFeed);
        }
    }
    Ok(())
}

/// Checks whether an incomplete head can become valid with more bytes.
pub(super) fn check_partial(buffer: &[u8], limits: &HeadLimits) -> Result<(), HeadError> {
    check_line_ends(buffer)?;
    if buffer.len() >= limits.bytes { Err(HeadError::TooLarge) } else { Ok(()) }
}

/// Maps the errors of httparse.
pub(super) fn head_error(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::TooManyHeaders => HeadError::TooManyFields,
        httparse::Error::Version => HeadError::Version,
        httparse::Error::NewLine => HeadError::BareLineFeed,
        _ => HeadError::Malformed,
    }
}

/// Whether the line before a header line ends with CR and LF.
fn follows_line_end(head: &[u8], name: Span) -> bool {
    head.get(..name.start as usize).is_some_and(|before| before.ends_with(b"\r\n"))
}

/// Fills the index, and reads the framing headers. `head` is complete, and its start line begins with `start`. Its line ends are checked before
/// each header line and at the end, which is enough, since httparse accepts LF only at the ends of lines.
pub(super) fn index(
    head: &[u8],
    start: &[u8],
    headers: &[httparse::Header<'_>],
    limits: &HeadLimits,
    index: &mut Vec<Field>,
) -> Result<Framing, HeadError> {
    if !head.ends_with(b"\r\n\r\n") {
        return Err(HeadError::BareLineFeed);
    }
    if !head.starts_with(start) {
        // Empty lines before the start line are skipped.
        check_line_ends(head)?;
    }
    if head.len() > limits.bytes {
        return Err(HeadError::TooLarge);
    }
    if headers.len() > limits.fields.min(MAX_FIELDS) {
        return Err(HeadError::TooManyFields);
    }
    let mut framing = Framing::default();
    index.clear();
    index.reserve(headers.len());
    for header in headers {
        let name = header.name.as_bytes();
        let name_span = span_of(head, name);
        if !follows_line_end(head, name_span) {
            return Err(HeadError::BareLineFeed);
        }
        if limits.underscores != Underscores::Allow && header.name.contains('_') {
            match limits.underscores {
                Underscores::Reject => return Err(HeadError::Underscore),
                Underscores::Drop => continue,
                Underscores::Allow => {}
            }
        }
        let value = trim(header.value);
        let field = Field { name: name_span, value: span_of(head, value) };
        index.push(field);
        framing.read(name, value, field.value)?;
    }
    Ok(framing)
}

/// Trims spaces and tabs around a value.
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    let is_blank = |octet: &u8| matches!(octet, b' ' | b'\t');
    if let [first, .., last] = value
        && !is_blank(first)
        && !is_blank(last)
    {
        return value;
    }
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

impl Framing {
    fn read(&mut self, name: &[u8], value: &[u8], span: Span) -> Result<(), HeadError> {
        match name.len() {
            4 if equals_ignoring_case(name, b"host") => once(&mut self.host, span, HeadError::Host)?,
            6 if equals_ignoring_case(name, b"expect") => {
                let is_continue = equals_ignoring_case(value, b"100-continue");
                (self.expect_continue, self.expects_other) = (is_continue, self.expects_other || !is_continue);
            }
            7 if equals_ignoring_case(name, b"upgrade") => self.upgrade = Some(span),
            10 if equals_ignoring_case(name, b"connection") => self.read_connection(value)?,
            14 if equals_ignoring_case(name, b"content-length") => {
                once(&mut self.length, parse_length(value)?, HeadError::ContentLength)?;
            }
            17 if equals_ignoring_case(name, b"transfer-encoding") => {
                // Two lines mean `chunked, chunked`, which is not allowed either.
                if self.chunked || !equals_ignoring_case(value, b"chunked") {
                    let known =
                        |c: &[u8]| [&b"chunked"[..], b"identity", b""].iter().any(|k| c.eq_ignore_ascii_case(k));
                    let unknown = !self.chunked && value.split(|b| *b == b',').any(|coding| !known(trim(coding)));
                    return Err(if unknown { HeadError::UnknownCoding } else { HeadError::TransferEncoding });
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn read_connection(&mut self, value: &[u8]) -> Result<(), HeadError> {
        for option in value.split(|b| *b == b',').map(trim).filter(|option| !option.is_empty()) {
            if equals_ignoring_case(option, b"close") {
                self.close = true;
            } else if equals_ignoring_case(option, b"keep-alive") {
                self.keep_alive = true;
            } else if equals_ignoring_case(option, b"upgrade") {
                self.upgrade_named = true;
            } else if is_kept(option) {
                // A client that could get these dropped could change its identity, or the framing of the message.
                return Err(HeadError::Connection);
            } else {
                self.nominates = true;
            }
        }
        Ok(())
    }

    /// The length of the body, after conflicts are rejected; `None` if neither header is present.
    pub(super) fn body(&self, version: Version) -> Result<Option<BodyLength>, HeadError> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(HeadError::ContentLength),
            (true, None) if version == Version::Http10 => Err(HeadError::TransferEncoding),
            (true, None) => Ok(Some(BodyLength::Chunked)),
            (false, Some(0)) => Ok(Some(BodyLength::None)),
            (false, Some(length)) => Ok(Some(BodyLength::Length(length))),
            (false, None) => Ok(None),
        }
    }

    /// Whether the connection can be reused (RFC 9112 §9.3).
    pub(super) fn persists(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

/// The value of a header that may appear once.
fn once<T>(place: &mut Option<T>, value: T, error: HeadError) -> Result<(), HeadError> {
    if place.replace(value).is_some() { Err(error) } else { Ok(()) }
}

/// Headers that `Connection` may not name: framing, identity, and headers that proxies add.
fn is_kept(name: &[u8]) -> bool {
    const KEPT: [&[u8]; 8] = [
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"authorization",
        b"cookie",
        b"content-type",
        b"x-request-id",
        b"trailer",
    ];
    let forwarded = name.get(..12).is_some_and(|start| start.eq_ignore_ascii_case(b"x-forwarded-"));
    forwarded || KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept))
}

/// Parses digits; no sign, no list (RFC 9110 §8.6).
pub(crate) fn parse_length(value: &[u8]) -> Result<u64, HeadError> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return Err(HeadError::ContentLength);
    }
    Ok(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::response::RequestKind;
    use crate::h1::{RequestHead, ResponseHead};

    /// A head whose lines end with LF alone at the places of the bits in `bare`.
    fn head(lines: &[&str], bare: u32) -> String {
        let end = |at: usize| if bare >> at & 1 == 1 { "\n" } else { "\r\n" };
        lines.iter().enumerate().map(|(at, line)| format!("{line}{}", end(at))).collect()
    }

    #[test]
    fn a_line_that_ends_with_lf_alone_is_found_wherever_it_is() {
        let limits = HeadLimits::default();
        let request = ["", "", "GET / HTTP/1.1", "Host: a", "X-A:", "X-B: b", ""];
        let response = ["", "HTTP/1.1 200 OK", "X-A: a ", "X-B:", "X-C: c", ""];
        for bare in 0..1 << request.len() {
            let parsed = RequestHead::default().parse(head(&request, bare).as_bytes(), &limits);
            assert_eq!(parsed.err(), (bare > 0).then_some(HeadError::BareLineFeed), "{bare:b}");
        }
        for bare in 0..1 << response.len() {
            let text = head(&response, bare);
            let parsed = ResponseHead::default().parse(text.as_bytes(), RequestKind::Other, &limits);
            assert_eq!(parsed.err(), (bare > 0).then_some(HeadError::BareLineFeed), "{bare:b}");
        }
    }
}
