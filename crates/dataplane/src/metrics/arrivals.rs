//! Counters of connections that were rejected, closed for others, or ended in their TLS handshake, each by its cause.

use super::WorkerMetrics;
use super::families::{Counters, Gauges};
use crate::reasons::HandshakeFailure;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a new connection was closed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// The process has as many as it may have, and none of them is idle.
    Limit,
    /// The listener has as many as it may have.
    Listener,
    /// Its address has.
    AddressConnections,
    /// Its address makes them too fast.
    AddressRate,
}

impl Rejected {
    /// All of them, by number, as the label has them.
    pub(crate) const ALL: [&str; 4] = ["limit", "listener", "address_connections", "address_rate"];
}

/// What a connection waits for, as the label has it: by the number of `conn::Stage`.
pub(crate) const WAITS: [&str; 4] = ["first_bytes", "handshake", "request_head", "idle"];

pub(super) fn register(registry: &mut Registry, workers: &[Arc<WorkerMetrics>], most: usize) {
    let help = "Connections of clients that may be open";
    registry.register("moongate_downstream_connections_limit", help, Gauges::one(most as u64));
    let sum = |read: &dyn Fn(&WorkerMetrics) -> Option<&AtomicU64>| {
        workers.iter().filter_map(|worker| read(worker)).map(|count| count.load(Ordering::Relaxed)).sum::<u64>()
    };
    let labelled = |name: &'static str, label: &str, value| (vec![(name, label.to_owned())], value);
    let rejected = Rejected::ALL.iter().enumerate();
    let rows = rejected.map(|(at, label)| labelled("cause", label, sum(&|worker| worker.rejected.get(at)))).collect();
    let help = "Connections of clients that were closed at once";
    registry.register("moongate_downstream_connections_refused", help, Counters(rows));
    let evicted = WAITS.iter().enumerate();
    let rows =
        evicted.map(|(at, label)| labelled("waiting_for", label, sum(&|worker| worker.evicted.get(at)))).collect();
    let help = "Connections of clients that were closed to make room for others";
    registry.register("moongate_downstream_connections_evicted", help, Counters(rows));
    let causes = HandshakeFailure::ALL.iter().enumerate();
    let of = |at: usize| sum(&|worker| worker.handshake_failures.get(at));
    let rows = causes.map(|(at, (cause, _))| labelled("cause", cause.label(), of(at))).collect();
    let help = "TLS handshakes of clients that failed or did not end";
    registry.register("moongate_tls_handshake_failures", help, Counters(rows));
}
