//! One direction of a relay.

use super::duplex::Duplex;
use crate::conn::{Buffer, MoveError, Pipe, PipeStep};
use std::io;
use std::task::{Context, Poll};
use tokio::net::TcpStream;

/// A pipe that moves less than this at a time is released.
const MIN_PIPED: usize = 4 << 10;

/// How far a direction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PumpState {
    /// The source may send more.
    Open,
    /// The source has ended; what it sent may wait for the sink.
    Ended,
    /// The end was forwarded. The sink may still buffer some of it.
    Shut,
    /// Nothing is moved any more.
    GivenUp,
}

/// One direction.
pub(super) struct Pump<'a> {
    /// A pipe for bulk data, if there may be one more.
    take_pipe: &'a dyn Fn() -> Option<Pipe>,
    buffer: &'a mut Buffer,
    pipe: Option<Pipe>,
    /// The last read filled the buffer.
    bulk: bool,
    passed: u64,
    state: PumpState,
    /// Whether what the source sends is incomplete, so that its end is forwarded as a reset.
    is_cut: bool,
    has_reset_sink: bool,
}

impl<'a> Pump<'a> {
    /// One that begins with what was already received from its source.
    pub(super) fn new(take_pipe: &'a dyn Fn() -> Option<Pipe>, buffer: &'a mut Buffer) -> Self {
        let state = PumpState::Open;
        Self { take_pipe, buffer, pipe: None, bulk: false, passed: 0, state, is_cut: false, has_reset_sink: false }
    }

    /// The octets that the sink has accepted.
    pub(super) fn passed(&self) -> u64 {
        self.passed
    }

    /// Whether the direction has ended.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, PumpState::Shut | PumpState::GivenUp)
    }

    /// Whether the sink is to be reset.
    pub(super) fn has_reset_sink(&self) -> bool {
        self.has_reset_sink
    }

    /// Moves nothing more.
    pub(super) fn give_up(&mut self) {
        self.state = PumpState::GivenUp;
    }

    /// Notes that what the source has sent and sends is incomplete.
    pub(super) fn cut(&mut self) {
        self.is_cut = true;
    }

    /// Ends the direction by a reset of its sink.
    pub(super) fn reset_sink(&mut self, to: &mut impl Duplex) {
        to.abort();
        (self.state, self.has_reset_sink) = (PumpState::GivenUp, true);
    }

    /// Moves as much as possible; whether anything was moved.
    pub(super) fn pump(
        &mut self,
        from: &mut impl Duplex,
        to: &mut impl Duplex,
        context: &mut Context<'_>,
    ) -> Result<bool, MoveError> {
        let mut moved = false;
        while self.state != PumpState::GivenUp {
            match self.write_buffer(to, context).map_err(|error| MoveError::Sink(error.kind()))? {
                Poll::Pending => break,
                Poll::Ready(wrote) => moved |= wrote,
            }
            if self.state != PumpState::Open {
                self.end(to).map_err(|error| MoveError::Sink(error.kind()))?;
                break;
            }
            let polled = match (from.as_tcp(), to.as_tcp()) {
                (Some(from), Some(to)) if self.is_piped() => self.move_piece(from, to, context)?,
                _ => {
                    let read = self.read_piece(from, to.is_stream(), context);
                    read.map_err(|error| MoveError::Source(error.kind()))?
                }
            };
            match polled {
                Poll::Ready(some) => moved |= some,
                Poll::Pending => break,
            }
        }
        Ok(moved)
    }

    /// Forwards the end of the source.
    fn end(&mut self, to: &mut impl Duplex) -> io::Result<()> {
        if self.state != PumpState::Ended {
            return Ok(());
        }
        if self.is_cut {
            self.reset_sink(to);
            return Ok(());
        }
        self.state = PumpState::Shut;
        to.shutdown_write()
    }

    fn write_buffer(&mut self, to: &mut impl Duplex, context: &mut Context<'_>) -> io::Result<Poll<bool>> {
        let mut wrote = false;
        while !self.buffer.is_empty() {
            match to.poll_write(context, self.buffer.filled()) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    self.buffer.consume(count);
                    self.passed += count as u64;
                    wrote = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        match to.poll_flush(context) {
            Poll::Ready(flushed) => flushed.map(|()| Poll::Ready(wrote)),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    fn read_piece(
        &mut self,
        from: &mut impl Duplex,
        to_stream: bool,
        context: &mut Context<'_>,
    ) -> io::Result<Poll<bool>> {
        match from.poll_read(context, self.buffer.room()) {
            Poll::Ready(Ok(0)) => {
                self.state = PumpState::Ended;
                Ok(Poll::Ready(false))
            }
            Poll::Ready(Ok(count)) => {
                self.buffer.fill(count);
                self.bulk = self.buffer.is_full();
                // A peer in HTTP/2 may take nothing of what a larger buffer holds.
                if self.bulk && !to_stream && from.as_tcp().is_none() {
                    self.buffer.grow();
                }
                Ok(Poll::Ready(true))
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => {
                // Nothing to hold until something comes.
                self.buffer.release();
                Ok(Poll::Pending)
            }
        }
    }

    /// Whether the direction is spliced; acquires a pipe for bulk data.
    fn is_piped(&mut self) -> bool {
        if self.pipe.is_none() && self.bulk {
            self.pipe = (self.take_pipe)();
            // Without one it is copied, and asked for again when a buffer fills again.
            self.bulk = false;
            if self.pipe.is_some() {
                self.buffer.release();
            }
        }
        self.pipe.is_some()
    }

    fn move_piece(
        &mut self,
        from: &TcpStream,
        to: &TcpStream,
        context: &mut Context<'_>,
    ) -> Result<Poll<bool>, MoveError> {
        let Some(pipe) = &mut self.pipe else { return Ok(Poll::Ready(false)) };
        match pipe.poll_step(from, to, u64::MAX, context)? {
            Poll::Ready(PipeStep::Filled(0)) => {
                self.state = PumpState::Ended;
                return Ok(Poll::Ready(false));
            }
            Poll::Ready(PipeStep::Filled(count)) if count < MIN_PIPED => {
                // The pipe is released once it is empty.
                while !pipe.is_empty() {
                    match pipe.poll_step(from, to, u64::MAX, context)? {
                        Poll::Ready(PipeStep::Emptied(count)) => self.passed += count as u64,
                        Poll::Ready(PipeStep::Filled(_)) => {}
                        Poll::Pending => return Ok(Poll::Pending),
                    }
                }
                (self.pipe, self.bulk) = (None, false);
            }
            Poll::Ready(PipeStep::Emptied(count)) => self.passed += count as u64,
            Poll::Ready(PipeStep::Filled(_)) => {}
            Poll::Pending => return Ok(Poll::Pending),
        }
        Ok(Poll::Ready(true))
    }
}
