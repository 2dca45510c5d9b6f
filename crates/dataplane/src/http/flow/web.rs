//! gRPC-Web in a flow (S-119): base64 bodies, trailers as a frame, and responses that are not gRPC, which become a gRPC status.

use super::Failure;
use crate::codec::{ClientReset, Downstream, chunks::put};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use wire::edit::Edits;
use wire::grpc_web::{self, Call, Encoder, Writing};
use wire::h1::{OutFraming, ResponseHead, ResponseParts, Style, write_response_in};

/// The octets of a body that become `grpc-message`, if the response is not gRPC.
const MESSAGE_BYTES: usize = 1024;

/// The translation of a response.
pub(super) enum GrpcWebResponse {
    /// Its messages are forwarded, as base64 if there is an encoder.
    Messages(Option<Encoder>),
    /// It is not gRPC: its status and the start of its body become a gRPC status in the head, which is held back.
    Status { status: u8, head: PendingHead, body: Vec<u8> },
}

/// A head that is held back.
pub(super) enum PendingHead {
    /// There is none yet.
    None,
    /// For HTTP/1, without its last line end.
    Bytes(Vec<u8>),
    /// For a stream of HTTP/2.
    Stream(Response<()>),
}

impl GrpcWebResponse {
    /// The translation of a response to a call; sets the content type in `edits`.
    pub(super) fn new(call: Call, head: &ResponseHead, buffer: &[u8], edits: &mut Edits<'_>) -> Self {
        let fields = head.fields(buffer);
        let content_type = fields.get("content-type").unwrap_or_default();
        let alone = head.body == wire::h1::BodyLength::None && fields.get("grpc-status").is_some();
        let messages = wire::grpc::is_grpc(content_type) || grpc_web::is_grpc_web(content_type);
        edits.set_checked("content-type", grpc_web::from_grpc(content_type, call.answer));
        if alone || (head.status == 200 && messages) {
            Self::Messages((call.answer == Writing::Text).then(Encoder::default))
        } else {
            Self::Status { status: wire::grpc::status_of(head.status), head: PendingHead::None, body: Vec::new() }
        }
    }

    /// The framing of the response, given that of the backend.
    pub(super) fn framing(&self, framing: OutFraming) -> OutFraming {
        match (self, framing) {
            (_, OutFraming::None) => OutFraming::None,
            (Self::Status { .. }, _) => OutFraming::Length(0),
            // Trailers may make the body longer.
            (Self::Messages(_), OutFraming::Length(1..) | OutFraming::Chunked) => OutFraming::Chunked,
            (Self::Messages(_), OutFraming::Length(0)) => framing,
        }
    }

    /// Holds the head back if its status depends on the body; whether it does.
    pub(super) fn hold(
        &mut self,
        (down, style): (&Downstream, Style),
        parts: &ResponseParts<'_>,
        edits: &Edits<'_>,
    ) -> bool {
        let Self::Status { head, .. } = self else { return false };
        *head = match down {
            Downstream::H1(_) => {
                let mut bytes = Vec::with_capacity(512);
                write_response_in(&mut bytes, parts, edits, style);
                bytes.truncate(bytes.len().saturating_sub(2));
                PendingHead::Bytes(bytes)
            }
            Downstream::H2(_) => PendingHead::Stream(wire::h2::response(parts, edits)),
        };
        true
    }

    /// Translates a piece of the body; the octets written for it, or `None` if no more is wanted.
    pub(super) fn push(&mut self, data: &[u8], chunked: bool, out: &mut Vec<u8>) -> Option<usize> {
        match self {
            Self::Messages(None) => {
                put(out, data, chunked);
                Some(data.len())
            }
            Self::Messages(Some(encoder)) => {
                let mut text = Vec::with_capacity(data.len() / 3 * 4 + 8);
                encoder.take(data, &mut text);
                put(out, &text, chunked);
                Some(text.len())
            }
            Self::Status { body, .. } => {
                let room = MESSAGE_BYTES - body.len();
                body.extend_from_slice(data.get(..room).unwrap_or(data));
                (body.len() < MESSAGE_BYTES).then_some(0)
            }
        }
    }

    /// Writes the end of the body: its trailers, or the held head. Returns the octets of body written.
    pub(super) fn end(
        &mut self,
        trailers: Option<&HeaderMap>,
        down: &mut Downstream,
        chunked: bool,
        out: &mut Vec<u8>,
    ) -> Result<usize, Failure> {
        match self {
            Self::Messages(encoder) => {
                let frame = trailers.map(grpc_web::trailers).unwrap_or_default();
                let mut last = Vec::new();
                match encoder {
                    Some(encoder) => {
                        // The rest of an incomplete message.
                        encoder.finish(&mut last);
                        Encoder::default().take(&frame, &mut last);
                    }
                    None => last = frame,
                }
                put(out, &last, chunked);
                Ok(last.len())
            }
            Self::Status { status, head, body } => {
                send_status(*status, std::mem::replace(head, PendingHead::None), body, down, out)?;
                Ok(0)
            }
        }
    }
}

/// Sends a held head with its gRPC status.
fn send_status(
    status: u8,
    head: PendingHead,
    body: &[u8],
    down: &mut Downstream,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let message = wire::grpc::message(body.trim_ascii());
    match (head, down) {
        (PendingHead::Bytes(head), Downstream::H1(_)) => {
            out.extend_from_slice(&head);
            out.extend_from_slice(format!("grpc-status: {status}\r\n").as_bytes());
            if !message.is_empty() {
                out.extend_from_slice(format!("grpc-message: {message}\r\n").as_bytes());
            }
            out.extend_from_slice(b"\r\n");
            Ok(())
        }
        (PendingHead::Stream(mut head), Downstream::H2(stream)) => {
            head.headers_mut().insert("grpc-status", HeaderValue::from(u16::from(status)));
            if let Some(message) =
                HeaderValue::from_maybe_shared(Bytes::from(message)).ok().filter(|one| !one.is_empty())
            {
                head.headers_mut().insert("grpc-message", message);
            }
            stream.send_head(head, true).map_err(|ClientReset| Failure::ClientClosed)
        }
        _ => Ok(()),
    }
}

/// Appends data in the client's encoding; the octets written, or `None` if no more is wanted.
pub(super) fn put_data(
    out: &mut Vec<u8>,
    data: &[u8],
    web: &mut Option<GrpcWebResponse>,
    chunked: bool,
) -> Option<usize> {
    match web {
        Some(web) => web.push(data, chunked, out),
        None => {
            put(out, data, chunked);
            Some(data.len())
        }
    }
}
