//! Connections, pending requests, requests and retries of a cluster, over all workers, where they are limited (DR-20, DR-21). The counts
//! survive a change of the cluster's configuration.

use super::ClusterState;
use crate::connect::ConnectionLimiter;
use ir::{Cluster, PoolLimits, RetryLimit};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The counts of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    pub(super) limiter: Arc<ConnectionLimiter>,
    pending: Arc<AtomicU32>,
    requests: Arc<AtomicU32>,
    retries: Arc<AtomicU32>,
    connections_overflow: AtomicU64,
    pending_overflow: AtomicU64,
    retries_overflow: AtomicU64,
}

/// Counts one until dropped.
#[derive(Debug)]
pub struct Counted(Option<Arc<AtomicU32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(count) = &self.0 {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Counters of a cluster with limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsageCounts {
    /// Open connections, where they are limited.
    pub connections: u64,
    /// Requests in flight, where they are counted.
    pub requests: u64,
    /// Requests that wait for a connection, where they are counted.
    pub pending: u64,
    /// Connections refused by the limit.
    pub connections_overflow: u64,
    /// Requests refused by the limit.
    pub pending_overflow: u64,
    /// Retries refused by the limit.
    pub retries_overflow: u64,
}

/// The counts of a cluster with limits: the carried-over ones, or new ones.
pub(super) fn of(cluster: &Cluster, before: Option<&Arc<Usage>>) -> Option<Arc<Usage>> {
    let limits = cluster.limits.as_ref()?;
    let fresh = || {
        let usage = Usage::default();
        usage.limiter.set_limit(limits.max_connections);
        Arc::new(usage)
    };
    Some(before.map_or_else(fresh, Arc::clone))
}

/// Counts one more, unless the limit is reached.
fn count(of: &Arc<AtomicU32>, most: u32) -> Option<Counted> {
    let more = |count: u32| (count < most).then(|| count.saturating_add(1));
    of.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Counted(Some(Arc::clone(of))))
}

fn needs_sum(limits: &PoolLimits) -> bool {
    matches!(limits.max_retries, Some(RetryLimit::Budget { .. }))
}

impl ClusterState {
    fn used(&self) -> Option<&Usage> {
        self.carryover.as_ref()?.usage.as_deref()
    }

    fn limited(&self) -> Option<(&PoolLimits, &Usage)> {
        Some((self.config.limits.as_deref()?, self.used()?))
    }

    /// The limiter of the cluster's connections, where they are limited.
    pub(crate) fn limiter(&self) -> Option<&Arc<ConnectionLimiter>> {
        let (limits, usage) = self.limited()?;
        limits.max_connections.map(|_| &usage.limiter)
    }

    /// Counts a request that waits for a connection; `None` at the limit (DR-21 `http1MaxPendingRequests`).
    pub(crate) fn begin_pending(&self) -> Option<Counted> {
        let Some((limits, usage)) = self.limited() else { return Some(Counted(None)) };
        // Where connections are limited, the number of pending requests is of interest.
        if limits.max_pending_requests.is_none() && limits.max_connections.is_none() && !needs_sum(limits) {
            return Some(Counted(None));
        }
        let begun = count(&usage.pending, limits.max_pending_requests.unwrap_or(u32::MAX));
        if begun.is_none() {
            usage.pending_overflow.fetch_add(1, Ordering::Relaxed);
        }
        begun
    }

    /// Counts a request; `None` at the limit (DR-21 `http2MaxRequests`).
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

    /// Counts a retry; `None` at the limit (DR-21 `maxRetries`, `retryBudget`).
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

    /// Counts a connection refused by the limit.
    pub(crate) fn count_overflow(&self) {
        if let Some(usage) = self.used() {
            usage.connections_overflow.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Applies the new limits to what is in flight already.
    pub(crate) fn carry_over_limits(&self, before: &Self) {
        if let Some(usage) = self.used().or(before.used()) {
            usage.limiter.set_limit(self.config.limits.as_ref().and_then(|limits| limits.max_connections));
        }
    }

    /// The counters, where there are limits and the cluster is in use.
    pub fn usage(&self) -> Option<UsageCounts> {
        let usage = self.used().filter(|_| self.is_in_use())?;
        let now = |count: &AtomicU32| u64::from(count.load(Ordering::Relaxed));
        let total = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Some(UsageCounts {
            connections: u64::from(usage.limiter.used()),
            requests: now(&usage.requests),
            pending: now(&usage.pending),
            connections_overflow: total(&usage.connections_overflow),
            pending_overflow: total(&usage.pending_overflow),
            retries_overflow: total(&usage.retries_overflow),
        })
    }
}
