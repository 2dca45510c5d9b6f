//! The policies of a workload, as workers see them. Each version of a table and each TCP service has those that came with it, so that a request or
//! connection never sees the routes of one configuration and the policies of another.

use super::external_gate::ExternalGate;
use crate::keys::TokenIssuers;
use routing::authorization::Authorizer;
use std::sync::Arc;

/// What is demanded of requests and connections.
#[derive(Debug)]
pub(crate) struct Policies {
    /// What they were built from.
    config: ir::policy::Policies,
    /// The external authorization.
    pub(crate) ext_authz: Option<Arc<ExternalGate>>,
    /// The issuers whose tokens are accepted.
    pub(crate) issuers: Option<Arc<TokenIssuers>>,
    /// The AuthorizationPolicies.
    pub(crate) authorizer: Option<Arc<Authorizer>>,
}

impl Policies {
    /// The policies of a configuration.
    pub(crate) fn new(
        config: &ir::policy::Policies,
        ext_authz: Option<Arc<ExternalGate>>,
        issuers: Option<Arc<TokenIssuers>>,
        authorizer: Option<Arc<Authorizer>>,
    ) -> Self {
        Self { config: config.clone(), ext_authz, issuers, authorizer }
    }

    /// Whether they were built from this configuration; parts that did not change are shared by snapshots.
    pub(crate) fn are_of(&self, config: &ir::policy::Policies) -> bool {
        fn is_same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
            match (one, other) {
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            }
        }
        is_same(self.config.ext_authz.as_ref(), config.ext_authz.as_ref())
            && is_same(self.config.authentication.as_ref(), config.authentication.as_ref())
            && is_same(self.config.authorization.as_ref(), config.authorization.as_ref())
    }

    /// The policies; `None` if nothing is demanded, so that requests do not look.
    pub(crate) fn shared(self) -> Option<Arc<Self>> {
        let is_any = self.ext_authz.is_some() || self.issuers.is_some() || self.authorizer.is_some();
        is_any.then(|| Arc::new(self))
    }
}
