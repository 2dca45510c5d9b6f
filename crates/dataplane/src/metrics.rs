//! Counters: each worker has its own, and a scrape adds them up.
//!
//! What a stream was is counted when it has ended: the metrics are a sink of finished streams ([`StreamSink`]). What happens during a stream, to
//! a connection or to the worker (retries, connections to endpoints, mirror requests) is counted at once, because a stream may last for hours.

mod arrivals;
mod clusters;
mod counter;
mod families;
mod policies;
mod requests;
mod routes;
mod streams;

pub(crate) use arrivals::{Rejected, WAITS};
pub(crate) use counter::add;
pub use families::{Counters, Gauges, Labels};
pub(crate) use streams::{BudgetGauge, ProcessGauges, StreamMetrics};

use crate::limits::Limits;
use crate::stream_info::{CheckResult, FinishedStream, StreamKind, StreamSink};
use arrivals::ArrivalMetrics;
use policies::{PolicyMetrics, Protocol};
use prometheus_client::registry::Registry;
use requests::{NO_DESTINATION, Request, RequestMetrics};
use routes::RouteMetrics;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One worker's counters.
#[derive(Debug)]
pub(crate) struct WorkerMetrics {
    requests: RequestMetrics,
    routes: RouteMetrics,
    max_series: usize,
    /// Client connections accepted so far, and those that are open.
    pub(crate) accepted: AtomicU64,
    pub(crate) open: AtomicU64,
    /// Client connections that were rejected or evicted, and failed TLS handshakes.
    pub(crate) arrivals: ArrivalMetrics,
    /// Decisions of policies.
    policies: PolicyMetrics,
    /// Errors of `accept`.
    pub(crate) accept_errors: AtomicU64,
    /// Completed TLS handshakes.
    pub(crate) handshakes: AtomicU64,
    /// Connections rejected for a missing PROXY header, or for one from an untrusted sender.
    pub(crate) headers_refused: AtomicU64,
    /// Connections that ended by a panic.
    pub(crate) panics: AtomicU64,
    /// Upstream connections that were made, that failed, and requests that reused an idle one.
    pub(crate) connected: AtomicU64,
    pub(crate) connect_failed: AtomicU64,
    pub(crate) reused: AtomicU64,
    /// Upstream connections that are idle, that were found closed when reused, and that were closed because enough were idle.
    pub(crate) idle: AtomicU64,
    pub(crate) stale: AtomicU64,
    pub(crate) surplus: AtomicU64,
    /// Upstream connections in HTTP/2.
    pub(crate) multiplexed: AtomicU64,
    /// HTTP/2 streams of clients.
    pub(crate) streams: StreamMetrics,
    /// Requests that were sent again because the connection was lost, and retries of route policies.
    pub(crate) replayed: AtomicU64,
    pub(crate) retried: AtomicU64,
    /// Mirror requests that were answered, that failed, and that were dropped at the limit.
    pub(crate) mirrored: AtomicU64,
    pub(crate) mirrors_failed: AtomicU64,
    pub(crate) mirrors_dropped: AtomicU64,
    /// Checks of external authorization, by their results.
    checks: CheckMetrics,
    /// The generation of the snapshot that the worker serves.
    pub(crate) generation: AtomicU64,
}

/// Checks of external authorization (AP-13).
#[derive(Debug, Default)]
struct CheckMetrics {
    allowed: AtomicU64,
    denied: AtomicU64,
    /// Those without a decision, whatever followed.
    failed: AtomicU64,
}

impl WorkerMetrics {
    pub(crate) fn new(limits: &Limits, process: &ProcessGauges) -> Self {
        Self {
            streams: StreamMetrics::new(process),
            requests: RequestMetrics::new(limits.metric_series),
            routes: RouteMetrics::new(limits.metric_series),
            max_series: limits.metric_series,
            accepted: AtomicU64::new(0),
            open: AtomicU64::new(0),
            arrivals: ArrivalMetrics::default(),
            policies: PolicyMetrics::default(),
            accept_errors: AtomicU64::new(0),
            handshakes: AtomicU64::new(0),
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
            checks: CheckMetrics::default(),
            generation: AtomicU64::new(0),
        }
    }
}

impl StreamSink for WorkerMetrics {
    fn record(&self, stream: &FinishedStream<'_>) {
        let info = stream.info;
        let labels = Request {
            destination: stream.destination.unwrap_or(NO_DESTINATION),
            status: info.status,
            flags: info.flags,
        };
        match stream.kind {
            StreamKind::Request { .. } => {
                let taken = stream.ended.saturating_duration_since(info.started);
                self.requests.count_request(labels, taken, info.received, info.sent);
                if let Some(prefix) = stream.stat_prefix {
                    self.routes.count(prefix, info.status, taken);
                }
            }
            StreamKind::Connection => self.requests.count_connection(labels, info.received, info.sent),
            StreamKind::Handshake(cause) => self.arrivals.fail(cause),
        }
        if let Some(result) = &info.policies {
            let is_request = matches!(stream.kind, StreamKind::Request { .. });
            self.policies.count(if is_request { Protocol::Http } else { Protocol::Tcp }, result);
        }
        match info.check {
            Some(CheckResult::Allowed) => add(&self.checks.allowed),
            Some(CheckResult::Denied) => add(&self.checks.denied),
            Some(CheckResult::Failed) => add(&self.checks.failed),
            None => {}
        }
    }
}

/// What is counted of tokens for requests to destinations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TokenCounts {
    /// Clients of authorization servers whose last request for a token failed.
    pub(crate) unavailable: u64,
    /// Tokens that a destination has rejected.
    pub(crate) rejected: u64,
}

/// What is counted for the process, not by workers.
#[derive(Debug, Default)]
pub(crate) struct ProcessCounts {
    /// Lines of the access log that were dropped.
    pub(crate) log_dropped: u64,
    /// Records of the decision log that were dropped.
    pub(crate) decisions_dropped: u64,
    /// Endpoint names that do not resolve.
    pub(crate) unresolved: u64,
    /// Sets of keys whose last fetch failed.
    pub(crate) keys_unavailable: u64,
    /// Tokens for requests to destinations.
    pub(crate) tokens: TokenCounts,
    /// The limit of client connections.
    pub(crate) most_connections: usize,
}

/// All families with their current values.
pub(crate) fn registry(
    workers: &[Arc<WorkerMetrics>],
    counts: &[clusters::Counts],
    process: &ProcessCounts,
) -> Registry {
    let mut registry = Registry::default();
    clusters::register(&mut registry, counts, workers.first().map_or(0, |worker| worker.max_series));
    requests::register(&mut registry, &each(workers, |worker| &worker.requests));
    routes::register(&mut registry, &each(workers, |worker| &worker.routes));
    streams::register(&mut registry, &each(workers, |worker| &worker.streams));
    for (name, help, read) in GAUGES {
        let rows =
            workers.iter().enumerate().map(|(at, worker)| (vec![("worker", at.to_string())], read(worker))).collect();
        registry.register(*name, *help, Gauges(rows));
    }
    for (name, help, read) in COUNTERS {
        let sum: u64 = workers.iter().map(|worker| read(worker)).sum();
        registry.register(*name, *help, Counters::one(sum));
    }
    policies::register(&mut registry, &each(workers, |worker| &worker.policies));
    arrivals::register(&mut registry, &each(workers, |worker| &worker.arrivals), process.most_connections);
    let help = "Lines of the access log that were dropped because its queue was full";
    registry.register("moongate_access_log_dropped", help, Counters::one(process.log_dropped));
    let help = "Records of the decision log that found no room or could not be written";
    registry.register("moongate_decision_log_dropped", help, Counters::one(process.decisions_dropped));
    let help = "Endpoint names whose last DNS query failed";
    registry.register("moongate_dns_unresolved", help, Gauges::one(process.unresolved));
    let help = "Key sets of token issuers whose last fetch failed";
    registry.register("moongate_jwks_unavailable", help, Gauges::one(process.keys_unavailable));
    let help = "Clients of OAuth 2.0 authorization servers whose last request for a token failed";
    registry.register("moongate_credential_tokens_unavailable", help, Gauges::one(process.tokens.unavailable));
    let help = "Tokens for requests to destinations that a destination rejected";
    registry.register("moongate_credential_tokens_rejected", help, Counters::one(process.tokens.rejected));
    registry
}

/// One part of the metrics of each worker.
fn each<T>(workers: &[Arc<WorkerMetrics>], part: impl Fn(&WorkerMetrics) -> &T) -> Vec<&T> {
    workers.iter().map(|worker| part(worker)).collect()
}

type Read = fn(&WorkerMetrics) -> u64;

const GAUGES: &[(&str, &str, Read)] = &[
    ("moongate_worker_generation", "Generation of the configuration that a worker serves", |w| {
        w.generation.load(Ordering::Relaxed)
    }),
    ("moongate_downstream_connections_open", "Open client connections", |w| w.open.load(Ordering::Relaxed)),
    ("moongate_upstream_connections_http2", "Open HTTP/2 connections to endpoints", |w| {
        w.multiplexed.load(Ordering::Relaxed)
    }),
    ("moongate_upstream_connections_idle", "Idle connections to endpoints", |w| w.idle.load(Ordering::Relaxed)),
];

const COUNTERS: &[(&str, &str, Read)] = &[
    ("moongate_downstream_connections", "Client connections that were accepted", |w| {
        w.accepted.load(Ordering::Relaxed)
    }),
    ("moongate_accept_errors", "System errors while client connections were accepted", |w| {
        w.accept_errors.load(Ordering::Relaxed)
    }),
    ("moongate_tls_handshakes", "TLS handshakes of clients that were completed", |w| {
        w.handshakes.load(Ordering::Relaxed)
    }),
    (
        "moongate_proxy_headers_refused",
        "Connections that were closed because they had no PROXY header from a trusted address",
        |w| w.headers_refused.load(Ordering::Relaxed),
    ),
    ("moongate_connection_panics", "Connections that ended by a panic of this program", |w| {
        w.panics.load(Ordering::Relaxed)
    }),
    ("moongate_upstream_connections", "Connections to endpoints that were established", |w| {
        w.connected.load(Ordering::Relaxed)
    }),
    ("moongate_upstream_connect_failures", "Connections to endpoints that could not be established", |w| {
        w.connect_failed.load(Ordering::Relaxed)
    }),
    ("moongate_upstream_connections_reused", "Requests that reused an idle connection", |w| {
        w.reused.load(Ordering::Relaxed)
    }),
    (
        "moongate_upstream_connections_stale",
        "Idle connections that turned out to be closed when they were reused",
        |w| w.stale.load(Ordering::Relaxed),
    ),
    ("moongate_upstream_connections_surplus", "Connections that were closed because enough were idle", |w| {
        w.surplus.load(Ordering::Relaxed)
    }),
    ("moongate_requests_retried", "Retries by the policies of routes", |w| w.retried.load(Ordering::Relaxed)),
    ("moongate_requests_mirrored", "Mirror requests that were answered", |w| w.mirrored.load(Ordering::Relaxed)),
    ("moongate_mirrors_failed", "Mirror requests that failed or were aborted", |w| {
        w.mirrors_failed.load(Ordering::Relaxed)
    }),
    ("moongate_mirrors_dropped", "Mirror requests that were dropped because too many were in flight", |w| {
        w.mirrors_dropped.load(Ordering::Relaxed)
    }),
    ("moongate_ext_authz_allowed", "Requests that a service for authorization allowed", |w| {
        w.checks.allowed.load(Ordering::Relaxed)
    }),
    ("moongate_ext_authz_denied", "Requests that a service for authorization denied", |w| {
        w.checks.denied.load(Ordering::Relaxed)
    }),
    ("moongate_ext_authz_failures", "Requests that a service for authorization had no decision on", |w| {
        w.checks.failed.load(Ordering::Relaxed)
    }),
    ("moongate_requests_replayed", "Requests that were sent again because their connection was lost", |w| {
        w.replayed.load(Ordering::Relaxed)
    }),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream_info::{NoRequest, StreamFacts, StreamInfo};
    use prometheus_client::encoding::text::encode;
    use std::net::SocketAddr;
    use std::time::Duration;

    #[test]
    fn workers_are_summed_and_series_are_bounded() {
        let limits = Limits { metric_series: 1, ..Limits::default() };
        let workers = [1, 2].map(|_| Arc::new(WorkerMetrics::new(&limits, &ProcessGauges::default())));
        let info = StreamInfo { status: 200, received: 1, sent: 2, ..StreamInfo::new() };
        let local = SocketAddr::from(([127, 0, 0, 1], 80));
        let stream = |destination, milliseconds| FinishedStream {
            kind: StreamKind::Request { http2: false },
            stream: StreamFacts::of_connection(local, None, "", None),
            destination: Some(destination),
            stat_prefix: None,
            origin: None,
            info: &info,
            ended: info.started + Duration::from_millis(milliseconds),
            request: &NoRequest,
        };
        for worker in &workers {
            worker.record(&stream("a.test", 7));
        }
        workers[0].record(&stream("b.test", 0));
        let mut text = String::new();
        let process = ProcessCounts {
            log_dropped: 3,
            decisions_dropped: 4,
            unresolved: 2,
            keys_unavailable: 4,
            tokens: TokenCounts { unavailable: 5, rejected: 6 },
            most_connections: 7,
        };
        encode(&mut text, &registry(&workers, &[], &process)).unwrap();
        assert!(text.contains("moongate_dns_unresolved 2\n"), "{text}");
        assert!(text.contains("moongate_jwks_unavailable 4\n"), "{text}");
        assert!(text.contains("moongate_credential_tokens_unavailable 5\n"), "{text}");
        assert!(text.contains("moongate_credential_tokens_rejected_total 6\n"), "{text}");
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
        has("moongate_decision_log_dropped_total 4");
        has("moongate_downstream_connections_limit 7");
        has("moongate_downstream_connections_refused_total{cause=\"limit\"} 0");
        has("moongate_tls_handshake_failures_total{cause=\"unknown_ca\"} 0");
        has("moongate_worker_generation{worker=\"1\"} 0");
    }
}
