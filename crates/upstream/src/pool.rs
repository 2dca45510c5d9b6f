//! A worker's idle connections, by endpoint. After a while without use they move to the shared pool of their endpoint, from where any
//! worker may take them.
//!
//! The number of idle connections to an endpoint is limited for the process. A worker reserves an idle slot when it holds more idle
//! connections than lately, and a sweep releases slots that are no longer needed: between sweeps, taking and putting a connection
//! touches no shared memory.

use crate::cluster::ClusterState;
use crate::connect::{ConnectContext, Connection, ConnectionLimiter, ConnectionPermit, IdleKey, PoolKey};
use crate::endpoint::EndpointState;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Endpoints and connections that one sweep checks; the next sweep continues from there.
const SWEEP_WORK: usize = 2048;
/// How often the shared pool of an endpoint is swept.
const SLOW_SWEEP: Duration = Duration::from_secs(1);

/// Limits of a pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolSettings {
    /// Idle connections per endpoint, of all workers together, those in the shared pool among them.
    pub idle_per_endpoint: u32,
    /// Idle connections of all workers to all endpoints; each uses a file descriptor.
    pub idle_in_all: u32,
    /// After this time without use a connection goes to the shared pool.
    pub cold_after: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self { idle_per_endpoint: 1024, idle_in_all: 16_384, cold_after: Duration::from_secs(1) }
    }
}

/// Counters of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolCounters {
    /// Connections that were reused.
    pub reused: u64,
    /// Connections that were closed or had unexpected data when they were to be reused.
    pub stale: u64,
    /// Connections that were closed because of the limits.
    pub surplus: u64,
}

/// A worker's idle connections.
#[derive(Debug)]
pub struct Pool {
    idle: HashMap<u64, Idle, RandomState>,
    /// The endpoints in the order of the sweeps.
    turns: VecDeque<u64>,
    count: usize,
    /// Limiters of clusters whose idle connections this worker sweeps.
    limited: HashMap<usize, Weak<ConnectionLimiter>, RandomState>,
    swept: Instant,
    last_sweep: Option<Instant>,
    settings: PoolSettings,
    counters: PoolCounters,
}

/// The idle connections to one endpoint.
#[derive(Debug)]
struct Idle {
    endpoint: Arc<EndpointState>,
    /// The most recently used connection is the last one.
    connections: Vec<(Connection, Instant)>,
    /// Connections with a pool key. TLS sessions cannot leave the worker, and few other requests could use them.
    special: Vec<(Connection, Instant)>,
    /// Slots reserved for idle connections; never fewer than connections.
    idle_slots: usize,
    /// The most connections since the last sweep.
    peak: usize,
    swept: Instant,
}

impl Pool {
    /// An empty pool.
    pub fn new(settings: PoolSettings) -> Self {
        Self {
            idle: HashMap::default(),
            turns: VecDeque::new(),
            count: 0,
            limited: HashMap::default(),
            swept: Instant::now(),
            last_sweep: None,
            settings,
            counters: PoolCounters::default(),
        }
    }

    /// The most recently used idle connection to an endpoint that is still open and has the request's pool key.
    pub fn take(
        &mut self,
        cluster: &ClusterState,
        endpoint: &Arc<EndpointState>,
        context: ConnectContext<'_>,
    ) -> Option<Connection> {
        let pool_key = cluster.pool_key(context).ok()?;
        if let Some(limiter) = cluster.limiter() {
            let taken = limiter.take_idle(IdleKey { endpoint: endpoint.id, pool_key: pool_key.as_ref() })?;
            self.counters.reused += 1;
            return Some(taken);
        }
        match pool_key {
            None => self.take_clear(endpoint),
            Some(wanted) => self.take_special(endpoint, &wanted),
        }
    }

    fn take_special(&mut self, endpoint: &EndpointState, wanted: &PoolKey) -> Option<Connection> {
        let idle = self.idle.get_mut(&endpoint.id)?;
        while let Some(at) = idle.special.iter().rposition(|(one, _)| one.pool_key.as_deref() == Some(wanted)) {
            let (mut connection, _) = idle.special.remove(at);
            self.count -= 1;
            if connection.lifetime.allows_request(Instant::now()) && connection.stream.is_silent() {
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
                // The peer may have closed since the last sweep without the runtime's notice; a check of the socket is needed then.
                let rested = self.last_sweep.is_some_and(|sweep| since <= sweep);
                let holds = connection.lifetime.has_no_deadline() || connection.lifetime.allows_request(Instant::now());
                if holds && connection.stream.is_silent() && (!rested || connection.stream.is_silent_for_sure()) {
                    self.counters.reused += 1;
                    return Some(connection);
                }
                self.counters.stale += 1;
            }
        }
        let connection = Connection::take_shared(endpoint)?;
        self.counters.reused += 1;
        Some(connection)
    }

    /// Keeps a connection whose response is complete. It is closed at the limits, or when its endpoint is gone.
    pub fn put(&mut self, mut connection: Connection, now: Instant) {
        if connection.endpoint.is_gone() {
            return;
        }
        connection.reused = true;
        connection.lifetime.count_request();
        if !connection.lifetime.is_unbounded() && !connection.lifetime.allows_request(now) {
            return;
        }
        if let Some(limiter) = connection.permit.as_ref().and_then(ConnectionPermit::limiter).map(Arc::clone) {
            self.sweep_later(&limiter);
            return limiter.put(connection, now);
        }
        if connection.endpoint.is_limited() {
            // Made before there was a limit.
            return;
        }
        let endpoint = &connection.endpoint;
        let idle = self.idle.entry(endpoint.id).or_insert_with(|| {
            self.turns.push_back(endpoint.id);
            Idle {
                endpoint: Arc::clone(endpoint),
                connections: Vec::new(),
                special: Vec::new(),
                idle_slots: 0,
                peak: 0,
                swept: now,
            }
        });
        if idle.has_idle_slot(&self.settings) {
            let kept = if connection.pool_key.is_some() { &mut idle.special } else { &mut idle.connections };
            kept.push((connection, now));
            idle.peak = idle.peak.max(idle.len());
            self.count += 1;
        } else {
            self.counters.surplus += 1;
        }
    }

    /// Registers a limiter, which keeps idle connections of its own, for the sweeps of this worker.
    fn sweep_later(&mut self, limiter: &Arc<ConnectionLimiter>) {
        // The weak reference keeps the address from being reused.
        self.limited.entry(Arc::as_ptr(limiter) as usize).or_insert_with(|| Arc::downgrade(limiter));
    }

    fn sweep_limited(&mut self, now: Instant) {
        if self.limited.is_empty() || now.saturating_duration_since(self.swept) < SLOW_SWEEP {
            return;
        }
        self.swept = now;
        self.limited.retain(|_, limiter| {
            let limiter = limiter.upgrade();
            limiter.iter().for_each(|limiter| limiter.close_expired(now));
            limiter.is_some()
        });
    }

    /// Moves cold connections to the shared pool, closes old ones, removes endpoints without connections. One call does a bounded part of it.
    pub fn sweep(&mut self, now: Instant) {
        self.sweep_limited(now);
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

    /// The number of connections.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The counters.
    pub fn counters(&self) -> PoolCounters {
        self.counters
    }
}

impl Idle {
    fn len(&self) -> usize {
        self.connections.len() + self.special.len()
    }

    /// Whether one more connection has an idle slot.
    fn has_idle_slot(&mut self, settings: &PoolSettings) -> bool {
        if self.len() < self.idle_slots {
            return true;
        }
        let taken = self.endpoint.reserve_idle_slot(settings.idle_per_endpoint, settings.idle_in_all);
        self.idle_slots += usize::from(taken);
        taken
    }

    /// Returns whether the entry is still needed.
    fn sweep(&mut self, now: Instant, settings: &PoolSettings, most: usize) -> bool {
        if self.endpoint.is_gone() || self.endpoint.is_limited() {
            return false;
        }
        self.cool(now, settings.cold_after, most);
        // Slots that were not needed since the last sweep are for other workers.
        let needed = self.peak.max(self.len()).min(self.idle_slots);
        self.endpoint.release_idle_slots(self.idle_slots - needed);
        self.idle_slots = needed;
        self.peak = self.len();
        if now.saturating_duration_since(self.swept) < SLOW_SWEEP {
            return true;
        }
        self.swept = now;
        let limit = self.endpoint.idle_limit();
        self.special.retain_mut(|(connection, since)| {
            let young = now.saturating_duration_since(*since) < limit && connection.lifetime.allows_request(now);
            young && connection.stream.is_silent()
        });
        self.endpoint.sweep_shared(now, settings.idle_in_all) || self.len() > 0
    }

    /// Moves the first connections, which are the coldest, to the shared pool with their slots.
    fn cool(&mut self, now: Instant, cold_after: Duration, most: usize) {
        let limit = self.endpoint.idle_limit();
        let idle = |since: &Instant| now.saturating_duration_since(*since);
        let is_warm = |(_, since): &(Connection, Instant)| idle(since) < cold_after.min(limit);
        let cold = self.connections.iter().position(is_warm).unwrap_or(self.connections.len()).min(most);
        for (mut connection, since) in self.connections.drain(..cold) {
            self.peak = self.peak.saturating_sub(1);
            if idle(&since) < limit && connection.stream.is_silent() && connection.share(since) {
                self.idle_slots -= 1;
            }
        }
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.endpoint.release_idle_slots(self.idle_slots);
    }
}

#[cfg(test)]
mod tests;
