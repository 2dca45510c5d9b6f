//! What applies snapshots: the native data plane; later the server that configures Envoys.

use anyhow::Result;
use dataplane::{BindProblem, DataPlane};
use ir::{Delta, ListenerId, Snapshot};
use std::net::SocketAddr;

/// One way to serve a snapshot. `publisher` calls it on a thread that may block, one call at a time.
pub(crate) trait Applier: Send + Sync + 'static {
    /// Its name in the log and in findings.
    fn name(&self) -> &'static str;

    /// Applies a snapshot. `delta` is the difference from the last one that this applier applied; after an error it names no changes, so
    /// that everything has to be compared.
    fn apply(&self, snapshot: &Snapshot, delta: &Delta) -> Result<Applied>;

    /// Tries again to open listeners; those that are still not open.
    fn retry(&self) -> Vec<BindProblem>;

    /// The listeners that are open, with the addresses that they are bound to.
    fn listening(&self) -> Vec<(ListenerId, SocketAddr)>;
}

/// The result of applying a snapshot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Applied {
    /// The number of the snapshot, one more with each.
    pub(crate) generation: u64,
    /// Listeners that are not open.
    pub(crate) problems: Vec<BindProblem>,
}

impl Applier for DataPlane {
    fn name(&self) -> &'static str {
        "the data plane"
    }

    fn apply(&self, snapshot: &Snapshot, delta: &Delta) -> Result<Applied> {
        let outcome = Self::apply(self, snapshot, delta);
        Ok(Applied { generation: outcome.generation, problems: outcome.problems })
    }

    fn retry(&self) -> Vec<BindProblem> {
        Self::retry(self)
    }

    fn listening(&self) -> Vec<(ListenerId, SocketAddr)> {
        Self::listening(self)
    }
}
