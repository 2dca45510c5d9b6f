//! What a workload demands of every request or connection before it is routed (S-110): who the client is, and what it may do.
//!
//! Policies are resolved by `compiler`, one set for each workload, and shared by all listeners of the workload.

mod authentication;
mod authorization;
mod external;

pub use authentication::{Authentication, ClaimHeader, KeySource, Provider, RemoteKeys, TokenHeader};
pub use authorization::{
    ActionRules, Authorization, AuthorizationRule, Condition, Demand, HeaderOf, IdentityMatch, InvalidPathTemplate,
    PathMatch, PathTemplate, RequestPrincipal, RuleList, TextMatch,
};
pub use external::{CheckBody, CheckProtocol, ExternalAuthorization, ExternalCheck, HttpCheck, NamePattern};

use serde::Serialize;
use std::sync::Arc;

/// The policies of the workload of a listener, in no order of their own; `None` demands nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Policies {
    /// AuthorizationPolicy with the actions `ALLOW`, `DENY` and `AUDIT` (AP-02).
    pub authorization: Option<Arc<Authorization>>,
    /// RequestAuthentication (RA-01).
    pub authentication: Option<Arc<Authentication>>,
    /// AuthorizationPolicy with the action `CUSTOM` (AP-13).
    pub ext_authz: Option<Arc<ExternalAuthorization>>,
}
