//! Outlier detection: ejects endpoints whose requests fail, and restores them (DR-30). Workers count; after enough consecutive failures they
//! wake a task of the control side, which decides for all of them. The task ends when all endpoints have been healthy for long enough.

use super::ClusterState;
use crate::endpoint::{EndpointState, Outcome};
use ir::OutlierDetection;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The outlier detection's state, carried over between configurations of a cluster.
#[derive(Debug, Default)]
pub(crate) struct OutlierDetector {
    /// The current state of the cluster.
    state: Mutex<Weak<ClusterState>>,
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
    /// Switches to a new state of the cluster.
    pub(crate) fn follow(&self, state: &Arc<ClusterState>) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(state);
    }

    fn state(&self) -> Option<Arc<ClusterState>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// The task: ejects and restores endpoints until all are healthy.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut last = Instant::now();
        loop {
            let Some(interval) = self.state().and_then(|state| Some(state.config.outlier.as_ref()?.interval)) else {
                return;
            };
            let tick = tokio::time::timeout_at(last + interval, self.wake.notified()).await.is_err();
            let (Some(state), now) = (self.state(), Instant::now()) else { return };
            state.eject_and_restore(tick, now);
            if tick {
                last = now;
            }
            match self.state().filter(|next| !Arc::ptr_eq(next, &state)) {
                // The next state came meanwhile, and may not have seen the ejections.
                Some(next) => next.rebalance(),
                None if state.is_replaced() => return state.restore_all(),
                None => {}
            }
            if state.is_settled() {
                self.running.store(false, Ordering::SeqCst);
                // A failure before the flag was cleared has woken no other task.
                if state.is_settled() || self.running.swap(true, Ordering::SeqCst) {
                    return;
                }
            }
        }
    }
}

impl ClusterState {
    /// Counts the outcome of a request or a connection. Returns whether to call [`Upstream::watch`](crate::Upstream::watch).
    pub fn report(&self, endpoint: &EndpointState, outcome: Outcome) -> bool {
        let (Some(policy), Some(detector)) = (&self.config.outlier, self.outlier_detector()) else { return false };
        if !endpoint.health.count(policy, outcome) {
            return false;
        }
        let running = detector.running.swap(true, Ordering::SeqCst);
        detector.wake.notify_one();
        !running
    }

    /// Ejects endpoints that failed, as far as the policy allows, and at a `tick` (the end of an interval) restores those that were ejected
    /// for long enough.
    fn eject_and_restore(&self, tick: bool, now: Instant) {
        let (Some(policy), Some(detector), Some(list)) =
            (&self.config.outlier, self.outlier_detector(), self.endpoints.load_full())
        else {
            return;
        };
        let mut changed = false;
        if tick {
            for endpoint in list.iter().filter(|endpoint| endpoint.health.sweep(policy, now)) {
                changed = true;
                tracing::info!(cluster = %self.config.id, endpoint = %endpoint.address, "endpoint restored");
            }
        }
        let mut out = list.iter().filter(|endpoint| endpoint.is_ejected()).count();
        for endpoint in list.iter().filter(|endpoint| endpoint.health.take_detected() > 0) {
            if has_room(policy, out, list.len()) {
                endpoint.health.eject(policy, now);
                detector.ejections.fetch_add(1, Ordering::Relaxed);
                (out, changed) = (out + 1, true);
                tracing::info!(cluster = %self.config.id, endpoint = %endpoint.address, "endpoint ejected");
            } else {
                detector.overflow.fetch_add(1, Ordering::Relaxed);
            }
        }
        if changed {
            self.rebalance();
        }
    }

    /// Restores all endpoints.
    fn restore_all(&self) {
        let Some(list) = self.endpoints.load_full() else { return };
        let ejected: Vec<_> = list.iter().filter(|endpoint| endpoint.is_ejected()).collect();
        ejected.iter().for_each(|endpoint| endpoint.health.restore(Instant::now()));
        if !ejected.is_empty() {
            self.rebalance();
        }
    }

    /// Applies what the state before has detected, once this state is in the slot.
    pub(crate) fn carry_over_health(&self, before: &Self) {
        if self.config.outlier != before.config.outlier {
            // Consecutive failures beyond the new policy's threshold would never be detected.
            self.endpoints.load().iter().flat_map(|list| list.iter()).for_each(|endpoint| endpoint.health.begin_anew());
        }
        match self.outlier_detector() {
            Some(_) => self.rebalance(),
            None => self.restore_all(),
        }
    }

    fn is_settled(&self) -> bool {
        let settled = |endpoint: &Arc<EndpointState>| endpoint.health.is_settled() && !endpoint.health.is_detected();
        self.endpoints.load().as_ref().is_none_or(|list| list.iter().all(settled))
    }

    /// The counters, where the cluster has outlier detection and is in use.
    pub fn ejections(&self) -> Option<Ejections> {
        let (detector, list) = (self.outlier_detector()?, self.endpoints.load_full()?);
        Some(Ejections {
            active: list.iter().filter(|endpoint| endpoint.is_ejected()).count() as u64,
            total: detector.ejections.load(Ordering::Relaxed),
            overflow: detector.overflow.load(Ordering::Relaxed),
        })
    }
}

/// Envoy's rule: even the first ejection needs room in the percentage.
fn has_room(policy: &OutlierDetection, out: usize, all: usize) -> bool {
    100 * (out + 1) <= all * policy.max_ejection_percent as usize
}

#[cfg(test)]
mod tests;
