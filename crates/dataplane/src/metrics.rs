//! Counters: each worker has its own, and they are added up when somebody asks.

mod arrivals;
mod clusters;
mod routes;
mod streams;

pub(crate) use arrivals::{Rejected, WAITS};

use crate::limits::Limits;
use crate::reasons::{Flags, HandshakeFailure};
use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
pub(crate) use streams::{Kind, Process, StreamMetrics};

/// Upper bounds of the buckets of durations in milliseconds, and of bodies in bytes: Istio's, where the first is a half, which no
/// whole number but zero is below.
const BOUNDS: [u64; 20] = [
    0,
    1,
    5,
    10,
    25,
    50,
    100,
    250,
    500,
    1000,
    2500,
    5000,
    10_000,
    30_000,
    60_000,
    300_000,
    600_000,
    1_800_000,
    3_600_000,
    u64::MAX,
];

/// What tells a series of request metrics apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Series {
    /// The host of the cluster, or `unknown`.
    destination: Box<str>,
    /// The status; 0 when there was no answer.
    status: u16,
    flags: Flags,
}

/// A request that has ended.
#[derive(Debug, Clone, Copy, Hash)]
pub(crate) struct Request<'a> {
    /// The host of the cluster, or [`NO_DESTINATION`].
    pub(crate) destination: &'a str,
    /// The status; 0 when there was no answer.
    pub(crate) status: u16,
    pub(crate) flags: Flags,
}

/// The destination of requests that were sent nowhere.
pub(crate) const NO_DESTINATION: &str = "unknown";

impl Equivalent<Series> for Request<'_> {
    fn equivalent(&self, series: &Series) -> bool {
        self.status == series.status && self.flags == series.flags && *self.destination == *series.destination
    }
}

impl Request<'_> {
    fn series(self) -> Series {
        Series { destination: self.destination.into(), status: self.status, flags: self.flags }
    }
}

/// Numbers of a series.
#[derive(Debug, Clone, Default)]
struct Numbers {
    milliseconds: Histogram,
    received: Histogram,
    sent: Histogram,
}

#[derive(Debug, Clone, Default)]
struct Histogram {
    count: u64,
    sum: u64,
    buckets: [u64; BOUNDS.len()],
}

impl Histogram {
    fn put(&mut self, value: u64) {
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        let bucket = BOUNDS.partition_point(|bound| *bound < value);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
    }

    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
    }
}

/// One worker's counters.
#[derive(Debug)]
pub(crate) struct WorkerMetrics {
    requests: Mutex<HashMap<Series, Numbers, RandomState>>,
    connections: Mutex<HashMap<Series, Bytes, RandomState>>,
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
    /// Connections without the PROXY header that they were to begin with, or from somebody who may not send one.
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
    pub(crate) fn new(limits: &Limits, process: &Process) -> Self {
        Self {
            streams: StreamMetrics::new(process),
            requests: Mutex::default(),
            connections: Mutex::default(),
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

    /// Counts a request that has ended.
    pub(crate) fn request(&self, request: Request<'_>, taken: Duration, received: u64, sent: u64) {
        // Only the one that asks for the page ever waits for this lock with the worker.
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let full = requests.len() >= self.max_series;
        let numbers = match requests.get_mut(&request) {
            Some(numbers) => numbers,
            None if full => {
                requests.entry(Request { destination: "other", flags: Flags::NONE, ..request }.series()).or_default()
            }
            None => requests.entry(request.series()).or_default(),
        };
        numbers.milliseconds.put(u64::try_from(taken.as_millis()).unwrap_or(u64::MAX));
        numbers.received.put(received);
        numbers.sent.put(sent);
    }

    /// Counts a connection of bytes that has ended.
    pub(crate) fn connection(&self, of: Request<'_>, received: u64, sent: u64) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let known = connections.contains_key(&of);
        let of = if known || connections.len() < self.max_series { of } else { Request { destination: "other", ..of } };
        let bytes = connections.entry(of.series()).or_default();
        bytes.connections += 1;
        bytes.received = bytes.received.saturating_add(received);
        bytes.sent = bytes.sent.saturating_add(sent);
    }
}

/// What is counted of connections whose bytes are passed on.
#[derive(Debug, Clone, Copy, Default)]
struct Bytes {
    connections: u64,
    received: u64,
    sent: u64,
}

/// Adds one; counters have no order among each other.
pub(crate) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The text of all counters in Prometheus' format.
pub(crate) fn render(
    workers: &[Arc<WorkerMetrics>],
    counts: &[clusters::Counts],
    (log_dropped, unresolved): (u64, u64),
    most_connections: usize,
) -> String {
    let mut registry = Registry::default();
    clusters::register(&mut registry, counts, workers.first().map_or(0, |worker| worker.max_series));
    register_requests(&mut registry, workers);
    register_connections(&mut registry, workers);
    routes::register(&mut registry, workers);
    streams::register(&mut registry, workers);
    for (name, help, read) in GAUGES {
        let rows =
            workers.iter().enumerate().map(|(at, worker)| (vec![("worker", at.to_string())], read(worker))).collect();
        registry.register(*name, *help, Rows { rows, kind: MetricType::Gauge });
    }
    for (name, help, read) in COUNTERS {
        let sum = workers.iter().map(|worker| read(worker)).sum();
        registry.register(*name, *help, Rows { rows: vec![(Vec::new(), sum)], kind: MetricType::Counter });
    }
    arrivals::register(&mut registry, workers, most_connections);
    let dropped = Rows { rows: vec![(Vec::new(), log_dropped)], kind: MetricType::Counter };
    registry.register("moongate_access_log_dropped", "Lines of the access log that found no room", dropped);
    let unresolved = Rows { rows: vec![(Vec::new(), unresolved)], kind: MetricType::Gauge };
    registry.register("moongate_dns_unresolved", "Names of endpoints whose last query had no answer", unresolved);
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, &registry);
    text
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

fn register_requests(registry: &mut Registry, workers: &[Arc<WorkerMetrics>]) {
    let mut all: BTreeMap<Series, Numbers> = BTreeMap::new();
    for worker in workers {
        let requests = worker.requests.lock().unwrap_or_else(PoisonError::into_inner);
        for (series, numbers) in requests.iter() {
            all.entry(series.clone()).or_default().add(numbers);
        }
    }
    let count = |(series, numbers): (&Series, &Numbers)| (series.labels(), numbers.milliseconds.count);
    let counts = Rows { rows: all.iter().map(count).collect(), kind: MetricType::Counter };
    registry.register("istio_requests", "Requests", counts);
    let all: Arc<[(Series, Numbers)]> = all.into_iter().collect();
    for (name, help, read) in HISTOGRAMS {
        registry.register(*name, *help, Histograms { all: Arc::clone(&all), read: *read });
    }
}

type ReadBytes = fn(&Bytes) -> u64;

const CONNECTIONS: &[(&str, &str, ReadBytes)] = &[
    ("istio_tcp_connections_closed", "Connections of bytes that have ended", |bytes| bytes.connections),
    ("istio_tcp_received_bytes", "Bytes that clients of such connections sent", |bytes| bytes.received),
    ("istio_tcp_sent_bytes", "Bytes that clients of such connections got", |bytes| bytes.sent),
];

fn register_connections(registry: &mut Registry, workers: &[Arc<WorkerMetrics>]) {
    let mut all: BTreeMap<Series, Bytes> = BTreeMap::new();
    for worker in workers {
        let connections = worker.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for (series, bytes) in connections.iter() {
            let sum = all.entry(series.clone()).or_default();
            sum.connections += bytes.connections;
            sum.received = sum.received.saturating_add(bytes.received);
            sum.sent = sum.sent.saturating_add(bytes.sent);
        }
    }
    for (name, help, read) in CONNECTIONS {
        let row = |(series, bytes): (&Series, &Bytes)| (series.tcp_labels(), read(bytes));
        registry.register(*name, *help, Rows { rows: all.iter().map(row).collect(), kind: MetricType::Counter });
    }
}

type ReadHistogram = fn(&Numbers) -> &Histogram;

const HISTOGRAMS: &[(&str, &str, ReadHistogram)] = &[
    ("istio_request_duration_milliseconds", "Time from the head of a request to the end of its answer", |numbers| {
        &numbers.milliseconds
    }),
    ("istio_request_bytes", "Bytes of request bodies", |numbers| &numbers.received),
    ("istio_response_bytes", "Bytes of response bodies", |numbers| &numbers.sent),
];

impl Numbers {
    fn add(&mut self, other: &Self) {
        self.milliseconds.add(&other.milliseconds);
        self.received.add(&other.received);
        self.sent.add(&other.sent);
    }
}

impl Series {
    fn tcp_labels(&self) -> Vec<(&'static str, String)> {
        vec![
            ("reporter", "source".to_owned()),
            ("request_protocol", "tcp".to_owned()),
            ("destination_service", self.destination.to_string()),
            ("response_flags", self.flags.to_string()),
        ]
    }

    fn labels(&self) -> Vec<(&'static str, String)> {
        vec![
            ("reporter", "source".to_owned()),
            ("request_protocol", "http".to_owned()),
            ("destination_service", self.destination.to_string()),
            ("response_code", self.status.to_string()),
            ("response_flags", self.flags.to_string()),
        ]
    }
}

/// A family of numbers with labels.
#[derive(Debug)]
struct Rows {
    rows: Vec<(Vec<(&'static str, String)>, u64)>,
    kind: MetricType,
}

impl Rows {
    fn encode_value(&self, encoder: &mut MetricEncoder<'_>, value: u64) -> Result<(), std::fmt::Error> {
        match self.kind {
            MetricType::Gauge => encoder.encode_gauge(&value),
            _ => encoder.encode_counter::<NoLabelSet, _, u64>(&value, None),
        }
    }
}

impl EncodeMetric for Rows {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (labels, value) in &self.rows {
            if labels.is_empty() {
                self.encode_value(&mut encoder, *value)?;
            } else {
                self.encode_value(&mut encoder.encode_family(labels)?, *value)?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        self.kind
    }
}

/// One histogram of all series.
#[derive(Debug)]
struct Histograms {
    all: Arc<[(Series, Numbers)]>,
    read: ReadHistogram,
}

impl EncodeMetric for Histograms {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (series, numbers) in self.all.iter() {
            let (labels, histogram) = (series.labels(), (self.read)(numbers));
            let bound = |bound: &u64| match *bound {
                0 => 0.5,
                u64::MAX => f64::INFINITY,
                bound => bound as f64,
            };
            let buckets: Vec<(f64, u64)> = BOUNDS.iter().map(bound).zip(histogram.buckets).collect();
            let mut row = encoder.encode_family(&labels)?;
            row.encode_histogram::<NoLabelSet>(histogram.sum as f64, histogram.count, &buckets, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_added_up_and_series_are_bounded() {
        let limits = Limits { metric_series: 1, ..Limits::default() };
        let workers = [1, 2].map(|_| Arc::new(WorkerMetrics::new(&limits, &Process::default())));
        let request = |destination| Request { destination, status: 200, flags: Flags::NONE };
        for worker in &workers {
            worker.request(request("a.test"), Duration::from_millis(7), 1, 2);
        }
        workers[0].request(request("b.test"), Duration::ZERO, 0, 0);
        let text = render(&workers, &[], (3, 2), 7);
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
        // Without the last bucket nobody can tell quantiles.
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
