//! What the last compilation found; the steps in the modules beside this one bring it up to date.

use super::cluster_notes::ClusterNotes;
use crate::binding::Bound;
use crate::credentials::Used;
use crate::fast::FastMap;
use crate::frontends::istio::gateway::Plans;
use crate::frontends::istio::l4::L4Binding;
use crate::index::Index;
use crate::report::{Notes, Report};
use crate::settings::Settings;
use ir::{ClusterId, ListenerId, Snapshot};
use resources::key::Key;
use resources::set::ResourceSet;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything that the last compilation found, arranged by what it depends on.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) set: ResourceSet,
    pub(super) settings: Settings,
    pub(super) mesh_settings: Arc<ir::MeshConnectionSettings>,
    pub(super) index: Index,
    pub(super) plans: Plans,
    /// Where each VirtualService is bound.
    pub(super) bound: FastMap<Key, Box<[Bound]>>,
    /// What those that have any do with bytes.
    pub(super) l4: BTreeMap<Key, Box<[L4Binding]>>,
    /// What was found out about DestinationRules while clusters were built by them.
    pub(super) cluster_notes: ClusterNotes,
    /// Secrets and files that clusters need.
    pub(super) credentials: BTreeMap<ClusterId, Used>,
    /// What is found out about Gateways when listeners are put together.
    pub(super) listener_notes: BTreeMap<Arc<ListenerId>, BTreeMap<Key, Notes>>,
    pub(super) snapshot: Snapshot,
    pub(super) report: Report,
}
