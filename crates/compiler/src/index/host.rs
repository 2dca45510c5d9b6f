//! What the index holds of one host. There may be a hundred thousand of these, most of them with one of each.

use crate::names::parts;
use ir::ClusterId;
use resources::few::{Few, Sorted};
use resources::key::{Key, ObjectRef};
use std::sync::Arc;

/// Everything that goes by one host.
#[derive(Debug, Default)]
pub(crate) struct HostEntry {
    /// ServiceEntries that have it.
    pub(crate) entries: Sorted<Key>,
    /// DestinationRules for just this host.
    rules: Option<Box<Sorted<Key>>>,
    /// Objects with routes to it.
    pub(crate) users: Sorted<Arc<ObjectRef>>,
    /// Clusters of it that routes go to.
    clusters: Few<ClusterUse>,
}

/// A cluster and how many compiled routes go to it.
#[derive(Debug)]
struct ClusterUse {
    id: ClusterId,
    uses: u32,
}

impl HostEntry {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.rules().is_empty() && self.users.is_empty() && self.clusters.is_empty()
    }

    /// DestinationRules for just this host.
    pub(crate) fn rules(&self) -> &[Key] {
        self.rules.as_deref().map_or(&[], Sorted::as_slice)
    }

    pub(crate) fn set_rule(&mut self, key: &Key, present: bool) {
        let rules = self.rules.get_or_insert_default();
        rules.set(key, present);
        if rules.is_empty() {
            self.rules = None;
        }
    }

    /// The clusters that something goes to.
    pub(crate) fn clusters(&self) -> impl Iterator<Item = &ClusterId> {
        self.clusters.as_slice().iter().map(|used| &used.id)
    }

    /// Whether some route goes to it, and not only clients of a forward proxy.
    pub(crate) fn has_routed_clusters(&self) -> bool {
        self.clusters().any(|id| !id.is_forward())
    }

    /// Whether some route goes to it, or clients of a forward proxy may.
    pub(crate) fn has_clusters(&self) -> bool {
        !self.clusters.is_empty()
    }

    /// Whether some route goes to the cluster.
    pub(crate) fn has_cluster(&self, id: &ClusterId) -> bool {
        self.clusters().any(|used| used == id)
    }

    /// The cluster that routes have for a port and subset; those of forward proxies are others.
    pub(crate) fn cluster(&self, port: u16, subset: &str) -> Option<&ClusterId> {
        let is_it = |id: &&ClusterId| parts(id).is_some_and(|(of, named, _)| of == port && named == subset);
        self.clusters().filter(|id| !id.is_forward()).find(is_it)
    }

    /// Counts one more use of a cluster; whether it is the first.
    pub(crate) fn count_up(&mut self, id: &ClusterId) -> bool {
        if let Some(used) = self.clusters.as_mut_slice().iter_mut().find(|used| used.id == *id) {
            used.uses += 1;
            return false;
        }
        self.clusters.insert(usize::MAX, ClusterUse { id: id.clone(), uses: 1 });
        true
    }

    /// Counts one use of a cluster less; whether it was the last.
    pub(crate) fn count_down(&mut self, id: &ClusterId) -> bool {
        let Some(at) = self.clusters().position(|used| used == id) else { return false };
        let Some(used) = self.clusters.as_mut_slice().get_mut(at) else { return false };
        used.uses = used.uses.saturating_sub(1);
        let is_last = used.uses == 0;
        if is_last {
            self.clusters.remove(at);
        }
        is_last
    }
}
