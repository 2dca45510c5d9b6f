//! What has to be looked at again in one compilation, as the changed objects say. `invalidate` makes this; the steps read it.

use ir::ClusterId;
use resources::key::ObjectRef;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What has to be looked at again.
#[derive(Default)]
pub(super) struct Dirty {
    /// Whether everything is new.
    pub(super) all: bool,
    /// Gateways that came, went or changed, or whose certificates did.
    pub(super) gateways: BTreeSet<ObjectRef>,
    /// Whether every Gateway has to be planned anew: the ports that the workloads are reached at may be different.
    pub(super) all_gateways: bool,
    /// Objects with routes.
    pub(super) sources: BTreeSet<Arc<ObjectRef>>,
    /// Hosts behind which there may be something else now: ports, visibility, subsets.
    pub(super) hosts: BTreeSet<Arc<str>>,
    /// Hosts whose endpoints alone may be different.
    pub(super) endpoints: BTreeSet<Arc<str>>,
    /// Clusters whose certificates may be different.
    pub(super) clusters: Vec<ClusterId>,
    /// Policies that came, went or changed.
    pub(super) policies: BTreeSet<ObjectRef>,
    /// Objects that are gone, of which nothing is reported any more.
    pub(super) gone: Vec<ObjectRef>,
}
