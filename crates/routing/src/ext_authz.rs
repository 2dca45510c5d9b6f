//! External authorization (AP-13): the check that a service is asked for, and what its response means. Nothing here waits; the data plane sends
//! what [`grpc::check`] or [`http::check`] makes, and gives the response to the function beside it.

mod changes;
pub mod grpc;
pub mod http;
mod request;

pub use changes::{Changes, HeaderAction, HeaderChange};
pub use request::{CheckedBody, CheckedConnection, CheckedRequest};

use text::{FieldValue, HeaderName};

/// The detail of a request or connection that is denied because no service can be asked, as Istio has it.
pub const DENY_ALL: &str = "rbac_access_denied_matched_policy[default-deny-all-due-to-bad-CUSTOM-action]";
/// The header that tells a service whether it got the whole body.
const PARTIAL_BODY: &str = "x-envoy-auth-partial-body";
/// The status of a denying response that has none.
const FORBIDDEN: u16 = 403;

/// The decision of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckVerdict {
    /// The request passes, with changes.
    Allow(Box<Changes>),
    /// The client gets this response.
    Deny(Box<Denial>),
    /// There is no decision: `failOpen` and `statusOnError` say what follows, unless the service has a response of its own for that.
    Error(Option<Box<Denial>>),
}

/// A response to the client instead of that of a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The status; `None` is that of the settings.
    pub status: Option<u16>,
    /// Headers, in their order; several may have one name.
    pub headers: Vec<(HeaderName, FieldValue<'static>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Denial {
    /// A status that a response can have.
    fn valid_status(status: i32) -> Option<u16> {
        u16::try_from(status).ok().filter(|status| (200..600).contains(status))
    }
}

#[cfg(test)]
mod tests;
