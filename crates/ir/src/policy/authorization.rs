//! AuthorizationPolicy: which requests and connections are allowed (AP-01 to AP-16).

use serde::Serialize;

/// The rules of a workload for requests and connections.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Authorization {}
