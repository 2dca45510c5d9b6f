//! The head of a request.

use super::fields::{self, Framing};
use super::{BodyLength, HeadError, HeadLimits, MAX_FIELDS, Version};
use crate::view::{Field, Fields, Span};

/// The head of a request, as an index over the buffer that it was read into. It is reused for every request of a connection.
#[derive(Debug, Default)]
pub struct RequestHead {
    /// The method.
    pub method: Span,
    /// The request target.
    pub target: Span,
    /// The version.
    pub version: Version,
    /// The length of the body.
    pub body: BodyLength,
    /// Whether there is `Content-Length: 0`, which is forwarded.
    pub declares_empty: bool,
    /// The value of `Host`; also set if the target has an authority.
    pub host: Span,
    /// The protocol that the client wants to switch to, if `Connection` names `upgrade` and there is no body.
    pub upgrade: Option<Span>,
    /// Whether the client waits for a 100 response before it sends the body.
    pub expect_continue: bool,
    /// Whether the client may send another request on the connection.
    pub keep_alive: bool,
    /// Whether `Connection` names headers that have to be dropped.
    pub nominates: bool,
    pub(crate) index: Vec<Field>,
    /// How far an incomplete head was scanned, so that a slow one costs no more than a fast one.
    seen: usize,
}

impl RequestHead {
    /// The protocol that the backend is asked to switch to: only WebSocket (S-118), and only for GET (RFC 6455 §4.1). Any other request with
    /// `Upgrade` stays HTTP.
    pub fn switch<'a>(&self, buffer: &'a [u8]) -> Option<&'a [u8]> {
        let protocol = self.upgrade?.of(buffer);
        let is_websocket = protocol.eq_ignore_ascii_case(b"websocket") && self.method.of(buffer) == b"GET";
        is_websocket.then_some(protocol)
    }

    /// Parses a head at the start of `buffer`. `Ok(None)`: more bytes are needed. Otherwise returns the length of the head, which ends with the
    /// empty line.
    pub fn parse(&mut self, buffer: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HeadError> {
        if self.seen > 0 && !self.may_be_complete(buffer) {
            fields::check_partial(buffer, limits)?;
            self.seen = buffer.len();
            return Ok(None);
        }
        let mut headers = [const { std::mem::MaybeUninit::uninit() }; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut []);
        let result = request.parse_with_uninit_headers(buffer, &mut headers);
        match result.map_err(|error| head_error(error, buffer))? {
            httparse::Status::Partial => {
                fields::check_partial(buffer, limits)?;
                self.seen = buffer.len();
                Ok(None)
            }
            httparse::Status::Complete(length) => {
                self.seen = 0;
                let head = buffer.get(..length).unwrap_or_default();
                fields::check_line_ends(head)?;
                if length > limits.bytes {
                    return Err(HeadError::TooLarge);
                }
                self.fill(buffer, &request, limits)?;
                Ok(Some(length))
            }
        }
    }

    /// Whether an empty line arrived since the last scan.
    fn may_be_complete(&self, buffer: &[u8]) -> bool {
        let from = self.seen.saturating_sub(3);
        memchr::memmem::find(buffer.get(from..).unwrap_or_default(), b"\r\n\r\n").is_some()
    }

    fn fill(
        &mut self,
        buffer: &[u8],
        request: &httparse::Request<'_, '_>,
        limits: &HeadLimits,
    ) -> Result<(), HeadError> {
        let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
        self.version = if request.version == Some(0) { Version::Http10 } else { Version::Http11 };
        let framing = fields::index(buffer, request.headers, limits, &mut self.index)?;
        if self.version == Version::Http10 && !limits.http10 {
            return Err(HeadError::Http10);
        }
        self.method = fields::span_of(buffer, method.as_bytes());
        self.target = fields::span_of(buffer, target.as_bytes());
        self.frame(&framing)
    }

    fn frame(&mut self, framing: &Framing) -> Result<(), HeadError> {
        if framing.expects_other {
            return Err(HeadError::Expectation);
        }
        let body = framing.body(self.version)?;
        self.body = body.unwrap_or(BodyLength::None);
        self.declares_empty = framing.length == Some(0);
        // Before 1.1 a request does not need a host.
        let may_lack_host = self.version == Version::Http10;
        self.host = framing.host.or(may_lack_host.then(Span::default)).ok_or(HeadError::Host)?;
        self.keep_alive = framing.persists(self.version);
        // Without a body there is nothing to wait for (RFC 9110 §10.1.1).
        let knows_continue = self.version == Version::Http11;
        self.expect_continue = framing.expect_continue && knows_continue && self.body != BodyLength::None;
        // A body before an upgrade allows request smuggling: such a request stays HTTP.
        let switches = framing.upgrade_named && self.body == BodyLength::None && self.version == Version::Http11;
        self.upgrade = framing.upgrade.filter(|_| switches);
        self.nominates = framing.nominates;
        Ok(())
    }

    /// The memory of the index, in octets.
    pub fn index_octets(&self) -> usize {
        self.index.capacity() * size_of::<Field>()
    }

    /// Resets it, and keeps the memory of its index.
    #[must_use]
    pub fn reset(mut self) -> Self {
        self.index.clear();
        Self { index: self.index, ..Self::default() }
    }

    /// The header lines, over the buffer that the head was read from.
    pub fn fields<'a>(&'a self, buffer: &'a [u8]) -> Fields<'a> {
        Fields::new(buffer, &self.index)
    }
}

/// An unsupported version is reported only at the place of a version: `GET /a b HTTP/1.1` is malformed.
fn head_error(error: httparse::Error, buffer: &[u8]) -> HeadError {
    let error = fields::head_error(error);
    let line = buffer.split(|byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty()).unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    let has_version = words.next().is_some_and(|word| word.starts_with(b"HTTP/")) && words.next().is_none();
    if error == HeadError::Version && !has_version { HeadError::Malformed } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_in_the_target_is_malformed() {
        let error = |line: &str| {
            let text = format!("{line}\r\nHost: a.test\r\n\r\n");
            RequestHead::default().parse(text.as_bytes(), &HeadLimits::default()).unwrap_err()
        };
        for line in ["GET /a b HTTP/1.1", "GET /a HTTPS/1.1", "GET /a  HTTP/1.1", "GET /a b"] {
            assert_eq!(error(line), HeadError::Malformed, "{line}");
        }
        for line in ["GET /a HTTP/2.0", "GET /a HTTP/1.2", "GET /a HTTP/9"] {
            assert_eq!(error(line), HeadError::Version, "{line}");
        }
    }
}
