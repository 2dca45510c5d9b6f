//! Memory that clients make the gateway hold, and streams that were rejected.

use super::counter::add;
use super::families::{Counters, Gauges};
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Octets that all workers together have taken from the budgets of the process.
#[derive(Debug, Default)]
pub(crate) struct ProcessGauges {
    heads: Arc<AtomicUsize>,
    responses: Arc<AtomicUsize>,
    ahead: Arc<AtomicUsize>,
    bodies: Arc<AtomicUsize>,
}

/// Octets charged to a budget: by this worker, and by all workers of the process.
#[derive(Debug)]
pub(crate) struct BudgetGauge {
    pub(crate) worker: Arc<AtomicU64>,
    pub(crate) process: Arc<AtomicUsize>,
}

/// One worker's counters of HTTP/2 streams.
#[derive(Debug)]
pub(crate) struct StreamMetrics {
    /// Octets of decoded request heads, of responses that wait for clients, and of responses that HTTP/2 backends may send ahead of clients.
    pub(crate) heads: BudgetGauge,
    pub(crate) responses: BudgetGauge,
    pub(crate) ahead: BudgetGauge,
    /// Octets of request bodies that wait for a decision.
    pub(crate) bodies: BudgetGauge,
    /// Streams that were refused or reset because a budget was used up: that of the connection, the worker or the process.
    pub(crate) over_connection: AtomicU64,
    pub(crate) over_worker: AtomicU64,
    pub(crate) over_process: AtomicU64,
    /// Streams that were reset because their head or trailers were malformed.
    pub(crate) malformed: AtomicU64,
    /// Connections that were closed because they continued to exceed their budget.
    pub(crate) ended: AtomicU64,
}

impl StreamMetrics {
    pub(super) fn new(process: &ProcessGauges) -> Self {
        let kind = |process: &Arc<AtomicUsize>| BudgetGauge { worker: Arc::default(), process: Arc::clone(process) };
        Self {
            heads: kind(&process.heads),
            responses: kind(&process.responses),
            ahead: kind(&process.ahead),
            bodies: kind(&process.bodies),
            over_connection: AtomicU64::new(0),
            over_worker: AtomicU64::new(0),
            over_process: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            ended: AtomicU64::new(0),
        }
    }

    /// Counts a connection that is closed for that reason.
    pub(crate) fn end(&self) {
        add(&self.ended);
    }
}

type Read = fn(&StreamMetrics) -> &AtomicU64;

const GAUGES: &[(&str, &str, Read)] = &[
    ("moongate_http2_head_bytes", "Octets of request heads that a worker holds for HTTP/2 streams", |streams| {
        &streams.heads.worker
    }),
    ("moongate_http2_response_bytes", "Octets of responses that wait for HTTP/2 clients", |streams| {
        &streams.responses.worker
    }),
    (
        "moongate_http2_ahead_bytes",
        "Octets that HTTP/2 backends may send ahead of clients that do not read",
        |streams| &streams.ahead.worker,
    ),
    ("moongate_held_body_bytes", "Octets of request bodies that wait for a service for authorization", |streams| {
        &streams.bodies.worker
    }),
];

const REFUSED: &[(&str, Read)] = &[
    ("connection", |streams| &streams.over_connection),
    ("worker", |streams| &streams.over_worker),
    ("process", |streams| &streams.over_process),
    ("malformed", |streams| &streams.malformed),
];

pub(super) fn register(registry: &mut Registry, workers: &[&StreamMetrics]) {
    for (name, help, read) in GAUGES {
        let row = |(at, worker): (usize, &&StreamMetrics)| {
            (vec![("worker", at.to_string())], read(worker).load(Ordering::Relaxed))
        };
        registry.register(*name, *help, Gauges(workers.iter().enumerate().map(row).collect()));
    }
    let sum = |read: Read| workers.iter().map(|worker| read(worker).load(Ordering::Relaxed)).sum::<u64>();
    let refused = REFUSED.iter().map(|(cause, read)| (vec![("cause", (*cause).to_owned())], sum(*read))).collect();
    let help = "Client streams that were refused or reset because the budget of their connection, worker or process was used up, or because they were malformed";
    registry.register("moongate_http2_streams_refused", help, Counters(refused));
    let ended = Counters::one(sum(|streams| &streams.ended));
    registry.register(
        "moongate_http2_connections_ended",
        "Client connections that were closed because they continued to exceed their budget",
        ended,
    );
}
