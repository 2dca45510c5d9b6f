//! A worker as its connections see it: limits, clusters, pool, counters, log, and reusable memory.

use super::addresses::Addresses;
use super::admission::{Admission, Permit};
use super::buffer::Memory;
use super::pipe::Pipes;
use super::timers::Timers;
use super::tracker::Tracker;
use super::{Budget, BudgetExceeded, Buffer, Drain, ExchangeBuffers, Pipe, Timer};
use crate::credentials::Credentials;
use crate::date::http_date;
use crate::decision_log::DecisionLog;
use crate::limits::{KEPT_BUFFERS, Limits};
use crate::log::{AccessLog, LineQueue, LogBuffer};
use crate::metrics::{BudgetGauge, WorkerMetrics, add};
use crate::reasons::ReasonHeader;
use crate::stream_info::{FinishedStream, StreamSink as _};
use routing::authentication::TokenCache;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use text::HttpDate;
use upstream::{ClusterState, EndpointState, Outcome, Pool, PoolSettings, Streams, UpstreamStore};

/// The state of a worker thread.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) limits: Limits,
    pub(crate) upstream: Arc<UpstreamStore>,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) pool: RefCell<Pool>,
    pub(crate) streams: RefCell<Streams>,
    pub(crate) metrics: Arc<WorkerMetrics>,
    /// The access log, if it is on; changed by [`Self::set_log`].
    log: RefCell<Option<Rc<LogBuffer>>>,
    /// The decision log, if it is on.
    decisions: Option<DecisionLog>,
    pub(crate) drain: Arc<Drain>,
    pub(crate) reasons: ReasonHeader,
    /// Budgets for HTTP/2 clients: decoded heads, and responses that wait.
    pub(crate) heads: Rc<Budget>,
    pub(crate) responses: Rc<Budget>,
    /// The budget for what HTTP/2 backends send ahead of clients that do not read.
    pub(crate) ahead: Rc<Budget>,
    /// The budget for bodies of requests that wait for a decision.
    pub(crate) bodies: Rc<Budget>,
    pub(crate) addresses: Arc<Addresses>,
    /// Its connections of clients.
    pub(crate) tracker: Rc<Tracker>,
    pub(crate) admission: Arc<Admission>,
    timers: Rc<Timers>,
    memory: Rc<Memory>,
    #[allow(clippy::vec_box, reason = "the buffers are large, and move in and out with every request")]
    exchange_buffers: RefCell<Vec<Box<ExchangeBuffers>>>,
    pipes: Rc<Pipes>,
    /// Idle stream tasks; the type is that of `http`.
    tasks: RefCell<Vec<Rc<dyn Any>>>,
    /// Mirror requests in progress, and the octets in their queues.
    pub(crate) mirrors: Cell<usize>,
    pub(crate) mirror_bytes: Rc<Cell<usize>>,
    /// Tokens that were verified lately.
    pub(crate) tokens: RefCell<TokenCache>,
    random: Cell<u64>,
    date: Cell<HttpDate>,
}

/// What all workers of the process share, and how they serve.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) limits: Limits,
    pub(crate) upstream: Arc<UpstreamStore>,
    /// What requests to destinations get on the way out.
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) reasons: ReasonHeader,
    /// The seed of random choices; `None` takes the system's.
    pub(crate) seed: Option<u64>,
    pub(crate) log: Option<AccessLog>,
    pub(crate) decisions: Option<LineQueue>,
    pub(crate) drain: Arc<Drain>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) addresses: Arc<Addresses>,
}

impl Worker {
    /// The worker of this number.
    pub(crate) fn new(number: usize, process: Process, metrics: Arc<WorkerMetrics>) -> Rc<Self> {
        let Process { limits, upstream, credentials, reasons, seed, log, decisions, drain, admission, addresses } =
            process;
        let seed = seed.map(|seed| seed.wrapping_add(number as u64));
        let seed = seed.unwrap_or_else(|| foldhash::quality::RandomState::default().build_hasher().finish());
        let budget =
            |limits, kind: &BudgetGauge| Budget::new(limits, Arc::clone(&kind.worker), Arc::clone(&kind.process));
        let timers = Timers::new(admission.origin());
        Rc::new(Self {
            heads: budget(limits.heads, &metrics.streams.heads),
            responses: budget(limits.responses, &metrics.streams.responses),
            ahead: budget(limits.ahead, &metrics.streams.ahead),
            bodies: budget(limits.bodies, &metrics.streams.bodies),
            limits,
            upstream,
            credentials,
            pool: RefCell::new(Pool::new(PoolSettings {
                idle_in_all: limits.idle_upstream,
                ..PoolSettings::default()
            })),
            streams: RefCell::new(Streams::new(limits.frames())),
            tracker: Tracker::new(number, &timers, &admission, &metrics, limits.handshakes),
            metrics,
            log: RefCell::new(log.map(|log| Rc::new(log.buffer()))),
            decisions: decisions.as_ref().map(DecisionLog::new),
            drain,
            reasons,
            addresses,
            admission,
            timers,
            memory: Rc::default(),
            exchange_buffers: RefCell::default(),
            pipes: Rc::default(),
            tasks: RefCell::default(),
            mirrors: Cell::new(0),
            mirror_bytes: Rc::default(),
            tokens: RefCell::default(),
            random: Cell::new(seed),
            date: Cell::new(date_of_now()),
        })
    }

    /// A permit for a new connection of a client (see `eviction`).
    pub(crate) async fn admit(&self, of_mesh: Option<u64>) -> Option<Permit> {
        self.tracker.admit(of_mesh).await
    }

    /// Closes connections for new ones of other workers, for as long as the worker lives.
    pub(crate) async fn serve_evictions(self: Rc<Self>) {
        Rc::clone(&self.tracker).serve_evictions().await;
    }

    /// Random bits: good enough to spread load and to make ids that do not collide, not for secrets.
    pub(crate) fn random(&self) -> u64 {
        let next = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(next);
        let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The same, twice as many.
    pub(crate) fn random_bits(&self) -> u128 {
        u128::from(self.random()) << 64 | u128::from(self.random())
    }

    /// The current value of the `Date` header, updated at each tick.
    pub(crate) fn date(&self) -> HttpDate {
        self.date.get()
    }

    /// An empty buffer.
    pub(crate) fn buffer(&self) -> Buffer {
        Buffer::new(&self.memory)
    }

    /// A timer without a deadline.
    pub(crate) fn timer(&self) -> Timer {
        self.timers.timer()
    }

    /// Reports the outcome of a request or a connection to outlier detection (DR-30).
    pub(crate) fn report(&self, cluster: &ClusterState, endpoint: &EndpointState, outcome: Outcome) {
        if cluster.report(endpoint, outcome) {
            self.upstream.watch(cluster);
        }
    }

    /// Counts a stream that exceeds a budget.
    pub(crate) fn refuse_stream(&self, over: BudgetExceeded) {
        let streams = &self.metrics.streams;
        add(match over {
            BudgetExceeded::Connection => &streams.over_connection,
            BudgetExceeded::Worker => &streams.over_worker,
            BudgetExceeded::Process => &streams.over_process,
        });
    }

    /// Buffers for one exchange.
    pub(crate) fn acquire_buffers(&self) -> Box<ExchangeBuffers> {
        self.exchange_buffers.borrow_mut().pop().unwrap_or_else(|| Box::new(ExchangeBuffers::new(&self.memory)))
    }

    /// Returns the buffers of an exchange.
    pub(crate) fn release_buffers(&self, mut buffers: Box<ExchangeBuffers>) {
        let mut exchange_buffers = self.exchange_buffers.borrow_mut();
        if exchange_buffers.len() < KEPT_BUFFERS {
            buffers.clear();
            exchange_buffers.push(buffers);
        }
    }

    /// An idle stream task.
    pub(crate) fn take_task(&self) -> Option<Rc<dyn Any>> {
        self.tasks.borrow_mut().pop()
    }

    /// Keeps an idle stream task; `false` if the task has to end.
    pub(crate) fn give_task(&self, task: Rc<dyn Any>) -> bool {
        let mut tasks = self.tasks.borrow_mut();
        let kept = tasks.len() < KEPT_BUFFERS;
        if kept {
            tasks.push(task);
        }
        kept
    }

    /// A pipe, within the worker's limit and the system's.
    pub(crate) fn take_pipe(&self) -> Option<Pipe> {
        self.pipes.take(self.limits.pipes)
    }

    /// Wakes every connection, so that it checks the drain state.
    pub(crate) fn wake_all(&self) {
        self.timers.wake_all();
    }

    /// Processes deadlines and idle connections, as long as the worker lives.
    pub(crate) async fn tick(self: Rc<Self>) {
        loop {
            self.timers.next_turn().await;
            let now = Instant::now();
            self.timers.turn(now);
            self.date.set(date_of_now());
            self.sweep(now);
            self.flush_log();
            self.tracker.publish();
            self.admission.notices.flush(self.timers.now(), self.admission.most());
        }
    }

    fn sweep(&self, now: Instant) {
        let mut pool = self.pool.borrow_mut();
        pool.sweep(now);
        let mut streams = self.streams.borrow_mut();
        streams.sweep(now);
        self.metrics.multiplexed.store(streams.len() as u64, Ordering::Relaxed);
        let counters = pool.counters();
        self.metrics.idle.store(pool.len() as u64, Ordering::Relaxed);
        self.metrics.stale.store(counters.stale, Ordering::Relaxed);
        self.metrics.surplus.store(counters.surplus, Ordering::Relaxed);
    }

    /// Passes the collected log lines to the writing thread.
    pub(crate) fn flush_log(&self) {
        if let Some(log) = &*self.log.borrow() {
            log.flush();
        }
        if let Some(decisions) = &self.decisions {
            decisions.flush();
        }
    }

    /// Passes a stream that has ended to each sink.
    pub(crate) fn record(&self, stream: &FinishedStream<'_>) {
        self.metrics.record(stream);
        if let Some(log) = &*self.log.borrow() {
            log.record(stream);
        }
        if let Some(decisions) = &self.decisions {
            decisions.record(stream);
        }
    }

    /// The access log, if it is on.
    pub(crate) fn log(&self) -> Option<Rc<LogBuffer>> {
        self.log.borrow().clone()
    }

    /// Writes to another access log from now on, or to none.
    pub(crate) fn set_log(&self, log: Option<AccessLog>) {
        self.flush_log();
        *self.log.borrow_mut() = log.map(|log| Rc::new(log.buffer()));
    }
}

fn date_of_now() -> HttpDate {
    http_date(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}
