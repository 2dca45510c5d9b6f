//! Moves large bodies between two TCP connections in the kernel.

use super::receive::ReceiveError;
use crate::conn::{Duplex, MoveError, Pipe, PipeStep, Worker};
use crate::limits::SPLICE_FROM;
use std::task::{Context, Poll, ready};
use wire::h1::BodyReader;

/// Which side of a body failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransferError {
    /// The sender.
    Source(ReceiveError),
    /// The receiver.
    Sink,
}

/// The splice of a body, if it has begun.
#[derive(Debug, Default)]
pub(crate) struct Splice(Option<Pipe>);

/// What a step has moved.
pub(crate) struct Spliced {
    /// Octets of the body that were received.
    pub(crate) received: u64,
    /// Whether all of the body was sent.
    pub(crate) is_done: bool,
}

impl Splice {
    /// Whether the body is spliced.
    pub(crate) fn is_active(&self) -> bool {
        self.0.is_some()
    }

    /// Whether nothing waits in the pipe.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(Pipe::is_empty)
    }

    /// Begins where the rest of the body is large and both sides are plain TCP.
    pub(crate) fn begin(&mut self, worker: &Worker, body: &BodyReader, from: &impl Duplex, to: &impl Duplex) {
        if let BodyReader::Length(SPLICE_FROM..) = body
            && from.as_tcp().is_some()
            && to.as_tcp().is_some()
        {
            self.0 = worker.take_pipe();
        }
    }

    /// Moves a piece into the pipe or out of it.
    pub(crate) fn poll_move(
        &mut self,
        body: &mut BodyReader,
        from: &impl Duplex,
        to: &impl Duplex,
        context: &mut Context<'_>,
    ) -> Poll<Result<Spliced, TransferError>> {
        let (Some(pipe), BodyReader::Length(left)) = (&mut self.0, body) else {
            return Poll::Ready(Err(TransferError::Source(ReceiveError::Malformed)));
        };
        let (Some(from), Some(to)) = (from.as_tcp(), to.as_tcp()) else {
            return Poll::Ready(Err(TransferError::Source(ReceiveError::Closed)));
        };
        let received = match ready!(pipe.poll_step(from, to, *left, context)) {
            Ok(PipeStep::Filled(0)) => return Poll::Ready(Err(TransferError::Source(ReceiveError::Incomplete))),
            Ok(PipeStep::Filled(count)) => count as u64,
            Ok(PipeStep::Emptied(_)) => 0,
            Err(MoveError::Source(_)) => return Poll::Ready(Err(TransferError::Source(ReceiveError::Closed))),
            Err(MoveError::Sink(_)) => return Poll::Ready(Err(TransferError::Sink)),
        };
        *left = left.saturating_sub(received);
        let is_done = *left == 0 && pipe.is_empty();
        if is_done {
            self.0 = None;
        }
        Poll::Ready(Ok(Spliced { received, is_done }))
    }
}
