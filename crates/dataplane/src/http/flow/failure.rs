//! What can go wrong with an attempt, and how clients and the log are told.

use crate::reasons::Reject;
use h2::Reason;
use std::io::{self, ErrorKind};

/// Why an exchange did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Failure {
    /// The backend closed, before or while it answered.
    UpstreamClosed,
    /// The backend said that it has not begun with the request.
    UpstreamUnprocessed,
    /// The backend's answer is malformed.
    UpstreamProtocol,
    /// The head of the backend's answer, or its trailers, began and take too long.
    HeadTimeout,
    /// The route's time is over.
    Timeout,
    /// The attempt's time is over.
    TryTimeout,
    /// An answer has come that is not passed on while there are attempts left.
    Answer,
    /// The client closed.
    ClientClosed,
    /// The client does not take its answer.
    ClientStuck,
    /// The client's body is malformed.
    ClientBody,
    /// The trailers of a stream of HTTP/2 are malformed.
    ClientTrailers,
    /// The client takes nothing, and its backend in HTTP/2 has sent ahead what there was room for.
    ClientSlow,
    /// The client's body is not the base64 that it is to be.
    NotBase64,
    /// The client's body does not come.
    BodyTimeout,
    /// The request does not come as a whole in its time.
    RequestTimeout,
    /// Nothing has happened for too long.
    StreamIdle,
}

impl Failure {
    /// What an error of a stream to a backend means.
    pub(super) fn of_stream(error: &h2::Error) -> Self {
        match () {
            () if upstream::is_unprocessed(error) => Self::UpstreamUnprocessed,
            () if error.is_library() => Self::UpstreamProtocol,
            // What [`upstream::Watched`] found in the frames.
            () => match error.get_io().map(io::Error::kind) {
                Some(ErrorKind::InvalidData) => Self::UpstreamProtocol,
                Some(ErrorKind::TimedOut) => Self::HeadTimeout,
                _ => Self::UpstreamClosed,
            },
        }
    }

    /// The answer that tells it, where there is somebody to tell.
    pub(in crate::http) fn reject(self) -> Option<Reject> {
        match self {
            Self::UpstreamClosed | Self::UpstreamUnprocessed => Some(Reject::UpstreamClosed),
            Self::UpstreamProtocol => Some(Reject::UpstreamProtocol),
            Self::HeadTimeout => Some(Reject::ResponseHeadTimeout),
            Self::Timeout => Some(Reject::Timeout),
            Self::TryTimeout => Some(Reject::TryTimeout),
            // There was none to pass on after all.
            Self::Answer => Some(Reject::UpstreamClosed),
            Self::ClientClosed | Self::ClientStuck | Self::ClientTrailers | Self::ClientSlow => None,
            Self::ClientBody => Some(Reject::ClientBody),
            Self::NotBase64 => Some(Reject::NotBase64),
            Self::BodyTimeout => Some(Reject::BodyTimeout),
            Self::RequestTimeout => Some(Reject::RequestTimeout),
            Self::StreamIdle => Some(Reject::StreamIdle),
        }
    }

    /// What a client of HTTP/2 is told by the reset of its stream.
    pub(in crate::http) fn reset(self) -> Reason {
        match self {
            Self::ClientTrailers => Reason::PROTOCOL_ERROR,
            Self::ClientSlow => Reason::ENHANCE_YOUR_CALM,
            _ => Reason::INTERNAL_ERROR,
        }
    }

    /// What a client of gRPC is told of an answer that had begun.
    pub(in crate::http) fn message(self) -> &'static str {
        match self {
            Self::UpstreamClosed | Self::UpstreamUnprocessed | Self::Answer => "the answer of the backend broke off",
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

    /// What the log tells of an answer that had begun.
    pub(in crate::http) fn detail(self) -> &'static str {
        match self {
            Self::ClientClosed => "downstream_remote_disconnect",
            Self::ClientStuck => "stream_idle_timeout",
            Self::ClientTrailers => "http2.violation.of.messaging.rule",
            Self::ClientSlow => "http2.response_budget_exceeded",
            Self::UpstreamClosed | Self::UpstreamUnprocessed | Self::Answer => {
                "upstream_reset_after_response_started{connection_termination}"
            }
            Self::UpstreamProtocol => "upstream_reset_after_response_started{protocol_error}",
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
