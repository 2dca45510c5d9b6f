//! Operations of a flow on sockets: splicing of large bodies, and the check for a reset by a waiting client.

use crate::conn::{Pipe, Worker};
use crate::limits::SPLICE_FROM;
use std::io;
use std::mem::MaybeUninit;
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use upstream::Stream;

/// Which side of a spliced body failed.
pub(crate) enum SpliceError {
    /// The sender closed before the end.
    End,
    /// The sender.
    Source,
    /// The receiver.
    Sink,
}

/// A pipe for a body with `left` octets to come, if it is large and both sides are plain TCP.
pub(crate) fn pipe(worker: &Worker, left: u64, from: &Stream, to: &Stream) -> Option<Pipe> {
    let tcp = matches!((from, to), (Stream::Tcp(_), Stream::Tcp(_)));
    if tcp && left >= SPLICE_FROM { worker.take_pipe() } else { None }
}

/// Moves one piece into the pipe or out of it; `left` is what is still to come into it.
pub(crate) fn poll_move(
    pipe: &mut Pipe,
    left: &mut u64,
    from: &Stream,
    to: &Stream,
    context: &mut Context<'_>,
) -> Poll<Result<(), SpliceError>> {
    let (Stream::Tcp(from), Stream::Tcp(to)) = (from, to) else { return Poll::Ready(Err(SpliceError::Source)) };
    if !pipe.is_empty() {
        return pipe.poll_empty(to, context).map(|emptied| emptied.map(|_| ()).map_err(|_| SpliceError::Sink));
    }
    match ready!(pipe.poll_fill(from, *left, context)) {
        Ok(count) if count > 0 => {
            *left = left.saturating_sub(count as u64);
            Poll::Ready(Ok(()))
        }
        Ok(_) => Poll::Ready(Err(SpliceError::End)),
        Err(_) => Poll::Ready(Err(SpliceError::Source)),
    }
}

/// Waits until a client has reset its connection.
pub(crate) async fn wait_client_reset(client: &Stream) {
    let Some(client) = client.tcp() else { return std::future::pending().await };
    // If readiness fails, no reset is reported.
    if client.ready(Interest::ERROR).await.is_err() {
        std::future::pending().await
    }
}

/// Checks a client that waits for its response: an error after a reset; ready after a half-close or further input, which hide a later reset
/// from this check.
pub(crate) fn poll_client(client: &Stream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
    let Some(client) = client.tcp() else { return Poll::Ready(Ok(())) };
    loop {
        ready!(client.poll_read_ready(context))?;
        let peek = || socket2::SockRef::from(client).peek(&mut [MaybeUninit::uninit()]);
        match client.try_io(Interest::READABLE, peek) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            peeked => return Poll::Ready(peeked.map(|_| ())),
        }
    }
}
