//! Relays octets in both directions between two connections or streams, until both have ended or the idle timeout (S-125). Half-closes are
//! forwarded. Bulk data between two TCP connections is spliced; small pieces are copied, which costs less.

use super::{Buffer, Pipe, PipeStep, Timer, Worker};
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use upstream::Stream;

/// A pipe that moves less than this at a time is released.
const MIN_PIPED: usize = 4 << 10;

/// One end of a relay: a connection, or a stream on one.
pub(crate) trait Duplex {
    fn poll_read(&mut self, context: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>>;
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
    /// Flushes buffered octets.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Shuts down writing.
    fn shutdown_write(&mut self) -> io::Result<()>;
    /// Has the peer see a reset once this end is dropped, and no regular end.
    fn abort(&mut self);
    /// The TCP connection, if the octets are its own, without TLS or framing.
    fn as_tcp(&self) -> Option<&TcpStream>;
    /// Whether it is one of many streams of a connection.
    fn is_stream(&self) -> bool {
        false
    }
}

impl Duplex for Stream {
    fn poll_read(&mut self, context: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        Stream::poll_read(self, context, room)
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Stream::poll_write(self, context, bytes)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_flush(self, context)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Stream::shutdown_write(self)
    }

    fn abort(&mut self) {
        if let Some(stream) = self.tcp() {
            // If it fails, the connection ends with FIN, or has failed before.
            let _ = stream.set_zero_linger();
        }
    }

    fn as_tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Unix(_) | Self::Tls(_) => None,
        }
    }
}

/// One direction.
struct Pump<'a> {
    worker: &'a Worker,
    buffer: &'a mut Buffer,
    pipe: Option<Pipe>,
    /// The last read filled the buffer.
    bulk: bool,
    passed: u64,
    ended: bool,
    shut: bool,
}

/// One end of a relay.
pub(crate) struct RelayEnd<'a, D> {
    pub(crate) peer: &'a mut D,
    /// Octets that were already received from it.
    pub(crate) received: &'a mut Buffer,
}

/// How long a relay lasts.
pub(crate) struct RelayBounds<'a> {
    pub(crate) timer: &'a Timer,
    /// How long nothing may move.
    pub(crate) idle_timeout: Option<Duration>,
    /// The end in any case.
    pub(crate) deadline: Option<Instant>,
}

/// The octets that a relay has moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Relayed {
    pub(crate) to_backend: u64,
    pub(crate) to_client: u64,
}

impl RelayBounds<'_> {
    /// Sets the timer after something moved.
    fn set(&self) {
        match self.idle_timeout {
            Some(idle) => self.timer.set(idle),
            None => self.timer.clear(),
        }
        if let Some(end) = self.deadline {
            self.timer.set_no_later(end);
        }
    }
}

/// Relays both ways, beginning with what was already received, until both ends have ended or a bound is reached.
pub(crate) async fn relay(
    worker: &Worker,
    client: RelayEnd<'_, impl Duplex>,
    backend: RelayEnd<'_, impl Duplex>,
    bounds: RelayBounds<'_>,
) -> Relayed {
    let mut to_backend = Pump::new(worker, client.received);
    let mut to_client = Pump::new(worker, backend.received);
    bounds.set();
    poll_fn(|context| {
        let moved =
            [to_backend.pump(client.peer, backend.peer, context), to_client.pump(backend.peer, client.peer, context)];
        let [to_backend_moved, to_client_moved] = match moved {
            [Ok(to_backend), Ok(to_client)] => [to_backend, to_client],
            [Err(error), _] | [_, Err(error)] => {
                if is_cut(&error) {
                    client.peer.abort();
                    backend.peer.abort();
                }
                return Poll::Ready(());
            }
        };
        if to_backend.shut && to_client.shut {
            return Poll::Ready(());
        }
        if to_backend_moved || to_client_moved {
            bounds.set();
        }
        // Asked for its waker's sake as well: it has to be known before the deadline.
        if bounds.timer.expired(context) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    Relayed { to_backend: to_backend.passed, to_client: to_client.passed }
}

/// Whether what an end has sent is incomplete after a failure: the other end must not take it for all of it, and gets a reset, as from Envoy. TLS
/// that ends without close_notify is common, and is a regular end.
fn is_cut(failure: &io::Error) -> bool {
    failure.kind() != io::ErrorKind::UnexpectedEof
}

impl<'a> Pump<'a> {
    fn new(worker: &'a Worker, buffer: &'a mut Buffer) -> Self {
        Self { worker, buffer, pipe: None, bulk: false, passed: 0, ended: false, shut: false }
    }

    /// Moves as much as possible; whether anything was moved.
    fn pump(&mut self, from: &mut impl Duplex, to: &mut impl Duplex, context: &mut Context<'_>) -> io::Result<bool> {
        let mut moved = false;
        loop {
            match self.write_buffer(to, context)? {
                Poll::Pending => return Ok(moved),
                Poll::Ready(wrote) => moved |= wrote,
            }
            if self.ended {
                if !self.shut && self.pipe.as_ref().is_none_or(Pipe::is_empty) {
                    self.shut = true;
                    to.shutdown_write()?;
                }
                return Ok(moved);
            }
            let polled = match (from.as_tcp(), to.as_tcp()) {
                (Some(from), Some(to)) if self.is_piped() => self.move_piece(from, to, context)?,
                _ => self.read_piece(from, to.is_stream(), context)?,
            };
            match polled {
                Poll::Ready(some) => moved |= some,
                Poll::Pending => return Ok(moved),
            }
        }
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
                self.ended = true;
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
            self.pipe = self.worker.take_pipe();
            // Without one it is copied, and asked for again when a buffer fills again.
            self.bulk = false;
            if self.pipe.is_some() {
                self.buffer.release();
            }
        }
        self.pipe.is_some()
    }

    fn move_piece(&mut self, from: &TcpStream, to: &TcpStream, context: &mut Context<'_>) -> io::Result<Poll<bool>> {
        let Some(pipe) = &mut self.pipe else { return Ok(Poll::Ready(false)) };
        match pipe.poll_step(from, to, u64::MAX, context)? {
            Poll::Ready(PipeStep::Filled(0)) => {
                self.ended = true;
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
