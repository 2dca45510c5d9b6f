//! What the connections of one worker share, and the parts they are made of: buffers, deadlines, the time, randomness.

use crate::limits::{BUFFER, KEPT_BUFFERS, LARGE_BUFFER, Limits, TICK};
use crate::log::{AccessLog, http_date};
use crate::metrics::WorkerMetrics;
use routing::Scratch;
use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, Hasher};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use upstream::{Pool, PoolSettings, Upstream};
use wire::h1::{RequestHead, ResponseHead};

/// How far the end of the process has come.
#[derive(Debug, Default)]
pub(crate) struct Drain(AtomicU8);

impl Drain {
    /// Connections are asked to close with their next answer.
    pub(crate) fn begin(&self) {
        self.0.store(1, Ordering::Release);
    }

    /// Idle connections are closed as well.
    pub(crate) fn close_idle(&self) {
        self.0.store(2, Ordering::Release);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }

    pub(crate) fn closes_idle(&self) -> bool {
        self.0.load(Ordering::Acquire) > 1
    }
}

/// One worker: a thread, its pool of connections to endpoints, its buffers and counters.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) limits: Limits,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) pool: RefCell<Pool>,
    pub(crate) metrics: Arc<WorkerMetrics>,
    pub(crate) log: Option<AccessLog>,
    pub(crate) drain: Arc<Drain>,
    small: RefCell<Vec<Box<[u8]>>>,
    large: RefCell<Vec<Box<[u8]>>>,
    #[allow(clippy::vec_box, reason = "a space is large, and moves in and out with every request")]
    spaces: RefCell<Vec<Box<Space>>>,
    timers: RefCell<Vec<Weak<TimerState>>>,
    random: Cell<u64>,
    date: RefCell<(u64, String)>,
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
            log,
            drain,
            small: RefCell::default(),
            large: RefCell::default(),
            spaces: RefCell::default(),
            timers: RefCell::default(),
            random: Cell::new(seed),
            date: RefCell::default(),
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

    /// The `Date` header of this second, appended.
    pub(crate) fn date(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut date = self.date.borrow_mut();
        if date.0 != now || date.1.is_empty() {
            *date = (now, http_date(now));
        }
        date.1.clone()
    }

    fn take_buffer(&self, large: bool) -> Box<[u8]> {
        let (kept, size) = if large { (&self.large, LARGE_BUFFER) } else { (&self.small, BUFFER) };
        kept.borrow_mut().pop().unwrap_or_else(|| vec![0; size].into())
    }

    fn give_back(&self, bytes: Box<[u8]>) {
        let kept = match bytes.len() {
            BUFFER => &self.small,
            LARGE_BUFFER => &self.large,
            _ => return,
        };
        let mut kept = kept.borrow_mut();
        if kept.len() < KEPT_BUFFERS {
            kept.push(bytes);
        }
    }

    /// Space for one exchange.
    pub(crate) fn take_space(self: &Rc<Self>) -> Box<Space> {
        self.spaces.borrow_mut().pop().unwrap_or_else(|| Box::new(Space::new(self)))
    }

    /// Takes the space of an exchange back.
    pub(crate) fn give_space(&self, mut space: Box<Space>) {
        let mut spaces = self.spaces.borrow_mut();
        if spaces.len() < KEPT_BUFFERS {
            space.clear();
            spaces.push(space);
        }
    }

    /// Drops what is kept, which refers to the worker.
    pub(crate) fn forget_spaces(&self) {
        self.spaces.take();
    }

    /// A deadline for the task that polls it.
    pub(crate) fn timer(self: &Rc<Self>) -> Timer {
        let state = Rc::new(TimerState { deadline: Cell::new(None), waker: RefCell::new(None) });
        self.timers.borrow_mut().push(Rc::downgrade(&state));
        Timer(state)
    }

    /// Wakes the tasks whose deadline has come; all of them when `all` is set.
    fn wake(&self, now: Instant, all: bool) {
        self.timers.borrow_mut().retain(|timer| {
            let Some(timer) = timer.upgrade() else { return false };
            if (all || timer.deadline.get().is_some_and(|deadline| deadline <= now))
                && let Some(waker) = timer.waker.borrow_mut().take()
            {
                waker.wake();
            }
            true
        });
    }

    /// Wakes every connection, so that it sees that the end has come closer.
    pub(crate) fn wake_all(&self) {
        self.wake(Instant::now(), true);
    }

    /// Looks at deadlines and idle connections, for as long as the worker lives.
    pub(crate) async fn tick(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = Instant::now();
            self.wake(now, false);
            self.pool.borrow_mut().sweep(now);
        }
    }
}

/// What an exchange needs while it lasts, used again by the next one of any connection.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) request: RequestHead,
    pub(crate) response: ResponseHead,
    pub(crate) scratch: Scratch,
    pub(crate) request_id: [u8; 36],
    /// Of the request's body, as it came.
    pub(crate) body_in: Buffer,
    /// Of the response, as it came.
    pub(crate) up_in: Buffer,
    /// What is to be written to the backend, and to the client.
    pub(crate) up_out: Vec<u8>,
    pub(crate) down_out: Vec<u8>,
}

impl Space {
    fn new(worker: &Rc<Worker>) -> Self {
        Self {
            request: RequestHead::default(),
            response: ResponseHead::default(),
            scratch: Scratch::default(),
            request_id: [b'0'; 36],
            body_in: Buffer::new(worker),
            up_in: Buffer::new(worker),
            up_out: Vec::with_capacity(2048),
            down_out: Vec::with_capacity(2048),
        }
    }

    fn clear(&mut self) {
        self.body_in.release();
        self.up_in.release();
        for out in [&mut self.up_out, &mut self.down_out] {
            out.clear();
            out.shrink_to(64 << 10);
        }
        self.request = std::mem::take(&mut self.request).reset();
        self.response = std::mem::take(&mut self.response).reset();
    }
}

/// A deadline, looked at a few times a second. Setting one costs a store.
#[derive(Debug)]
pub(crate) struct Timer(Rc<TimerState>);

#[derive(Debug)]
struct TimerState {
    deadline: Cell<Option<Instant>>,
    waker: RefCell<Option<Waker>>,
}

impl Timer {
    /// Sets the deadline so far from now.
    pub(crate) fn set(&self, after: Duration) {
        self.0.deadline.set(Instant::now().checked_add(after));
    }

    /// Takes the deadline away.
    pub(crate) fn clear(&self) {
        self.0.deadline.set(None);
    }

    /// Whether the deadline has come. The task is woken when it does, if it has not.
    pub(crate) fn expired(&self, context: &std::task::Context<'_>) -> bool {
        let mut waker = self.0.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        self.0.deadline.get().is_some_and(|deadline| deadline <= Instant::now())
    }
}

/// Bytes that were read and are not done with. It holds memory only while there is something to hold.
#[derive(Debug)]
pub(crate) struct Buffer {
    worker: Rc<Worker>,
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(crate) fn new(worker: &Rc<Worker>) -> Self {
        Self { worker: Rc::clone(worker), bytes: Box::default(), start: 0, end: 0 }
    }

    /// What is there.
    pub(crate) fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Drops so many bytes from the front.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Room to read into, behind what is there. What is there moves to the front when the room behind it gets small.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = self.worker.take_buffer(false);
        }
        if self.start > 0 && self.bytes.len() - self.end < self.bytes.len() / 2 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// Counts what was read into the room.
    pub(crate) fn fill(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// Makes room for heads or bodies that do not fit.
    pub(crate) fn grow(&mut self) {
        if self.bytes.len() < LARGE_BUFFER {
            let mut larger = self.worker.take_buffer(true);
            let length = self.end - self.start;
            if let (Some(to), Some(from)) = (larger.get_mut(..length), self.bytes.get(self.start..self.end)) {
                to.copy_from_slice(from);
            }
            let before = std::mem::replace(&mut self.bytes, larger);
            self.worker.give_back(before);
            (self.start, self.end) = (0, length);
        }
    }

    /// Whether there is no room left.
    pub(crate) fn is_full(&self) -> bool {
        self.start == 0 && self.end == self.bytes.len() && !self.bytes.is_empty()
    }

    /// Appends bytes that were read elsewhere.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        while self.room().len() < bytes.len() && self.bytes.len() < LARGE_BUFFER {
            self.grow();
        }
        let room = self.room();
        let count = bytes.len().min(room.len());
        if let (Some(to), Some(from)) = (room.get_mut(..count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        self.fill(count);
    }

    /// Keeps so many bytes of what is there, and drops those behind.
    pub(crate) fn truncate(&mut self, count: usize) {
        self.end = self.end.min(self.start + count);
    }

    /// Gives the memory back, and what is there with it.
    pub(crate) fn release(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.worker.give_back(bytes);
        (self.start, self.end) = (0, 0);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.release();
    }
}
