//! Relays octets in both directions between two connections or streams, until both have ended or the idle timeout (S-125). Half-closes are
//! forwarded. Bulk data between two TCP connections is spliced; small pieces are copied, which costs less.

mod duplex;
mod pump;

use super::{Buffer, MoveError, Timer, Worker};
pub(crate) use duplex::Duplex;
use pump::Pump;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

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

/// What a relay has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Relayed {
    /// Octets.
    pub(crate) to_backend: u64,
    pub(crate) to_client: u64,
    /// Whether the client's connection is to be reset, because what the client has received is incomplete.
    pub(crate) is_client_reset: bool,
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

/// Relays both ways, beginning with what was already received, until both directions have ended or a bound is reached. If what an end has sent is
/// incomplete, because that end has reset or failed, the other end is reset, as by Envoy: it must not take it for all of it.
pub(crate) async fn relay(
    worker: &Worker,
    client: RelayEnd<'_, impl Duplex>,
    backend: RelayEnd<'_, impl Duplex>,
    bounds: RelayBounds<'_>,
) -> Relayed {
    let take_pipe = || worker.take_pipe();
    let mut to_backend = Pump::new(&take_pipe, client.received);
    let mut to_client = Pump::new(&take_pipe, backend.received);
    bounds.set();
    let (client, backend) = (client.peer, backend.peer);
    poll_fn(|context| {
        let mut moved = advance(&mut to_backend, &mut to_client, client, backend, context);
        moved |= advance(&mut to_client, &mut to_backend, backend, client, context);
        if to_backend.is_over() && to_client.is_over() {
            return Poll::Ready(());
        }
        if moved {
            bounds.set();
        }
        // Asked for its waker's sake as well: it has to be known before the deadline.
        if bounds.timer.expired(context) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    Relayed {
        to_backend: to_backend.passed(),
        to_client: to_client.passed(),
        is_client_reset: to_client.has_reset_sink(),
    }
}

/// Moves one direction, and ends what a failure ends; whether anything has changed. `back` is the other direction.
fn advance(
    direction: &mut Pump<'_>,
    back: &mut Pump<'_>,
    from: &mut impl Duplex,
    to: &mut impl Duplex,
    context: &mut Context<'_>,
) -> bool {
    match direction.pump(from, to, context) {
        Ok(moved) => return moved,
        Err(MoveError::Source(kind)) => {
            // Nothing can be sent to the source either.
            back.give_up();
            // TLS that ends without close_notify is common, and is a regular end of both directions.
            if kind == io::ErrorKind::UnexpectedEof {
                direction.give_up();
            } else {
                direction.reset_sink(to);
            }
        }
        Err(MoveError::Sink(kind)) => {
            direction.give_up();
            // What the sink has sent before is still moved. After its end it closes its socket, and answers what follows with a reset, which is
            // EPIPE; without such an end, what it has sent is incomplete.
            if !matches!(kind, io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected) {
                back.cut();
            }
        }
    }
    true
}

#[cfg(test)]
mod tests;
