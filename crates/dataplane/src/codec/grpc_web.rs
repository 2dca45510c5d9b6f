//! The response to a gRPC-Web client (S-119): base64 bodies, trailers as a frame of the body, and responses that are not gRPC, which become a
//! gRPC status.

use super::downstream::Downstream;
use super::head::EncodedHead;
use super::receive::Trailers;
use super::reset::ClientReset;
use super::send::SendBuffer;
use routing::WebResponse;
use wire::grpc_web::{self, Encoder, Writing};

/// The octets of a body that become `grpc-message`, if the response is not gRPC.
const MESSAGE_BYTES: usize = 1024;

/// The translation of a response.
pub(crate) enum GrpcWebResponse {
    /// Its messages are forwarded, as base64 if there is an encoder.
    Messages(Option<Encoder>),
    /// It is not gRPC: its status and the start of its body become a gRPC status in the head, which is held back.
    Status { status: u8, head: Option<EncodedHead>, body: Vec<u8> },
}

impl From<WebResponse> for GrpcWebResponse {
    fn from(response: WebResponse) -> Self {
        match response {
            WebResponse::Messages(writing) => Self::Messages((writing == Writing::Text).then(Encoder::default)),
            WebResponse::Status(status) => Self::Status { status, head: None, body: Vec::new() },
        }
    }
}

impl GrpcWebResponse {
    /// Holds the head back if its status depends on the body; whether it does.
    pub(crate) fn hold(&mut self, encode: impl FnOnce() -> EncodedHead) -> bool {
        let Self::Status { head, .. } = self else { return false };
        *head = Some(encode());
        true
    }

    /// Translates a piece of the body; the octets sent for it, or `None` if no more is wanted.
    pub(crate) fn push(&mut self, data: &[u8], send: &mut SendBuffer<'_>) -> Option<usize> {
        match self {
            Self::Messages(None) => {
                send.push(data);
                Some(data.len())
            }
            Self::Messages(Some(encoder)) => {
                let mut text = Vec::with_capacity(data.len() / 3 * 4 + 8);
                encoder.take(data, &mut text);
                send.push(&text);
                Some(text.len())
            }
            Self::Status { body, .. } => {
                let room = MESSAGE_BYTES - body.len();
                body.extend_from_slice(data.get(..room).unwrap_or(data));
                (body.len() < MESSAGE_BYTES).then_some(0)
            }
        }
    }

    /// Sends the end of the body: its trailers, or the held head. Returns the octets of body sent.
    pub(crate) fn end(
        &mut self,
        trailers: &Trailers<'_>,
        down: &mut Downstream,
        send: &mut SendBuffer<'_>,
    ) -> Result<usize, ClientReset> {
        match self {
            Self::Messages(encoder) => {
                let frame = trailers.to_map().as_ref().map(grpc_web::trailers).unwrap_or_default();
                let last = match encoder {
                    Some(encoder) => {
                        let mut last = Vec::new();
                        // The rest of an incomplete message.
                        encoder.finish(&mut last);
                        Encoder::default().take(&frame, &mut last);
                        last
                    }
                    None => frame,
                };
                send.push(&last);
                Ok(last.len())
            }
            Self::Status { status, head, body } => {
                let Some(mut head) = head.take() else { return Ok(0) };
                head.insert("grpc-status", status.to_string());
                let message = wire::grpc::message(body.trim_ascii());
                if !message.is_empty() {
                    head.insert("grpc-message", message);
                }
                down.send_encoded(head, send).map(|()| 0)
            }
        }
    }
}
