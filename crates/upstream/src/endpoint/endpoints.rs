//! What all endpoints of the process share: identities, idle slots, and the limit of open connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// What all endpoints share.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    pub(super) next_id: AtomicU64,
    /// Idle slots in use, of all endpoints.
    pub(super) idle_slots: AtomicU32,
    /// Open connections to all endpoints, and their limit; 0 is no limit.
    open: AtomicUsize,
    most_open: AtomicUsize,
}

/// One of the connections that the process may have open.
#[derive(Debug)]
pub(crate) struct Opened(Arc<Endpoints>);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Endpoints {
    /// Sets the limit of open connections to all endpoints.
    pub(crate) fn limit(&self, connections: Option<usize>) {
        self.most_open.store(connections.map_or(0, |most| most.max(1)), Ordering::Relaxed);
    }

    /// `None` at the limit.
    pub(super) fn open(self: &Arc<Self>) -> Option<Opened> {
        let most = match self.most_open.load(Ordering::Relaxed) {
            0 => usize::MAX,
            most => most,
        };
        let more = |open: usize| (open < most).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Opened(Arc::clone(self)))
    }
}
