//! Finished requests and TCP connections, by destination and result, under Istio's names.

use super::families::Counters;
use crate::reasons::Flags;
use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap};
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the buckets, in milliseconds for durations and in bytes for bodies: Istio's. Istio's first bound is 0.5, which of the
/// whole numbers only 0 is below.
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

/// One worker's requests and TCP connections, by series.
#[derive(Debug)]
pub(super) struct RequestMetrics {
    requests: Mutex<HashMap<Series, Numbers, RandomState>>,
    connections: Mutex<HashMap<Series, Bytes, RandomState>>,
    max_series: usize,
}

/// The labels of a series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Series {
    /// The host of the cluster, or `unknown`.
    destination: Box<str>,
    /// The status; 0 if there was no response.
    status: u16,
    flags: Flags,
}

/// The labels of a finished request or TCP connection.
#[derive(Debug, Clone, Copy, Hash)]
pub(crate) struct Request<'a> {
    /// The host of the cluster, or [`NO_DESTINATION`].
    pub(crate) destination: &'a str,
    /// The status; 0 if there was no response.
    pub(crate) status: u16,
    pub(crate) flags: Flags,
}

/// The destination of requests that were not forwarded.
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

/// The histograms of a series.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbers {
    milliseconds: Histogram,
    received: Histogram,
    sent: Histogram,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Histogram {
    pub(super) count: u64,
    pub(super) sum: u64,
    buckets: [u64; BOUNDS.len()],
}

impl Histogram {
    pub(super) fn put(&mut self, value: u64) {
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        let bucket = BOUNDS.partition_point(|bound| *bound < value);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
    }
}

/// The counters of TCP connections of a series.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bytes {
    connections: u64,
    received: u64,
    sent: u64,
}

impl RequestMetrics {
    pub(super) fn new(max_series: usize) -> Self {
        Self { requests: Mutex::default(), connections: Mutex::default(), max_series }
    }

    /// Counts a finished request. New series beyond the limit are counted as `other`.
    pub(super) fn count_request(&self, request: Request<'_>, taken: Duration, received: u64, sent: u64) {
        // The lock is contended only while metrics are collected.
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

    /// Counts a finished TCP connection. New series beyond the limit are counted as `other`.
    pub(super) fn count_connection(&self, connection: Request<'_>, received: u64, sent: u64) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = connections.len() < self.max_series || connections.contains_key(&connection);
        let counted = if has_room { connection } else { Request { destination: "other", ..connection } };
        let bytes = connections.entry(counted.series()).or_default();
        bytes.connections += 1;
        bytes.received = bytes.received.saturating_add(received);
        bytes.sent = bytes.sent.saturating_add(sent);
    }
}

/// Adds the families of requests and of TCP connections.
pub(super) fn register(registry: &mut Registry, workers: &[&RequestMetrics]) {
    register_requests(registry, workers);
    register_connections(registry, workers);
}

fn register_requests(registry: &mut Registry, workers: &[&RequestMetrics]) {
    let mut all: BTreeMap<Series, Numbers> = BTreeMap::new();
    for worker in workers {
        let requests = worker.requests.lock().unwrap_or_else(PoisonError::into_inner);
        for (series, numbers) in requests.iter() {
            all.entry(series.clone()).or_default().add(numbers);
        }
    }
    let count = |(series, numbers): (&Series, &Numbers)| (series.labels(), numbers.milliseconds.count);
    registry.register("istio_requests", "Requests", Counters(all.iter().map(count).collect()));
    let all: Arc<[(Series, Numbers)]> = all.into_iter().collect();
    for (name, help, read) in HISTOGRAMS {
        registry.register(*name, *help, Histograms { all: Arc::clone(&all), read: *read });
    }
}

type ReadBytes = fn(&Bytes) -> u64;

const CONNECTIONS: &[(&str, &str, ReadBytes)] = &[
    ("istio_tcp_connections_closed", "TCP connections that were closed", |bytes| bytes.connections),
    ("istio_tcp_received_bytes", "Bytes received from clients on TCP connections", |bytes| bytes.received),
    ("istio_tcp_sent_bytes", "Bytes sent to clients on TCP connections", |bytes| bytes.sent),
];

fn register_connections(registry: &mut Registry, workers: &[&RequestMetrics]) {
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
        registry.register(*name, *help, Counters(all.iter().map(row).collect()));
    }
}

type ReadHistogram = fn(&Numbers) -> &Histogram;

const HISTOGRAMS: &[(&str, &str, ReadHistogram)] = &[
    ("istio_request_duration_milliseconds", "Time from the head of a request to the end of its response", |numbers| {
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

/// One of the histograms, of all series.
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
