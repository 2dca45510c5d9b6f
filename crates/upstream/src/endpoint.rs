//! One endpoint at run time. It keeps its identity for as long as its cluster has an endpoint of that address.
//!
//! It holds what all workers share: the load, idle connections that any of them may take, and how many they may keep together.

mod stash;

pub(crate) use stash::Stashed;

use ir::EndpointAddress;
use stash::Stash;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Gives every endpoint of the process's clusters a number of its own.
#[derive(Debug, Default)]
pub(crate) struct EndpointIds(AtomicU64);

/// An endpoint and what all workers have to know of it.
#[derive(Debug)]
pub struct EndpointState {
    /// Its address.
    pub address: EndpointAddress,
    /// A number that no other endpoint of the store has or had.
    pub id: u64,
    load: Load,
    gone: AtomicBool,
    /// How long an idle connection is kept, in milliseconds (DR-20, DR-21).
    idle_limit: AtomicU64,
    /// Places for idle connections that workers hold, used or not, and those that the stash uses.
    places: AtomicU32,
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
    pub(crate) fn new(ids: &EndpointIds, address: EndpointAddress, idle_limit: Duration) -> Self {
        let endpoint = Self {
            address,
            id: ids.0.fetch_add(1, Ordering::Relaxed),
            load: Load::default(),
            gone: AtomicBool::new(false),
            idle_limit: AtomicU64::default(),
            places: AtomicU32::new(0),
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

    /// How long an idle connection is kept.
    pub fn idle_limit(&self) -> Duration {
        Duration::from_millis(self.idle_limit.load(Ordering::Relaxed))
    }

    /// Zero is no limit, as Envoy has it.
    pub(crate) fn set_idle_limit(&self, limit: Duration) {
        let millis = u64::try_from(limit.as_millis()).ok().filter(|_| !limit.is_zero());
        self.idle_limit.store(millis.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts an attempt to connect.
    pub(crate) fn count_connect(&self, opened: bool) {
        let counter = if opened { &self.opened } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Marks it as no longer configured.
    pub(crate) fn retire(&self) {
        self.gone.store(true, Ordering::Relaxed);
        let closed = self.stashed().clear();
        self.release_places(closed);
    }

    /// Takes a place for an idle connection, unless `most` are taken in the process.
    pub(crate) fn take_place(&self, most: usize) -> bool {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let more = |taken: u32| (taken < most).then_some(taken + 1);
        self.places.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Gives places back.
    pub(crate) fn release_places(&self, count: usize) {
        if count > 0 {
            self.places.fetch_sub(u32::try_from(count).unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// Leaves an idle connection for any worker, together with its place.
    pub(crate) fn stash(&self, stashed: Stashed) {
        let mut stash = self.stashed();
        // Looked at under the lock: whoever retires it closes what came before.
        if self.is_gone() {
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

    /// Closes stashed connections that are too old, and a few of those that their peer has closed. Whether any is left.
    pub(crate) fn tend_stash(&self, now: Instant) -> bool {
        let mut stash = self.stashed();
        let closed = stash.tend(now, self.idle_limit());
        self.release_places(closed);
        !stash.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn places(&self) -> u32 {
        self.places.load(Ordering::Relaxed)
    }

    fn stashed(&self) -> MutexGuard<'_, Stash> {
        self.stash.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
