//! One endpoint at run time. It keeps its identity for as long as its cluster has an endpoint of that address.

use ir::EndpointAddress;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Idle connections that wait for any worker, per endpoint.
const MAX_STASH: usize = 64;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// An endpoint and what all workers have to know of it.
#[derive(Debug)]
pub struct EndpointState {
    /// Its address.
    pub address: EndpointAddress,
    /// A number that no other endpoint of the process has or had.
    pub id: u64,
    load: Load,
    gone: AtomicBool,
    stash: Mutex<Vec<Stashed>>,
}

/// In a cache line of its own: it is written by every worker when several endpoints share a cluster's load.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Load(AtomicU32);

/// A connection that was idle for a while and waits for any worker.
#[derive(Debug)]
pub struct Stashed {
    /// The connection.
    pub stream: std::net::TcpStream,
    /// Since when it is idle.
    pub since: Instant,
}

impl EndpointState {
    /// An endpoint that nobody has used yet.
    pub fn new(address: EndpointAddress) -> Self {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Self { address, id, load: Load::default(), gone: AtomicBool::new(false), stash: Mutex::default() }
    }

    /// Requests that are under way; counted where a cluster has several endpoints.
    pub fn active(&self) -> u32 {
        self.load.0.load(Ordering::Relaxed)
    }

    /// Whether the configuration has it no more; its idle connections are closed, its requests end as they would.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Marks it as no longer configured.
    pub(crate) fn retire(&self) {
        self.gone.store(true, Ordering::Relaxed);
        self.stashed().clear();
    }

    /// Leaves an idle connection for any worker; it is closed when there are enough.
    pub(crate) fn stash(&self, stashed: Stashed) {
        let mut stash = self.stashed();
        if stash.len() < MAX_STASH && !self.is_gone() {
            stash.push(stashed);
        }
    }

    /// Takes an idle connection that any worker left, the youngest first.
    pub(crate) fn unstash(&self) -> Option<Stashed> {
        self.stashed().pop()
    }

    /// Closes connections that have been idle since before `limit`.
    pub(crate) fn prune(&self, limit: Instant) {
        self.stashed().retain(|one| one.since >= limit);
    }

    fn stashed(&self) -> std::sync::MutexGuard<'_, Vec<Stashed>> {
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
