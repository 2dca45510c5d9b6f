//! An endpoint in a list: with its weight, its locality, and the time since when it is in the list (DR-12).

use crate::endpoint::EndpointState;
use ir::{Endpoint, Locality, Warmup};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The scale of weights while an endpoint warms up, so that fractions can be expressed.
const WHOLE: f64 = 4096.0;

/// An endpoint of a list.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) endpoint: Arc<EndpointState>,
    pub(crate) weight: u32,
    pub(crate) priority: u32,
    pub(crate) locality: Option<Locality>,
    /// Whether it was ejected when the list was built.
    pub(super) ejected: bool,
    /// Since when it is in the list.
    since: Instant,
}

impl Member {
    /// A configured endpoint with its state; `before` is its member in an earlier list.
    pub(crate) fn new(configured: Endpoint, endpoint: Arc<EndpointState>, before: Option<&Self>) -> Self {
        let since = before.map_or_else(Instant::now, |before| before.since);
        let Endpoint { weight, priority, locality, .. } = configured;
        Self { endpoint, weight, priority, locality, ejected: false, since }
    }

    /// Whether it equals the configured endpoint.
    pub(crate) fn is(&self, configured: &Endpoint) -> bool {
        let Endpoint { address, weight, priority, locality } = configured;
        self.endpoint.address == *address
            && self.weight == *weight
            && self.priority == *priority
            && self.locality == *locality
    }

    /// Updates whether it is ejected. A restored endpoint does not warm up again, as in Envoy, where only active health checks restart it.
    pub(super) fn update_ejected(&mut self) {
        self.ejected = self.endpoint.is_ejected();
    }

    /// Whether it warms up.
    pub(super) fn is_young(&self, warmup: &Warmup, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < warmup.duration
    }

    /// Its current weight (DR-12).
    pub(super) fn weight_at(&self, warmup: &Warmup, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.since).max(Duration::from_millis(1));
        let part = age.div_duration_f64(warmup.duration).min(1.0).powf(1.0 / warmup.aggression);
        let part = part.max(warmup.minimum_percent / 100.0);
        ((f64::from(self.weight.max(1)) * part * WHOLE) as u64).max(1)
    }
}
