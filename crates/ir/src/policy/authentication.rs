//! RequestAuthentication: which tokens are valid (RA-01 to RA-06).

use serde::Serialize;

/// The rules of a workload for tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Authentication {}
