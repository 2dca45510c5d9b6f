//! The failures of an attempt, and how each is reported to clients and the log.

use crate::codec::{ClientReset, ReceiveError, ResetCode};
use crate::reasons::Reject;

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Failure {
    /// The backend closed before the head of its response, or reset its connection or stream.
    UpstreamClosed,
    /// The backend closed within the body of its response.
    UpstreamIncomplete,
    /// The backend refused the request without processing it.
    UpstreamUnprocessed,
    /// The response is malformed.
    UpstreamProtocol,
    /// The head or the trailers of the response began, and did not end in time.
    HeadTimeout,
    /// The route's timeout ended.
    Timeout,
    /// The per-try timeout ended.
    TryTimeout,
    /// The response is retriable and was dropped, since a retry is left.
    RetriableResponse,
    /// The client closed.
    ClientClosed,
    /// The client does not read its response.
    ClientStuck,
    /// The client's body is malformed.
    ClientBody,
    /// The trailers of a stream of HTTP/2 are malformed.
    ClientTrailers,
    /// The client does not read, and the budget for what its HTTP/2 backend may send ahead is used up.
    ClientSlow,
    /// The body has to be base64, and is not.
    NotBase64,
    /// The end of the request was not received, and the stream was idle for too long: no octet of the body came from the client, or the backend
    /// read none.
    BodyTimeout,
    /// The end of the request did not arrive in time.
    RequestTimeout,
    /// The request was received, and the stream was idle for too long.
    StreamIdle,
}

impl From<ClientReset> for Failure {
    fn from(_: ClientReset) -> Self {
        Self::ClientClosed
    }
}

impl Failure {
    /// Why nothing more is received from the backend.
    pub(super) fn of_backend(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Closed => Self::UpstreamClosed,
            ReceiveError::Incomplete => Self::UpstreamIncomplete,
            ReceiveError::Unprocessed => Self::UpstreamUnprocessed,
            ReceiveError::Malformed | ReceiveError::MalformedTrailers => Self::UpstreamProtocol,
            ReceiveError::TimedOut => Self::HeadTimeout,
        }
    }

    /// Why nothing more is received from the client.
    pub(super) fn of_client(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Closed | ReceiveError::Incomplete | ReceiveError::Unprocessed | ReceiveError::TimedOut => {
                Self::ClientClosed
            }
            ReceiveError::Malformed => Self::ClientBody,
            ReceiveError::MalformedTrailers => Self::ClientTrailers,
        }
    }

    /// The local response for it; `None` if the client cannot receive one.
    pub(in crate::http) fn reject(self) -> Option<Reject> {
        match self {
            Self::UpstreamClosed | Self::UpstreamUnprocessed => Some(Reject::UpstreamClosed),
            // As in Envoy, whose codec finds the body incomplete.
            Self::UpstreamProtocol | Self::UpstreamIncomplete => Some(Reject::UpstreamProtocol),
            Self::HeadTimeout => Some(Reject::ResponseHeadTimeout),
            Self::Timeout => Some(Reject::Timeout),
            Self::TryTimeout => Some(Reject::TryTimeout),
            // Without another attempt after all.
            Self::RetriableResponse => Some(Reject::UpstreamClosed),
            Self::ClientClosed | Self::ClientStuck | Self::ClientTrailers | Self::ClientSlow => None,
            Self::ClientBody => Some(Reject::ClientBody),
            Self::NotBase64 => Some(Reject::NotBase64),
            Self::BodyTimeout => Some(Reject::BodyTimeout),
            Self::RequestTimeout => Some(Reject::RequestTimeout),
            Self::StreamIdle => Some(Reject::StreamIdle),
        }
    }

    /// The code of the reset for a client that receives a stream.
    pub(in crate::http) fn reset(self) -> ResetCode {
        match self {
            Self::ClientTrailers => ResetCode::Protocol,
            Self::ClientSlow => ResetCode::ExcessiveLoad,
            _ => ResetCode::Internal,
        }
    }

    /// The `grpc-message` that ends a response which had begun.
    pub(in crate::http) fn message(self) -> &'static str {
        match self {
            Self::UpstreamClosed | Self::UpstreamIncomplete | Self::UpstreamUnprocessed | Self::RetriableResponse => {
                "the answer of the backend broke off"
            }
            Self::UpstreamProtocol => "the answer of the backend is malformed",
            Self::HeadTimeout
            | Self::Timeout
            | Self::TryTimeout
            | Self::BodyTimeout
            | Self::RequestTimeout
            | Self::StreamIdle
            | Self::ClientBody
            | Self::NotBase64 => self.reject().map_or("", |reject| reject.reason().body),
            Self::ClientClosed | Self::ClientStuck | Self::ClientTrailers | Self::ClientSlow => "",
        }
    }

    /// The detail in the log for a response which had begun.
    pub(in crate::http) fn detail(self) -> &'static str {
        match self {
            Self::ClientClosed => "downstream_remote_disconnect",
            Self::ClientStuck => "stream_idle_timeout",
            Self::ClientTrailers => "http2.violation.of.messaging.rule",
            Self::ClientSlow => "http2.response_budget_exceeded",
            Self::UpstreamClosed | Self::UpstreamUnprocessed | Self::RetriableResponse => {
                "upstream_reset_after_response_started{connection_termination}"
            }
            Self::UpstreamProtocol | Self::UpstreamIncomplete => {
                "upstream_reset_after_response_started{protocol_error}"
            }
            Self::HeadTimeout
            | Self::Timeout
            | Self::TryTimeout
            | Self::ClientBody
            | Self::NotBase64
            | Self::BodyTimeout
            | Self::RequestTimeout
            | Self::StreamIdle => self.reject().map_or("", |reject| reject.reason().detail),
        }
    }
}
