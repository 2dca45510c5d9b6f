//! Counters: each worker has its own, and a scrape adds them up.

mod arrivals;
mod clusters;
mod families;
mod requests;
mod routes;
mod streams;

pub(crate) use arrivals::{Rejected, WAITS};
pub use families::{Counters, Gauges, Labels};
pub(crate) use requests::{NO_DESTINATION, Request};
pub(crate) use streams::{BudgetGauge, ProcessGauges, StreamMetrics};

use crate::limits::Limits;
use crate::reasons::HandshakeFailure;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One worker's counters.
#[derive(Debug)]
pub(crate) struct WorkerMetrics {
    requests: requests::Requests,
    connections: requests::Connections,
    routes: routes::Routes,
    max_series: usize,
    /// Connections of clients: all that were accepted, and those that are open.
    pub(crate) accepted: AtomicU64,
    pub(crate) open: AtomicU64,
    /// Those that were rejected, by [`Rejected`]; those that were closed for others, by what they waited for ([`WAITS`]).
    pub(crate) rejected: [AtomicU64; Rejected::ALL.len()],
    pub(crate) evicted: [AtomicU64; WAITS.len()],
    /// Errors of the system when a connection was to be accepted.
    pub(crate) accept_errors: AtomicU64,
    /// TLS handshakes that came to their end, and those that did not, by cause.
    pub(crate) handshakes: AtomicU64,
    pub(crate) handshake_failures: [AtomicU64; HandshakeFailure::ALL.len()],
    /// Connections rejected for a missing PROXY header, or for one from an untrusted sender.
    pub(crate) headers_refused: AtomicU64,
    /// Connections that ended by a panic.
    pub(crate) panics: AtomicU64,
    /// Connections to endpoints that were made, that failed, and requests that found one idle.
    pub(crate) connected: AtomicU64,
    pub(crate) connect_failed: AtomicU64,
    pub(crate) reused: AtomicU64,
    /// Connections to endpoints: those that are idle, those found closed when they were wanted again, and those closed since there were enough.
    pub(crate) idle: AtomicU64,
    pub(crate) stale: AtomicU64,
    pub(crate) surplus: AtomicU64,
    /// Connections to endpoints in HTTP/2.
    pub(crate) multiplexed: AtomicU64,
    /// Streams of clients in HTTP/2.
    pub(crate) streams: StreamMetrics,
    /// Requests that were sent a second time.
    pub(crate) replayed: AtomicU64,
    pub(crate) retried: AtomicU64,
    /// Copies of requests that were answered, those that were not, and those for which there was no room.
    pub(crate) mirrored: AtomicU64,
    pub(crate) mirrors_failed: AtomicU64,
    pub(crate) mirrors_dropped: AtomicU64,
    /// The generation of the snapshot that the worker serves.
    pub(crate) generation: AtomicU64,
}

impl WorkerMetrics {
    pub(crate) fn new(limits: &Limits, process: &ProcessGauges) -> Self {
        Self {
            streams: StreamMetrics::new(process),
            requests: Default::default(),
            connections: Default::default(),
            routes: routes::Routes::default(),
            max_series: limits.metric_series,
            accepted: AtomicU64::new(0),
            open: AtomicU64::new(0),
            rejected: Default::default(),
            evicted: Default::default(),
            accept_errors: AtomicU64::new(0),
            handshakes: AtomicU64::new(0),
            handshake_failures: Default::default(),
            headers_refused: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            connected: AtomicU64::new(0),
            connect_failed: AtomicU64::new(0),
            reused: AtomicU64::new(0),
            idle: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            surplus: AtomicU64::new(0),
            multiplexed: AtomicU64::new(0),
            replayed: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            mirrored: AtomicU64::new(0),
            mirrors_failed: AtomicU64::new(0),
            mirrors_dropped: AtomicU64::new(0),
            generation: AtomicU64::new(0),
        }
    }
}

/// Adds one; counters have no order among each other.
pub(crate) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// All families as they are now; `unresolved` is how many names of endpoints have no answer.
pub(crate) fn registry(
    workers: &[Arc<WorkerMetrics>],
    counts: &[clusters::Counts],
    (log_dropped, unresolved): (u64, u64),
    most_connections: usize,
) -> Registry {
    let mut registry = Registry::default();
    clusters::register(&mut registry, counts, workers.first().map_or(0, |worker| worker.max_series));
    requests::register(&mut registry, workers);
    routes::register(&mut registry, workers);
    streams::register(&mut registry, workers);
    for (name, help, read) in GAUGES {
        let rows =
            workers.iter().enumerate().map(|(at, worker)| (vec![("worker", at.to_string())], read(worker))).collect();
        registry.register(*name, *help, Gauges(rows));
    }
    for (name, help, read) in COUNTERS {
        let sum: u64 = workers.iter().map(|worker| read(worker)).sum();
        registry.register(*name, *help, Counters::one(sum));
    }
    arrivals::register(&mut registry, workers, most_connections);
    let help = "Lines of the access log that found no room";
    registry.register("moongate_access_log_dropped", help, Counters::one(log_dropped));
    let help = "Names of endpoints whose last query had no answer";
    registry.register("moongate_dns_unresolved", help, Gauges::one(unresolved));
    registry
}

type Read = fn(&WorkerMetrics) -> u64;

const GAUGES: &[(&str, &str, Read)] = &[
    ("moongate_worker_generation", "Generation of the configuration that a worker serves", |w| {
        w.generation.load(Ordering::Relaxed)
    }),
    ("moongate_downstream_connections_open", "Connections of clients that are open", |w| {
        w.open.load(Ordering::Relaxed)
    }),
    ("moongate_upstream_connections_http2", "Connections to endpoints in HTTP/2", |w| {
        w.multiplexed.load(Ordering::Relaxed)
    }),
    ("moongate_upstream_connections_idle", "Connections to endpoints that are idle", |w| {
        w.idle.load(Ordering::Relaxed)
    }),
];

const COUNTERS: &[(&str, &str, Read)] = &[
    ("moongate_downstream_connections", "Connections of clients that were taken", |w| {
        w.accepted.load(Ordering::Relaxed)
    }),
    ("moongate_accept_errors", "Errors of the system when a connection of a client was to be accepted", |w| {
        w.accept_errors.load(Ordering::Relaxed)
    }),
    ("moongate_tls_handshakes", "TLS handshakes of clients that came to their end", |w| {
        w.handshakes.load(Ordering::Relaxed)
    }),
    ("moongate_proxy_headers_refused", "Connections that were closed for want of a PROXY header to believe", |w| {
        w.headers_refused.load(Ordering::Relaxed)
    }),
    ("moongate_connection_panics", "Connections that ended by a fault of this program", |w| {
        w.panics.load(Ordering::Relaxed)
    }),
    ("moongate_upstream_connections", "Connections to endpoints that were made", |w| {
        w.connected.load(Ordering::Relaxed)
    }),
    ("moongate_upstream_connect_failures", "Connections to endpoints that could not be made", |w| {
        w.connect_failed.load(Ordering::Relaxed)
    }),
    ("moongate_upstream_connections_reused", "Requests that found an idle connection", |w| {
        w.reused.load(Ordering::Relaxed)
    }),
    ("moongate_upstream_connections_stale", "Idle connections that were closed when they were wanted again", |w| {
        w.stale.load(Ordering::Relaxed)
    }),
    ("moongate_upstream_connections_surplus", "Connections that were closed since enough were idle", |w| {
        w.surplus.load(Ordering::Relaxed)
    }),
    ("moongate_requests_retried", "Further attempts that the policies of routes asked for", |w| {
        w.retried.load(Ordering::Relaxed)
    }),
    ("moongate_requests_mirrored", "Copies of requests that were answered", |w| w.mirrored.load(Ordering::Relaxed)),
    ("moongate_mirrors_failed", "Copies of requests that were not answered or given up", |w| {
        w.mirrors_failed.load(Ordering::Relaxed)
    }),
    ("moongate_mirrors_dropped", "Copies of requests that there was no room for", |w| {
        w.mirrors_dropped.load(Ordering::Relaxed)
    }),
    ("moongate_requests_replayed", "Requests that were sent a second time", |w| w.replayed.load(Ordering::Relaxed)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reasons::Flags;
    use prometheus_client::encoding::text::encode;
    use std::time::Duration;

    #[test]
    fn workers_are_added_up_and_series_are_bounded() {
        let limits = Limits { metric_series: 1, ..Limits::default() };
        let workers = [1, 2].map(|_| Arc::new(WorkerMetrics::new(&limits, &ProcessGauges::default())));
        let request = |destination| Request { destination, status: 200, flags: Flags::NONE };
        for worker in &workers {
            worker.request(request("a.test"), Duration::from_millis(7), 1, 2);
        }
        workers[0].request(request("b.test"), Duration::ZERO, 0, 0);
        let mut text = String::new();
        encode(&mut text, &registry(&workers, &[], (3, 2), 7)).unwrap();
        assert!(text.contains("moongate_dns_unresolved 2\n"), "{text}");
        let has = |line: &str| assert!(text.contains(line), "{line} is not in\n{text}");
        has(
            "istio_requests_total{reporter=\"source\",request_protocol=\"http\",destination_service=\"a.test\",response_code=\"200\",response_flags=\"-\"} 2",
        );
        has("destination_service=\"other\"");
        has(
            "istio_request_duration_milliseconds_sum{reporter=\"source\",request_protocol=\"http\",destination_service=\"a.test\",response_code=\"200\",response_flags=\"-\"} 14",
        );
        has(
            "istio_response_bytes_bucket{le=\"5.0\",reporter=\"source\",request_protocol=\"http\",destination_service=\"a.test\",response_code=\"200\",response_flags=\"-\"} 2",
        );
        // Quantiles need the last bucket.
        has(
            "istio_response_bytes_bucket{le=\"+Inf\",reporter=\"source\",request_protocol=\"http\",destination_service=\"a.test\",response_code=\"200\",response_flags=\"-\"} 2",
        );
        has("moongate_access_log_dropped_total 3");
        has("moongate_downstream_connections_limit 7");
        has("moongate_downstream_connections_refused_total{cause=\"limit\"} 0");
        has("moongate_tls_handshake_failures_total{cause=\"unknown_ca\"} 0");
        has("moongate_worker_generation{worker=\"1\"} 0");
    }
}
