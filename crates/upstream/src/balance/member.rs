//! An endpoint as a list has it: with its weight, its place, and since when it is there (DR-12).

use crate::endpoint::EndpointState;
use ir::{Endpoint, Locality, Warmup};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What a whole weight counts while some endpoint is new, so that parts of it can be told.
const WHOLE: f64 = 4096.0;

/// An endpoint of a list.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) endpoint: Arc<EndpointState>,
    pub(crate) weight: u32,
    pub(crate) priority: u32,
    pub(crate) locality: Option<Locality>,
    /// Whether it was ejected when the list was made.
    pub(super) ejected: bool,
    /// Since when it is there.
    since: Instant,
}

impl Member {
    /// What is configured, with its state; `before` is what a list before had of it.
    pub(crate) fn new(configured: Endpoint, endpoint: Arc<EndpointState>, before: Option<&Self>) -> Self {
        let since = before.map_or_else(Instant::now, |before| before.since);
        let Endpoint { weight, priority, locality, .. } = configured;
        Self { endpoint, weight, priority, locality, ejected: false, since }
    }

    /// Whether it is what is configured.
    pub(crate) fn is(&self, configured: &Endpoint) -> bool {
        let Endpoint { address, weight, priority, locality } = configured;
        self.endpoint.address == *address
            && self.weight == *weight
            && self.priority == *priority
            && self.locality == *locality
    }

    /// Looks whether it is ejected. One that comes back is not new again: as in Envoy, whose slow start begins anew with active health
    /// checks alone.
    pub(super) fn update_ejected(&mut self) {
        self.ejected = self.endpoint.is_ejected();
    }

    /// Whether it is new.
    pub(super) fn is_young(&self, warmup: &Warmup, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < warmup.duration
    }

    /// The weight that it has now (DR-12).
    pub(super) fn weight_at(&self, warmup: &Warmup, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.since).max(Duration::from_millis(1));
        let part = age.div_duration_f64(warmup.duration).min(1.0).powf(1.0 / warmup.aggression);
        let part = part.max(warmup.minimum_percent / 100.0);
        ((f64::from(self.weight.max(1)) * part * WHOLE) as u64).max(1)
    }
}
