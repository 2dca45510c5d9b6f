//! What was found out about DestinationRules while clusters were built by them: by cluster, to be forgotten with it, and by rule, to be
//! reported without looking at every cluster.

use crate::report::Notes;
use ir::ClusterId;
use resources::key::Key;
use std::collections::{BTreeMap, BTreeSet};

/// The findings.
#[derive(Debug, Default)]
pub(super) struct ClusterNotes {
    by_cluster: BTreeMap<ClusterId, Vec<(Key, Notes)>>,
    by_rule: BTreeMap<Key, BTreeSet<ClusterId>>,
}

impl ClusterNotes {
    /// Replaces what was found while a cluster was built, and marks the rules of which something else is said.
    pub(super) fn set(&mut self, id: &ClusterId, notes: Vec<(Key, Notes)>, rules: &mut BTreeSet<Key>) {
        let before = self.by_cluster.remove(id).unwrap_or_default();
        if before != notes {
            rules.extend(before.iter().chain(&notes).map(|(rule, _)| rule.clone()));
        }
        for (rule, _) in &before {
            if let Some(clusters) = self.by_rule.get_mut(rule) {
                clusters.remove(id);
                if clusters.is_empty() {
                    self.by_rule.remove(rule);
                }
            }
        }
        for (rule, _) in &notes {
            self.by_rule.entry(rule.clone()).or_default().insert(id.clone());
        }
        if !notes.is_empty() {
            self.by_cluster.insert(id.clone(), notes);
        }
    }

    /// What was found about a rule, in the order of the clusters.
    pub(super) fn of_rule<'a>(&'a self, rule: &'a Key) -> impl Iterator<Item = &'a Notes> {
        let clusters = self.by_rule.get(rule).into_iter().flatten();
        let notes = clusters.filter_map(|id| self.by_cluster.get(id)).flatten();
        notes.filter(move |(of, _)| of == rule).map(|(_, notes)| notes)
    }
}
