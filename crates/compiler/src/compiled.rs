//! The result of a compilation.

use crate::report::Report;
use std::sync::Arc;

/// What a compilation yields.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// What the gateway must do.
    pub snapshot: Arc<ir::Snapshot>,
    /// What was found out about objects.
    pub report: Report,
    /// What is different from the snapshot before, of the same memo.
    pub delta: ir::Delta,
}
