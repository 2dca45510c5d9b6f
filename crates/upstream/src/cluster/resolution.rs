//! The state of the resolution of a cluster's names, shared by requests that wait for it and the task that queries.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Created by the first request for a cluster with names.
#[derive(Debug, Default)]
pub(crate) struct NameResolution {
    begun: AtomicBool,
    /// Whether there was a request since the last answer.
    used: AtomicBool,
    answered: Notify,
    wanted: Notify,
}

impl NameResolution {
    /// Begins the resolution; `false` if it has begun before.
    pub(super) fn begin(&self) -> bool {
        !self.begun.swap(true, Ordering::AcqRel)
    }

    /// Notes a request; writes only for the first one since the last answer.
    pub(crate) fn touch(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
            self.wanted.notify_one();
        }
    }

    /// Wakes the requests that wait.
    pub(super) fn answered(&self) {
        self.answered.notify_waiters();
    }

    /// Waits for an answer unless there `is` one, for at most `limit`.
    pub(super) async fn wait(&self, limit: Duration, is: impl Fn() -> bool) {
        let answered = self.answered.notified();
        if !is() {
            let _ = tokio::time::timeout(limit, answered).await;
        }
    }

    /// Waits until the next query is due: after `time` if there were requests meanwhile, otherwise at the next request, or after `longest`.
    pub(crate) async fn rest(&self, time: Duration, longest: Duration) {
        let end = Instant::now() + longest;
        tokio::time::sleep(time).await;
        // A notification may be left from an earlier request, hence the loop.
        while !self.used.swap(false, Ordering::Relaxed) {
            if tokio::time::timeout_at(end, self.wanted.notified()).await.is_err() {
                return;
            }
        }
    }
}
