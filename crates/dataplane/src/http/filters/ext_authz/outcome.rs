//! What becomes of a request that a service is asked about.

use crate::http::filters::body::BodyFailure;
use crate::reasons::Reject;
use routing::ext_authz::Denial;

/// What becomes of a request.
pub(in crate::http::filters) enum CheckOutcome {
    /// The request continues; its head may have changed.
    Pass,
    /// The client gets this response.
    Deny(Box<Denial>),
    /// The body could not be received: the client gets this response.
    Reject(Reject),
    /// The client has reset its connection or stream.
    Abandon,
}

impl From<BodyFailure> for CheckOutcome {
    fn from(failure: BodyFailure) -> Self {
        match failure {
            BodyFailure::Reject(reject) => Self::Reject(reject),
            BodyFailure::Abandon => Self::Abandon,
        }
    }
}
