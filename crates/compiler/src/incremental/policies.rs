//! What each workload demands of requests and connections, put together anew when a policy changes.

use super::dirty::Dirty;
use crate::context::CompileContext;
use ir::WorkloadName;
use ir::policy::Policies;
use std::collections::{BTreeMap, BTreeSet};

/// The policies by workload.
#[derive(Debug, Default)]
pub(super) struct WorkloadPolicies {
    of: BTreeMap<WorkloadName, Policies>,
}

impl WorkloadPolicies {
    /// What a workload demands.
    pub(super) fn of(&self, workload: &WorkloadName) -> Policies {
        self.of.get(workload).cloned().unwrap_or_default()
    }

    /// Puts the policies together that may be different, and returns the workloads of which they are.
    pub(super) fn compile(&mut self, context: CompileContext<'_>, dirty: &Dirty) -> BTreeSet<WorkloadName> {
        let mut different = BTreeSet::new();
        if !dirty.all && dirty.policies.is_empty() {
            return different;
        }
        for workload in context.workloads() {
            let policies = Policies::default();
            if self.of.get(&workload.name) != Some(&policies) {
                self.of.insert(workload.name.clone(), policies);
                different.insert(workload.name.clone());
            }
        }
        different
    }
}
