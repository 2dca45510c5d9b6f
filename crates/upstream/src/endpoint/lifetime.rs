//! The limits of one connection's life: how many requests it carries, and until when (DR-20, DR-21).

use ir::PoolLimits;
use std::time::Instant;

/// What is left of a connection's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionLifetime {
    /// Requests that the connection may still carry.
    left: u32,
    /// No request begins after this time.
    deadline: Option<Instant>,
}

impl Default for ConnectionLifetime {
    fn default() -> Self {
        Self { left: u32::MAX, deadline: None }
    }
}

impl ConnectionLifetime {
    /// The lifetime of a connection that is made now.
    pub(crate) fn new(limits: Option<&PoolLimits>, now: Instant) -> Self {
        let Some(limits) = limits else { return Self::default() };
        Self {
            left: limits.max_requests_per_connection.unwrap_or(u32::MAX),
            deadline: limits.max_connection_duration.and_then(|life| now.checked_add(life)),
        }
    }

    /// Counts a request.
    pub(crate) fn count_request(&mut self) {
        if self.left != u32::MAX {
            self.left = self.left.saturating_sub(1);
        }
    }

    /// Whether the connection may carry no further request.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.left == 0
    }

    /// Whether a request may begin now.
    pub(crate) fn allows_request(&self, now: Instant) -> bool {
        self.left > 0 && self.deadline.is_none_or(|end| now < end)
    }

    /// Whether the lifetime is unlimited in time.
    pub(crate) fn has_no_deadline(&self) -> bool {
        self.deadline.is_none()
    }

    /// Whether the lifetime is unlimited.
    pub(crate) fn is_unbounded(&self) -> bool {
        *self == Self::default()
    }

    /// When the lifetime ends.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}
