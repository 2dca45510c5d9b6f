//! The reading side of an HTTP/2 connection, of a client or to an endpoint: bounds and checks that the library which reads the frames lacks.
//!
//! It counts frames that cost the peer little and the gateway more (pings, settings, priorities, window updates, resets, empty data), limits the
//! time of a header block, finds pseudo-header fields that make a message malformed, and limits how much of header blocks is read from an
//! endpoint in one turn. It does not change what it reads: a violation is an error of the connection, or a mark of the stream ([`Marks`],
//! [`TrailerObserver`]).

mod frames;
mod marks;

use crate::coalesce::Turn;
use frames::Frames;
pub use frames::{FrameBounds, TrailerObserver};
pub use marks::{Marks, StreamMarks};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Octets of header blocks that are read from an endpoint in one turn. The library queues heads without a bound, so the tasks of their streams
/// get a turn to accept them before more is read.
const BLOCKS_PER_TURN: usize = 16 << 10;

/// A stream whose frames are inspected as they are read.
#[derive(Debug)]
pub struct Watched<S> {
    inner: S,
    frames: Frames,
    /// For connections to endpoints.
    turns: Option<Turns>,
    /// The deadline of an incomplete header block or frame.
    late: Option<Pin<Box<Sleep>>>,
    bounds: FrameBounds,
}

/// Octets of header blocks that may still be read in this turn of the connection's task.
#[derive(Debug)]
struct Turns {
    turn: Turn,
    last: u32,
    left: usize,
}

impl<S> Watched<S> {
    /// Inspects what a client sends, which begins with the connection preface. Trailers are reported to `trailers`.
    pub fn of_client(inner: S, bounds: FrameBounds, trailers: Rc<dyn TrailerObserver>) -> Self {
        Self { inner, frames: Frames::of_client(&bounds, trailers), turns: None, late: None, bounds }
    }

    /// Inspects what an endpoint sends. Streams of malformed messages are marked.
    pub fn of_endpoint(inner: S, bounds: FrameBounds, turn: &Turn, marks: &Rc<Marks>) -> Self {
        let turns = Turns { turn: turn.clone(), last: turn.now(), left: BLOCKS_PER_TURN };
        Self { inner, frames: Frames::of_endpoint(&bounds, marks), turns: Some(turns), late: None, bounds }
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Sets or clears the deadline of the incomplete section.
    fn time_section(&mut self, began_another: bool) {
        if !self.frames.is_within_section() {
            self.late = None;
        } else if let Some(limit) = self.bounds.section_timeout
            && (self.late.is_none() || began_another)
        {
            self.late = Instant::now().checked_add(limit).map(|end| Box::pin(sleep_until(end)));
        }
    }
}

impl Turns {
    /// Whether more may be read in this turn.
    fn has_room(&mut self) -> bool {
        let now = self.turn.now();
        if self.last != now {
            (self.last, self.left) = (now, BLOCKS_PER_TURN);
        }
        self.left > 0
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.turns.as_mut().is_some_and(|turns| !turns.has_room()) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let Poll::Ready(read) = Pin::new(&mut this.inner).poll_read(context, buffer) else {
            let Some(late) = &mut this.late else { return Poll::Pending };
            ready!(late.as_mut().poll(context));
            return Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "a header block takes too long")));
        };
        read?;
        let passed = this.frames.pass(buffer.filled().get(before..).unwrap_or_default());
        let passed = passed.map_err(|words| io::Error::new(ErrorKind::InvalidData, words))?;
        if let Some(turns) = &mut this.turns {
            turns.left = turns.left.saturating_sub(passed.block_octets);
        }
        this.time_section(passed.section_ended);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(context, bytes))?;
        self.frames.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
