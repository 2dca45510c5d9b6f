//! AuthorizationPolicy with the action `CUSTOM`: an external service decides (AP-13).

use serde::Serialize;

/// The external authorization of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ExternalAuthorization {}
