//! The drain state of a listener or of the process. The control side sets it; connections check it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// The stages of a drain; they only advance.
#[derive(Debug, Default)]
pub(crate) struct Drain(AtomicU8);

impl Drain {
    /// Connections close with their next response.
    pub(crate) fn begin(&self) {
        self.0.fetch_max(1, Ordering::AcqRel);
    }

    /// Idle connections are closed as well.
    pub(crate) fn close_idle(&self) {
        self.0.fetch_max(2, Ordering::AcqRel);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }

    pub(crate) fn closes_idle(&self) -> bool {
        self.0.load(Ordering::Acquire) > 1
    }
}

/// The number of sockets that are accepted from. The process ends after the last of them is closed, so that connections in the queues are
/// served, not reset.
#[derive(Debug, Clone, Default)]
pub(crate) struct AcceptCount(Arc<AtomicUsize>);

/// A guard that counts one accepting socket.
#[derive(Debug)]
pub(crate) struct Accepting(AcceptCount);

impl AcceptCount {
    /// Counts a socket; called before its worker receives it.
    pub(crate) fn begin(&self) -> Accepting {
        self.0.fetch_add(1, Ordering::AcqRel);
        Accepting(self.clone())
    }

    /// Whether all sockets are closed.
    pub(crate) fn is_zero(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        (self.0).0.fetch_sub(1, Ordering::AcqRel);
    }
}
