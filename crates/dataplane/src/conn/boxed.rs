//! Futures on the heap: those that are large and rare, or last long beside many that are idle.

use std::pin::Pin;

/// The future that `make` returns, on the heap. It is written where it stays: `Box::pin` is given a future on the stack, and copies all of it, most
/// of which is not in use at its start.
pub(crate) fn boxed<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::into_pin(Box::write(Box::new_uninit(), make()))
}
