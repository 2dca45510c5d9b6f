//! The limit of a cluster's connections, over all workers and endpoints (DR-20 `maxConnections`).
//!
//! A connection holds a permit until it is closed. Idle connections are kept here for all workers; the request that has waited longest
//! gets the next one. Where idle connections of other endpoints hold all permits, one of them is closed to free its permit.
//!
//! [`Connection`] is defined here too: it holds its permit, and the limiter holds idle connections.

use super::pool_key::PoolKey;
use super::stream::Stream;
use crate::endpoint::{ConnectionLifetime, EndpointState, Opened};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::Instant;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;

/// The most idle connections that are kept; further ones are closed.
const IDLE: usize = 1024;
/// Cancelled waiters are removed when so many wait, and again at twice the number that remained.
const CLEAR_FROM: usize = 64;

/// A connection to an endpoint. What is read from it belongs to the exchange that reads, never to the connection.
#[derive(Debug)]
pub struct Connection {
    /// The stream.
    pub stream: Stream,
    /// The endpoint.
    pub endpoint: Arc<EndpointState>,
    /// Whether a request was answered on it before.
    pub reused: bool,
    /// The requests that may use the connection; `None` where any may.
    pub(crate) pool_key: Option<Box<PoolKey>>,
    /// How many requests it may carry, and until when.
    pub(crate) lifetime: ConnectionLifetime,
    /// The permit of the cluster's [`ConnectionLimiter`], where connections are limited.
    pub(crate) permit: Option<ConnectionPermit>,
    /// The connection's part of the limit of the process.
    pub(crate) opened: Opened,
}

/// The permits and the idle connections of a cluster.
#[derive(Debug)]
pub(crate) struct ConnectionLimiter(Mutex<State>);

#[derive(Debug)]
struct State {
    most: u32,
    used: u32,
    /// By endpoint id; the most recently used connection is the last one.
    idle: HashMap<u64, Vec<Idle>, RandomState>,
    idle_count: usize,
    /// First in, first out.
    waiting: VecDeque<oneshot::Sender<Acquired>>,
    clear_at: usize,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
    /// The thread whose runtime the connection is registered with.
    home: ThreadId,
}

/// The right of one connection to exist. Dropping it releases it, or passes it to the first waiter.
#[derive(Debug)]
pub(crate) struct ConnectionPermit(Option<Arc<ConnectionLimiter>>);

/// What a waiter receives.
#[derive(Debug)]
pub(crate) enum Acquired {
    /// A permit for a new connection.
    Permit(ConnectionPermit),
    /// A connection that has become idle; its endpoint may be another one than the waiter's.
    Idle(Box<Connection>, ThreadId),
}

/// The result of [`ConnectionLimiter::acquire`].
#[derive(Debug)]
pub(crate) enum Acquire {
    /// A permit for a new connection.
    Permit(ConnectionPermit),
    /// The limit is reached: the receiver gets a permit or a connection later.
    Wait(oneshot::Receiver<Acquired>),
}

/// Which idle connections can carry a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdleKey<'a> {
    /// The id of the endpoint.
    pub(crate) endpoint: u64,
    /// The pool key that the connection has to have.
    pub(crate) pool_key: Option<&'a PoolKey>,
}

impl IdleKey<'_> {
    fn fits(&self, connection: &Connection, home: ThreadId) -> bool {
        let usable = connection.pool_key.is_none() || home == std::thread::current().id();
        connection.endpoint.id == self.endpoint && connection.pool_key.as_deref() == self.pool_key && usable
    }
}

impl Default for ConnectionLimiter {
    fn default() -> Self {
        Self(Mutex::new(State {
            most: u32::MAX,
            used: 0,
            idle: HashMap::default(),
            idle_count: 0,
            waiting: VecDeque::new(),
            clear_at: CLEAR_FROM,
        }))
    }
}

impl ConnectionLimiter {
    /// An idle connection that matches the key; `None` while other requests wait, which come first.
    pub(crate) fn take_idle(&self, wanted: IdleKey<'_>) -> Option<Connection> {
        loop {
            let (connection, home) = {
                let mut state = self.state();
                if state.is_awaited() {
                    return None;
                }
                state.take_idle(wanted)?
            };
            // An unusable connection is closed outside of the lock, which its permit needs.
            if let Some(connection) = reuse(connection, home, wanted) {
                return Some(connection);
            }
        }
    }

    /// A permit for a new connection, or a place in the queue.
    pub(crate) fn acquire(self: &Arc<Self>) -> Acquire {
        let closed = {
            let mut state = self.state();
            if !state.is_awaited() {
                if state.used < state.most {
                    state.used += 1;
                    return Acquire::Permit(ConnectionPermit(Some(Arc::clone(self))));
                }
                state.take_any_idle()
            } else {
                None
            }
            .ok_or_else(|| state.wait())
        };
        match closed {
            Ok(mut connection) => {
                Acquire::Permit(connection.permit.take().unwrap_or_else(|| ConnectionPermit(Some(Arc::clone(self)))))
            }
            Err(receiver) => Acquire::Wait(receiver),
        }
    }

    /// A permit, if one is free now.
    pub(crate) fn try_acquire(self: &Arc<Self>) -> Option<ConnectionPermit> {
        match self.acquire() {
            Acquire::Permit(permit) => Some(permit),
            // The receiver is dropped, so that the next waiter gets what it would have received.
            Acquire::Wait(_) => None,
        }
    }

    /// A permit, even beyond the limit.
    pub(crate) fn acquire_beyond_limit(self: &Arc<Self>) -> ConnectionPermit {
        self.state().used += 1;
        ConnectionPermit(Some(Arc::clone(self)))
    }

    /// Hands an idle connection to the first waiter, or keeps it. While the limit is exceeded, the connection is closed.
    pub(crate) fn put(&self, connection: Connection, now: Instant) {
        let home = std::thread::current().id();
        let mut grant = Acquired::Idle(Box::new(connection), home);
        loop {
            let next = {
                let mut state = self.state();
                let next = if state.used > state.most { None } else { state.waiting.pop_front() };
                match next {
                    Some(next) => next,
                    None => {
                        if let Acquired::Idle(connection, home) = grant
                            && let Some(surplus) = state.keep(*connection, home, now)
                        {
                            drop(state);
                            drop(surplus);
                        }
                        return;
                    }
                }
            };
            match next.send(grant) {
                Ok(()) => return,
                Err(back) => grant = back,
            }
        }
    }

    /// Closes connections that were idle for too long or cannot be used any more.
    pub(crate) fn close_expired(&self, now: Instant) {
        let mut closed = Vec::new();
        let mut state = self.state();
        for idle in state.idle.values_mut() {
            let stays = |one: &mut Idle| {
                let old = now.saturating_duration_since(one.since) >= one.connection.endpoint.idle_limit();
                let fit = !old && !one.connection.endpoint.is_gone() && one.connection.lifetime.allows_request(now);
                fit && one.connection.stream.is_silent()
            };
            closed.extend(idle.extract_if(.., |one| !stays(one)));
        }
        state.idle.retain(|_, idle| !idle.is_empty());
        state.idle_count -= closed.len();
        drop(state);
        drop(closed);
    }

    /// Sets the limit. New permits go to waiters; idle connections beyond the limit are closed.
    pub(crate) fn set_limit(self: &Arc<Self>, most: Option<u32>) {
        let surplus = {
            let mut state = self.state();
            state.most = most.unwrap_or(u32::MAX);
            let count = state.used.saturating_sub(state.most);
            std::iter::from_fn(|| state.take_any_idle()).take(count as usize).collect::<Vec<_>>()
        };
        // Closed outside of the lock, which their permits need.
        drop(surplus);
        loop {
            let next = {
                let mut state = self.state();
                if state.used >= state.most {
                    return;
                }
                let Some(next) = state.waiting.pop_front() else { return };
                state.used += 1;
                next
            };
            // A waiter that has gone drops the permit, which releases it.
            drop(next.send(Acquired::Permit(ConnectionPermit(Some(Arc::clone(self))))));
        }
    }

    /// Whether more permits are in use than the limit allows.
    pub(crate) fn is_exceeded(&self) -> bool {
        let state = self.state();
        state.used > state.most
    }

    /// The number of permits in use.
    pub(crate) fn used(&self) -> u32 {
        self.state().used
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether any request waits.
    fn is_awaited(&mut self) -> bool {
        while self.waiting.front().is_some_and(oneshot::Sender::is_closed) {
            self.waiting.pop_front();
        }
        !self.waiting.is_empty()
    }

    fn wait(&mut self) -> oneshot::Receiver<Acquired> {
        if self.waiting.len() >= self.clear_at {
            self.waiting.retain(|one| !one.is_closed());
            self.clear_at = CLEAR_FROM.max(2 * self.waiting.len());
        }
        let (sender, receiver) = oneshot::channel();
        self.waiting.push_back(sender);
        receiver
    }

    fn take_idle(&mut self, wanted: IdleKey<'_>) -> Option<(Connection, ThreadId)> {
        let idle = self.idle.get_mut(&wanted.endpoint)?;
        let at = idle.iter().rposition(|one| wanted.fits(&one.connection, one.home))?;
        let Idle { connection, home, .. } = idle.remove(at);
        self.idle_count -= 1;
        Some((connection, home))
    }

    fn take_any_idle(&mut self) -> Option<Connection> {
        let idle = self.idle.values_mut().find(|idle| !idle.is_empty())?;
        self.idle_count -= 1;
        Some(idle.remove(0).connection)
    }

    /// Keeps an idle connection, or returns one that must be closed.
    fn keep(&mut self, connection: Connection, home: ThreadId, since: Instant) -> Option<Connection> {
        if self.idle_count >= IDLE || self.used > self.most || connection.endpoint.is_gone() {
            return Some(connection);
        }
        self.idle_count += 1;
        self.idle.entry(connection.endpoint.id).or_default().push(Idle { connection, since, home });
        None
    }
}

impl ConnectionPermit {
    /// The limiter that the permit belongs to.
    pub(crate) fn limiter(&self) -> Option<&Arc<ConnectionLimiter>> {
        self.0.as_ref()
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let Some(mut limiter) = self.0.take() else { return };
        loop {
            let next = {
                let mut state = limiter.state();
                let next = if state.used > state.most { None } else { state.waiting.pop_front() };
                let Some(next) = next else {
                    state.used = state.used.saturating_sub(1);
                    return;
                };
                next
            };
            match next.send(Acquired::Permit(ConnectionPermit(Some(limiter)))) {
                Err(Acquired::Permit(mut back)) if back.0.is_some() => match back.0.take() {
                    Some(back) => limiter = back,
                    None => return,
                },
                _ => return,
            }
        }
    }
}

impl Acquired {
    /// The connection if it matches the key, else a permit for a new one.
    pub(crate) fn open(self, wanted: IdleKey<'_>) -> Result<Connection, Option<ConnectionPermit>> {
        match self {
            Self::Permit(permit) => Err(Some(permit)),
            Self::Idle(connection, home) if wanted.fits(&connection, home) => {
                let mut connection = *connection;
                let permit = connection.permit.take();
                match reuse(connection, home, wanted) {
                    Some(connection) => Ok(Connection { permit, ..connection }),
                    None => Err(permit),
                }
            }
            Self::Idle(mut connection, _) => Err(connection.permit.take()),
        }
    }
}

/// An idle connection, registered with this thread's runtime; `None` where it cannot be used any more.
fn reuse(mut connection: Connection, home: ThreadId, wanted: IdleKey<'_>) -> Option<Connection> {
    debug_assert!(wanted.fits(&connection, home));
    let is_silent = match &connection.stream {
        // Records that TLS sends by itself are not part of a response, but a check of the socket cannot tell.
        Stream::Tls(_) => connection.stream.is_silent(),
        Stream::Tcp(_) | Stream::Unix(_) => connection.stream.is_silent_for_sure(),
    };
    if !connection.lifetime.allows_request(Instant::now()) || !is_silent {
        return None;
    }
    if home == std::thread::current().id() {
        return Some(connection);
    }
    let Connection { stream, endpoint, reused, pool_key, lifetime, permit, opened } = connection;
    let stream = match stream {
        Stream::Tcp(stream) => Stream::Tcp(TcpStream::from_std(stream.into_std().ok()?).ok()?),
        Stream::Unix(stream) => Stream::Unix(UnixStream::from_std(stream.into_std().ok()?).ok()?),
        Stream::Tls(_) => return None,
    };
    Some(Connection { stream, endpoint, reused, pool_key, lifetime, permit, opened })
}

#[cfg(test)]
mod tests;
