//! The limit on client connections of the process, and eviction: how a worker gets room for a new connection at the limit. Workers share this;
//! the [`Tracker`](super::Tracker) of a worker decides which of its connections is evicted.

use super::{Notices, Tracker};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long a new connection waits for an eviction by another worker.
const WAIT: Duration = Duration::from_secs(1);
/// How long it waits before it asks again.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// The value of `oldest` for a worker without a connection to evict.
const NONE: u64 = u64::MAX;

/// The connections of the process.
#[derive(Debug)]
pub(crate) struct Admission {
    most: usize,
    /// Descriptors for connections and listening sockets, and how many are listening sockets.
    descriptors: usize,
    listening: AtomicUsize,
    open: AtomicUsize,
    parts: Box<[WorkerPart]>,
    /// New connections that wait for [`Self::freed`].
    waiting: AtomicUsize,
    freed: Notify,
    origin: Instant,
    pub(crate) notices: Notices,
}

/// One worker's part of it.
#[derive(Debug)]
struct WorkerPart {
    /// When the connection that has waited longest for its client began to, in the worker's ticks.
    oldest: AtomicU64,
    /// Connections that other workers ask this one to close.
    wanted: AtomicUsize,
    wake: Notify,
}

/// A permit for one open connection.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Admission>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        self.0.notify();
    }
}

impl Admission {
    /// At most so many connections, and descriptors for them and for listening sockets, of so many workers.
    pub(crate) fn new(most: usize, descriptors: usize, workers: usize) -> Arc<Self> {
        let part = |_| WorkerPart { oldest: AtomicU64::new(NONE), wanted: AtomicUsize::new(0), wake: Notify::new() };
        Arc::new(Self {
            most,
            descriptors,
            listening: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            parts: (0..workers).map(part).collect(),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
            origin: Instant::now(),
            notices: Notices::default(),
        })
    }

    /// The origin of all workers' ticks.
    pub(crate) fn origin(&self) -> Instant {
        self.origin
    }

    /// Sets the number of listening sockets.
    pub(crate) fn set_listening(&self, sockets: usize) {
        self.listening.store(sockets, Ordering::Relaxed);
    }

    /// The current limit on connections.
    pub(crate) fn most(&self) -> usize {
        let descriptors = self.descriptors.saturating_sub(self.listening.load(Ordering::Relaxed));
        self.most.min(descriptors).max(1)
    }

    fn most_with(&self, of_mesh: Option<u64>) -> usize {
        of_mesh.and_then(|most| usize::try_from(most).ok()).map_or(self.most(), |most| most.min(self.most()))
    }

    /// A permit, below the limit.
    fn acquire(self: &Arc<Self>, most: usize) -> Option<Permit> {
        let more = |open: usize| (open < most).then_some(open + 1);
        let acquired = self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        acquired.ok().map(|_| Permit(Arc::clone(self)))
    }

    /// Publishes since when a worker's oldest waiting connection waits; `None` if there is none.
    pub(super) fn publish(&self, worker: usize, oldest: Option<u64>) {
        if let Some(part) = self.parts.get(worker) {
            part.oldest.store(oldest.unwrap_or(NONE), Ordering::Release);
        }
    }

    /// The other worker whose oldest waiting connection is older than `own`.
    fn older(&self, worker: usize, own: Option<u64>) -> Option<&WorkerPart> {
        let others = self.parts.iter().enumerate().filter(|(at, _)| *at != worker);
        let oldest = others.map(|(_, part)| (part.oldest.load(Ordering::Acquire), part)).min_by_key(|(age, _)| *age);
        oldest.filter(|(age, _)| *age < own.unwrap_or(NONE)).map(|(_, part)| part)
    }

    fn notify(&self) {
        if self.waiting.load(Ordering::Acquire) > 0 {
            self.freed.notify_waiters();
        }
    }

    /// Evicts connections of a worker for new ones of other workers, as long as the worker lives.
    pub(super) async fn serve(self: Arc<Self>, worker: usize, tracker: Rc<Tracker>) {
        let Some(part) = self.parts.get(worker) else { return };
        loop {
            part.wake.notified().await;
            let wanted = part.wanted.swap(0, Ordering::AcqRel);
            let permits: Vec<Permit> = (0..wanted).map_while(|_| tracker.evict()).collect();
            if !permits.is_empty() {
                closed().await;
            }
            drop(permits);
            // Waiters without a permit have to check again too.
            self.notify();
        }
    }

    /// A permit for a new connection. At the limit, evicts the connection of the process that has waited longest for its client; `None` if no
    /// connection waits. `of_mesh` is the mesh's limit.
    pub(super) async fn admit(self: &Arc<Self>, tracker: &Tracker, of_mesh: Option<u64>) -> Option<Permit> {
        let most = self.most_with(of_mesh);
        match self.acquire(most) {
            Some(permit) => Some(permit),
            None => Box::pin(self.make_room(tracker, most)).await,
        }
    }

    async fn make_room(self: &Arc<Self>, tracker: &Tracker, most: usize) -> Option<Permit> {
        let deadline = Instant::now() + WAIT;
        let _waiting = Waiting::begin(self);
        let mut asked = false;
        loop {
            let freed = self.freed.notified();
            if let Some(permit) = self.acquire(most) {
                return Some(permit);
            }
            let now = Instant::now();
            if now >= deadline {
                return None;
            }
            match self.older(tracker.worker, tracker.oldest()) {
                Some(part) => {
                    // A repeated request must not evict a second connection for this one.
                    if asked {
                        let _ = part.wanted.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire);
                    } else {
                        part.wanted.fetch_add(1, Ordering::AcqRel);
                    }
                    asked = true;
                    part.wake.notify_one();
                    let until = (now + ASK_AGAIN).min(deadline);
                    let _ = tokio::time::timeout_at(until.into(), freed).await;
                }
                None => {
                    let permit = tracker.evict()?;
                    closed().await;
                    // The limit may have been lowered; then one new connection needs several evictions.
                    if self.open.load(Ordering::Acquire) <= most {
                        return Some(permit);
                    }
                }
            }
        }
    }
}

/// Lets evicted connections close before their permits are reused, or there would be more descriptors than permits.
async fn closed() {
    tokio::task::yield_now().await;
}

/// Counts waiters for room.
struct Waiting<'a>(&'a Admission);

impl<'a> Waiting<'a> {
    fn begin(admission: &'a Admission) -> Self {
        admission.waiting.fetch_add(1, Ordering::AcqRel);
        Self(admission)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
