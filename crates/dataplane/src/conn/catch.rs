//! A panic costs one connection or one stream, and no more.

use super::Worker;
use crate::metrics::add;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Runs a future; a panic is counted and logged.
pub(crate) async fn catch(worker: &Worker, future: impl Future<Output = ()> + Unpin) {
    if CatchPanic(future).await.is_err() {
        add(&worker.metrics.panics);
        tracing::error!("a connection or a stream ended by a fault of this program; please report it");
    }
}

struct CatchPanic<F>(F);

impl<F: Future + Unpin> Future for CatchPanic<F> {
    type Output = Result<F::Output, ()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // State shared with other futures (pools, counters) is only changed in complete steps.
        match std::panic::catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.0).poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(_) => Poll::Ready(Err(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_its_own_future_alone() {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut faulty = CatchPanic(Box::pin(async { panic!("a fault") }));
        assert_eq!(Pin::new(&mut faulty).poll(&mut context), Poll::Ready(Err(())));
        let mut sound = CatchPanic(Box::pin(async { 7 }));
        assert_eq!(Pin::new(&mut sound).poll(&mut context), Poll::Ready(Ok(7)));
    }
}
