//! Splicing: the kernel moves a body from one socket to the other through a pipe, without a copy to user space.
//!
//! Only for large bodies between two TCP connections; all else is copied through buffers.

use crate::limits::{KEPT_PIPES, PIPE};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// A worker's pipes: the unused ones, and the number in use.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    kept: RefCell<Vec<Ends>>,
    lent: Cell<usize>,
}

impl Pipes {
    /// A pipe, if there may be one more and the system has it. There are never more than `most` pipes, including unused ones.
    pub(super) fn take(self: &Rc<Self>, most: usize) -> Option<Pipe> {
        if self.lent.get() >= most {
            return None;
        }
        let kept = self.kept.borrow_mut().pop();
        let ends = kept.or_else(Ends::new)?;
        self.lent.set(self.lent.get() + 1);
        Some(Pipe { ends: Some(ends), waiting: 0, pipes: Rc::clone(self) })
    }
}

#[derive(Debug)]
struct Ends {
    out: OwnedFd,
    into: OwnedFd,
}

impl Ends {
    fn new() -> Option<Self> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // A smaller one serves as well.
        let _ = fcntl_setpipe_size(&into, PIPE);
        Some(Self { out, into })
    }
}

/// A pipe, and how many bytes wait in it. It goes back to its worker when it is dropped; one with bytes in it is closed, since they
/// would come out into another body.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// There until it is dropped.
    ends: Option<Ends>,
    waiting: usize,
    pipes: Rc<Pipes>,
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.pipes.lent.set(self.pipes.lent.get().saturating_sub(1));
        let mut kept = self.pipes.kept.borrow_mut();
        if self.waiting == 0 && kept.len() < KEPT_PIPES {
            kept.extend(self.ends.take());
        }
    }
}

/// What one step of a splice has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PipeStep {
    /// So many octets came into the pipe; 0 when the sender has closed.
    Filled(usize),
    /// So many octets left it.
    Emptied(usize),
}

/// Which side of a move of octets failed, and how: of a splice, or of a direction of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MoveError {
    Source(io::ErrorKind),
    Sink(io::ErrorKind),
}

impl Pipe {
    /// Moves what is in the pipe to `to`, or else at most `most` octets from `from` into it.
    pub(crate) fn poll_step(
        &mut self,
        from: &TcpStream,
        to: &TcpStream,
        most: u64,
        context: &mut Context<'_>,
    ) -> Poll<Result<PipeStep, MoveError>> {
        if self.is_empty() {
            self.poll_fill(from, most, context)
                .map_ok(PipeStep::Filled)
                .map_err(|error| MoveError::Source(error.kind()))
        } else {
            self.poll_empty(to, context).map_ok(PipeStep::Emptied).map_err(|error| MoveError::Sink(error.kind()))
        }
    }

    /// Whether nothing waits in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Takes bytes from a connection, at most `most`, while none wait; 0 when the peer has closed.
    fn poll_fill(&mut self, from: &TcpStream, most: u64, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(PIPE);
        loop {
            ready!(from.poll_read_ready(context))?;
            let moved = from.try_io(Interest::READABLE, || self.splice(from, Direction::In, most));
            match moved {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(count) => {
                    self.waiting += count;
                    return Poll::Ready(Ok(count));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Gives what waits to a connection.
    fn poll_empty(&mut self, to: &TcpStream, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            ready!(to.poll_write_ready(context))?;
            let moved = to.try_io(Interest::WRITABLE, || self.splice(to, Direction::Out, self.waiting));
            match moved {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    self.waiting = self.waiting.saturating_sub(count);
                    return Poll::Ready(Ok(count));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn splice(&self, socket: &TcpStream, direction: Direction, most: usize) -> io::Result<usize> {
        let Some(Ends { out, into }) = &self.ends else { return Ok(0) };
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let moved = match direction {
            Direction::In => splice(socket.as_fd(), None, into, None, most, flags),
            Direction::Out => splice(out, None, socket.as_fd(), None, most, flags),
        };
        Ok(moved?)
    }
}

#[derive(Clone, Copy)]
enum Direction {
    In,
    Out,
}
