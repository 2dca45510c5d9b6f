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
    /// How much was done anew.
    pub work: Work,
}

/// How much one compilation did anew, whether or not it came out different.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Gateways that were planned.
    pub gateways: usize,
    /// Addresses whose servers were merged.
    pub addresses: usize,
    /// Objects with routes that were bound, their routes compiled.
    pub sources: usize,
    /// Listeners that were put together.
    pub listeners: usize,
    /// Hosts of tables whose routes were put together.
    pub hosts: usize,
    /// Clusters that were built.
    pub clusters: usize,
    /// Policies that were compiled.
    pub policies: usize,
}
