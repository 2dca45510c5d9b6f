//! One endpoint at run time. It keeps its identity for as long as its cluster has an endpoint of that address.
//!
//! It holds what all workers share: the load, idle connections that any of them may take, and how many they may keep together.

mod health;
mod stash;
mod terms;

pub use health::Outcome;
pub(crate) use stash::Stashed;
pub(crate) use terms::Terms;

use health::Health;
use ir::EndpointAddress;
use stash::Stash;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Above this part of the places of the process, connections wait for use only so long.
const SCARCE: (u64, u64) = (3, 4);
const IDLE_LIMIT_WHEN_SCARCE: Duration = Duration::from_secs(5);

/// What all endpoints have in common.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    next_id: AtomicU64,
    /// Places of all of them.
    places: AtomicU32,
    /// Connections to all of them, and how many there may be; 0 is any number.
    open: AtomicUsize,
    most_open: AtomicUsize,
}

/// The right of a connection to an endpoint to be open.
#[derive(Debug)]
pub(crate) struct Opened(Arc<Endpoints>);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Endpoints {
    /// There may be so many connections from now on.
    pub(crate) fn limit(&self, connections: Option<usize>) {
        self.most_open.store(connections.map_or(0, |most| most.max(1)), Ordering::Relaxed);
    }

    fn open(self: &Arc<Self>) -> Option<Opened> {
        let most = match self.most_open.load(Ordering::Relaxed) {
            0 => usize::MAX,
            most => most,
        };
        let more = |open: usize| (open < most).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Opened(Arc::clone(self)))
    }
}

/// An endpoint and what all workers have to know of it.
#[derive(Debug)]
pub struct EndpointState {
    /// Its address.
    pub address: EndpointAddress,
    /// A number that no other endpoint of the store has or had.
    pub id: u64,
    load: Load,
    gone: AtomicBool,
    /// Whether connections to it need a place among those of its cluster (DR-20 `maxConnections`).
    limited: AtomicBool,
    /// What the results of its requests say of it (DR-30).
    pub(crate) health: Health,
    /// How long an idle connection is kept, in milliseconds (DR-20, DR-21).
    idle_limit: AtomicU64,
    /// Places for idle connections that workers hold, used or not, and those that the stash uses.
    places: AtomicU32,
    all: Arc<Endpoints>,
    opened: AtomicU64,
    failed: AtomicU64,
    stash: Mutex<Stash>,
}

/// In a cache line of its own: it is written by every worker when several endpoints share a cluster's load.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Load(AtomicU32);

impl EndpointState {
    /// An endpoint that nobody has used yet.
    pub(crate) fn new(all: &Arc<Endpoints>, address: EndpointAddress, idle_limit: Duration) -> Self {
        let endpoint = Self {
            address,
            id: all.next_id.fetch_add(1, Ordering::Relaxed),
            load: Load::default(),
            gone: AtomicBool::new(false),
            limited: AtomicBool::new(false),
            health: Health::default(),
            idle_limit: AtomicU64::default(),
            places: AtomicU32::new(0),
            all: Arc::clone(all),
            opened: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            stash: Mutex::default(),
        };
        endpoint.set_idle_limit(idle_limit);
        endpoint
    }

    /// Requests that are under way; counted where a cluster balances by them and has several endpoints.
    pub fn active(&self) -> u32 {
        self.load.0.load(Ordering::Relaxed)
    }

    /// Connections that were made to it.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Connections that could not be made.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether the configuration has it no more; its idle connections are closed, its requests end as they would.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Whether its failures keep it from being chosen (DR-30).
    pub fn is_ejected(&self) -> bool {
        self.health.is_ejected()
    }

    /// Ejects it, or takes it back; holds for choices once [`ClusterState::rebalance`](crate::ClusterState::rebalance) was called.
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

    /// The right of a further connection, unless there are as many to all endpoints as there may be.
    pub(crate) fn open(&self) -> Option<Opened> {
        self.all.open()
    }

    /// Counts an attempt to connect.
    pub(crate) fn count_connect(&self, opened: bool) {
        let counter = if opened { &self.opened } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether connections to it need a place among those of its cluster.
    pub(crate) fn is_limited(&self) -> bool {
        self.limited.load(Ordering::Relaxed)
    }

    /// Sets that; idle connections of before, which have none, are closed.
    pub(crate) fn set_limited(&self, limited: bool) {
        let before = self.limited.swap(limited, Ordering::Relaxed);
        if limited && !before {
            let closed = self.stashed().clear();
            self.release_places(closed);
        }
    }

    /// Marks it as no longer configured.
    pub(crate) fn retire(&self) {
        self.gone.store(true, Ordering::Relaxed);
        let closed = self.stashed().clear();
        self.release_places(closed);
    }

    /// Takes a place for an idle connection, unless `most` of this endpoint or `most_of_all` are taken in the process.
    pub(crate) fn take_place(&self, most: u32, most_of_all: u32) -> bool {
        if !take(&self.places, most) {
            return false;
        }
        let taken = take(&self.all.places, most_of_all);
        if !taken {
            self.places.fetch_sub(1, Ordering::Relaxed);
        }
        taken
    }

    /// Gives places back.
    pub(crate) fn release_places(&self, count: usize) {
        let count = u32::try_from(count).unwrap_or(0);
        if count > 0 {
            self.places.fetch_sub(count, Ordering::Relaxed);
            self.all.places.fetch_sub(count, Ordering::Relaxed);
        }
    }

    /// Leaves an idle connection for any worker, together with its place.
    pub(crate) fn stash(&self, stashed: Stashed) {
        let mut stash = self.stashed();
        // Looked at under the lock: whoever retires or limits it closes what came before.
        if self.is_gone() || self.is_limited() {
            self.release_places(1);
        } else {
            stash.push(stashed);
        }
    }

    /// Takes an idle connection that some worker left, the youngest first.
    pub(crate) fn unstash(&self) -> Option<Stashed> {
        let stashed = self.stashed().pop()?;
        self.release_places(1);
        Some(stashed)
    }

    /// Closes stashed connections that are too old, and a few of those that their peer has closed. Whether any is left. Where
    /// places become scarce (of `most_of_all`), they are too old soon: those that are in use need the places.
    pub(crate) fn tend_stash(&self, now: Instant, most_of_all: u32) -> bool {
        let taken = u64::from(self.all.places.load(Ordering::Relaxed));
        let scarce = taken * SCARCE.1 > u64::from(most_of_all) * SCARCE.0;
        let limit = if scarce { self.idle_limit().min(IDLE_LIMIT_WHEN_SCARCE) } else { self.idle_limit() };
        let mut stash = self.stashed();
        let closed = stash.tend(now, limit);
        self.release_places(closed);
        !stash.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn all(&self) -> &Arc<Endpoints> {
        &self.all
    }

    #[cfg(test)]
    pub(crate) fn places(&self) -> u32 {
        self.places.load(Ordering::Relaxed)
    }

    fn stashed(&self) -> MutexGuard<'_, Stash> {
        self.stash.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take(places: &AtomicU32, most: u32) -> bool {
    let more = |taken: u32| (taken < most).then_some(taken + 1);
    places.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

/// Counts a request as under way until it is dropped.
#[derive(Debug)]
pub struct InFlight(Arc<EndpointState>);

impl InFlight {
    /// Counts one more.
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
