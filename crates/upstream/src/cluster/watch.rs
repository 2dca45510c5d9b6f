//! Takes endpoints out of use whose requests fail, and back (DR-30). Workers count; when a row of failures is long enough they wake a task
//! of the control side, which decides for all of them. The task ends when all endpoints have been well for long enough.

use super::ClusterState;
use crate::endpoint::{EndpointState, Outcome};
use ir::OutlierDetection;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::Notify;
use tokio::time::Instant;

/// What the states of a cluster have in common that follow one another in its slot.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// The state of now.
    state: Mutex<Weak<ClusterState>>,
    /// Whether a task looks after it.
    running: AtomicBool,
    wake: Notify,
    ejections: AtomicU64,
    overflow: AtomicU64,
}

/// What is counted of a cluster whose endpoints may be ejected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ejections {
    /// Endpoints that are out of use now.
    pub active: u64,
    /// Ejections so far.
    pub total: u64,
    /// Ejections that there was no room for (`maxEjectionPercent`).
    pub overflow: u64,
}

impl Watch {
    /// From now on it is this state that is looked after.
    pub(crate) fn follow(&self, state: &Arc<ClusterState>) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(state);
    }

    fn state(&self) -> Option<Arc<ClusterState>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// Looks after the cluster for as long as there is something to look after.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut last = Instant::now();
        loop {
            let Some(interval) = self.state().and_then(|state| Some(state.cluster.outlier.as_ref()?.interval)) else {
                return;
            };
            let tick = tokio::time::timeout_at(last + interval, self.wake.notified()).await.is_err();
            let (Some(state), now) = (self.state(), Instant::now()) else { return };
            state.judge(tick, now);
            if tick {
                last = now;
            }
            match self.state().filter(|next| !Arc::ptr_eq(next, &state)) {
                // It has come meanwhile, and may not have seen this.
                Some(next) => next.rebalance(),
                None if state.is_replaced() => return state.take_all_back(),
                None => {}
            }
            if state.is_settled() {
                self.running.store(false, Ordering::SeqCst);
                // Who failed before that has woken nobody else.
                if state.is_settled() || self.running.swap(true, Ordering::SeqCst) {
                    return;
                }
            }
        }
    }
}

impl ClusterState {
    /// Tells what came of a request or a connection. Whether [`Upstream::watch`](crate::Upstream::watch) is to be called.
    pub fn report(&self, endpoint: &EndpointState, outcome: Outcome) -> bool {
        let (Some(policy), Some(watch)) = (&self.cluster.outlier, self.watch()) else { return false };
        if !endpoint.health.count(policy, outcome) {
            return false;
        }
        let running = watch.running.swap(true, Ordering::SeqCst);
        watch.wake.notify_one();
        !running
    }

    /// Takes out of use what has failed, as far as there is room, and where a `tick` says that an interval is over, back what was out for
    /// long enough.
    fn judge(&self, tick: bool, now: Instant) {
        let (Some(policy), Some(watch), Some(list)) = (&self.cluster.outlier, self.watch(), self.endpoints.load_full())
        else {
            return;
        };
        let mut changed = false;
        if tick {
            for endpoint in list.iter().filter(|endpoint| endpoint.health.sweep(policy, now)) {
                changed = true;
                tracing::info!(cluster = %self.cluster.id, endpoint = %endpoint.address, "the endpoint is used again");
            }
        }
        let mut out = list.iter().filter(|endpoint| endpoint.is_ejected()).count();
        for endpoint in list.iter().filter(|endpoint| endpoint.health.take_detected() > 0) {
            if has_room(policy, out, list.len()) {
                endpoint.health.eject(policy, now);
                watch.ejections.fetch_add(1, Ordering::Relaxed);
                (out, changed) = (out + 1, true);
                tracing::info!(cluster = %self.cluster.id, endpoint = %endpoint.address, "the endpoint fails and is not used for a while");
            } else {
                watch.overflow.fetch_add(1, Ordering::Relaxed);
            }
        }
        if changed {
            self.rebalance();
        }
    }

    /// Takes all of its endpoints back.
    fn take_all_back(&self) {
        let Some(list) = self.endpoints.load_full() else { return };
        let ejected: Vec<_> = list.iter().filter(|endpoint| endpoint.is_ejected()).collect();
        ejected.iter().for_each(|endpoint| endpoint.health.take_back(Instant::now()));
        if !ejected.is_empty() {
            self.rebalance();
        }
    }

    /// What the state before may have found out, and nobody may look after any more, once this one stands in its slot.
    pub(crate) fn take_over_health(&self, before: &Self) {
        if self.cluster.outlier != before.cluster.outlier {
            // A row that is longer than the policy of now allows would never be found.
            self.endpoints.load().iter().flat_map(|list| list.iter()).for_each(|endpoint| endpoint.health.begin_anew());
        }
        match self.watch() {
            Some(_) => self.rebalance(),
            None => self.take_all_back(),
        }
    }

    fn is_settled(&self) -> bool {
        let settled = |endpoint: &Arc<EndpointState>| endpoint.health.is_settled() && !endpoint.health.is_detected();
        self.endpoints.load().as_ref().is_none_or(|list| list.iter().all(settled))
    }

    /// What is counted of its ejections, where there may be any and somebody uses it.
    pub fn ejections(&self) -> Option<Ejections> {
        let (watch, list) = (self.watch()?, self.endpoints.load_full()?);
        Some(Ejections {
            active: list.iter().filter(|endpoint| endpoint.is_ejected()).count() as u64,
            total: watch.ejections.load(Ordering::Relaxed),
            overflow: watch.overflow.load(Ordering::Relaxed),
        })
    }
}

/// Envoy's rule: also the first one is ejected only where the percentage has room for it.
fn has_room(policy: &OutlierDetection, out: usize, all: usize) -> bool {
    100 * (out + 1) <= all * policy.max_ejection_percent as usize
}

#[cfg(test)]
mod tests;
