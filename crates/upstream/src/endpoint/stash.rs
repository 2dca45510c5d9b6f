//! Connections to one endpoint that were idle for a while and wait for any worker. Not bounded by itself: each of them holds one of the
//! endpoint's places.

use super::{Opened, Terms};
use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Connections that are looked at each time, so that those that their peer closed do not stay.
const CHECKS: usize = 16;

/// A connection that no runtime knows of.
#[derive(Debug)]
pub(crate) struct Stashed {
    /// TCP or unix, as its endpoint's address.
    pub(crate) socket: OwnedFd,
    /// Since when it is idle.
    pub(crate) since: Instant,
    /// What was agreed for it.
    pub(crate) terms: Terms,
    /// Its place among those of the process.
    pub(crate) opened: Opened,
}

#[derive(Debug, Default)]
pub(super) struct Stash {
    connections: Vec<Stashed>,
    next_check: usize,
}

impl Stashed {
    /// Whether nothing came and the peer has not closed; asks the system.
    pub(crate) fn is_open(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let peeked = socket2::SockRef::from(&self.socket).peek(&mut byte);
        matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}

impl Stash {
    pub(super) fn push(&mut self, stashed: Stashed) {
        self.connections.push(stashed);
    }

    pub(super) fn pop(&mut self) -> Option<Stashed> {
        self.connections.pop()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Closes all; how many there were.
    pub(super) fn clear(&mut self) -> usize {
        std::mem::take(&mut self.connections).len()
    }

    /// Closes what is idle for longer than `limit`, and a few of those that their peer closed; how many.
    pub(super) fn tend(&mut self, now: Instant, limit: Duration) -> usize {
        let before = self.connections.len();
        self.connections.retain(|one| now.saturating_duration_since(one.since) < limit && one.terms.hold(now));
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
