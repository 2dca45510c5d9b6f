//! Writes heads from a view and its edits. The framing is always the gateway's own.

use super::response::RequestKind;
use super::{BodyLength, RequestHead};
use crate::edit::{Edits, FieldEdit, NameLengths, is_replaced};
use crate::view::{Fields, RequestView, equals_ignoring_case};
use text::Authority;

/// The framing that a head announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutFraming {
    /// No header: there is no body, or it ends with the connection.
    None,
    /// `Content-Length`, also if the body itself is not sent (HEAD, 304).
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

impl From<BodyLength> for OutFraming {
    fn from(length: BodyLength) -> Self {
        match length {
            BodyLength::None | BodyLength::UntilClose => Self::None,
            BodyLength::Length(length) => Self::Length(length),
            BodyLength::Chunked => Self::Chunked,
        }
    }
}

/// The parts of a request's head.
#[derive(Debug, Clone, Copy)]
pub struct RequestParts<'a> {
    /// The method.
    pub method: &'a [u8],
    /// The normalised path.
    pub path: &'a [u8],
    /// The query.
    pub query: Option<&'a [u8]>,
    /// The `Host` that the client sent.
    pub authority: &'a [u8],
    /// The client's header lines.
    pub fields: Fields<'a>,
    /// Whether the client's `Connection` names headers to be dropped.
    pub nominates: bool,
    /// The framing of the body.
    pub framing: OutFraming,
    /// The protocol of an upgrade.
    pub upgrade: Option<&'a [u8]>,
    /// Whether to ask for the connection to be closed afterwards.
    pub close: bool,
}

impl<'a> RequestParts<'a> {
    /// A request as routing has seen it; `upgrade` is the protocol that is requested of the backend.
    pub fn of(request: &RequestHead, view: &RequestView<'a>, upgrade: Option<&'a [u8]>) -> Self {
        Self {
            method: view.method,
            path: view.path,
            query: view.query,
            authority: view.authority,
            fields: view.fields,
            nominates: request.nominates,
            framing: match request.body {
                BodyLength::None if request.declares_empty && upgrade.is_none() => OutFraming::Length(0),
                body => OutFraming::from(body),
            },
            upgrade,
            close: false,
        }
    }
}

impl RequestParts<'_> {
    /// What kind of request it is.
    pub fn kind(&self) -> RequestKind {
        match (self.upgrade, self.method) {
            (Some(_), _) => RequestKind::Upgrade,
            (None, b"HEAD") => RequestKind::Head,
            (None, b"CONNECT") => RequestKind::Connect,
            (None, _) => RequestKind::Other,
        }
    }
}

/// The parts of a response's head.
#[derive(Debug, Clone, Copy)]
pub struct ResponseParts<'a> {
    /// The status.
    pub status: u16,
    /// The backend's header lines.
    pub fields: Fields<'a>,
    /// Whether the backend's `Connection` names headers to be dropped.
    pub nominates: bool,
    /// The framing of the body.
    pub framing: OutFraming,
    /// The protocol of an upgrade.
    pub upgrade: Option<&'a [u8]>,
    /// Whether the connection is closed afterwards.
    pub close: bool,
}

/// Options for writing a head; the default suits most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// Keep the case of received names, instead of lower case (S-115).
    pub keep_case: bool,
    /// For an HTTP/1.0 client (S-120); responses only.
    pub http10: bool,
}

/// Appends a request's head.
pub fn write_request(out: &mut Vec<u8>, parts: &RequestParts<'_>, edits: &Edits<'_>) {
    write_request_in(out, parts, edits, Style::default());
}

/// The same, in a given style.
pub fn write_request_in(out: &mut Vec<u8>, parts: &RequestParts<'_>, edits: &Edits<'_>, style: Style) {
    let names = NameCase { received: parts.fields, keep: style.keep_case };
    out.extend_from_slice(parts.method);
    out.push(b' ');
    match &edits.target {
        Some(target) => out.extend_from_slice(target),
        None => {
            out.extend_from_slice(parts.path);
            if let Some(query) = parts.query {
                out.push(b'?');
                out.extend_from_slice(query);
            }
        }
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    names.put(out, b"host", edits.authority.map_or(parts.authority, Authority::as_bytes));
    names.put_all(out, parts.fields, parts.nominates, edits, true);
    // A request with a method that usually has a body states that it has none (RFC 9110 §8.6).
    let has_none = parts.framing == OutFraming::None && matches!(parts.method, b"POST" | b"PUT" | b"PATCH");
    framing(out, if has_none { OutFraming::Length(0) } else { parts.framing }, names);
    connection(out, parts.upgrade, parts.close, names);
    out.extend_from_slice(b"\r\n");
}

/// Appends a response's head.
pub fn write_response(out: &mut Vec<u8>, parts: &ResponseParts<'_>, edits: &Edits<'_>) {
    write_response_in(out, parts, edits, Style::default());
}

/// The same, in a given style.
pub fn write_response_in(out: &mut Vec<u8>, parts: &ResponseParts<'_>, edits: &Edits<'_>, style: Style) {
    let names = NameCase { received: parts.fields, keep: style.keep_case };
    status_line(out, parts.status, style.http10);
    names.put_all(out, parts.fields, parts.nominates, edits, false);
    framing(out, parts.framing, names);
    if style.http10 && !parts.close {
        // The default of HTTP/1.1, which HTTP/1.0 has to state.
        names.put(out, b"connection", b"keep-alive");
    } else {
        connection(out, parts.upgrade, parts.close, names);
    }
    out.extend_from_slice(b"\r\n");
}

fn status_line(out: &mut Vec<u8>, status: u16, http10: bool) {
    out.extend_from_slice(if http10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The case of names.
#[derive(Clone, Copy)]
struct NameCase<'a> {
    /// The received head.
    received: Fields<'a>,
    keep: bool,
}

impl NameCase<'_> {
    /// Appends the lines of a head, except its framing.
    fn put_all(self, out: &mut Vec<u8>, fields: Fields<'_>, nominates: bool, edits: &Edits<'_>, request: bool) {
        if self.keep {
            return each_field(fields, nominates, edits, request, |field| self.put(out, field.name, field.value));
        }
        each_field(fields, nominates, edits, request, |field| match field.origin {
            Origin::Received(line) => received(out, &field, line),
            Origin::Edit => line(out, field.name, field.value),
        });
    }

    /// Appends a line, whose name is given in lower case.
    fn put(self, out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
        if !self.keep {
            return line(out, name, value);
        }
        // Of several spellings of a name the first is used, as in Envoy; names that were not received are in lower case.
        let came = self.received.iter().map(|(came, _)| came).find(|came| came.eq_ignore_ascii_case(name));
        field(out, came.unwrap_or(name), value, true);
    }
}

fn framing(out: &mut Vec<u8>, framing: OutFraming, names: NameCase<'_>) {
    match framing {
        OutFraming::None => {}
        OutFraming::Length(length) => {
            names.put(out, b"content-length", itoa::Buffer::new().format(length).as_bytes());
        }
        OutFraming::Chunked => names.put(out, b"transfer-encoding", b"chunked"),
    }
}

fn connection(out: &mut Vec<u8>, upgrade: Option<&[u8]>, close: bool, names: NameCase<'_>) {
    if let Some(protocol) = upgrade {
        names.put(out, b"upgrade", protocol);
        names.put(out, b"connection", b"upgrade");
    } else if close {
        names.put(out, b"connection", b"close");
    }
}

/// Appends a header line, with its name in lower case unless its case is `kept` (S-115).
pub(super) fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8], kept: bool) {
    let start = out.len();
    line(out, name, value);
    if !kept {
        lower_name(out, start, name);
    }
}

/// Appends a received header line, with its name in lower case. The common line is copied as a whole.
fn received(out: &mut Vec<u8>, sent: &SentField<'_>, whole: Option<&[u8]>) {
    let Some(whole) = whole else { return field(out, sent.name, sent.value, false) };
    let start = out.len();
    out.extend_from_slice(whole);
    lower_name(out, start, sent.name);
}

fn lower_name(out: &mut [u8], start: usize, name: &[u8]) {
    if let Some(written) = out.get_mut(start..start + name.len()) {
        written.make_ascii_lowercase();
    }
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// A header field to send.
pub(crate) struct SentField<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: &'a [u8],
    origin: Origin<'a>,
}

/// Where a field to send is from.
enum Origin<'a> {
    /// The received head, whose names may be in any case; with the whole line, if it is written as this module writes lines.
    Received(Option<&'a [u8]>),
    /// An edit, whose name is in lower case.
    Edit,
}

/// Calls back for every header field to send, except the framing: received fields that are kept, then added ones.
pub(crate) fn each_field(
    fields: Fields<'_>,
    nominates: bool,
    edits: &Edits<'_>,
    request: bool,
    mut give: impl FnMut(SentField<'_>),
) {
    let lengths = NameLengths::of(&edits.fields);
    for (name, value, line) in fields.lines() {
        if is_ours(name, value, request) || (lengths.may_have(name) && is_replaced(name, &edits.fields)) {
            continue;
        }
        if nominates && is_nominated(name, fields) {
            continue;
        }
        give(SentField { name, value, origin: Origin::Received(line) });
    }
    for (at, edit) in edits.fields.iter().enumerate() {
        if let FieldEdit::Set(name, value) | FieldEdit::Append(name, value) = edit {
            let name = name.as_str().as_bytes();
            let is_replaced =
                || lengths.may_repeat(name) && is_replaced(name, edits.fields.get(at + 1..).unwrap_or_default());
            // Configuration cannot set the framing either.
            if !is_replaced() && !is_ours(name, value, request) {
                give(SentField { name, value, origin: Origin::Edit });
            }
        }
    }
}

/// Headers of one hop (RFC 9110 §7.6.1), the framing and, in requests, `Host`: never copied, only written by this module.
fn is_ours(name: &[u8], value: &[u8], request: bool) -> bool {
    match name.len() {
        2 => equals_ignoring_case(name, b"te") && !equals_ignoring_case(value, b"trailers"),
        4 => request && equals_ignoring_case(name, b"host"),
        // The exchange itself answers or forwards `100-continue`.
        7 => equals_ignoring_case(name, b"upgrade"),
        10 => equals_ignoring_case(name, b"connection") || equals_ignoring_case(name, b"keep-alive"),
        14 => equals_ignoring_case(name, b"content-length") || equals_ignoring_case(name, b"http2-settings"),
        16 => equals_ignoring_case(name, b"proxy-connection"),
        17 => equals_ignoring_case(name, b"transfer-encoding"),
        _ => false,
    }
}

fn is_nominated(name: &[u8], fields: Fields<'_>) -> bool {
    fields.connection_options().any(|option| option.eq_ignore_ascii_case(name))
}

/// The reason phrase of a status.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::{HeadLimits, RequestHead};

    fn written(head: &str, edits: &Edits<'_>, framing: OutFraming) -> String {
        let text = format!("GET / HTTP/1.1\r\nHost: a.test\r\n{head}\r\n");
        let mut request = RequestHead::default();
        request.parse(text.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
        let parts = RequestParts {
            method: b"GET",
            path: b"/a",
            query: Some(b"b=c"),
            authority: b"a.test",
            fields: request.fields(text.as_bytes()),
            nominates: request.nominates,
            framing,
            upgrade: None,
            close: false,
        };
        let mut out = Vec::new();
        write_request(&mut out, &parts, edits);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn edits_apply_in_order() {
        let mut edits = Edits::default();
        edits.append("x-a", "2");
        edits.set("x-b", "new");
        edits.append("x-b", "more");
        edits.set("x-c", "gone");
        edits.remove("x-c");
        edits.remove("x-d");
        let out = written("X-A: 1\r\nX-B: old\r\nX-C: old\r\nX-D: 1\r\n", &edits, OutFraming::None);
        assert_eq!(out, "GET /a?b=c HTTP/1.1\r\nhost: a.test\r\nx-a: 1\r\nx-a: 2\r\nx-b: new\r\nx-b: more\r\n\r\n");
    }

    #[test]
    fn rfc_9110_7_6_1_headers_of_one_hop_are_not_forwarded() {
        let hop = "Connection: x-secret, keep-alive\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nProxy-Connection: close\r\nTE: gzip\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nX-Kept: 1\r\n";
        let out = written(hop, &Edits::default(), OutFraming::None);
        assert_eq!(out, "GET /a?b=c HTTP/1.1\r\nhost: a.test\r\nx-kept: 1\r\n\r\n");
    }

    #[test]
    fn te_trailers_is_forwarded() {
        assert!(written("TE: trailers\r\n", &Edits::default(), OutFraming::None).contains("te: trailers\r\n"));
    }

    #[test]
    fn s_115_names_keep_their_case_if_configured() {
        let text = "POST / HTTP/1.1\r\nHOST: a\r\nX-Two: 1\r\nx-TWO: 2\r\nX-Gone: 1\r\nContent-LENGTH: 3\r\n\r\n";
        let mut request = RequestHead::default();
        request.parse(text.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
        let fields = request.fields(text.as_bytes());
        let mut edits = Edits::default();
        edits.set("x-gone", "new");
        edits.set("x-ours", "1");
        let (framing, upgrade) = (OutFraming::Length(3), None);
        let parts = RequestParts {
            method: b"POST",
            path: b"/",
            query: None,
            authority: b"a",
            fields,
            nominates: false,
            framing,
            upgrade,
            close: false,
        };
        let mut out = Vec::new();
        write_request_in(&mut out, &parts, &edits, Style { keep_case: true, http10: false });
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "POST / HTTP/1.1\r\nHOST: a\r\nX-Two: 1\r\nX-Two: 2\r\nX-Gone: new\r\nx-ours: 1\r\nContent-LENGTH: 3\r\n\r\n"
        );
    }

    #[test]
    fn s_120_a_response_to_http_1_0_has_its_version_and_states_keep_alive() {
        let parts = |close| ResponseParts {
            status: 200,
            fields: Fields::new(&[], &[]),
            nominates: false,
            framing: OutFraming::Length(0),
            upgrade: None,
            close,
        };
        let written = |close| {
            let mut out = Vec::new();
            write_response_in(&mut out, &parts(close), &Edits::default(), Style { keep_case: false, http10: true });
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(false), "HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n");
        assert_eq!(written(true), "HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }

    #[test]
    fn configuration_cannot_write_framing() {
        let mut edits = Edits::default();
        for name in ["transfer-encoding", "content-length", "connection", "host", "upgrade", "keep-alive"] {
            edits.set(name, "chunked");
            edits.append(name, "5");
        }
        let out = written("", &edits, OutFraming::Length(3));
        assert_eq!(out, "GET /a?b=c HTTP/1.1\r\nhost: a.test\r\ncontent-length: 3\r\n\r\n");
    }
}
