//! A cluster at run time: what is configured, and its endpoints as they are now.
//!
//! Most clusters of a large configuration are never asked for anything: until then one costs no more than its configuration.

use crate::balance::EndpointList;
use crate::endpoint::{EndpointState, InFlight};
use arc_swap::ArcSwapOption;
use ir::{Balance, Cluster, EndpointSource};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// A cluster and its endpoints.
#[derive(Debug)]
pub struct ClusterState {
    /// What is configured.
    pub cluster: Arc<Cluster>,
    endpoints: ArcSwapOption<EndpointList>,
    cursor: AtomicUsize,
    resolving: AtomicUsize,
    resolved: Option<Box<Notify>>,
}

/// Why there is no endpoint: 503 `UH`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoEndpoint {
    /// The service has none that is ready.
    #[error("no healthy upstream")]
    Empty,
    /// Its names are not resolved yet.
    #[error("the name of the destination is not resolved yet")]
    Unresolved,
    /// There can be none at a gateway.
    #[error("{0}")]
    Never(Arc<str>),
}

impl ClusterState {
    /// A cluster that takes over the endpoints that `before` had, where their addresses stay.
    pub(crate) fn new(cluster: Arc<Cluster>, before: Option<&Self>) -> Self {
        let resolved = matches!(cluster.endpoints, EndpointSource::Dns { .. }).then(Box::default);
        let state = Self {
            cluster,
            endpoints: ArcSwapOption::empty(),
            cursor: AtomicUsize::new(0),
            resolving: AtomicUsize::new(0),
            resolved,
        };
        if let Some(list) = before.and_then(|before| before.endpoints.load_full()) {
            state.take_over(&list, before.is_some_and(|before| before.cluster.endpoints == state.cluster.endpoints));
        }
        state
    }

    fn take_over(&self, list: &Arc<EndpointList>, same_source: bool) {
        match &self.cluster.endpoints {
            EndpointSource::Static(_) => {
                let next = self.static_list(Some(list));
                retire_missing(list, &next);
                self.endpoints.store(Some(Arc::new(next)));
            }
            // The same names: what they resolved to holds until they are resolved again.
            EndpointSource::Dns { .. } if same_source => self.endpoints.store(Some(Arc::clone(list))),
            EndpointSource::Dns { .. } | EndpointSource::Never(_) => list.iter().for_each(|endpoint| endpoint.retire()),
        }
    }

    /// Marks every endpoint as gone, when the cluster is.
    pub(crate) fn retire(&self) {
        if let Some(list) = self.endpoints.load_full() {
            list.iter().for_each(|endpoint| endpoint.retire());
        }
    }

    fn static_list(&self, before: Option<&EndpointList>) -> EndpointList {
        let EndpointSource::Static(endpoints) = &self.cluster.endpoints else { return EndpointList::new(Vec::new()) };
        let state = |endpoint: &ir::Endpoint| {
            let kept = before.and_then(|list| list.iter().find(|state| state.address == endpoint.address));
            let state = kept.cloned().unwrap_or_else(|| Arc::new(EndpointState::new(endpoint.address.clone())));
            (state, endpoint.weight)
        };
        EndpointList::new(endpoints.iter().map(state).collect())
    }

    /// The endpoints as they are now.
    pub fn endpoints(&self) -> Option<Arc<EndpointList>> {
        if let Some(list) = self.endpoints.load_full() {
            return Some(list);
        }
        match &self.cluster.endpoints {
            EndpointSource::Static(_) => {
                let list = Arc::new(self.static_list(None));
                // Two workers may come here at once; the endpoints have to be the same for both.
                let before = self.endpoints.compare_and_swap(&None::<Arc<EndpointList>>, Some(Arc::clone(&list)));
                Some(before.as_ref().map_or(list, Arc::clone))
            }
            EndpointSource::Dns { .. } | EndpointSource::Never(_) => None,
        }
    }

    /// Sets what the cluster's names resolved to.
    pub(crate) fn set_resolved(&self, addresses: Vec<(ir::EndpointAddress, u32)>) {
        let before = self.endpoints.load_full();
        let state = |(address, weight): (ir::EndpointAddress, u32)| {
            let kept = before.as_ref().and_then(|list| list.iter().find(|state| state.address == address).cloned());
            (kept.unwrap_or_else(|| Arc::new(EndpointState::new(address))), weight)
        };
        let next = EndpointList::new(addresses.into_iter().map(state).collect());
        if let Some(before) = &before {
            retire_missing(before, &next);
        }
        self.endpoints.store(Some(Arc::new(next)));
        if let Some(resolved) = &self.resolved {
            resolved.notify_waiters();
        }
    }

    /// Chooses an endpoint. The guard counts the request while it lasts, where that matters for the next choice.
    pub fn pick(
        &self,
        random: &mut dyn FnMut() -> u64,
        avoid: Option<u64>,
    ) -> Result<(Arc<EndpointState>, Option<InFlight>), NoEndpoint> {
        let loaded = self.endpoints.load();
        let list = match &*loaded {
            Some(list) => Arc::clone(list),
            None => match (&self.cluster.endpoints, self.endpoints()) {
                (EndpointSource::Never(reason), _) => return Err(NoEndpoint::Never(Arc::clone(reason))),
                (_, None) => return Err(NoEndpoint::Unresolved),
                (_, Some(list)) => list,
            },
        };
        let picked = list.pick(self.cluster.balance, &self.cursor, random, avoid).ok_or(NoEndpoint::Empty)?;
        let counted = self.cluster.balance == Balance::LeastRequest && list.len() > 1;
        Ok((Arc::clone(picked), counted.then(|| InFlight::new(picked))))
    }

    /// Whether this is the first to ask for the names to be resolved.
    pub(crate) fn begin_resolving(&self) -> bool {
        self.resolving.swap(1, Ordering::AcqRel) == 0
    }

    /// Waits until the names are resolved for the first time, at most for `limit`.
    pub async fn wait_resolved(&self, limit: Duration) {
        let Some(resolved) = &self.resolved else { return };
        let notified = resolved.notified();
        if self.endpoints.load().is_none() {
            let _ = tokio::time::timeout(limit, notified).await;
        }
    }
}

fn retire_missing(before: &EndpointList, next: &EndpointList) {
    for endpoint in before.iter().filter(|endpoint| !next.iter().any(|kept| kept.id == endpoint.id)) {
        endpoint.retire();
    }
}
