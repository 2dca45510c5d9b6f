//! The clusters that routes go to.

use super::dirty::Dirty;
use super::state::State;
use crate::binding::Bound;
use crate::clusters::{self, Built};
use crate::credentials::Used;
use crate::frontends::istio::l4::L4Binding;
use crate::index::ClusterUse;
use crate::names::parts;
use crate::texts;
use ir::{Action, Changes, Cluster, ClusterId, TargetCluster};
use resources::key::Key;
use std::collections::BTreeSet;
use std::sync::Arc;

impl State {
    /// Counts which clusters routes go to. Counting up comes first, so that what stays is never forgotten in between.
    pub(super) fn count_clusters(&mut self, before: Uses<'_>, after: Uses<'_>, dirty: &mut Dirty) {
        for id in targets(after) {
            self.count_up(id, dirty);
        }
        for id in targets(before) {
            self.count_down(id, dirty);
        }
    }

    fn count_up(&mut self, id: &ClusterId, dirty: &mut Dirty) {
        let Some((port, subset, host)) = parts(id) else { return };
        let entry = self.index.host_mut(host);
        match entry.clusters.iter_mut().find(|used| used.id == *id) {
            Some(used) => used.uses += 1,
            None => {
                entry.clusters.reserve_exact(1);
                entry.clusters.push(ClusterUse { port, subset: texts::shared(subset), id: id.clone(), uses: 1 });
                dirty.clusters.push(id.clone());
            }
        }
    }

    fn count_down(&mut self, id: &ClusterId, dirty: &mut Dirty) {
        let Some((_, _, host)) = parts(id) else { return };
        let entry = self.index.host_mut(host);
        if let Some(used) = entry.clusters.iter_mut().find(|used| used.id == *id) {
            used.uses = used.uses.saturating_sub(1);
            if used.uses == 0 {
                entry.clusters.retain(|used| used.id != *id);
                dirty.clusters.push(id.clone());
            }
        }
        self.index.drop_if_empty(host);
    }

    /// Builds every cluster anew that may be different, and forgets those that nothing goes to.
    pub(super) fn build_clusters(&mut self, dirty: &mut Dirty, changes: &mut Changes) {
        for host in dirty.hosts.iter().chain(&dirty.endpoints) {
            if let Some(entry) = self.index.host(host) {
                dirty.clusters.extend(entry.clusters.iter().map(|used| used.id.clone()));
            }
        }
        // In order: neighbours in the map are neighbours in memory.
        dirty.clusters.sort_unstable();
        dirty.clusters.dedup();
        for id in &dirty.clusters {
            let Some((port, subset, host)) = parts(id) else { continue };
            let used = self.index.host(host).is_some_and(|entry| entry.cluster(port, subset).is_some());
            let host = self.index.shared(host);
            let built = if used { clusters::build(self.context(), &host, port, subset, id) } else { None };
            let cluster = self.keep_findings(id, built, &mut dirty.rules);
            let different = match cluster {
                Some(cluster) if self.snapshot.clusters.get(id).is_some_and(|before| **before == cluster) => false,
                Some(cluster) => {
                    self.snapshot.clusters.insert_mut(cluster.id.clone(), Arc::new(cluster));
                    true
                }
                None => self.snapshot.clusters.remove_mut(id),
            };
            if different {
                changes.clusters.push(id.clone());
            }
        }
    }

    /// Keeps what was found while a cluster was built.
    fn keep_findings(&mut self, id: &ClusterId, built: Option<Built>, rules: &mut BTreeSet<Key>) -> Option<Cluster> {
        self.credentials.remove(id);
        let (cluster, used, notes) = match built {
            Some(Built { cluster, used, notes }) => (Some(cluster), used, notes),
            None => Default::default(),
        };
        if used != Used::default() {
            self.credentials.insert(id.clone(), used);
        }
        self.cluster_notes.set(id, notes, rules);
        cluster
    }
}

/// What one VirtualService does.
pub(super) type Uses<'a> = (&'a [Bound], &'a [L4Binding]);

/// The clusters that routes go to, as often as they do.
fn targets<'a>((bound, l4): Uses<'a>) -> impl Iterator<Item = &'a ClusterId> {
    let bytes = l4.iter().flat_map(|l4| &l4.route.targets).map(|target| &target.cluster);
    let routes = bound.iter().flat_map(|bound| bound.routes.iter());
    let forwards = routes.filter_map(|route| match &route.action {
        Action::Forward(forward) => Some(forward),
        Action::Redirect(_) | Action::Respond(_) => None,
    });
    let clusters = forwards.flat_map(|forward| {
        let targets = forward.targets.iter().map(|target| &target.cluster);
        targets.chain(forward.mirrors.iter().map(|mirror| &mirror.cluster))
    });
    clusters.chain(bytes).filter_map(|cluster| match cluster {
        TargetCluster::Known(id) => Some(id),
        TargetCluster::Unknown { .. } => None,
    })
}
