//! What becomes of the head of a backend's response: whether it is valid, whether the request is retried, and the head that the client receives.
//! Everything is decided over facts; the data plane reads and writes the octets, and has the clock.

use crate::filter::{self, FilterState};
use crate::route::RouteEntry;
use crate::substitute::Facts;
use ir::{HeaderSettings, Retries, RetryOn};
use text::{Decimal, HeaderValue, HttpDate};
use wire::edit::Edits;
use wire::grpc_web::{self, Call, Writing};
use wire::h1::response::RequestKind;
use wire::h1::{BodyLength, OutFraming, ResponseHead, ResponseParts};
use wire::view::Fields;

/// The only protocol to switch to (S-118).
const WEBSOCKET: &[u8] = b"websocket";

/// How a client learns where the body of a response ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientFraming {
    /// By `Content-Length`, or by chunks: HTTP/1.1.
    Chunks,
    /// By `Content-Length`, or by the end of the connection: HTTP/1.0 (S-120).
    Close,
    /// By the end of the stream: HTTP/2.
    Frames,
}

/// The head of a backend's response.
#[derive(Debug, Clone, Copy)]
pub struct BackendHead<'a> {
    /// The head, an index into the octets that it was read from.
    pub head: &'a ResponseHead,
    /// Its header lines.
    pub fields: Fields<'a>,
    /// The protocol that the backend switches to.
    pub upgrade: Option<&'a [u8]>,
    /// The kind of the request.
    pub request_kind: RequestKind,
}

/// What applies to a response that is forwarded.
#[derive(Clone, Copy)]
pub struct ResponseContext<'a> {
    /// The backend's head.
    pub backend: BackendHead<'a>,
    /// How the client learns where the body ends.
    pub client: ClientFraming,
    /// Whether the client's connection is closed after the response.
    pub is_last: bool,
    /// What the mesh settings say of headers.
    pub headers: &'a HeaderSettings,
    /// The route of the request, and the index of its target.
    pub route: &'a RouteEntry,
    /// The index of the route's target.
    pub target: usize,
    /// What the filters of the route keep of the request.
    pub filters: &'a FilterState,
    /// The cookie that keeps the client at its endpoint (DR-11).
    pub set_cookie: Option<&'a HeaderValue>,
    /// `Sec-WebSocket-Accept`, if the backend has not seen the client's key.
    pub accept: Option<&'a str>,
    /// The call of gRPC-Web that is translated (S-119).
    pub web: Option<Call>,
    /// The time of the response.
    pub date: &'a HttpDate,
    /// The milliseconds from the end of the request to the head of the response.
    pub elapsed: &'a Decimal,
}

/// The head that the client receives, beside its edits.
#[derive(Debug)]
pub struct ClientHead<'a> {
    /// Its parts.
    pub parts: ResponseParts<'a>,
    /// The translation for a gRPC-Web client.
    pub web: Option<WebResponse>,
}

/// The translation of a response for a gRPC-Web client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebResponse {
    /// Its messages are forwarded.
    Messages(Writing),
    /// It is not gRPC: its status becomes this gRPC status, and the start of its body the message.
    Status(u8),
}

impl<'a> BackendHead<'a> {
    /// A head over the octets that it was read from.
    pub fn new(head: &'a ResponseHead, buffer: &'a [u8], request_kind: RequestKind) -> Self {
        let upgrade = head.upgrade.map(|span| span.of(buffer));
        Self { head, fields: head.fields(buffer), upgrade, request_kind }
    }

    /// Whether the backend switches protocols.
    pub fn is_switch(&self) -> bool {
        self.head.status == 101
    }

    /// Whether the response may be sent to a client: it does not switch to a protocol that was not requested (S-118). Nor is it a success instead
    /// of a requested switch, which to an HTTP/2 client would mean that the switch was made (RFC 8441 §5).
    pub fn is_valid(&self, client: ClientFraming) -> bool {
        if self.is_switch() {
            return self.upgrade.is_some_and(|to| to.eq_ignore_ascii_case(WEBSOCKET));
        }
        let is_success = (200..300).contains(&self.head.status);
        !(is_success && self.request_kind == RequestKind::Upgrade && client == ClientFraming::Frames)
    }

    /// Whether the policy retries this response; `is_grpc` says that the request is gRPC.
    pub fn is_retriable(&self, policy: &Retries, is_grpc: bool) -> bool {
        let is_listed = policy.status(self.head.status);
        if !is_listed && !is_grpc {
            return false;
        }
        if self.fields.get("x-envoy-ratelimited").is_some() {
            return policy.on.any(RetryOn::RATE_LIMITED);
        }
        is_listed || self.grpc_status().is_some_and(|status| policy.on.grpc(status))
    }

    /// The gRPC status in the head.
    fn grpc_status(&self) -> Option<u8> {
        std::str::from_utf8(self.fields.get("grpc-status")?).ok()?.parse().ok()
    }

    /// The HTTP status; for a gRPC request, the HTTP equivalent of the gRPC status in the head.
    pub fn effective_status(&self, is_grpc: bool) -> u16 {
        let status = if is_grpc { self.grpc_status() } else { None };
        status.map_or(self.head.status, wire::grpc::http_status_of)
    }

    /// The framing towards a client that knows chunks.
    fn framing(&self) -> OutFraming {
        let status = self.head.status;
        match (self.head.body, self.head.declared_length) {
            (BodyLength::None, _) if matches!(status, 101 | 204) => OutFraming::None,
            // The length of the body that is not sent (HEAD, 304).
            (BodyLength::None, Some(length)) => OutFraming::Length(length),
            (BodyLength::None, None) if status == 304 || self.request_kind == RequestKind::Head => OutFraming::None,
            (BodyLength::None, None) => OutFraming::Length(0),
            (BodyLength::Length(length), _) => OutFraming::Length(length),
            // In HTTP/1.1, chunks mark the end better than a close.
            (BodyLength::Chunked | BodyLength::UntilClose, _) => OutFraming::Chunked,
        }
    }
}

/// The head of a backend's response as the client receives it: adds its edits, and returns its other parts.
pub fn response_head<'a>(context: &ResponseContext<'a>, facts: &dyn Facts, edits: &mut Edits<'a>) -> ClientHead<'a> {
    let backend = context.backend;
    own_headers(context, edits);
    filter::edit_response(context.route, context.target, context.filters, facts, edits);
    let web = context.web.map(|call| web_response(&backend, call, edits));
    let mut framing = web.map_or(backend.framing(), |web| web.framing(backend.framing()));
    // The end of the connection is the end of the body.
    let ends_with_connection = context.client == ClientFraming::Close && framing == OutFraming::Chunked;
    if ends_with_connection {
        framing = OutFraming::None;
    }
    let is_switch = backend.is_switch();
    let parts = ResponseParts {
        status: backend.head.status,
        fields: backend.fields,
        nominates: backend.head.nominates,
        framing,
        upgrade: backend.upgrade.filter(|_| is_switch),
        close: ends_with_connection || (context.is_last && !is_switch),
    };
    ClientHead { parts, web }
}

/// Adds the headers of the gateway, which the route may edit.
fn own_headers<'a>(context: &ResponseContext<'a>, edits: &mut Edits<'a>) {
    if let Some(server) = &context.headers.server {
        edits.set("server", server);
    }
    if context.headers.debug {
        edits.set("x-envoy-upstream-service-time", context.elapsed);
    }
    if context.backend.fields.get("date").is_none() {
        edits.set("date", context.date);
    }
    if let (true, Some(accept)) = (context.backend.is_switch(), context.accept) {
        edits.set_checked("sec-websocket-accept", accept.as_bytes());
    }
    if let Some(cookie) = context.set_cookie {
        edits.append("set-cookie", cookie);
    }
}

/// The translation of a response to a call; sets the content type.
fn web_response(backend: &BackendHead<'_>, call: Call, edits: &mut Edits<'_>) -> WebResponse {
    let content_type = backend.fields.get("content-type").unwrap_or_default();
    let is_alone = backend.head.body == BodyLength::None && backend.fields.get("grpc-status").is_some();
    let has_messages = wire::grpc::is_grpc(content_type) || grpc_web::is_grpc_web(content_type);
    edits.set_checked("content-type", grpc_web::from_grpc(content_type, call.answer));
    if is_alone || (backend.head.status == 200 && has_messages) {
        WebResponse::Messages(call.answer)
    } else {
        WebResponse::Status(wire::grpc::status_of(backend.head.status))
    }
}

impl WebResponse {
    /// The framing of the response, given that of the backend.
    fn framing(self, framing: OutFraming) -> OutFraming {
        match (self, framing) {
            (_, OutFraming::None) => OutFraming::None,
            (Self::Status(_), _) => OutFraming::Length(0),
            // Trailers may make the body longer.
            (Self::Messages(_), OutFraming::Length(1..) | OutFraming::Chunked) => OutFraming::Chunked,
            (Self::Messages(_), OutFraming::Length(0)) => framing,
        }
    }
}

#[cfg(test)]
mod tests;
