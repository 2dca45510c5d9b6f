//! The task of a cluster's outlier detection (DR-30), started after enough consecutive failures. It ends when all endpoints have been healthy for
//! long enough.

use crate::cluster::{ClusterState, OutlierDetector};
use std::sync::Arc;
use tokio::time::Instant;

/// Ejects and restores endpoints until all are healthy. `current` is the state in the cluster's slot.
pub(crate) async fn run(detector: Arc<OutlierDetector>, current: impl Fn() -> Option<Arc<ClusterState>>) {
    let belongs = |state: &Arc<ClusterState>| state.outlier_detector().is_some_and(|own| Arc::ptr_eq(own, &detector));
    let own = || current().filter(belongs);
    let mut last = Instant::now();
    loop {
        let Some(interval) = own().and_then(|state| Some(state.config.outlier.as_ref()?.interval)) else { return };
        let tick = detector.wait(last + interval).await;
        let (Some(state), now) = (own(), Instant::now()) else { return };
        state.eject_and_restore(tick, now);
        if tick {
            last = now;
        }
        match current() {
            Some(next) if Arc::ptr_eq(&next, &state) => {}
            // The next state came meanwhile, and may not have seen the ejections.
            Some(next) if belongs(&next) => next.rebalance(),
            // There is no outlier detection any more, and the endpoints may be in use.
            next => {
                state.restore_all();
                next.iter().for_each(|next| next.rebalance());
                return;
            }
        }
        if detector.try_stop(|| state.is_settled()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
