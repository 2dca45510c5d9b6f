//! Places for the connections to a cluster whose number is limited, over all workers and endpoints (DR-20 `maxConnections`).
//!
//! A connection holds its place for life. One that is idle waits here, for any worker, and goes to whoever has waited longest. Where
//! all places are taken by idle connections of other endpoints, one of them is closed for whoever needs its place.

use super::{Connection, Purpose, Stream};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::Instant;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;

/// Idle connections that are kept; further ones are closed.
const IDLE: usize = 1024;
/// Those who have given up waiting are cleared away when so many wait, and twice as many as were left then.
const CLEAR_FROM: usize = 64;

/// The places of a cluster.
#[derive(Debug)]
pub(crate) struct Places(Mutex<State>);

#[derive(Debug)]
struct State {
    most: u32,
    used: u32,
    /// By endpoint; the last one was used last.
    idle: HashMap<u64, Vec<Idle>, RandomState>,
    idle_count: usize,
    /// The first has waited longest.
    waiting: VecDeque<oneshot::Sender<Grant>>,
    clear_at: usize,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
    /// The thread whose runtime knows the connection.
    home: ThreadId,
}

/// A place of a connection. It is free again, or somebody else's, when this is dropped.
#[derive(Debug)]
pub(crate) struct Place(Option<Arc<Places>>);

/// What somebody gets who waited.
#[derive(Debug)]
pub(crate) enum Grant {
    /// A place for a new connection.
    Place(Place),
    /// A connection that has become idle; of whatever endpoint.
    Idle(Box<Connection>, ThreadId),
}

/// What somebody gets who asks.
#[derive(Debug)]
pub(crate) enum Claim {
    /// A place for a new connection.
    Place(Place),
    /// Something later.
    Wait(oneshot::Receiver<Grant>),
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The endpoint.
    pub(crate) endpoint: u64,
    /// What it has to be for.
    pub(crate) purpose: Option<&'a Purpose>,
}

impl Wanted<'_> {
    fn fits(&self, connection: &Connection, home: ThreadId) -> bool {
        let usable = connection.purpose.is_none() || home == std::thread::current().id();
        connection.endpoint.id == self.endpoint && connection.purpose.as_deref() == self.purpose && usable
    }
}

impl Default for Places {
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

impl Places {
    /// An idle connection that is as wanted, unless somebody waits who comes first.
    pub(crate) fn take_idle(&self, wanted: Wanted<'_>) -> Option<Connection> {
        loop {
            let (connection, home) = {
                let mut state = self.state();
                if state.is_awaited() {
                    return None;
                }
                state.take_idle(wanted)?
            };
            // Closed outside of the lock, where it is of no use: its place comes back here.
            if let Some(connection) = reuse(connection, home, wanted) {
                return Some(connection);
            }
        }
    }

    /// A place for a new connection, or the promise of one.
    pub(crate) fn claim(self: &Arc<Self>) -> Claim {
        let closed = {
            let mut state = self.state();
            if !state.is_awaited() {
                if state.used < state.most {
                    state.used += 1;
                    return Claim::Place(Place(Some(Arc::clone(self))));
                }
                state.take_any_idle()
            } else {
                None
            }
            .ok_or_else(|| state.wait())
        };
        match closed {
            Ok(mut connection) => {
                Claim::Place(connection.place.take().unwrap_or_else(|| Place(Some(Arc::clone(self)))))
            }
            Err(receiver) => Claim::Wait(receiver),
        }
    }

    /// A place at once, or none.
    pub(crate) fn claim_now(self: &Arc<Self>) -> Option<Place> {
        match self.claim() {
            Claim::Place(place) => Some(place),
            // Nobody waits there: it goes on to the next.
            Claim::Wait(_) => None,
        }
    }

    /// A place in any case, also beyond the limit.
    pub(crate) fn claim_anyway(self: &Arc<Self>) -> Place {
        self.state().used += 1;
        Place(Some(Arc::clone(self)))
    }

    /// Gives an idle connection to whoever waits, or keeps it. Where there are more than there may be by now, it is closed.
    pub(crate) fn put(&self, connection: Connection, now: Instant) {
        let home = std::thread::current().id();
        let mut grant = Grant::Idle(Box::new(connection), home);
        loop {
            let next = {
                let mut state = self.state();
                let next = if state.used > state.most { None } else { state.waiting.pop_front() };
                match next {
                    Some(next) => next,
                    None => {
                        if let Grant::Idle(connection, home) = grant
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

    /// Closes what is idle for too long, or of no use any more.
    pub(crate) fn tend(&self, now: Instant) {
        let mut closed = Vec::new();
        let mut state = self.state();
        for idle in state.idle.values_mut() {
            let stays = |one: &mut Idle| {
                let old = now.saturating_duration_since(one.since) >= one.connection.endpoint.idle_limit();
                let fit = !old && !one.connection.endpoint.is_gone() && one.connection.terms.hold(now);
                fit && one.connection.stream.is_silent()
            };
            closed.extend(idle.extract_if(.., |one| !stays(one)));
        }
        state.idle.retain(|_, idle| !idle.is_empty());
        state.idle_count -= closed.len();
        drop(state);
        drop(closed);
    }

    /// Sets how many there are. Who waits gets what is more; idle connections beyond it are closed.
    pub(crate) fn set_most(self: &Arc<Self>, most: Option<u32>) {
        let surplus = {
            let mut state = self.state();
            state.most = most.unwrap_or(u32::MAX);
            let count = state.used.saturating_sub(state.most);
            std::iter::from_fn(|| state.take_any_idle()).take(count as usize).collect::<Vec<_>>()
        };
        // Closed outside of the lock: their places come back here.
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
            // Whoever has given up gives it back.
            drop(next.send(Grant::Place(Place(Some(Arc::clone(self))))));
        }
    }

    /// Whether more are taken than there are by now.
    pub(crate) fn is_exceeded(&self) -> bool {
        let state = self.state();
        state.used > state.most
    }

    /// How many are taken.
    pub(crate) fn used(&self) -> u32 {
        self.state().used
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether anybody waits.
    fn is_awaited(&mut self) -> bool {
        while self.waiting.front().is_some_and(oneshot::Sender::is_closed) {
            self.waiting.pop_front();
        }
        !self.waiting.is_empty()
    }

    fn wait(&mut self) -> oneshot::Receiver<Grant> {
        if self.waiting.len() >= self.clear_at {
            self.waiting.retain(|one| !one.is_closed());
            self.clear_at = CLEAR_FROM.max(2 * self.waiting.len());
        }
        let (sender, receiver) = oneshot::channel();
        self.waiting.push_back(sender);
        receiver
    }

    fn take_idle(&mut self, wanted: Wanted<'_>) -> Option<(Connection, ThreadId)> {
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

    /// Keeps an idle connection, or gives back what is not to be kept.
    fn keep(&mut self, connection: Connection, home: ThreadId, since: Instant) -> Option<Connection> {
        if self.idle_count >= IDLE || self.used > self.most || connection.endpoint.is_gone() {
            return Some(connection);
        }
        self.idle_count += 1;
        self.idle.entry(connection.endpoint.id).or_default().push(Idle { connection, since, home });
        None
    }
}

impl Place {
    /// Whose it is.
    pub(crate) fn places(&self) -> Option<&Arc<Places>> {
        self.0.as_ref()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(mut places) = self.0.take() else { return };
        loop {
            let next = {
                let mut state = places.state();
                let next = if state.used > state.most { None } else { state.waiting.pop_front() };
                let Some(next) = next else {
                    state.used = state.used.saturating_sub(1);
                    return;
                };
                next
            };
            match next.send(Grant::Place(Place(Some(places)))) {
                Err(Grant::Place(mut back)) if back.0.is_some() => match back.0.take() {
                    Some(back) => places = back,
                    None => return,
                },
                _ => return,
            }
        }
    }
}

impl Grant {
    /// The connection where it is as wanted, or a place for one.
    pub(crate) fn open(self, wanted: Wanted<'_>) -> Result<Connection, Option<Place>> {
        match self {
            Self::Place(place) => Err(Some(place)),
            Self::Idle(connection, home) if wanted.fits(&connection, home) => {
                let mut connection = *connection;
                let place = connection.place.take();
                match reuse(connection, home, wanted) {
                    Some(connection) => Ok(Connection { place, ..connection }),
                    None => Err(place),
                }
            }
            Self::Idle(mut connection, _) => Err(connection.place.take()),
        }
    }
}

/// An idle connection, for this thread's runtime; `None` where it is of no use any more.
fn reuse(mut connection: Connection, home: ThreadId, wanted: Wanted<'_>) -> Option<Connection> {
    debug_assert!(wanted.fits(&connection, home));
    let is_silent = match &connection.stream {
        // What TLS sends for itself is no byte of an answer, and only looks like one from outside.
        Stream::Tls(_) => connection.stream.is_silent(),
        Stream::Tcp(_) | Stream::Unix(_) => connection.stream.is_silent_for_sure(),
    };
    if !connection.terms.hold(Instant::now()) || !is_silent {
        return None;
    }
    if home == std::thread::current().id() {
        return Some(connection);
    }
    let Connection { stream, endpoint, reused, purpose, terms, place, opened } = connection;
    let stream = match stream {
        Stream::Tcp(stream) => Stream::Tcp(TcpStream::from_std(stream.into_std().ok()?).ok()?),
        Stream::Unix(stream) => Stream::Unix(UnixStream::from_std(stream.into_std().ok()?).ok()?),
        Stream::Tls(_) => return None,
    };
    Some(Connection { stream, endpoint, reused, purpose, terms, place, opened })
}

#[cfg(test)]
mod tests;
