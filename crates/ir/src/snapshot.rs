//! The complete configuration of the gateway, resolved and ordered, and the difference from the one before.

use crate::cluster::Clusters;
use crate::{ClusterId, HostPattern, HttpTable, Listener, ListenerId, Map, TableId};
use serde::{Serialize, Serializer};
use std::sync::Arc;

/// Everything the data plane needs. Parts are shared between snapshots and equal by pointer where nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Snapshot {
    /// Listeners by key.
    #[serde(serialize_with = "values")]
    pub listeners: Map<ListenerId, Arc<Listener>>,
    /// Tables of HTTP hosts by key; each belongs to a listener.
    #[serde(serialize_with = "values_by_name")]
    pub tables: Map<TableId, Arc<HttpTable>>,
    /// Clusters that some route names, by name.
    #[serde(serialize_with = "values")]
    pub clusters: Clusters,
}

/// What a compilation changed, for readers that hold the snapshot before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delta {
    /// What is different; `None` when the reader has to compare everything, as after the first compilation.
    pub changes: Option<Changes>,
}

/// The parts that were added, changed or removed; each is looked up in the new snapshot, and absent there if removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Listeners that are added, removed or changed.
    pub listeners: Vec<ListenerId>,
    /// Tables that are added, removed, or changed in more than their hosts.
    pub tables: Vec<TableId>,
    /// Hosts of other tables.
    pub hosts: Vec<(TableId, HostPattern)>,
    /// Clusters.
    pub clusters: Vec<ClusterId>,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.listeners.is_empty() && self.tables.is_empty() && self.hosts.is_empty() && self.clusters.is_empty()
    }
}

fn values<S: Serializer, K: Ord, V: Serialize>(map: &Map<K, Arc<V>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(map.values())
}

fn values_by_name<S: Serializer>(map: &Map<TableId, Arc<HttpTable>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(map.iter())
}
