//! The external authorization of a listener's workload, with the slot of its cluster.

use ir::policy::{ActionRules, ExternalAuthorization};
use routing::Slots;
use routing::authorization::{AccessFacts, ActionIndex, PolicyDecision};
use std::sync::Arc;

/// How requests and connections are checked (AP-13).
#[derive(Debug)]
pub(crate) struct ExternalGate {
    /// The settings.
    pub(crate) authorization: Arc<ExternalAuthorization>,
    /// The slot of the service's cluster; `None` if everything is denied.
    pub(crate) slot: Option<u32>,
    /// Which requests are checked.
    requests: ActionIndex,
    /// Which connections are checked.
    connections: ActionIndex,
}

impl ExternalGate {
    /// The gate of a workload.
    pub(crate) fn new(authorization: &Arc<ExternalAuthorization>, slots: Slots<'_>) -> Arc<Self> {
        let (slot, requests, connections) = match &**authorization {
            ExternalAuthorization::DenyAll => (None, None, None),
            ExternalAuthorization::Check(check) => {
                (Some(slots(&check.cluster)), Some(Arc::clone(&check.rules)), check.connections.clone())
            }
        };
        // The rules are looked up as those of `DENY` are: the first that matches.
        let index = |deny| ActionIndex::build(&ActionRules { deny, ..ActionRules::default() });
        let (requests, connections) = (index(requests), index(connections));
        Arc::new(Self { authorization: Arc::clone(authorization), slot, requests, connections })
    }

    /// Whether a rule looks at headers, so that the facts need the edits of the head.
    pub(crate) fn has_headers(&self) -> bool {
        self.requests.has_headers()
    }

    /// Whether a rule matches a request or, without a view, a connection, so that the service is asked.
    pub(crate) fn concerns(&self, facts: &AccessFacts<'_>) -> bool {
        let rules = if facts.view.is_some() { &self.requests } else { &self.connections };
        matches!(rules.decide(facts).decision, PolicyDecision::Denied(_))
    }
}
