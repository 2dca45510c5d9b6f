//! How far the end of a listener, or of the process, has come. The control side sets it, connections look.

use std::sync::atomic::{AtomicU8, Ordering};

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
