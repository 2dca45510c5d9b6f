//! What has to be looked at again in one compilation.

use ir::{ClusterId, HostPattern, ListenerId, TableId};
use resources::key::{Key, ObjectRef};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Tables and hosts whose routes changed, with the VirtualService that changed them.
pub(super) type Touched = BTreeMap<Arc<TableId>, Vec<(HostPattern, Key)>>;

/// What has to be looked at again.
#[derive(Default)]
pub(super) struct Dirty {
    /// The listeners.
    pub(super) gateways: bool,
    /// Names of Gateways that came, went or changed.
    pub(super) gateway_names: BTreeSet<Arc<str>>,
    /// Hosts behind which there may be something else now: ports, visibility, subsets.
    pub(super) hosts: BTreeSet<Arc<str>>,
    /// Hosts whose endpoints alone may be different.
    pub(super) endpoints: BTreeSet<Arc<str>>,
    pub(super) virtual_services: BTreeSet<Key>,
    /// Listeners that have to be put together anew.
    pub(super) listeners: BTreeSet<Arc<ListenerId>>,
    /// Gateways of which something else may be said.
    pub(super) gateway_notes: BTreeSet<Key>,
    /// Tables and hosts whose routes changed.
    pub(super) tables: Touched,
    /// Clusters that routes began or ceased to go to.
    pub(super) clusters: Vec<ClusterId>,
    /// Policies that came, went or changed.
    pub(super) policies: BTreeSet<ObjectRef>,
    /// DestinationRules of which something else may be said, for what was found while clusters were built.
    pub(super) rules: BTreeSet<Key>,
    /// Whether everything is new, so that all objects are remarked on.
    pub(super) all: bool,
}
