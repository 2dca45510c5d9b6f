//! One endpoint at run time. It keeps its identity for as long as its cluster has an endpoint of that address.
//!
//! It contains what all workers share: the load, the pool of shared idle connections, and the count of idle slots.

mod endpoints;
mod health;
mod lifetime;
mod shared_idle;

pub(crate) use endpoints::{Endpoints, Opened};
pub use health::Outcome;
pub(crate) use lifetime::ConnectionLifetime;
pub(crate) use shared_idle::SharedIdle;

use health::Health;
use ir::EndpointAddress;
use shared_idle::SharedIdlePool;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// When more than this part of the process's idle slots is in use, idle connections of the shared pools expire sooner.
const SCARCE: (u64, u64) = (3, 4);
const IDLE_LIMIT_WHEN_SCARCE: Duration = Duration::from_secs(5);

/// An endpoint and the state that all workers share.
#[derive(Debug)]
pub struct EndpointState {
    /// Its address.
    pub address: EndpointAddress,
    /// Unique in the store, also among endpoints that are gone.
    pub id: u64,
    load: Load,
    gone: AtomicBool,
    /// Whether connections need a permit of the cluster's limiter (DR-20 `maxConnections`).
    limited: AtomicBool,
    /// The outlier detection's counts of its responses (DR-30).
    pub(crate) health: Health,
    /// How long an idle connection is kept, in milliseconds (DR-20, DR-21).
    idle_limit: AtomicU64,
    /// Slots for idle connections: those that workers have reserved, used or not, and those of the shared pool.
    idle_slots: AtomicU32,
    all: Arc<Endpoints>,
    opened: AtomicU64,
    failed: AtomicU64,
    shared_idle: Mutex<SharedIdlePool>,
}

/// In a cache line of its own: it is written by every worker when several endpoints share a cluster's load.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Load(AtomicU32);

impl EndpointState {
    /// An endpoint without connections or counts.
    pub(crate) fn new(all: &Arc<Endpoints>, address: EndpointAddress, idle_limit: Duration) -> Self {
        let endpoint = Self {
            address,
            id: all.next_id.fetch_add(1, Ordering::Relaxed),
            load: Load::default(),
            gone: AtomicBool::new(false),
            limited: AtomicBool::new(false),
            health: Health::default(),
            idle_limit: AtomicU64::default(),
            idle_slots: AtomicU32::new(0),
            all: Arc::clone(all),
            opened: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            shared_idle: Mutex::default(),
        };
        endpoint.set_idle_limit(idle_limit);
        endpoint
    }

    /// Requests in flight; counted where the cluster balances by them and has several endpoints.
    pub fn active(&self) -> u32 {
        self.load.0.load(Ordering::Relaxed)
    }

    /// Connections made so far.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Failed attempts to connect so far.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether the configuration no longer contains the endpoint: idle connections are closed, requests in flight end normally.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Whether outlier detection has ejected the endpoint (DR-30).
    pub fn is_ejected(&self) -> bool {
        self.health.is_ejected()
    }

    /// Ejects or restores the endpoint. Takes effect with the next [`ClusterState::rebalance`](crate::ClusterState::rebalance).
    pub fn set_ejected(&self, ejected: bool) {
        self.health.set_ejected(ejected);
    }

    /// How long an idle connection is kept.
    pub fn idle_limit(&self) -> Duration {
        Duration::from_millis(self.idle_limit.load(Ordering::Relaxed))
    }

    /// Zero is no limit, as Envoy has it.
    pub(crate) fn set_idle_limit(&self, limit: Duration) {
        let millis = u64::try_from(limit.as_millis()).ok().filter(|_| !limit.is_zero());
        self.idle_limit.store(millis.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// One more open connection; `None` at the limit of the process.
    pub(crate) fn open(&self) -> Option<Opened> {
        self.all.open()
    }

    /// Counts an attempt to connect.
    pub(crate) fn count_connect(&self, opened: bool) {
        let counter = if opened { &self.opened } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether connections need a permit of the cluster's limiter.
    pub(crate) fn is_limited(&self) -> bool {
        self.limited.load(Ordering::Relaxed)
    }

    /// Sets whether they do; shared idle connections from before, which have no permit, are closed.
    pub(crate) fn set_limited(&self, limited: bool) {
        let before = self.limited.swap(limited, Ordering::Relaxed);
        if limited && !before {
            let closed = self.shared_pool().clear();
            self.release_idle_slots(closed);
        }
    }

    /// Marks the endpoint as no longer configured.
    pub(crate) fn retire(&self) {
        self.gone.store(true, Ordering::Relaxed);
        let closed = self.shared_pool().clear();
        self.release_idle_slots(closed);
    }

    /// Reserves an idle slot, unless `most` of this endpoint or `most_of_all` of the process are in use.
    pub(crate) fn reserve_idle_slot(&self, most: u32, most_of_all: u32) -> bool {
        if !take(&self.idle_slots, most) {
            return false;
        }
        let taken = take(&self.all.idle_slots, most_of_all);
        if !taken {
            self.idle_slots.fetch_sub(1, Ordering::Relaxed);
        }
        taken
    }

    /// Releases idle slots.
    pub(crate) fn release_idle_slots(&self, count: usize) {
        let count = u32::try_from(count).unwrap_or(0);
        if count > 0 {
            self.idle_slots.fetch_sub(count, Ordering::Relaxed);
            self.all.idle_slots.fetch_sub(count, Ordering::Relaxed);
        }
    }

    /// Adds an idle connection, with its slot, to the shared pool.
    pub(crate) fn share(&self, shared: SharedIdle) {
        let mut pool = self.shared_pool();
        // Checked under the lock: `retire` and `set_limited` close what was added before.
        if self.is_gone() || self.is_limited() {
            self.release_idle_slots(1);
        } else {
            pool.push(shared);
        }
    }

    /// Removes the youngest idle connection from the shared pool.
    pub(crate) fn take_shared(&self) -> Option<SharedIdle> {
        let shared = self.shared_pool().pop()?;
        self.release_idle_slots(1);
        Some(shared)
    }

    /// Closes shared connections that are too old, and some of those that the peer has closed. Returns whether any is left. Where idle
    /// slots become scarce (of `most_of_all`), the age limit is short, since connections in use need the slots.
    pub(crate) fn sweep_shared(&self, now: Instant, most_of_all: u32) -> bool {
        let taken = u64::from(self.all.idle_slots.load(Ordering::Relaxed));
        let scarce = taken * SCARCE.1 > u64::from(most_of_all) * SCARCE.0;
        let limit = if scarce { self.idle_limit().min(IDLE_LIMIT_WHEN_SCARCE) } else { self.idle_limit() };
        let mut pool = self.shared_pool();
        let closed = pool.sweep(now, limit);
        self.release_idle_slots(closed);
        !pool.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn all(&self) -> &Arc<Endpoints> {
        &self.all
    }

    #[cfg(test)]
    pub(crate) fn idle_slots(&self) -> u32 {
        self.idle_slots.load(Ordering::Relaxed)
    }

    fn shared_pool(&self) -> MutexGuard<'_, SharedIdlePool> {
        self.shared_idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take(slots: &AtomicU32, most: u32) -> bool {
    let more = |taken: u32| (taken < most).then_some(taken + 1);
    slots.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

/// An endpoint that was picked for a request.
#[derive(Debug)]
pub struct PickedEndpoint {
    /// The endpoint.
    pub endpoint: Arc<EndpointState>,
    /// Counts the request as in flight while it lasts, if the balancer depends on it.
    pub in_flight: Option<InFlight>,
}

/// Counts a request as in flight until dropped.
#[derive(Debug)]
pub struct InFlight(Arc<EndpointState>);

impl InFlight {
    /// Counts one more request.
    pub fn new(endpoint: &Arc<EndpointState>) -> Self {
        endpoint.load.0.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(endpoint))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.load.0.fetch_sub(1, Ordering::Relaxed);
    }
}
