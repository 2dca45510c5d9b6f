//! The policies of a workload, as workers see them. Each version of a table and each TCP service has those that came with it, so that a request or
//! connection never sees the routes of one configuration and the policies of another.

use super::external_gate::ExternalGate;
use crate::keys::TokenIssuers;
use routing::authorization::Authorizer;
use std::sync::Arc;

/// What is demanded of requests and connections.
#[derive(Debug)]
pub(crate) struct Policies {
    /// The external authorization.
    pub(crate) ext_authz: Option<Arc<ExternalGate>>,
    /// The issuers whose tokens are accepted.
    pub(crate) issuers: Option<Arc<TokenIssuers>>,
    /// The AuthorizationPolicies.
    pub(crate) authorizer: Option<Arc<Authorizer>>,
}

impl Policies {
    /// The policies; `None` if nothing is demanded, so that requests do not look.
    pub(crate) fn shared(self) -> Option<Arc<Self>> {
        let is_any = self.ext_authz.is_some() || self.issuers.is_some() || self.authorizer.is_some();
        is_any.then(|| Arc::new(self))
    }
}
