//! The head of a request.

use super::fields::{self, Framing};
use super::{BodyLength, HeadError, HeadLimits, MAX_FIELDS, Version};
use crate::edit::{FieldEdit, is_replaced};
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
                self.fill(buffer.get(..length).unwrap_or_default(), &request, limits)?;
                Ok(Some(length))
            }
        }
    }

    /// Whether an empty line arrived since the last scan.
    fn may_be_complete(&self, buffer: &[u8]) -> bool {
        let from = self.seen.saturating_sub(3);
        memchr::memmem::find(buffer.get(from..).unwrap_or_default(), b"\r\n\r\n").is_some()
    }

    fn fill(&mut self, head: &[u8], request: &httparse::Request<'_, '_>, limits: &HeadLimits) -> Result<(), HeadError> {
        let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
        self.version = if request.version == Some(0) { Version::Http10 } else { Version::Http11 };
        let framing = fields::index(head, method.as_bytes(), request.headers, limits, &mut self.index)?;
        if self.version == Version::Http10 && !limits.http10 {
            return Err(HeadError::Http10);
        }
        self.method = fields::span_of(head, method.as_bytes());
        self.target = fields::span_of(head, target.as_bytes());
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

    /// Changes the header lines and the query as if the client had sent them so: what decides a request before its route is chosen does that.
    /// `buffer` ends with the head; the returned octets have to be put right behind it.
    ///
    /// Lines that the client's `Connection` names are removed, so that a client cannot have a line dropped that is written here.
    pub fn amend(&mut self, buffer: &[u8], edits: &[FieldEdit<'_>], query: Option<Option<&[u8]>>) -> Vec<u8> {
        let mut index = std::mem::take(&mut self.index);
        if std::mem::take(&mut self.nominates) {
            let received = index.clone();
            let named: Vec<&[u8]> = Fields::new(buffer, &received).connection_options().collect();
            index.retain(|field| !named.iter().any(|name| name.eq_ignore_ascii_case(field.name.of(buffer))));
        }
        index.retain(|field| !is_replaced(field.name.of(buffer), edits));
        self.index = index;
        let mut added = Vec::new();
        let mut put = |octets: &[u8]| {
            let start = (buffer.len() + added.len()) as u32;
            added.extend_from_slice(octets);
            Span { start, end: start + octets.len() as u32 }
        };
        for (at, edit) in edits.iter().enumerate() {
            if let FieldEdit::Set(name, value) | FieldEdit::Append(name, value) = edit {
                let name = name.as_str().as_bytes();
                if !is_replaced(name, edits.get(at + 1..).unwrap_or_default()) {
                    self.index.push(Field { name: put(name), value: put(value) });
                }
            }
        }
        if let Some(query) = query {
            let target = self.target.of(buffer);
            let path = target.split(|octet| *octet == b'?').next().unwrap_or_default();
            self.target = match query {
                Some(query) => put(&[path, b"?", query].concat()),
                None => put(path),
            };
        }
        added
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
    use crate::edit::Edits;

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

    #[test]
    fn an_amended_head_is_as_if_the_client_had_sent_it_so() {
        let text = "GET /a?b=1 HTTP/1.1\r\nHost: a.test\r\nX-A: 1\r\nx-a: 2\r\nX-B: 1\r\nX-C: 1\r\nConnection: x-c, x-d\r\n\r\n";
        let amended = |edits: &Edits<'_>, query: Option<Option<&[u8]>>| {
            let mut head = RequestHead::default();
            head.parse(text.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
            let added = head.amend(text.as_bytes(), &edits.fields, query);
            let buffer = [text.as_bytes(), &added].concat();
            let own = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
            let lines = head.fields(&buffer).iter().map(|(name, value)| format!("{}: {}", own(name), own(value)));
            assert!(!head.nominates);
            (own(head.target.of(&buffer)), lines.collect::<Vec<_>>())
        };
        let mut edits = Edits::default();
        let (target, lines) = amended(&edits, None);
        assert_eq!(
            (&*target, lines.join("|")),
            ("/a?b=1", "Host: a.test|X-A: 1|x-a: 2|X-B: 1|Connection: x-c, x-d".into())
        );
        edits.set("x-a", "3");
        edits.append("x-a", "4");
        edits.remove("x-b");
        edits.set("x-d", "5");
        edits.set("x-e", "6");
        edits.set("x-e", "7");
        let (target, lines) = amended(&edits, Some(Some(b"c=2")));
        let wanted = "Host: a.test|Connection: x-c, x-d|x-a: 3|x-a: 4|x-d: 5|x-e: 7";
        assert_eq!((&*target, &*lines.join("|")), ("/a?c=2", wanted));
        assert_eq!(amended(&edits, Some(None)).0, "/a");
    }
}
