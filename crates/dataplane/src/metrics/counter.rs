//! How counters count.

use std::sync::atomic::{AtomicU64, Ordering};

/// Adds one. Counters are not ordered relative to each other.
pub(crate) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
