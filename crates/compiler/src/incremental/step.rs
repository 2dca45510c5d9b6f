//! The result of one compilation, which its steps fill.

use crate::compiled::Work;
use ir::{Changes, ClusterId};

/// What is different in the snapshot, and what was done to find out.
#[derive(Default)]
pub(super) struct Step {
    pub(super) changes: Changes,
    pub(super) work: Work,
}

/// The clusters that something went to before it was compiled anew, and those that it goes to now; each as often as it goes there.
#[derive(Debug, Default)]
pub(super) struct ClusterUses {
    pub(super) before: Vec<ClusterId>,
    pub(super) now: Vec<ClusterId>,
}

impl Step {
    /// With every change once and in its order.
    pub(super) fn sorted(mut self) -> Self {
        let Changes { listeners, tables, hosts, clusters } = &mut self.changes;
        listeners.sort_unstable();
        listeners.dedup();
        tables.sort_unstable();
        tables.dedup();
        hosts.sort_unstable();
        hosts.dedup();
        clusters.sort_unstable();
        clusters.dedup();
        self
    }
}
