//! The external authorization of a listener's workload, with the slot of its cluster.

use ir::policy::{ActionRules, ExternalAuthorization};
use routing::Slots;
use routing::authorization::{AccessFacts, ActionIndex, Decision};
use std::sync::Arc;

/// How requests are checked (AP-13).
#[derive(Debug)]
pub(crate) struct ExternalGate {
    /// The settings.
    pub(crate) authorization: Arc<ExternalAuthorization>,
    /// The slot of the service's cluster; `None` if every request is denied.
    pub(crate) slot: Option<u32>,
    /// Which requests are checked.
    rules: ActionIndex,
}

impl ExternalGate {
    /// The gate of a workload.
    pub(crate) fn new(authorization: &Arc<ExternalAuthorization>, slots: Slots<'_>) -> Arc<Self> {
        let (slot, rules) = match &**authorization {
            ExternalAuthorization::DenyAll => (None, None),
            ExternalAuthorization::Check(check) => (Some(slots(&check.cluster)), Some(Arc::clone(&check.rules))),
        };
        // The rules are looked up as those of `DENY` are: the first that matches.
        let rules = ActionIndex::build(&ActionRules { deny: rules, ..ActionRules::default() });
        Arc::new(Self { authorization: Arc::clone(authorization), slot, rules })
    }

    /// Whether a rule matches a request, so that the service is asked.
    pub(crate) fn concerns(&self, facts: &AccessFacts<'_>) -> bool {
        matches!(self.rules.decide(facts).decision, Decision::Denied(_))
    }
}
