//! The step from routes to the clusters that they go to.

use super::bindings::Targets;
use super::cluster_notes::ClusterNotes;
use super::step::{ClusterUses, Step};
use crate::clusters::{self, Built};
use crate::context::CompileContext;
use crate::credentials::Used;
use crate::index::Index;
use crate::names::parts;
use crate::report::Notes;
use ir::{Cluster, ClusterId, Map};
use resources::key::Key;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The clusters, and what building them needed and found.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    clusters: Map<ClusterId, Arc<Cluster>>,
    /// What was found out about DestinationRules.
    notes: ClusterNotes,
    /// Secrets and files that clusters need.
    credentials: BTreeMap<ClusterId, Used>,
}

impl Clusters {
    pub(super) fn map(&self) -> &Map<ClusterId, Arc<Cluster>> {
        &self.clusters
    }

    /// The clusters that name a Secret, a ConfigMap or a file.
    pub(super) fn using(&self, is_used: impl Fn(&Used) -> bool) -> impl Iterator<Item = &ClusterId> {
        self.credentials.iter().filter(move |(_, used)| is_used(used)).map(|(id, _)| id)
    }

    /// What was found of a DestinationRule while clusters were built by it.
    pub(super) fn findings<'a>(&'a self, rule: &'a Key) -> impl Iterator<Item = &'a Notes> {
        self.notes.of_rule(rule)
    }

    /// Builds the clusters of `ids` anew, and removes those that nothing goes to; returns the DestinationRules of which something else is
    /// reported.
    pub(super) fn build(&mut self, context: CompileContext<'_>, ids: &[ClusterId], step: &mut Step) -> BTreeSet<Key> {
        let mut rules = BTreeSet::new();
        for id in ids {
            let Some((port, subset, host)) = parts(id) else { continue };
            let used = context.index.host(host).is_some_and(|entry| entry.has_cluster(id));
            let host = context.index.shared(host);
            step.work.clusters += usize::from(used);
            let built = if used { clusters::build(context, &host, port, subset, id) } else { None };
            let different = match self.keep_findings(id, built, &mut rules) {
                Some(cluster) if self.clusters.get(id).is_some_and(|before| **before == cluster) => false,
                Some(cluster) => {
                    self.clusters.insert_mut(cluster.id.clone(), Arc::new(cluster));
                    true
                }
                None => self.clusters.remove_mut(id),
            };
            if different {
                step.changes.clusters.push(id.clone());
            }
        }
        rules
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
        self.notes.set(id, notes, rules);
        cluster
    }
}

/// Counts which clusters an object goes to that was bound anew, and adds those that objects began or ceased to go to. Counting up comes first,
/// so that what stays is never forgotten in between.
pub(super) fn count(index: &mut Index, Targets { before, now }: Targets<'_>, different: &mut Vec<ClusterId>) {
    now.ids().for_each(|id| count_up(index, id, different));
    before.ids().for_each(|id| count_down(index, id, different));
}

/// The same for what goes to clusters without a route: proxies, and services for authorization.
pub(super) fn count_uses(index: &mut Index, uses: &ClusterUses, different: &mut Vec<ClusterId>) {
    uses.now.iter().for_each(|id| count_up(index, id, different));
    uses.before.iter().for_each(|id| count_down(index, id, different));
}

fn count_up(index: &mut Index, id: &ClusterId, different: &mut Vec<ClusterId>) {
    let Some((_, _, host)) = parts(id) else { return };
    if index.host_mut(host).count_up(id) {
        different.push(id.clone());
    }
}

fn count_down(index: &mut Index, id: &ClusterId, different: &mut Vec<ClusterId>) {
    let Some((_, _, host)) = parts(id) else { return };
    if index.host_mut(host).count_down(id) {
        different.push(id.clone());
    }
    index.drop_if_empty(host);
}
