//! Envoy's gRPC service for external authorization, `envoy.service.auth.v3.Authorization`: its messages, as far as they are used, and their
//! frames. Unknown fields are skipped.

mod messages;

pub use messages::{
    Address, AttributeContext, CheckRequest, CheckResponse, DeniedResponse, HeaderValue, HeaderValueOption,
    HttpRequest, HttpResponse, HttpStatus, OkResponse, Peer, QueryParameter, RequestAttributes, SocketAddress, Status,
    Timestamp, TlsSession,
};

use prost::Message;

/// The path of the method.
pub const METHOD: &str = "/envoy.service.auth.v3.Authorization/Check";
/// What is before a message of gRPC: whether it is compressed, and its length.
const PREFIX: usize = 5;

impl CheckRequest {
    /// The message with its prefix, as a body of gRPC has it.
    pub fn to_frame(&self) -> Vec<u8> {
        let length = self.encoded_len();
        let mut frame = Vec::with_capacity(PREFIX + length);
        frame.push(0);
        frame.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        frame.extend_from_slice(&self.encode_to_vec());
        frame
    }
}

impl CheckResponse {
    /// Reads a body of gRPC, which is one message without compression; `None` if it is anything else.
    pub fn from_frame(body: &[u8]) -> Option<Self> {
        let (prefix, message) = body.split_at_checked(PREFIX)?;
        let [0, length @ ..] = prefix else { return None };
        let length = u32::from_be_bytes(length.try_into().ok()?);
        if message.len() as u64 != u64::from(length) {
            return None;
        }
        Self::decode(message).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_one_whole_message_without_compression() {
        let empty = CheckResponse::default();
        assert_eq!(CheckResponse::from_frame(&[0, 0, 0, 0, 0]), Some(empty.clone()));
        // Field 1000 is not known.
        assert_eq!(CheckResponse::from_frame(&[0, 0, 0, 0, 3, 0xc0, 0x3e, 1]), Some(empty));
        for bad in
            [&[][..], &[0, 0, 0, 0], &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 1], &[0, 0, 0, 0, 0, 0], &[0, 0, 0, 0, 1, 9]]
        {
            assert_eq!(CheckResponse::from_frame(bad), None, "{bad:?}");
        }
    }

    /// The numbers of the fields are those of Envoy's definition; the test with a server built on it holds the rest.
    #[test]
    fn a_request_has_the_fields_of_the_definition() {
        let request = CheckRequest {
            attributes: Some(AttributeContext {
                request: Some(RequestAttributes {
                    http: Some(HttpRequest { method: "GET".into(), size: -1, ..HttpRequest::default() }),
                    ..RequestAttributes::default()
                }),
                ..AttributeContext::default()
            }),
        };
        let frame = request.to_frame();
        let http = [0x12, 3, b'G', b'E', b'T', 0x48, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        let wanted = [&[0, 0, 0, 0, 22, 0x0a, 20, 0x22, 18, 0x12, 16][..], &http].concat();
        assert_eq!(frame, wanted);
    }
}
