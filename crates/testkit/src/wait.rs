//! Waiting for conditions.

use std::time::{Duration, Instant};

/// The longest wait of a test; reached only if something is broken.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Waits until `condition` holds; panics with `what` after [`TIMEOUT`].
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < TIMEOUT, "waited too long: {what}");
        std::thread::yield_now();
    }
}

/// The same for what takes a cluster many steps: it is asked ten times a second, and for four times as long.
pub fn patiently(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < 4 * TIMEOUT, "waited too long: {what}");
        std::thread::park_timeout(Duration::from_millis(100));
    }
}
