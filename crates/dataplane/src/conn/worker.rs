//! One worker as its connections see it: limits, clusters, its pool, counters and log, and what it keeps for them.

use super::buffer::Memory;
use super::timers::Timers;
use super::{Buffer, Drain, Pipe, Space, Timer};
use crate::limits::{KEPT_BUFFERS, KEPT_PIPES, Limits};
use crate::log::{AccessLog, HttpDate, LogBuffer, http_date};
use crate::metrics::WorkerMetrics;
use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use upstream::{Pool, PoolSettings, Upstream};

/// A thread, its pool of connections to endpoints, its buffers and counters.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) limits: Limits,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) pool: RefCell<Pool>,
    pub(crate) metrics: Arc<WorkerMetrics>,
    pub(crate) log: Option<LogBuffer>,
    pub(crate) drain: Arc<Drain>,
    timers: Rc<Timers>,
    memory: Rc<Memory>,
    #[allow(clippy::vec_box, reason = "a space is large, and moves in and out with every request")]
    spaces: RefCell<Vec<Box<Space>>>,
    pipes: RefCell<Vec<Pipe>>,
    random: Cell<u64>,
    date: Cell<HttpDate>,
}

impl Worker {
    pub(crate) fn new(
        limits: Limits,
        upstream: Arc<Upstream>,
        metrics: Arc<WorkerMetrics>,
        log: Option<AccessLog>,
        drain: Arc<Drain>,
    ) -> Rc<Self> {
        let seed = foldhash::quality::RandomState::default().build_hasher().finish();
        Rc::new(Self {
            limits,
            upstream,
            pool: RefCell::new(Pool::new(PoolSettings::default())),
            metrics,
            log: log.map(AccessLog::buffer),
            drain,
            timers: Timers::new(),
            memory: Rc::default(),
            spaces: RefCell::default(),
            pipes: RefCell::default(),
            random: Cell::new(seed),
            date: Cell::new(date_of_now()),
        })
    }

    /// Random bits: good enough to spread load and to make ids that do not collide, not for secrets.
    pub(crate) fn random(&self) -> u64 {
        let next = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(next);
        let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The value of the `Date` header of about now.
    pub(crate) fn date(&self) -> HttpDate {
        self.date.get()
    }

    /// A buffer that holds nothing.
    pub(crate) fn buffer(&self) -> Buffer {
        Buffer::new(&self.memory)
    }

    /// A timer without a deadline.
    pub(crate) fn timer(&self) -> Timer {
        self.timers.timer()
    }

    /// Space for one exchange.
    pub(crate) fn take_space(&self) -> Box<Space> {
        self.spaces.borrow_mut().pop().unwrap_or_else(|| Box::new(Space::new(&self.memory)))
    }

    /// Takes the space of an exchange back.
    pub(crate) fn give_space(&self, mut space: Box<Space>) {
        let mut spaces = self.spaces.borrow_mut();
        if spaces.len() < KEPT_BUFFERS {
            space.clear();
            spaces.push(space);
        }
    }

    /// A pipe, if the system has one more.
    pub(crate) fn take_pipe(&self) -> Option<Pipe> {
        let kept = self.pipes.borrow_mut().pop();
        kept.or_else(Pipe::new)
    }

    /// Takes a pipe back; one with bytes in it is closed, since they would come out into another body.
    pub(crate) fn give_pipe(&self, pipe: Pipe) {
        let mut pipes = self.pipes.borrow_mut();
        if pipe.is_empty() && pipes.len() < KEPT_PIPES {
            pipes.push(pipe);
        }
    }

    /// Wakes every connection, so that it sees that the end has come closer.
    pub(crate) fn wake_all(&self) {
        self.timers.wake_all();
    }

    /// Looks at deadlines and idle connections, for as long as the worker lives.
    pub(crate) async fn tick(self: Rc<Self>) {
        loop {
            self.timers.next_turn().await;
            let now = Instant::now();
            self.timers.turn(now);
            self.date.set(date_of_now());
            self.sweep(now);
            self.flush_log();
        }
    }

    fn sweep(&self, now: Instant) {
        let mut pool = self.pool.borrow_mut();
        pool.sweep(now);
        let counters = pool.counters();
        self.metrics.idle.store(pool.len() as u64, Ordering::Relaxed);
        self.metrics.stale.store(counters.stale, Ordering::Relaxed);
        self.metrics.surplus.store(counters.surplus, Ordering::Relaxed);
    }

    /// Hands over the lines that were collected.
    pub(crate) fn flush_log(&self) {
        if let Some(log) = &self.log {
            log.flush();
        }
    }
}

fn date_of_now() -> HttpDate {
    http_date(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}
