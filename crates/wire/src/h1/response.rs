//! The head of a response.

use super::fields;
use super::{BodyLength, HeadError, HeadLimits, MAX_FIELDS, Version};
use crate::view::{Field, Fields, Span};

/// The statuses that are accepted, in both versions of HTTP.
pub(crate) const STATUSES: std::ops::Range<u16> = 100..600;

/// The kind of a request, as far as it decides whether the response has a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RequestKind {
    /// Any other request.
    #[default]
    Other,
    /// HEAD: the response never has a body.
    Head,
    /// An upgrade: 101 ends HTTP.
    Upgrade,
    /// CONNECT: a 2xx status ends HTTP, whatever the head says about a body (RFC 9110 §9.3.6).
    Connect,
}

impl RequestKind {
    /// Whether a success ends HTTP on the connection or stream, which carries octets then.
    pub fn is_switch(self) -> bool {
        matches!(self, Self::Upgrade | Self::Connect)
    }
}

/// The head of a response, as an index over the buffer that it was read into.
#[derive(Debug, Default)]
pub struct ResponseHead {
    /// The status.
    pub status: u16,
    /// The length of the body.
    pub body: BodyLength,
    /// The value of `Content-Length`, also if there is no body (HEAD, 304).
    pub declared_length: Option<u64>,
    /// Whether the backend accepts another request on the connection.
    pub keep_alive: bool,
    /// Whether `Connection` names headers that have to be dropped.
    pub nominates: bool,
    /// The protocol that the backend switches to.
    pub upgrade: Option<Span>,
    pub(crate) index: Vec<Field>,
    seen: usize,
}

impl ResponseHead {
    /// Parses a head at the start of `buffer`; see [`super::RequestHead::parse`].
    pub fn parse(
        &mut self,
        buffer: &[u8],
        request_kind: RequestKind,
        limits: &HeadLimits,
    ) -> Result<Option<usize>, HeadError> {
        let from = self.seen.saturating_sub(3);
        if self.seen > 0 && memchr::memmem::find(buffer.get(from..).unwrap_or_default(), b"\r\n\r\n").is_none() {
            fields::check_partial(buffer, limits)?;
            self.seen = buffer.len();
            return Ok(None);
        }
        let mut headers = [const { std::mem::MaybeUninit::uninit() }; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut []);
        let result =
            httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, buffer, &mut headers);
        match result.map_err(fields::head_error)? {
            httparse::Status::Partial => {
                fields::check_partial(buffer, limits)?;
                self.seen = buffer.len();
                Ok(None)
            }
            httparse::Status::Complete(length) => {
                self.seen = 0;
                self.fill(buffer.get(..length).unwrap_or_default(), &response, request_kind, limits)?;
                Ok(Some(length))
            }
        }
    }

    fn fill(
        &mut self,
        head: &[u8],
        response: &httparse::Response<'_, '_>,
        request_kind: RequestKind,
        limits: &HeadLimits,
    ) -> Result<(), HeadError> {
        let version = if response.version == Some(0) { Version::Http10 } else { Version::Http11 };
        let framing = fields::index(head, b"HTTP/", response.headers, limits, &mut self.index)?;
        self.status = response.code.unwrap_or_default();
        if !STATUSES.contains(&self.status) {
            return Err(HeadError::Malformed);
        }
        let opens = request_kind == RequestKind::Connect && (200..300).contains(&self.status);
        let body = if opens { Some(BodyLength::None) } else { framing.body(version)? };
        self.declared_length = framing.length;
        self.keep_alive = framing.persists(version);
        self.nominates = framing.nominates;
        self.upgrade = framing.upgrade.filter(|_| framing.upgrade_named);
        self.body = match self.status {
            // An upgrade that was not requested would change the protocol of the connection.
            101 if request_kind != RequestKind::Upgrade => return Err(HeadError::Malformed),
            100..=199 | 204 if body.is_some_and(|length| length != BodyLength::None) => {
                return Err(HeadError::ContentLength);
            }
            100..=199 | 204 | 304 => BodyLength::None,
            _ if request_kind == RequestKind::Head => BodyLength::None,
            _ => body.unwrap_or(BodyLength::UntilClose),
        };
        if self.body == BodyLength::UntilClose {
            self.keep_alive = false;
        }
        Ok(())
    }

    /// Turns the head into that of an upgrade to a protocol, whose name is appended to the buffer that the head refers to.
    pub fn switched(&mut self, protocol: &[u8], out: &mut Vec<u8>) {
        let start = out.len() as u32;
        out.extend_from_slice(protocol);
        (self.status, self.body, self.declared_length) = (101, BodyLength::None, None);
        self.upgrade = Some(Span { start, end: out.len() as u32 });
    }

    /// Whether it is interim: the final response follows.
    pub fn is_informational(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_9110_9_3_6_success_of_connect_has_no_body_whatever_the_head_says() {
        let body = |head: &str, request_kind: RequestKind| {
            let mut read = ResponseHead::default();
            let length = read.parse(head.as_bytes(), request_kind, &HeadLimits::default())?;
            Ok::<_, HeadError>((length.unwrap() == head.len(), read.body))
        };
        let both = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(body(both, RequestKind::Connect), Ok((true, BodyLength::None)));
        assert!(body(both, RequestKind::Other).is_err());
        assert_eq!(
            body("HTTP/1.0 204 Made\r\ncontent-length: 3\r\n\r\n", RequestKind::Connect),
            Ok((true, BodyLength::None))
        );
        let refused = "HTTP/1.1 407 No\r\ncontent-length: 3\r\n\r\n";
        assert_eq!(body(refused, RequestKind::Connect), Ok((true, BodyLength::Length(3))));
    }

    #[test]
    fn rfc_9110_10_1_1_expect_applies_to_requests_only() {
        let head = b"HTTP/1.1 200 OK\r\nexpect: x\r\ncontent-length: 3\r\n\r\n";
        let length = ResponseHead::default().parse(head, RequestKind::Other, &HeadLimits::default());
        assert_eq!(length, Ok(Some(head.len())));
    }
}
