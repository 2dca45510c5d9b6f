//! What is agreed for one connection when it is made: how many requests it carries, and until when (DR-20, DR-21).

use ir::PoolLimits;
use std::time::Instant;

/// The terms of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Requests that it may still carry.
    left: u32,
    /// No request begins on it after this.
    ends: Option<Instant>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { left: u32::MAX, ends: None }
    }
}

impl Terms {
    /// Those of a connection that is made now.
    pub(crate) fn new(limits: Option<&PoolLimits>, now: Instant) -> Self {
        let Some(limits) = limits else { return Self::default() };
        Self {
            left: limits.max_requests_per_connection.unwrap_or(u32::MAX),
            ends: limits.max_connection_duration.and_then(|life| now.checked_add(life)),
        }
    }

    /// Counts a request.
    pub(crate) fn count(&mut self) {
        if self.left != u32::MAX {
            self.left = self.left.saturating_sub(1);
        }
    }

    /// Whether it carries no further request.
    pub(crate) fn is_used_up(&self) -> bool {
        self.left == 0
    }

    /// Whether a request may begin.
    pub(crate) fn hold(&self, now: Instant) -> bool {
        self.left > 0 && self.ends.is_none_or(|end| now < end)
    }

    /// Whether its end does not come by time.
    pub(crate) fn is_endless(&self) -> bool {
        self.ends.is_none()
    }

    /// Whether nothing was agreed.
    pub(crate) fn is_unbounded(&self) -> bool {
        *self == Self::default()
    }

    /// When its life is over.
    pub(crate) fn ends(&self) -> Option<Instant> {
        self.ends
    }
}
