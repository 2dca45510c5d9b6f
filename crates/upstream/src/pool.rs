//! A worker's idle connections, by endpoint. They never leave the worker but through the stash of their endpoint, where those
//! go that nobody used for a while and any worker may take them.
//!
//! How many connections to an endpoint may be idle is counted for the process. A worker takes a place when its own idle connections
//! are more than they were lately, and gives it back when a sweep finds that they no longer are: between sweeps, taking
//! and putting touch nothing that is shared.

use crate::cluster::ClusterState;
use crate::connect::{Connection, Place, Places, Purpose, Sender, Wanted};
use crate::endpoint::EndpointState;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Endpoints and connections that one sweep looks at; the next one goes on from there.
const SWEEP_WORK: usize = 2048;
/// How often the stash of an endpoint is looked after.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// Bounds of a pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolSettings {
    /// Idle connections per endpoint, of all workers together, those in the stash among them.
    pub idle_per_endpoint: u32,
    /// Idle connections of all workers to all endpoints; each holds a file.
    pub idle_in_all: u32,
    /// After this time without use a connection goes to the stash.
    pub cold_after: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self { idle_per_endpoint: 1024, idle_in_all: 16_384, cold_after: Duration::from_secs(1) }
    }
}

/// What a pool has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolCounters {
    /// Connections that were given again.
    pub reused: u64,
    /// Connections that were closed, or not silent, when they were wanted again.
    pub stale: u64,
    /// Connections that were closed since there were enough.
    pub surplus: u64,
}

/// A worker's idle connections.
#[derive(Debug)]
pub struct Pool {
    idle: HashMap<u64, Idle, RandomState>,
    /// The endpoints in the order in which sweeps come to them.
    turns: VecDeque<u64>,
    count: usize,
    /// Where the number of connections is limited: those whose idle ones this worker looks after.
    limited: HashMap<usize, Weak<Places>, RandomState>,
    tended: Instant,
    last_sweep: Option<Instant>,
    settings: PoolSettings,
    counters: PoolCounters,
}

/// The idle connections to one endpoint.
#[derive(Debug)]
struct Idle {
    endpoint: Arc<EndpointState>,
    /// The last one was used last.
    connections: Vec<(Connection, Instant)>,
    /// Those that were made for a purpose. In TLS they cannot leave the worker, and few others could use them.
    special: Vec<(Connection, Instant)>,
    /// Places held; never fewer than connections.
    places: usize,
    /// The most connections since the last sweep.
    peak: usize,
    tended: Instant,
}

impl Pool {
    /// An empty pool.
    pub fn new(settings: PoolSettings) -> Self {
        Self {
            idle: HashMap::default(),
            turns: VecDeque::new(),
            count: 0,
            limited: HashMap::default(),
            tended: Instant::now(),
            last_sweep: None,
            settings,
            counters: PoolCounters::default(),
        }
    }

    /// An idle connection to an endpoint of a cluster that is still open, the one used last. In TLS it is one for the same name, made by
    /// the settings of now; where endpoints are told of clients (DR-51), one of the same client's.
    pub fn take(
        &mut self,
        cluster: &ClusterState,
        endpoint: &Arc<EndpointState>,
        sender: Sender<'_>,
    ) -> Option<Connection> {
        let purpose = cluster.purpose(sender).ok()?;
        if let Some(places) = cluster.places() {
            let taken = places.take_idle(Wanted { endpoint: endpoint.id, purpose: purpose.as_ref() })?;
            self.counters.reused += 1;
            return Some(taken);
        }
        match purpose {
            None => self.take_clear(endpoint),
            Some(wanted) => self.take_special(endpoint, &wanted),
        }
    }

    fn take_special(&mut self, endpoint: &EndpointState, wanted: &Purpose) -> Option<Connection> {
        let idle = self.idle.get_mut(&endpoint.id)?;
        while let Some(at) = idle.special.iter().rposition(|(one, _)| one.purpose.as_deref() == Some(wanted)) {
            let (mut connection, _) = idle.special.remove(at);
            self.count -= 1;
            if connection.terms.hold(Instant::now()) && connection.stream.is_silent() {
                self.counters.reused += 1;
                return Some(connection);
            }
            self.counters.stale += 1;
        }
        None
    }

    fn take_clear(&mut self, endpoint: &Arc<EndpointState>) -> Option<Connection> {
        if let Some(idle) = self.idle.get_mut(&endpoint.id) {
            while let Some((mut connection, since)) = idle.connections.pop() {
                self.count -= 1;
                // Since the sweep it may have been closed without the runtime having heard; within moments it hardly was.
                let rested = self.last_sweep.is_some_and(|sweep| since <= sweep);
                let holds = connection.terms.is_endless() || connection.terms.hold(Instant::now());
                if holds && connection.stream.is_silent() && (!rested || connection.stream.is_silent_for_sure()) {
                    self.counters.reused += 1;
                    return Some(connection);
                }
                self.counters.stale += 1;
            }
        }
        let connection = Connection::unstash(endpoint)?;
        self.counters.reused += 1;
        Some(connection)
    }

    /// Keeps a connection whose answer is complete. It is closed when there are enough, or its endpoint is gone.
    pub fn put(&mut self, mut connection: Connection, now: Instant) {
        if connection.endpoint.is_gone() {
            return;
        }
        connection.reused = true;
        connection.terms.count();
        if !connection.terms.is_unbounded() && !connection.terms.hold(now) {
            return;
        }
        if let Some(places) = connection.place.as_ref().and_then(Place::places).map(Arc::clone) {
            self.tend_later(&places);
            return places.put(connection, now);
        }
        if connection.endpoint.is_limited() {
            // It was made before there was a limit.
            return;
        }
        let endpoint = &connection.endpoint;
        let idle = self.idle.entry(endpoint.id).or_insert_with(|| {
            self.turns.push_back(endpoint.id);
            Idle {
                endpoint: Arc::clone(endpoint),
                connections: Vec::new(),
                special: Vec::new(),
                places: 0,
                peak: 0,
                tended: now,
            }
        });
        if idle.has_place(&self.settings) {
            let kept = if connection.purpose.is_some() { &mut idle.special } else { &mut idle.connections };
            kept.push((connection, now));
            idle.peak = idle.peak.max(idle.len());
            self.count += 1;
        } else {
            self.counters.surplus += 1;
        }
    }

    /// Has idle connections looked after that are kept elsewhere, since their number is limited.
    fn tend_later(&mut self, places: &Arc<Places>) {
        // An address is not given again while somebody holds what stood there, if only weakly.
        self.limited.entry(Arc::as_ptr(places) as usize).or_insert_with(|| Arc::downgrade(places));
    }

    fn tend_limited(&mut self, now: Instant) {
        if self.limited.is_empty() || now.saturating_duration_since(self.tended) < TEND_EVERY {
            return;
        }
        self.tended = now;
        self.limited.retain(|_, places| {
            let places = places.upgrade();
            places.iter().for_each(|places| places.tend(now));
            places.is_some()
        });
    }

    /// Stashes what is cold, closes what is old or gone, forgets endpoints without connections. One call does a bounded part of it.
    pub fn sweep(&mut self, now: Instant) {
        self.tend_limited(now);
        let mut work = SWEEP_WORK;
        for _ in 0..self.turns.len() {
            let Some(id) = self.turns.pop_front() else { break };
            let Some(idle) = self.idle.get_mut(&id) else { continue };
            let before = idle.len();
            let stays = idle.sweep(now, &self.settings, work);
            let left = if stays { idle.len() } else { 0 };
            self.count -= before - left;
            if stays {
                self.turns.push_back(id);
            } else {
                self.idle.remove(&id);
            }
            work = work.saturating_sub(1 + before - left);
            if work == 0 {
                break;
            }
        }
        self.last_sweep = Some(now);
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What was counted so far.
    pub fn counters(&self) -> PoolCounters {
        self.counters
    }
}

impl Idle {
    fn len(&self) -> usize {
        self.connections.len() + self.special.len()
    }

    /// Whether one more connection has a place.
    fn has_place(&mut self, settings: &PoolSettings) -> bool {
        if self.len() < self.places {
            return true;
        }
        let taken = self.endpoint.take_place(settings.idle_per_endpoint, settings.idle_in_all);
        self.places += usize::from(taken);
        taken
    }

    /// Whether there is a reason to keep it.
    fn sweep(&mut self, now: Instant, settings: &PoolSettings, most: usize) -> bool {
        if self.endpoint.is_gone() || self.endpoint.is_limited() {
            return false;
        }
        self.cool(now, settings.cold_after, most);
        // Places that no connection needed lately are for other workers.
        let needed = self.peak.max(self.len()).min(self.places);
        self.endpoint.release_places(self.places - needed);
        self.places = needed;
        self.peak = self.len();
        if now.saturating_duration_since(self.tended) < TEND_EVERY {
            return true;
        }
        self.tended = now;
        let limit = self.endpoint.idle_limit();
        self.special.retain_mut(|(connection, since)| {
            let young = now.saturating_duration_since(*since) < limit && connection.terms.hold(now);
            young && connection.stream.is_silent()
        });
        self.endpoint.tend_stash(now, settings.idle_in_all) || self.len() > 0
    }

    /// Moves the first connections, which are the coldest, to the stash with their places.
    fn cool(&mut self, now: Instant, cold_after: Duration, most: usize) {
        let limit = self.endpoint.idle_limit();
        let idle = |since: &Instant| now.saturating_duration_since(*since);
        let is_warm = |(_, since): &(Connection, Instant)| idle(since) < cold_after.min(limit);
        let cold = self.connections.iter().position(is_warm).unwrap_or(self.connections.len()).min(most);
        for (mut connection, since) in self.connections.drain(..cold) {
            self.peak = self.peak.saturating_sub(1);
            if idle(&since) < limit && connection.stream.is_silent() && connection.stash(since) {
                self.places -= 1;
            }
        }
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.endpoint.release_places(self.places);
    }
}

#[cfg(test)]
mod tests;
