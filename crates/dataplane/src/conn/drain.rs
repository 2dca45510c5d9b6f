//! How far the end of a listener, or of the process, has come. The control side sets it, connections look.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// Stages of an end; there is no way back.
#[derive(Debug, Default)]
pub(crate) struct Drain(AtomicU8);

impl Drain {
    /// Connections are asked to close with their next answer.
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

/// How many sockets are accepted from. The process ends no earlier than the last of them is closed: connections that wait in the queue
/// of a socket are served, not reset.
#[derive(Debug, Clone, Default)]
pub(crate) struct AcceptCount(Arc<AtomicUsize>);

/// One socket that is accepted from, until this is dropped.
#[derive(Debug)]
pub(crate) struct Accepting(AcceptCount);

impl AcceptCount {
    /// Counts a socket from before it is handed to its worker.
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
