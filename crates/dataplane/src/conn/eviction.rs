//! Room for a new connection at the limit of the process: the connection that has waited longest for its client is evicted, on this worker or on
//! another one.

use super::admission::Permit;
use super::boxed::boxed;
use super::tracker::Tracker;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a new connection waits for an eviction by another worker.
const WAIT: Duration = Duration::from_secs(1);
/// How long it waits before it asks again.
const ASK_AGAIN: Duration = Duration::from_millis(50);

impl Tracker {
    /// Evicts connections of this worker for new ones of other workers, as long as the worker lives.
    pub(super) async fn serve_evictions(self: Rc<Self>) {
        while let Some(wanted) = self.admission.evictions(self.worker).await {
            let permits: Vec<Permit> = (0..wanted).map_while(|_| self.evict()).collect();
            if !permits.is_empty() {
                closed().await;
            }
            drop(permits);
            // Waiters without a permit have to check again too.
            self.admission.notify();
        }
    }

    /// A permit for a new connection. At the limit, evicts the connection of the process that has waited longest for its client; `None` if no
    /// connection waits. `of_mesh` is the mesh's limit.
    pub(super) async fn admit(&self, of_mesh: Option<u64>) -> Option<Permit> {
        let most = self.admission.most_with(of_mesh);
        match self.admission.acquire(most) {
            Some(permit) => Some(permit),
            None => boxed(|| self.make_room(most)).await,
        }
    }

    async fn make_room(&self, most: usize) -> Option<Permit> {
        let admission = &self.admission;
        let deadline = Instant::now() + WAIT;
        let _waiting = admission.begin_waiting();
        let mut asked = false;
        loop {
            let freed = admission.freed();
            if let Some(permit) = admission.acquire(most) {
                return Some(permit);
            }
            let now = Instant::now();
            if now >= deadline {
                return None;
            }
            match admission.older(self.worker, self.oldest()) {
                Some(part) => {
                    part.ask(asked);
                    asked = true;
                    let until = (now + ASK_AGAIN).min(deadline);
                    let _ = tokio::time::timeout_at(until.into(), freed).await;
                }
                None => {
                    let permit = self.evict()?;
                    closed().await;
                    // The limit may have been lowered; then one new connection needs several evictions.
                    if admission.open() <= most {
                        return Some(permit);
                    }
                }
            }
        }
    }
}

/// Lets evicted connections close before their permits are reused, or there would be more descriptors than permits.
async fn closed() {
    tokio::task::yield_now().await;
}
