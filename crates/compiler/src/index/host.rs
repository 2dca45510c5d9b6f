//! What the index holds of one host. There may be a hundred thousand of these, most of them with one of each.

use ir::ClusterId;
use resources::key::Key;
use std::sync::Arc;

/// Everything that goes by one host.
#[derive(Debug, Default)]
pub(crate) struct HostEntry {
    /// ServiceEntries that have it.
    pub(crate) entries: SortedKeys,
    /// DestinationRules for just this host.
    pub(crate) rules: SortedKeys,
    /// VirtualServices with routes to it.
    pub(crate) users: SortedKeys,
    /// Clusters of it that routes go to.
    pub(crate) clusters: Vec<ClusterUse>,
}

/// A cluster and how many compiled routes go to it.
#[derive(Debug)]
pub(crate) struct ClusterUse {
    pub(crate) port: u16,
    pub(crate) subset: Arc<str>,
    pub(crate) id: ClusterId,
    pub(crate) uses: u32,
}

impl HostEntry {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.rules.is_empty() && self.users.is_empty() && self.clusters.is_empty()
    }

    /// Whether some route goes to it.
    pub(crate) fn has_clusters(&self) -> bool {
        !self.clusters.is_empty()
    }

    /// The cluster of a port and subset.
    pub(crate) fn cluster(&self, port: u16, subset: &str) -> Option<&ClusterUse> {
        self.clusters.iter().find(|used| used.port == port && &*used.subset == subset)
    }
}

/// Keys in their order, without repetition.
#[derive(Debug, Default)]
pub(crate) struct SortedKeys(Vec<Key>);

impl SortedKeys {
    pub(crate) fn as_slice(&self) -> &[Key] {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn insert(&mut self, key: &Key) {
        if let Err(at) = self.0.binary_search(key) {
            if self.0.is_empty() {
                self.0.reserve_exact(1);
            }
            self.0.insert(at, key.clone());
        }
    }

    pub(crate) fn remove(&mut self, key: &Key) {
        if let Ok(at) = self.0.binary_search(key) {
            self.0.remove(at);
        }
    }

    pub(crate) fn set(&mut self, key: &Key, present: bool) {
        if present { self.insert(key) } else { self.remove(key) }
    }
}
