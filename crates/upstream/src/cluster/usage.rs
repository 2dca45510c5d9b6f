//! What is under way at a cluster at one time, over all workers, where that is limited (DR-20, DR-21). It outlives a change of the
//! cluster's configuration.

use super::ClusterState;
use crate::connect::Places;
use ir::{Cluster, PoolLimits, RetryLimit};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The counts of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    pub(super) places: Arc<Places>,
    pending: Arc<AtomicU32>,
    requests: Arc<AtomicU32>,
    retries: Arc<AtomicU32>,
    connections_overflow: AtomicU64,
    pending_overflow: AtomicU64,
    retries_overflow: AtomicU64,
}

/// One of those that are counted, for as long as it lasts.
#[derive(Debug)]
pub struct Counted(Option<Arc<AtomicU32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(count) = &self.0 {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What is counted of a cluster with limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsageCounts {
    /// Connections that are open, where they are limited.
    pub connections: u64,
    /// Requests under way, where they are counted.
    pub requests: u64,
    /// Requests that wait for a connection, where they are counted.
    pub pending: u64,
    /// Connections that there was no room for.
    pub connections_overflow: u64,
    /// Requests that there was no room for.
    pub pending_overflow: u64,
    /// Further attempts that there was no room for.
    pub retries_overflow: u64,
}

/// The counts of a cluster with limits: those that there were before, or new ones.
pub(super) fn of(cluster: &Cluster, before: Option<&Arc<Usage>>) -> Option<Arc<Usage>> {
    let limits = cluster.limits.as_ref()?;
    let fresh = || {
        let usage = Usage::default();
        usage.places.set_most(limits.max_connections);
        Arc::new(usage)
    };
    Some(before.map_or_else(fresh, Arc::clone))
}

/// One more of what is counted, if there may be.
fn count(of: &Arc<AtomicU32>, most: u32) -> Option<Counted> {
    let more = |count: u32| (count < most).then(|| count.saturating_add(1));
    of.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Counted(Some(Arc::clone(of))))
}

fn needs_sum(limits: &PoolLimits) -> bool {
    matches!(limits.max_retries, Some(RetryLimit::Budget { .. }))
}

impl ClusterState {
    fn used(&self) -> Option<&Usage> {
        self.kept.as_ref()?.usage.as_deref()
    }

    fn limited(&self) -> Option<(&PoolLimits, &Usage)> {
        Some((self.cluster.limits.as_deref()?, self.used()?))
    }

    /// The places for connections, where they are limited.
    pub(crate) fn places(&self) -> Option<&Arc<Places>> {
        let (limits, usage) = self.limited()?;
        limits.max_connections.map(|_| &usage.places)
    }

    /// A request begins to wait for a connection; `None` where too many do (DR-21 `http1MaxPendingRequests`).
    pub(crate) fn begin_pending(&self) -> Option<Counted> {
        let Some((limits, usage)) = self.limited() else { return Some(Counted(None)) };
        // Where connections are limited somebody wants to see who waits for one.
        if limits.max_pending_requests.is_none() && limits.max_connections.is_none() && !needs_sum(limits) {
            return Some(Counted(None));
        }
        let begun = count(&usage.pending, limits.max_pending_requests.unwrap_or(u32::MAX));
        if begun.is_none() {
            usage.pending_overflow.fetch_add(1, Ordering::Relaxed);
        }
        begun
    }

    /// A request begins; `None` where too many are under way (DR-21 `http2MaxRequests`).
    pub fn begin_request(&self) -> Option<Counted> {
        let Some((limits, usage)) = self.limited() else { return Some(Counted(None)) };
        if limits.max_requests.is_none() && !needs_sum(limits) {
            return Some(Counted(None));
        }
        let begun = count(&usage.requests, limits.max_requests.unwrap_or(u32::MAX));
        if begun.is_none() {
            usage.pending_overflow.fetch_add(1, Ordering::Relaxed);
        }
        begun
    }

    /// A request begins to be sent again; `None` where too many are (DR-21 `maxRetries`, `retryBudget`).
    pub fn begin_retry(&self) -> Option<Counted> {
        let Some((limits, usage)) = self.limited() else { return Some(Counted(None)) };
        let most = match limits.max_retries {
            None => return Some(Counted(None)),
            Some(RetryLimit::Count(most)) => most,
            Some(RetryLimit::Budget { percent, min_concurrency }) => {
                let of = |count: &AtomicU32| count.load(Ordering::Relaxed);
                percent.of(of(&usage.requests).saturating_add(of(&usage.pending))).max(min_concurrency)
            }
        };
        let begun = count(&usage.retries, most);
        if begun.is_none() {
            usage.retries_overflow.fetch_add(1, Ordering::Relaxed);
        }
        begun
    }

    /// Counts a connection that there was no room for.
    pub(crate) fn count_overflow(&self) {
        if let Some(usage) = self.used() {
            usage.connections_overflow.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes the limits of now for what is under way already.
    pub(crate) fn take_over_limits(&self, before: &Self) {
        if let Some(usage) = self.used().or(before.used()) {
            usage.places.set_most(self.cluster.limits.as_ref().and_then(|limits| limits.max_connections));
        }
    }

    /// What is counted, where there are limits and somebody uses it.
    pub fn usage(&self) -> Option<UsageCounts> {
        let usage = self.used().filter(|_| self.is_in_use())?;
        let now = |count: &AtomicU32| u64::from(count.load(Ordering::Relaxed));
        let total = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Some(UsageCounts {
            connections: u64::from(usage.places.used()),
            requests: now(&usage.requests),
            pending: now(&usage.pending),
            connections_overflow: total(&usage.connections_overflow),
            pending_overflow: total(&usage.pending_overflow),
            retries_overflow: total(&usage.retries_overflow),
        })
    }
}
