//! Connections, pending requests, requests and retries of a cluster, over all workers, where they are limited (DR-20, DR-21). The counts
//! survive a change of the cluster's configuration.

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

impl Counted {
    /// Without a limit there is nothing to count.
    pub(super) const NOTHING: Self = Self(None);
}

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

impl Usage {
    /// Counts a request that waits for a connection; `None` at the limit (DR-21 `http1MaxPendingRequests`).
    pub(super) fn begin_pending(&self, limits: &PoolLimits) -> Option<Counted> {
        // Where connections are limited, the number of pending requests is of interest.
        if limits.max_pending_requests.is_none() && limits.max_connections.is_none() && !needs_sum(limits) {
            return Some(Counted::NOTHING);
        }
        let begun = count(&self.pending, limits.max_pending_requests.unwrap_or(u32::MAX));
        if begun.is_none() {
            self.pending_overflow.fetch_add(1, Ordering::Relaxed);
        }
        begun
    }

    /// Counts a request; `None` at the limit (DR-21 `http2MaxRequests`).
    pub(super) fn begin_request(&self, limits: &PoolLimits) -> Option<Counted> {
        if limits.max_requests.is_none() && !needs_sum(limits) {
            return Some(Counted::NOTHING);
        }
        let begun = count(&self.requests, limits.max_requests.unwrap_or(u32::MAX));
        if begun.is_none() {
            self.pending_overflow.fetch_add(1, Ordering::Relaxed);
        }
        begun
    }

    /// Counts a retry; `None` at the limit (DR-21 `maxRetries`, `retryBudget`).
    pub(super) fn begin_retry(&self, limits: &PoolLimits) -> Option<Counted> {
        let most = match limits.max_retries {
            None => return Some(Counted::NOTHING),
            Some(RetryLimit::Count(most)) => most,
            Some(RetryLimit::Budget { percent, min_concurrency }) => {
                let of = |count: &AtomicU32| count.load(Ordering::Relaxed);
                percent.of(of(&self.requests).saturating_add(of(&self.pending))).max(min_concurrency)
            }
        };
        let begun = count(&self.retries, most);
        if begun.is_none() {
            self.retries_overflow.fetch_add(1, Ordering::Relaxed);
        }
        begun
    }

    /// Counts a connection refused by the limit.
    pub(super) fn count_overflow(&self) {
        self.connections_overflow.fetch_add(1, Ordering::Relaxed);
    }

    /// The counters.
    pub(super) fn counts(&self) -> UsageCounts {
        let now = |count: &AtomicU32| u64::from(count.load(Ordering::Relaxed));
        let total = |count: &AtomicU64| count.load(Ordering::Relaxed);
        UsageCounts {
            connections: u64::from(self.limiter.used()),
            requests: now(&self.requests),
            pending: now(&self.pending),
            connections_overflow: total(&self.connections_overflow),
            pending_overflow: total(&self.pending_overflow),
            retries_overflow: total(&self.retries_overflow),
        }
    }
}
