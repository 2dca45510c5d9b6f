//! Connections to one endpoint that were idle for a while, for any worker. Bounded by the endpoint's idle slots: each connection has one.

use super::endpoints::Opened;
use super::lifetime::ConnectionLifetime;
use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Connections that each sweep checks, so that those that the peer has closed are removed.
const CHECKS: usize = 16;

/// An idle connection that is not registered with any runtime.
#[derive(Debug)]
pub(crate) struct SharedIdle {
    /// TCP or unix, as the endpoint's address.
    pub(crate) socket: OwnedFd,
    /// When it became idle.
    pub(crate) since: Instant,
    /// How many requests it may carry, and until when.
    pub(crate) lifetime: ConnectionLifetime,
    /// The connection's part of the limit of the process.
    pub(crate) opened: Opened,
}

#[derive(Debug, Default)]
pub(super) struct SharedIdlePool {
    connections: Vec<SharedIdle>,
    next_check: usize,
}

impl SharedIdle {
    /// Whether the peer has sent nothing and has not closed; checks the socket.
    pub(crate) fn is_open(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let peeked = socket2::SockRef::from(&self.socket).peek(&mut byte);
        matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}

impl SharedIdlePool {
    pub(super) fn push(&mut self, shared: SharedIdle) {
        self.connections.push(shared);
    }

    pub(super) fn pop(&mut self) -> Option<SharedIdle> {
        self.connections.pop()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Closes all connections; returns how many.
    pub(super) fn clear(&mut self) -> usize {
        std::mem::take(&mut self.connections).len()
    }

    /// Closes connections that are idle for longer than `limit`, and some of those that the peer has closed; returns how many.
    pub(super) fn sweep(&mut self, now: Instant, limit: Duration) -> usize {
        let before = self.connections.len();
        self.connections
            .retain(|one| now.saturating_duration_since(one.since) < limit && one.lifetime.allows_request(now));
        for _ in 0..CHECKS.min(self.connections.len()) {
            if self.next_check >= self.connections.len() {
                self.next_check = 0;
            }
            match self.connections.get(self.next_check) {
                Some(one) if !one.is_open() => drop(self.connections.remove(self.next_check)),
                _ => self.next_check += 1,
            }
        }
        before - self.connections.len()
    }
}
