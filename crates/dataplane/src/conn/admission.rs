//! The limit on client connections of the process, which the workers share: permits, the age of each worker's oldest waiting connection, and
//! requests to evict one. `eviction` uses it.

use super::notices::Notices;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

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
pub(super) struct WorkerPart {
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

    /// The current limit on connections, where `of_mesh` is the mesh's limit.
    pub(super) fn most_with(&self, of_mesh: Option<u64>) -> usize {
        of_mesh.and_then(|most| usize::try_from(most).ok()).map_or(self.most(), |most| most.min(self.most()))
    }

    /// A permit, below the limit.
    pub(super) fn acquire(self: &Arc<Self>, most: usize) -> Option<Permit> {
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
    pub(super) fn older(&self, worker: usize, own: Option<u64>) -> Option<&WorkerPart> {
        let others = self.parts.iter().enumerate().filter(|(at, _)| *at != worker);
        let oldest = others.map(|(_, part)| (part.oldest.load(Ordering::Acquire), part)).min_by_key(|(age, _)| *age);
        oldest.filter(|(age, _)| *age < own.unwrap_or(NONE)).map(|(_, part)| part)
    }

    /// Wakes the waiters for room.
    pub(super) fn notify(&self) {
        if self.waiting.load(Ordering::Acquire) > 0 {
            self.freed.notify_waiters();
        }
    }

    /// The number of open connections.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Waits for the end of a connection; created before the check of the limit, so that no end is missed.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Registers a waiter for room, until dropped.
    pub(super) fn begin_waiting(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        Waiting(self)
    }

    /// Waits until other workers ask this one to evict connections; returns how many. `None` if there is no such worker.
    pub(super) async fn evictions(&self, worker: usize) -> Option<usize> {
        let part = self.parts.get(worker)?;
        part.wake.notified().await;
        Some(part.wanted.swap(0, Ordering::AcqRel))
    }
}

impl WorkerPart {
    /// Asks the worker to evict one connection. A repeated request must not evict a second one for the same waiter.
    pub(super) fn ask(&self, is_repeated: bool) {
        if is_repeated {
            let _ = self.wanted.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire);
        } else {
            self.wanted.fetch_add(1, Ordering::AcqRel);
        }
        self.wake.notify_one();
    }
}

/// Counts waiters for room.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a Admission);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
