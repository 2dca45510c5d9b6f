//! gRPC-GrpcWebResponse on its way through a flow (S-119): bodies that are text, trailers that become a frame, and answers that are no gRPC, which
//! are told as a status.

use super::Failure;
use super::pieces::put;
use crate::http::downstream::{ClientReset, Downstream};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use wire::edit::Edits;
use wire::grpc_web::{self, Call, Encoder, Writing};
use wire::h1::{OutFraming, ResponseHead, ResponseParts, Style, write_response_in};

/// How much of an answer that is no gRPC is told as `grpc-message`.
const MESSAGE_BYTES: usize = 1024;

/// What is made of an answer.
pub(super) enum GrpcWebResponse {
    /// Its messages are passed on, as text if there is an encoder.
    Messages(Option<Encoder>),
    /// It is no gRPC: its status and the beginning of its body are told in a head that waits for them.
    Status { status: u8, head: PendingHead, body: Vec<u8> },
}

/// A head that is not sent yet.
pub(super) enum PendingHead {
    /// None was made yet.
    None,
    /// For HTTP/1, without its last line end.
    Bytes(Vec<u8>),
    /// For a stream of HTTP/2.
    Stream(Response<()>),
}

impl GrpcWebResponse {
    /// For an answer to a call; `edits` get the content type.
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

    /// The framing of the answer, in place of what the backend's would be.
    pub(super) fn framing(&self, framing: OutFraming) -> OutFraming {
        match (self, framing) {
            (_, OutFraming::None) => OutFraming::None,
            (Self::Status { .. }, _) => OutFraming::Length(0),
            // There may be trailers, which make it longer.
            (Self::Messages(_), OutFraming::Length(1..) | OutFraming::Chunked) => OutFraming::Chunked,
            (Self::Messages(_), OutFraming::Length(0)) => framing,
        }
    }

    /// Keeps a head back, where it is to tell what the body says; whether it is.
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

    /// Takes a piece of the body; how much is put for it, or `None` when no more of it is wanted.
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

    /// Puts the end of the body: its trailers, or the head that waited for it. How much of a body is put.
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
                        // What is left of a message that did not come to its end.
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

/// Sends a head that waited, with what there is to tell.
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

/// Appends data as the client is to have it; how much that is, or `None` when no more is wanted.
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
