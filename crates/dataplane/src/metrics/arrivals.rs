//! Counters of client connections that were rejected, evicted, or ended in their TLS handshake, each by its cause.

use super::counter::add;
use super::families::{Counters, Gauges, Labels};
use crate::reasons::HandshakeFailure;
use prometheus_client::registry::Registry;
use std::sync::atomic::{AtomicU64, Ordering};

/// One worker's counters of such connections.
#[derive(Debug, Default)]
pub(crate) struct ArrivalMetrics {
    /// By [`Rejected`].
    rejected: [AtomicU64; Rejected::ALL.len()],
    /// By the number of `conn::Stage`, as [`WAITS`] names it.
    evicted: [AtomicU64; WAITS.len()],
    /// By [`HandshakeFailure`].
    failed: [AtomicU64; HandshakeFailure::ALL.len()],
}

impl ArrivalMetrics {
    /// Counts a rejected connection.
    pub(crate) fn reject(&self, cause: Rejected) {
        count(&self.rejected, cause as usize);
    }

    /// Counts a connection that was evicted while it waited in the stage of this number.
    pub(crate) fn evict(&self, stage: usize) {
        count(&self.evicted, stage);
    }

    /// Counts a failed handshake.
    pub(crate) fn fail(&self, cause: HandshakeFailure) {
        count(&self.failed, cause as usize);
    }

    /// The connections evicted in the stage of this number.
    #[cfg(test)]
    pub(crate) fn evicted(&self, stage: usize) -> u64 {
        self.evicted[stage].load(Ordering::Relaxed)
    }
}

fn count(counters: &[AtomicU64], index: usize) {
    if let Some(counter) = counters.get(index) {
        add(counter);
    }
}

/// Why a new connection was closed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// The process is at its limit of connections, and none of them can be evicted.
    Limit,
    /// The listener is at its limit of connections.
    Listener,
    /// The client's address is at its limit of connections.
    AddressConnections,
    /// The client's address is at its limit of new connections per second.
    AddressRate,
}

impl Rejected {
    /// The values of the label `cause`, by number.
    pub(crate) const ALL: [&str; 4] = ["limit", "listener", "address_connections", "address_rate"];
}

/// What a connection waits for: the values of the label `waiting_for`, by the number of `conn::Stage`.
pub(crate) const WAITS: [&str; 4] = ["first_bytes", "handshake", "request_head", "idle"];

/// Adds the families; `most` is the limit of open connections.
pub(super) fn register(registry: &mut Registry, workers: &[&ArrivalMetrics], most: usize) {
    let help = "Limit of open client connections";
    registry.register("moongate_downstream_connections_limit", help, Gauges::one(most as u64));
    let rejected = rows("cause", Rejected::ALL, |worker| &worker.rejected, workers);
    let help = "Client connections that were closed at once";
    registry.register("moongate_downstream_connections_refused", help, Counters(rejected));
    let evicted = rows("waiting_for", WAITS, |worker| &worker.evicted, workers);
    let help = "Client connections that were closed to make room for others";
    registry.register("moongate_downstream_connections_evicted", help, Counters(evicted));
    let causes = HandshakeFailure::ALL.iter().map(|(cause, _)| cause.label());
    let failed = rows("cause", causes, |worker| &worker.failed, workers);
    let help = "TLS handshakes of clients that failed or timed out";
    registry.register("moongate_tls_handshake_failures", help, Counters(failed));
}

/// The sums over the workers, one for each value of the label.
fn rows(
    label: &'static str,
    values: impl IntoIterator<Item = &'static str>,
    counters: impl Fn(&ArrivalMetrics) -> &[AtomicU64],
    workers: &[&ArrivalMetrics],
) -> Vec<(Labels, u64)> {
    let sum = |index: usize| {
        let counts = workers.iter().filter_map(|worker| counters(worker).get(index));
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    };
    values.into_iter().enumerate().map(|(index, value)| (vec![(label, value.to_owned())], sum(index))).collect()
}
