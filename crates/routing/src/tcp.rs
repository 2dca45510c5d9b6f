//! TCP routes: chooses one of a route's clusters by weight (VS-65).

use crate::route::{Slots, TargetEntry, choose};
use ir::{TargetCluster, TcpRoute};
use std::sync::Arc;

/// A TCP route with the slots of its clusters.
#[derive(Debug)]
pub struct TcpEntry {
    /// The route.
    pub config: Arc<TcpRoute>,
    /// One for each of its targets, in their order.
    pub targets: Box<[TargetEntry]>,
}

impl TcpEntry {
    /// Builds a route.
    pub fn build(route: &Arc<TcpRoute>, slots: Slots<'_>) -> Self {
        let targets = route.targets.iter().map(|target| (&target.cluster, target.weight));
        Self { config: Arc::clone(route), targets: TargetEntry::list(targets, slots) }
    }

    /// The number of a target. `random` is asked when there are several.
    pub fn choose(&self, random: impl FnOnce() -> u64) -> usize {
        choose(&self.targets, random)
    }

    /// The cluster that a target names, known or not.
    pub fn cluster(&self, target: usize) -> Option<&TargetCluster> {
        self.config.targets.get(target).map(|target| &target.cluster)
    }
}
