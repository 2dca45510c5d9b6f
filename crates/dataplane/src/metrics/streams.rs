//! What streams of HTTP/2 hold, and those that were refused.

use super::families::{Counters, Gauges};
use super::{WorkerMetrics, add};
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What all workers have taken of the budgets of the process.
#[derive(Debug, Default)]
pub(crate) struct ProcessGauges {
    heads: Arc<AtomicUsize>,
    responses: Arc<AtomicUsize>,
    ahead: Arc<AtomicUsize>,
}

/// Octets of one kind: those that this worker holds, and what all workers have taken of the process's budget.
#[derive(Debug)]
pub(crate) struct BudgetGauge {
    pub(crate) worker: Arc<AtomicU64>,
    pub(crate) process: Arc<AtomicUsize>,
}

/// What is counted of a worker's streams.
#[derive(Debug)]
pub(crate) struct StreamMetrics {
    /// Octets of decoded heads, of responses that wait for clients, and of those that backends in HTTP/2 have sent ahead of clients.
    pub(crate) heads: BudgetGauge,
    pub(crate) responses: BudgetGauge,
    pub(crate) ahead: BudgetGauge,
    /// Streams that were refused, or broken off, since a budget was used up: that of the connection, the worker or the process.
    pub(crate) over_connection: AtomicU64,
    pub(crate) over_worker: AtomicU64,
    pub(crate) over_process: AtomicU64,
    /// Streams that were reset since their head or trailers were malformed.
    pub(crate) malformed: AtomicU64,
    /// Connections that were ended since they went on beyond their budget.
    pub(crate) ended: AtomicU64,
}

impl StreamMetrics {
    pub(super) fn new(process: &ProcessGauges) -> Self {
        let kind = |process: &Arc<AtomicUsize>| BudgetGauge { worker: Arc::default(), process: Arc::clone(process) };
        Self {
            heads: kind(&process.heads),
            responses: kind(&process.responses),
            ahead: kind(&process.ahead),
            over_connection: AtomicU64::new(0),
            over_worker: AtomicU64::new(0),
            over_process: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            ended: AtomicU64::new(0),
        }
    }

    /// Counts a connection that is ended.
    pub(crate) fn end(&self) {
        add(&self.ended);
    }
}

type Read = fn(&StreamMetrics) -> &AtomicU64;

const GAUGES: &[(&str, &str, Read)] = &[
    ("moongate_http2_head_bytes", "Octets of request heads that clients of HTTP/2 make a worker hold", |streams| {
        &streams.heads.worker
    }),
    ("moongate_http2_response_bytes", "Octets of responses that wait for clients of HTTP/2", |streams| {
        &streams.responses.worker
    }),
    (
        "moongate_http2_ahead_bytes",
        "Octets that backends in HTTP/2 may have sent ahead of clients that take nothing",
        |streams| &streams.ahead.worker,
    ),
];

const REFUSED: &[(&str, Read)] = &[
    ("connection", |streams| &streams.over_connection),
    ("worker", |streams| &streams.over_worker),
    ("process", |streams| &streams.over_process),
    ("malformed", |streams| &streams.malformed),
];

pub(super) fn register(registry: &mut Registry, workers: &[Arc<WorkerMetrics>]) {
    for (name, help, read) in GAUGES {
        let row = |(at, worker): (usize, &Arc<WorkerMetrics>)| {
            (vec![("worker", at.to_string())], read(&worker.streams).load(Ordering::Relaxed))
        };
        registry.register(*name, *help, Gauges(workers.iter().enumerate().map(row).collect()));
    }
    let sum = |read: Read| workers.iter().map(|worker| read(&worker.streams).load(Ordering::Relaxed)).sum::<u64>();
    let refused = REFUSED.iter().map(|(cause, read)| (vec![("cause", (*cause).to_owned())], sum(*read))).collect();
    let help = "Streams of clients that were refused or reset: the budget of their connection, worker or process is used up, or they are malformed";
    registry.register("moongate_http2_streams_refused", help, Counters(refused));
    let ended = Counters::one(sum(|streams| &streams.ended));
    registry.register(
        "moongate_http2_connections_ended",
        "Connections of clients that were ended since they went on beyond their budget",
        ended,
    );
}
