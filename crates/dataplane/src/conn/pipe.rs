//! Bodies that never come up into this process: the system moves them from one socket to the other through a pipe.
//!
//! Only for bodies whose length is known and large, between two TCP connections; all others are copied through buffers.

use crate::limits::PIPE;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// A pipe, and how many bytes wait in it.
#[derive(Debug)]
pub(crate) struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
    waiting: usize,
}

impl Pipe {
    /// A pipe, if the system has one more.
    pub(crate) fn new() -> Option<Self> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // A smaller one serves as well.
        let _ = fcntl_setpipe_size(&into, PIPE);
        Some(Self { out, into, waiting: 0 })
    }

    /// Whether nothing waits in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Takes bytes from a connection, at most `most`, while none wait; 0 when the peer has closed.
    pub(crate) fn poll_fill(
        &mut self,
        from: &TcpStream,
        most: u64,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(PIPE);
        loop {
            ready!(from.poll_read_ready(context))?;
            let moved = from.try_io(Interest::READABLE, || self.splice(from, Way::In, most));
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
    pub(crate) fn poll_empty(&mut self, to: &TcpStream, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            ready!(to.poll_write_ready(context))?;
            let moved = to.try_io(Interest::WRITABLE, || self.splice(to, Way::Out, self.waiting));
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

    fn splice(&self, socket: &TcpStream, way: Way, most: usize) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let moved = match way {
            Way::In => splice(socket.as_fd(), None, &self.into, None, most, flags),
            Way::Out => splice(&self.out, None, socket.as_fd(), None, most, flags),
        };
        Ok(moved?)
    }
}

#[derive(Clone, Copy)]
enum Way {
    In,
    Out,
}
