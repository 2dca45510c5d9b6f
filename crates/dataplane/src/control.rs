//! The control side: starts workers, applies snapshots, and drains. The program calls it; no request passes through it.

use crate::accept::{self, Command};
use crate::conn::{Addresses, Admission, Drain, Process, TrustedProxies, Worker};
use crate::credentials::Credentials;
use crate::keys::{KeySets, KeysUnavailable};
use crate::limits::Limits;
use crate::listeners::{BindProblem, Inherited, Listeners};
use crate::log::{AccessLog, LineCounters, LineQueue, LogTarget};
use crate::metrics::{self, ProcessCounts, WorkerMetrics};
use crate::reasons::ReasonHeader;
use ir::{ClusterId, Delta, ListenerId, LogFormat, Snapshot};
use prometheus_client::registry::Registry;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use upstream::{Unresolved, UpstreamStore};

/// The interval of checks whether the last connection has ended.
const DRAIN_STEP: Duration = Duration::from_millis(20);
/// How long to wait for the last lines of the access log.
const LAST_LINES: Duration = Duration::from_secs(1);
/// The interval of checks whether all workers have a snapshot.
const APPLIED_STEP: Duration = Duration::from_millis(1);

/// The settings of the data plane.
pub struct Options {
    /// Threads that serve; at least one.
    pub workers: usize,
    /// Bounds.
    pub limits: Limits,
    /// The proxies whose connections have no limit per address.
    pub trusted_proxies: TrustedProxies,
    /// The target and format of the access log at the start; [`DataPlane::start_access_log`] changes it.
    pub access_log: Option<(LogTarget, LogFormat)>,
    /// The target of the decision log.
    pub decision_log: Option<LogTarget>,
    /// When local responses have a reason header.
    pub reasons: ReasonHeader,
    /// Listening sockets of a previous process or the service manager.
    pub inherited: Inherited,
    /// Whether sockets are kept for a successor process.
    pub handover: bool,
    /// The seed of the workers' random choices, for tests; `None` takes the system's.
    pub seed: Option<u64>,
}

/// The result of applying a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApplyOutcome {
    /// Listeners that are not open; they are tried again with each snapshot and by [`DataPlane::retry`].
    pub problems: Vec<BindProblem>,
    /// The number of this snapshot, which `/metrics` shows for each worker.
    pub generation: u64,
}

/// The whole data plane of the process.
pub struct DataPlane {
    workers: Vec<UnboundedSender<Command>>,
    metrics: Vec<Arc<WorkerMetrics>>,
    /// Gauges that all workers share.
    process: metrics::ProcessGauges,
    upstream: Arc<UpstreamStore>,
    credentials: Arc<Credentials>,
    log: Mutex<Option<AccessLog>>,
    log_counters: Arc<LineCounters>,
    decision_counters: Arc<LineCounters>,
    /// Lines of the access log that may wait.
    log_lines: usize,
    drain: Arc<Drain>,
    admission: Arc<Admission>,
    generation: AtomicU64,
    listeners: Mutex<Listeners>,
}

impl DataPlane {
    /// Starts the workers. Nothing is listened on before the first snapshot.
    pub fn start(options: Options, upstream: Arc<UpstreamStore>) -> io::Result<Self> {
        let Options { workers, limits, trusted_proxies, access_log, decision_log, reasons, inherited, handover, seed } =
            options;
        let workers = workers.max(1);
        let (log_counters, decision_counters, log_lines) = (Arc::default(), Arc::default(), limits.log_lines);
        let start = |(target, format)| AccessLog::start(target, format, log_lines, &log_counters);
        let log = access_log.map(start).transpose()?;
        let start = |target| LineQueue::start("decision-log", target, log_lines, &decision_counters);
        let decisions = decision_log.map(start).transpose()?;
        let process = Process {
            limits,
            upstream: Arc::clone(&upstream),
            credentials: Credentials::new(Arc::clone(&upstream)),
            reasons,
            seed,
            log: log.clone(),
            decisions,
            drain: Arc::default(),
            admission: Admission::new(limits.connections, limits.client_descriptors, workers),
            addresses: Addresses::new(limits.address, trusted_proxies, limits.connections),
        };
        let keys = KeySets::new(Arc::clone(&upstream));
        let mut plane = Self {
            workers: Vec::new(),
            metrics: Vec::new(),
            process: metrics::ProcessGauges::default(),
            upstream,
            credentials: Arc::clone(&process.credentials),
            log: Mutex::new(log),
            log_counters,
            decision_counters,
            log_lines,
            drain: Arc::clone(&process.drain),
            admission: Arc::clone(&process.admission),
            generation: AtomicU64::new(0),
            listeners: Mutex::new(Listeners::new(inherited, handover, keys)),
        };
        for _ in 0..workers {
            let (commands, receiver) = unbounded_channel();
            plane.metrics.push(plane.start_worker(process.clone(), receiver)?);
            plane.workers.push(commands);
        }
        Ok(plane)
    }

    fn start_worker(&self, process: Process, commands: UnboundedReceiver<Command>) -> io::Result<Arc<WorkerMetrics>> {
        let metrics = Arc::new(WorkerMetrics::new(&process.limits, &self.process));
        let (number, counters) = (self.workers.len(), Arc::clone(&metrics));
        let make = move || Worker::new(number, process, counters);
        std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || accept::run(make, commands))?;
        Ok(metrics)
    }

    /// Applies a snapshot: clusters, then tables, each by an atomic swap; then opens new listeners and closes removed ones. `delta` is the
    /// difference from the snapshot applied before.
    pub fn apply(&self, snapshot: &Snapshot, delta: &Delta) -> ApplyOutcome {
        self.upstream.apply(snapshot, delta);
        let mut listeners = self.listeners();
        let slots = &mut |id: &ClusterId| self.upstream.slot(id);
        let ending = listeners.apply(snapshot, delta.changes.as_ref(), slots);
        self.bind_missing(&mut listeners);
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        self.send_to_workers(|| Command::Generation(generation));
        if ending {
            self.send_to_workers(|| Command::Wake);
        }
        ApplyOutcome { problems: listeners.problems(), generation }
    }

    /// Retries listeners that could not be opened; call it periodically.
    pub fn retry(&self) -> Vec<BindProblem> {
        let mut listeners = self.listeners();
        self.bind_missing(&mut listeners);
        listeners.problems()
    }

    fn bind_missing(&self, listeners: &mut Listeners) {
        if !self.drain.has_begun() {
            listeners.bind_missing(&self.workers);
            self.admission.set_listening(listeners.descriptors());
        }
    }

    /// Waits at most `limit` until every worker has applied a generation; whether they have. A request that begins after it is decided by that
    /// generation or a later one; so it is right after [`Self::apply`], but new sockets are accepted on only now.
    pub fn wait_applied(&self, generation: u64, limit: Duration) -> bool {
        let begun = Instant::now();
        while !self.generations().iter().all(|served| *served >= generation) {
            if begun.elapsed() >= limit {
                return false;
            }
            std::thread::sleep(APPLIED_STEP);
        }
        true
    }

    /// Starts an access log, in place of the one before. Lines of requests that have ended are still written to that one.
    pub fn start_access_log(&self, target: LogTarget, format: LogFormat) -> io::Result<()> {
        let log = AccessLog::start(target, format, self.log_lines, &self.log_counters)?;
        self.set_log(Some(log));
        Ok(())
    }

    /// Changes the format of the access log, if there is one.
    pub fn set_access_log_format(&self, format: LogFormat) {
        let log = self.log().as_ref().map(|log| log.with_format(format));
        self.set_log(log);
    }

    /// Stops the access log.
    pub fn stop_access_log(&self) {
        self.set_log(None);
    }

    fn set_log(&self, log: Option<AccessLog>) {
        self.send_to_workers(|| Command::Log(log.clone()));
        *self.log() = log;
    }

    /// Writes the access log, if there is one, to another target from now on.
    pub fn switch_access_log(&self, target: LogTarget) {
        if let Some(log) = &*self.log() {
            log.switch(target);
        }
    }

    fn log(&self) -> MutexGuard<'_, Option<AccessLog>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open listeners and their bound addresses.
    pub fn listening(&self) -> Vec<(ListenerId, SocketAddr)> {
        self.listeners().bound()
    }

    /// The sockets that are listened on, for a process that follows; empty unless the options had [`Options::handover`]. They are the
    /// same as this process has: connections queue on while both or one of them are there.
    pub fn sockets(&self) -> io::Result<Vec<TcpListener>> {
        self.listeners().sockets()
    }

    /// Closes what was inherited and no listener wants; the addresses. To be called once the first snapshot is applied.
    pub fn close_unwanted(&self) -> Vec<SocketAddr> {
        self.listeners().close_unwanted()
    }

    /// The generation that each worker serves.
    pub fn generations(&self) -> Vec<u64> {
        self.metrics.iter().map(|metrics| metrics.generation.load(Ordering::Acquire)).collect()
    }

    /// Names of clusters in use whose last query had no answer.
    pub fn unresolved(&self) -> Vec<Unresolved> {
        self.upstream.unresolved()
    }

    /// Keys of issuers whose last fetch failed.
    pub fn keys_unavailable(&self) -> Vec<KeysUnavailable> {
        self.listeners().keys_unavailable()
    }

    /// All metrics of the data plane, with the values that they have now.
    pub fn metrics(&self) -> Registry {
        let process = ProcessCounts {
            log_dropped: self.log_counters.dropped(),
            decisions_dropped: self.decision_counters.dropped(),
            unresolved: self.upstream.count_unresolved() as u64,
            keys_unavailable: self.keys_unavailable().len() as u64,
            tokens: self.credentials.counts(),
            most_connections: self.admission.most(),
        };
        metrics::registry(&self.metrics, &self.upstream.counts(), &process)
    }

    /// Records of the decision log that found no room.
    pub fn decisions_overflowed(&self) -> u64 {
        self.decision_counters.overflowed()
    }

    /// Asks clients to open no further requests on their connections (`Connection: close`, GOAWAY), while listeners stay open. To be
    /// called once readiness is withdrawn, some time before [`Self::drain`]: load balancers notice only after a while.
    pub fn announce_drain(&self) {
        self.drain.begin();
        self.send_to_workers(|| Command::Wake);
    }

    /// Serves the connections that wait in the queues of the sockets and closes these, lets connections end with their next answer, and closes
    /// idle ones after half of `grace`. Returns when all have ended, or `grace` is over; then the rest is cut. Call [`Self::announce_drain`]
    /// before, so that load balancers stop sending traffic.
    pub async fn drain(&self, grace: Duration) {
        self.listeners().close();
        self.announce_drain();
        let begun = Instant::now();
        let mut idle_closed = false;
        while begun.elapsed() < grace && (self.listeners().is_accepting() || self.open_connections() > 0) {
            if !idle_closed && begun.elapsed() >= grace / 2 {
                idle_closed = true;
                self.drain.close_idle();
                self.send_to_workers(|| Command::Wake);
            }
            tokio::time::sleep(DRAIN_STEP).await;
        }
        self.send_to_workers(|| Command::Stop);
        self.wait_written().await;
    }

    /// Waits for a moment until the workers have ended and their last lines are written.
    async fn wait_written(&self) {
        let begun = Instant::now();
        let is_done = || {
            let ended = self.workers.iter().all(UnboundedSender::is_closed);
            ended && self.log_counters.is_written() && self.decision_counters.is_written()
        };
        while !is_done() && begun.elapsed() < LAST_LINES {
            tokio::time::sleep(DRAIN_STEP).await;
        }
    }

    fn open_connections(&self) -> u64 {
        self.metrics.iter().map(|metrics| metrics.open.load(Ordering::Relaxed)).sum()
    }

    fn send_to_workers(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            let _ = worker.send(command());
        }
    }

    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
