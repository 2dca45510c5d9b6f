//! Waiting for conditions.

use std::time::{Duration, Instant};

/// The longest wait of a test; reached only if something is broken.
pub const TIMEOUT: Duration = Duration::from_secs(120);
/// Questions in a row before a wait rests between them: what is waited for may need the processor.
const AT_ONCE: u32 = 100;

/// Waits until `condition` holds; panics with `what` after [`TIMEOUT`].
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    let mut asked = 0;
    while !condition() {
        assert!(begun.elapsed() < TIMEOUT, "waited too long: {what}");
        asked += 1;
        if asked < AT_ONCE {
            std::thread::yield_now();
        } else {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

/// The same for what takes a cluster many steps: it is asked ten times a second.
pub fn patiently(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < TIMEOUT, "waited too long: {what}");
        std::thread::park_timeout(Duration::from_millis(100));
    }
}
