//! Outlier detection (DR-30): which endpoints are ejected and restored. Workers count; after enough consecutive failures they wake a task of the
//! control side (`ejection`), which decides for all of them.

use crate::balance::EndpointList;
use crate::endpoint::{EndpointState, Outcome};
use ir::{ClusterId, OutlierDetection};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The outlier detection's state, carried over between configurations of a cluster.
#[derive(Debug, Default)]
pub(crate) struct OutlierDetector {
    /// Whether the task runs.
    running: AtomicBool,
    wake: Notify,
    ejections: AtomicU64,
    overflow: AtomicU64,
}

/// Counters of a cluster with outlier detection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ejections {
    /// Endpoints ejected now.
    pub active: u64,
    /// Ejections so far.
    pub total: u64,
    /// Ejections prevented by `maxEjectionPercent`.
    pub overflow: u64,
}

impl OutlierDetector {
    /// Whether the task runs.
    #[cfg(test)]
    pub(crate) fn is_running(&self) -> bool {
        self.running.load(Ordering::SeqCst)
    }

    /// Counts the outcome of a request or a connection. Returns whether the task has to be started.
    pub(super) fn report(&self, policy: &OutlierDetection, endpoint: &EndpointState, outcome: Outcome) -> bool {
        if !endpoint.health.count(policy, outcome) {
            return false;
        }
        let running = self.running.swap(true, Ordering::SeqCst);
        self.wake.notify_one();
        !running
    }

    /// Waits for detected failures, at most until `end`. Returns whether `end` has come.
    pub(crate) async fn wait(&self, end: Instant) -> bool {
        tokio::time::timeout_at(end, self.wake.notified()).await.is_err()
    }

    /// Notes that the task ends, if `is_settled`. Returns whether it has to end: no failure was detected meanwhile, or another task runs.
    pub(crate) fn try_stop(&self, is_settled: impl Fn() -> bool) -> bool {
        if !is_settled() {
            return false;
        }
        self.running.store(false, Ordering::SeqCst);
        // A failure before the flag was cleared has started no other task.
        is_settled() || self.running.swap(true, Ordering::SeqCst)
    }

    /// Ejects endpoints that failed, as far as the policy allows, and at a `tick` (the end of an interval) restores those that were ejected
    /// for long enough. Returns whether there were any.
    pub(super) fn eject_and_restore(
        &self,
        cluster: &ClusterId,
        policy: &OutlierDetection,
        list: &EndpointList,
        tick: bool,
        now: Instant,
    ) -> bool {
        let mut changed = false;
        if tick {
            for endpoint in list.iter().filter(|endpoint| endpoint.health.sweep(policy, now)) {
                changed = true;
                tracing::info!(%cluster, endpoint = %endpoint.address, "endpoint restored");
            }
        }
        let mut out = list.iter().filter(|endpoint| endpoint.is_ejected()).count();
        for endpoint in list.iter().filter(|endpoint| endpoint.health.take_detected() > 0) {
            if has_room(policy, out, list.len()) {
                endpoint.health.eject(policy, now);
                self.ejections.fetch_add(1, Ordering::Relaxed);
                (out, changed) = (out + 1, true);
                tracing::info!(%cluster, endpoint = %endpoint.address, "endpoint ejected");
            } else {
                self.overflow.fetch_add(1, Ordering::Relaxed);
            }
        }
        changed
    }

    /// The counters.
    pub(super) fn counts(&self, list: &EndpointList) -> Ejections {
        Ejections {
            active: list.iter().filter(|endpoint| endpoint.is_ejected()).count() as u64,
            total: self.ejections.load(Ordering::Relaxed),
            overflow: self.overflow.load(Ordering::Relaxed),
        }
    }
}

/// Restores all endpoints.
pub(super) fn restore_all(list: &EndpointList) {
    list.iter().filter(|endpoint| endpoint.is_ejected()).for_each(|endpoint| endpoint.health.restore(Instant::now()));
}

/// Whether no endpoint needs the task.
pub(super) fn is_settled(list: &EndpointList) -> bool {
    let settled = |endpoint: &Arc<EndpointState>| endpoint.health.is_settled() && !endpoint.health.is_detected();
    list.iter().all(settled)
}

/// Envoy's rule: even the first ejection needs room in the percentage.
fn has_room(policy: &OutlierDetection, out: usize, all: usize) -> bool {
    100 * (out + 1) <= all * policy.max_ejection_percent as usize
}
