//! A stream for HTTP/2 that collects writes until every task that is ready has written: the frames of all streams that are answered in one turn
//! of the runtime are sent with one system call.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// About how much is collected; more is sent at once.
const LIMIT: usize = 64 << 10;
/// The memory that is kept while there is nothing to send.
const KEPT: usize = 4 << 10;

/// A stream that sends the collected bytes when it is flushed in a later turn of its task than the first flush.
///
/// The first flush wakes its task again, and reports that it is done, because the library accepts no further frame before. The task is woken
/// after the runtime has polled the sockets once more, which costs one system call that does not block. When the task runs and flushes again,
/// as it does in each turn, every task that was ready, or whose socket was, has had its turn.
#[derive(Debug)]
pub struct Coalesced<S> {
    inner: S,
    buffer: Vec<u8>,
    sent: usize,
    turn: Turn,
    /// The turn of the first flush.
    deferred: Option<u32>,
}

/// Counts the turns of a task.
#[derive(Debug, Clone, Default)]
pub struct Turn(Rc<Cell<u32>>);

impl Turn {
    /// The number of this turn.
    pub(crate) fn now(&self) -> u32 {
        self.0.get()
    }

    /// Runs a future to its end, and counts its turns.
    pub async fn of<F: Future>(self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            self.0.set(self.0.get().wrapping_add(1));
            future.as_mut().poll(context)
        })
        .await
    }
}

impl<S> Coalesced<S> {
    /// Collects writes to `inner` during a turn. Nothing is flushed outside of [`Turn::of`].
    pub fn new(inner: S, turn: &Turn) -> Self {
        Self { inner, buffer: Vec::new(), sent: 0, turn: turn.clone(), deferred: None }
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S: AsyncWrite + Unpin> Coalesced<S> {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.buffer.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.inner).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        self.sent = 0;
        self.buffer.clear();
        self.buffer.shrink_to(KEPT);
        self.deferred = None;
        Poll::Ready(Ok(()))
    }
}

/// Wakes the task after the runtime has polled the sockets and woken the tasks that wait for them.
fn after_the_next_look(context: &mut Context<'_>) {
    let _ = pin!(tokio::task::yield_now()).poll(context);
}

impl<S: AsyncRead + Unpin> AsyncRead for Coalesced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Coalesced<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.buffer.len() >= LIMIT {
            ready!(self.poll_send(context))?;
        }
        self.buffer.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.buffer.is_empty() {
            let now = self.turn.0.get();
            match self.deferred {
                None => {
                    self.deferred = Some(now);
                    after_the_next_look(context);
                    return Poll::Ready(Ok(()));
                }
                Some(turn) if turn == now && self.sent == 0 => return Poll::Ready(Ok(())),
                Some(_) => {}
            }
            ready!(self.poll_send(context))?;
        }
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    /// Counts calls, and accepts a limited number of bytes with each.
    struct Calls {
        at_most: usize,
        calls: usize,
        taken: Vec<u8>,
    }

    impl AsyncWrite for Calls {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let count = bytes.len().min(self.at_most);
            self.calls += 1;
            self.taken.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn coalesced(at_most: usize) -> (Coalesced<Calls>, Turn) {
        let turn = Turn::default();
        (Coalesced::new(Calls { at_most, calls: 0, taken: Vec::new() }, &turn), turn)
    }

    fn next(turn: &Turn) {
        turn.0.set(turn.0.get() + 1);
    }

    #[test]
    fn bytes_written_in_one_turn_are_sent_in_one_call_in_order() {
        let mut context = Context::from_waker(Waker::noop());
        let (mut stream, turn) = coalesced(usize::MAX);
        for part in [&b"one"[..], b"two"] {
            assert!(Pin::new(&mut stream).poll_write(&mut context, part).is_ready());
        }
        assert!(Pin::new(&mut stream).poll_flush(&mut context).is_ready());
        assert!(Pin::new(&mut stream).poll_write(&mut context, b"three").is_ready());
        assert!(Pin::new(&mut stream).poll_flush(&mut context).is_ready());
        assert_eq!(stream.inner.calls, 0, "it is the same turn still");
        next(&turn);
        assert!(Pin::new(&mut stream).poll_flush(&mut context).is_ready());
        assert_eq!((stream.inner.calls, &stream.inner.taken[..]), (1, &b"onetwothree"[..]));
        assert!(Pin::new(&mut stream).poll_flush(&mut context).is_ready());
        assert_eq!(stream.inner.calls, 1);
    }

    #[test]
    fn much_is_sent_at_once_and_closing_sends_the_rest() {
        let mut context = Context::from_waker(Waker::noop());
        let (mut stream, _) = coalesced(1000);
        for _ in 0..100 {
            assert!(Pin::new(&mut stream).poll_write(&mut context, &[7; 1000]).is_ready());
        }
        assert!(stream.inner.taken.len() >= LIMIT);
        assert!(Pin::new(&mut stream).poll_shutdown(&mut context).is_ready());
        assert_eq!(stream.inner.taken, vec![7; 100_000]);
    }
}
