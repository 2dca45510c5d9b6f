//! Connections that end before anything is spoken on them: they are counted by their cause, and a failed TLS handshake has a line in the
//! access log. A connection that sent nothing and was closed by its client is the probe of a load balancer, and no failure.

use super::Accepted;
use crate::conn::{Tracked, Worker};
use crate::log::Record;
use crate::metrics::add;
use crate::reasons::HandshakeFailure;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

/// What is known of a connection whose handshake is under way.
pub(super) struct HandshakeAttempt {
    pub(super) begun: Instant,
    pub(super) ends: (SocketAddr, Option<SocketAddr>),
    /// The name that the client asked for, as far as that is known.
    pub(super) sni: Option<Box<str>>,
}

impl Accepted {
    /// Of a connection that has just been looked at.
    pub(super) fn begin_attempt(&self) -> HandshakeAttempt {
        HandshakeAttempt { begun: self.begun, ends: self.addresses(), sni: None }
    }
}

impl HandshakeAttempt {
    /// Counts a connection that sent nothing, unless it was the client that closed it.
    pub(super) fn silent(&self, worker: &Worker, tracked: &Tracked, cause: HandshakeFailure) {
        if cause != HandshakeFailure::ClosedByClient {
            count(worker, tracked, cause);
        }
    }

    /// Counts a failed handshake and writes its line. What ends a connection that is to be closed for others is that, whatever it looks like.
    pub(super) fn failed(&self, worker: &Worker, tracked: &Tracked, cause: HandshakeFailure) {
        let cause = count(worker, tracked, cause);
        let Some(log) = &worker.log else { return };
        let taken = self.begun.elapsed();
        let plain =
            |address: SocketAddr| SocketAddr::new(wire::forwarded::plain_address(address), address.port()).to_string();
        log.write(&Record {
            start: SystemTime::now().checked_sub(taken).unwrap_or(SystemTime::UNIX_EPOCH),
            flags: cause.flags(),
            details: cause.detail(),
            duration: taken,
            server_name: self.sni.as_deref().unwrap_or_default(),
            downstream_local: &self.ends.1.map_or_else(String::new, plain),
            downstream_remote: &plain(self.ends.0),
            ..Record::empty()
        });
    }
}

fn count(worker: &Worker, tracked: &Tracked, cause: HandshakeFailure) -> HandshakeFailure {
    let cause = if tracked.is_evicted() { HandshakeFailure::Evicted } else { cause };
    if let Some(count) = worker.metrics.handshake_failures.get(cause as usize) {
        add(count);
    }
    cause
}
