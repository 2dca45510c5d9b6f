//! How far the resolving of a cluster's names has come, between the requests that need an answer and the task that asks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Made when somebody first asks for a cluster with names.
#[derive(Debug, Default)]
pub(crate) struct Names {
    begun: AtomicBool,
    /// Whether a request came since the last answer.
    used: AtomicBool,
    answered: Notify,
    wanted: Notify,
}

impl Names {
    /// Whether this is the first to begin.
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

    /// Wakes those who wait.
    pub(super) fn answered(&self) {
        self.answered.notify_waiters();
    }

    /// Waits for an answer unless there `is` one, at most for `limit`.
    pub(super) async fn wait(&self, limit: Duration, is: impl Fn() -> bool) {
        let answered = self.answered.notified();
        if !is() {
            let _ = tokio::time::timeout(limit, answered).await;
        }
    }

    /// Waits until it is time to ask again: after `time` if there were requests meanwhile, else with the next one, or after `longest`.
    pub(crate) async fn rest(&self, time: Duration, longest: Duration) {
        let end = Instant::now() + longest;
        tokio::time::sleep(time).await;
        // A wake-up may be left from a request that was seen already, hence the loop.
        while !self.used.swap(false, Ordering::Relaxed) {
            if tokio::time::timeout_at(end, self.wanted.notified()).await.is_err() {
                return;
            }
        }
    }
}
