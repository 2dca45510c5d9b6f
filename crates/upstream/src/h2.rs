//! Connections to endpoints in HTTP/2: each worker has few to an endpoint, and each carries many streams.

mod driver;
mod outgoing;

use crate::cluster::ClusterState;
use crate::coalesce::{Coalesced, Turn};
use crate::connect::{ConnectError, Connection, Place, Places, Purpose, Sender, Stream};
use crate::endpoint::{EndpointState, Opened, Terms};
use crate::watch::{FrameBounds, Marks, Watched};
use ::h2::client::{Builder, SendRequest};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use ir::UpstreamProtocol;
pub use outgoing::{Holder, Outgoing};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::timeout_at;

/// Connections that a worker has to an endpoint at the most; requests beyond what they carry wait. Where they differ by client (DR-51) or by
/// the name that TLS asks for (DR-42), so many of each kind. Streams whose clients take nothing have to leave others some.
const CONNECTIONS: usize = 64;
/// Beyond so many of all kinds to an endpoint, those that are idle are closed.
const OF_ALL_KINDS: usize = 1024;
/// Bytes of an answer that may be under way on a stream: what an endpoint may send ahead of a client that takes nothing.
pub const STREAM_WINDOW: u32 = 64 << 10;
/// And on a connection. It is not there to bound memory, which the budgets of those who take nothing do: were it used up by some streams whose
/// clients take nothing, all others of the connection would stand still.
const CONNECTION_WINDOW: u32 = 1 << 30;
/// The largest head that is taken (S-122).
const HEAD: u32 = 60 << 10;
/// Bytes of a request that wait on a stream for the endpoint to take them.
const SEND_BUFFER: usize = 64 << 10;
/// Streams that were broken off and are still remembered.
const RESETS: usize = 256;

/// Permission for one stream, and what it takes to begin it.
#[derive(Debug)]
pub struct H2Stream {
    /// Takes the request's head at once.
    pub send: SendRequest<Outgoing>,
    /// Whether the connection was there before.
    pub reused: bool,
    /// The address of this side.
    pub local: Option<SocketAddr>,
    /// To be held for as long as the stream lasts.
    pub place: H2Place,
    /// What is noted of malformed answers on the connection.
    pub marks: Rc<Marks>,
}

/// The place of a stream on its connection; it is free for another when this is dropped.
#[derive(Debug)]
pub struct H2Place(Rc<Live>);

impl H2Place {
    /// The endpoint.
    pub fn endpoint(&self) -> &Arc<EndpointState> {
        &self.0.endpoint
    }
}

impl Drop for H2Place {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get().saturating_sub(1));
        self.0.used.set(Instant::now());
        if self.0.is_for_all {
            self.0.freed.notify_one();
        } else {
            // Whoever is told first may want another kind, and it does not help them.
            self.0.freed.notify_waiters();
        }
    }
}

/// Whether the endpoint said that it has not begun with a request, so that it may be sent again whatever it is: the stream was refused, or
/// the connection was on its way out when it began (RFC 9113 §8.7).
pub fn is_unprocessed(error: &::h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(::h2::Reason::REFUSED_STREAM);
    error.is_remote() && (refused || error.is_go_away())
}

/// A connection that takes streams.
#[derive(Debug)]
struct Live {
    send: SendRequest<Outgoing>,
    endpoint: Arc<EndpointState>,
    purpose: Option<Box<Purpose>>,
    local: Option<SocketAddr>,
    /// At most so many streams, if the configuration says so.
    most: usize,
    active: Cell<usize>,
    closed: Cell<bool>,
    used: Cell<Instant>,
    terms: Cell<Terms>,
    marks: Rc<Marks>,
    /// Whether it is of use to whoever waits, since there is but one kind.
    is_for_all: bool,
    /// Among the connections to the cluster, where their number is limited.
    limit: Option<Place>,
    /// Among those of the process.
    _opened: Opened,
    /// Told when a place is free; that of all connections to the endpoint.
    freed: Rc<Notify>,
}

impl Live {
    /// A place, if there is one. Notices that the connection takes no more streams.
    fn place(self: &Rc<Self>) -> Option<H2Place> {
        if !self.is_open(Instant::now) || self.active.get() >= self.most.min(self.send.current_max_send_streams()) {
            return None;
        }
        match self.send.clone().poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => {
                self.active.set(self.active.get() + 1);
                self.count();
                Some(H2Place(Rc::clone(self)))
            }
            Poll::Ready(Err(_)) => {
                self.closed.set(true);
                None
            }
            Poll::Pending => None,
        }
    }

    /// Counts a stream; after the last one the connection takes no more, and ends with those that it has.
    fn count(&self) {
        let mut terms = self.terms.get();
        if !terms.is_unbounded() {
            terms.count();
            self.terms.set(terms);
            if terms.is_used_up() {
                self.closed.set(true);
            }
        }
    }

    /// Whether it still takes streams.
    fn is_open(&self, now: impl FnOnce() -> Instant) -> bool {
        if !self.terms.get().is_endless() && !self.terms.get().hold(now()) {
            self.closed.set(true);
        }
        !self.closed.get()
    }

    /// Whether there are more connections than there may be by now, and this one goes: one from before there was a limit, or one that
    /// is idle where the worker has `others`.
    fn is_surplus(&self, others: bool) -> bool {
        match self.limit.as_ref().and_then(Place::places) {
            None => true,
            Some(places) => others && self.active.get() == 0 && places.is_exceeded(),
        }
    }

    fn stream(place: H2Place, reused: bool) -> H2Stream {
        let live = &place.0;
        H2Stream { send: live.send.clone(), reused, local: live.local, marks: Rc::clone(&live.marks), place }
    }
}

/// A worker's connections in HTTP/2 by endpoint, used or not.
#[derive(Debug, Default)]
pub struct Streams {
    by_endpoint: HashMap<u64, Slot, RandomState>,
    bounds: FrameBounds,
}

/// The connections to one endpoint.
#[derive(Debug)]
struct Slot {
    endpoint: Arc<EndpointState>,
    live: Vec<Rc<Live>>,
    connecting: usize,
    freed: Rc<Notify>,
}

impl Slot {
    /// A place for one more connection, if need be that of an idle one of another kind.
    fn claim(&mut self, places: &Arc<Places>) -> Option<Place> {
        if !self.live.is_empty() {
            let place = places.claim_now();
            if place.is_some() || !self.close_idle() {
                return place;
            }
        }
        // Each worker may hold one to each endpoint, or there would be endpoints that it cannot reach.
        if self.live.is_empty() { Some(places.claim_anyway()) } else { places.claim_now() }
    }

    /// Closes what nobody uses; whether there was any.
    fn close_idle(&mut self) -> bool {
        let before = self.live.len();
        self.live.retain(|live| live.active.get() > 0);
        self.live.len() < before
    }
}

/// What a request that wants a stream does next.
enum Next {
    Take(H2Stream),
    Connect(Rc<Notify>, Option<Place>),
    Wait(Rc<Notify>),
}

impl Streams {
    /// No connections yet; endpoints are held to these bounds.
    pub fn new(bounds: FrameBounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// A stream on a connection that has room for one.
    pub fn take(&mut self, cluster: &ClusterState, endpoint: &EndpointState, sender: Sender<'_>) -> Option<H2Stream> {
        let slot = self.by_endpoint.get(&endpoint.id)?;
        let wanted = cluster.purpose(sender).ok()?;
        let mut alike = slot.live.iter().filter(|live| live.purpose.as_deref() == wanted.as_ref());
        alike.find_map(Live::place).map(|place| Live::stream(place, true))
    }

    fn next(&mut self, cluster: &ClusterState, endpoint: &Arc<EndpointState>, wanted: Option<&Purpose>) -> Next {
        let slot = self.by_endpoint.entry(endpoint.id).or_insert_with(|| Slot {
            endpoint: Arc::clone(endpoint),
            live: Vec::new(),
            connecting: 0,
            freed: Rc::default(),
        });
        let mut alike = 0;
        for live in slot.live.iter().filter(|live| live.purpose.as_deref() == wanted) {
            alike += usize::from(!live.closed.get());
            if let Some(place) = live.place() {
                return Next::Take(Live::stream(place, true));
            }
        }
        slot.live.retain(|live| !live.closed.get());
        let freed = Rc::clone(&slot.freed);
        if slot.live.len() >= OF_ALL_KINDS {
            slot.close_idle();
        }
        // One at a time: those who come meanwhile share it, unless it is of one client alone.
        let is_shared = slot.connecting > 0 && !wanted.is_some_and(Purpose::is_of_one);
        if is_shared || alike >= CONNECTIONS {
            return Next::Wait(freed);
        }
        let place = match cluster.places().map(|places| slot.claim(places)) {
            None => None,
            Some(Some(place)) => Some(place),
            Some(None) => {
                cluster.count_overflow();
                return Next::Wait(freed);
            }
        };
        slot.connecting += 1;
        Next::Connect(freed, place)
    }

    fn connected(&mut self, endpoint: u64, live: Option<Rc<Live>>) {
        if let Some(slot) = self.by_endpoint.get_mut(&endpoint) {
            slot.connecting = slot.connecting.saturating_sub(1);
            slot.live.extend(live);
            slot.freed.notify_waiters();
        }
    }

    /// Closes what is idle for too long or whose endpoint is gone; streams under way keep their connection.
    pub fn sweep(&mut self, now: Instant) {
        self.by_endpoint.retain(|_, slot| {
            let (limit, gone, limited) =
                (slot.endpoint.idle_limit(), slot.endpoint.is_gone(), slot.endpoint.is_limited());
            let mut left = slot.live.len();
            slot.live.retain(|live| {
                let idle = live.active.get() == 0 && now.saturating_duration_since(live.used.get()) >= limit;
                let surplus = limited && live.is_surplus(left > 1);
                let kept = live.is_open(|| now) && !idle && !gone && !surplus;
                left -= usize::from(!kept);
                kept
            });
            !slot.live.is_empty() || slot.connecting > 0
        });
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.by_endpoint.values().map(|slot| slot.live.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A stream to an endpoint: on a connection that has room for it, or on a new one within `limit`. Requests that come while one is being
/// made wait for it.
pub async fn h2_stream(
    streams: &RefCell<Streams>,
    cluster: &Arc<ClusterState>,
    endpoint: &Arc<EndpointState>,
    sender: Sender<'_>,
    limit: Duration,
) -> Result<H2Stream, ConnectError> {
    let deadline = tokio::time::Instant::now() + limit;
    let wanted = cluster.purpose(sender)?;
    let mut pending = None;
    loop {
        let next = streams.borrow_mut().next(cluster, endpoint, wanted.as_ref());
        if !matches!(next, Next::Take(_)) && pending.is_none() {
            pending = Some(cluster.begin_pending());
        }
        let overflow = matches!(pending, Some(None));
        let (freed, place) = match next {
            Next::Take(stream) => return Ok(stream),
            Next::Wait(_) if overflow => return Err(ConnectError::Overflow),
            Next::Connect(..) if overflow => {
                streams.borrow_mut().connected(endpoint.id, None);
                return Err(ConnectError::Overflow);
            }
            Next::Wait(freed) => {
                timeout_at(deadline, freed.notified()).await.map_err(|_| ConnectError::Busy)?;
                continue;
            }
            Next::Connect(freed, place) => (freed, place),
        };
        let begun = Begun { streams, endpoint: endpoint.id };
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        let connection = cluster.connect_at(endpoint, sender, place, left).await?;
        let bounds = streams.borrow().bounds;
        let making = make(connection, cluster, freed, bounds);
        let live = timeout_at(deadline, making).await.map_err(|_| ConnectError::Timeout)??;
        let place = live.place();
        begun.end(live);
        if let Some(place) = place {
            return Ok(Live::stream(place, false));
        }
    }
}

/// A connection is being made; whoever waits for it is told how it went, also when this task is dropped.
struct Begun<'a> {
    streams: &'a RefCell<Streams>,
    endpoint: u64,
}

impl Begun<'_> {
    fn end(self, live: Rc<Live>) {
        self.streams.borrow_mut().connected(self.endpoint, Some(live));
        std::mem::forget(self);
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.streams.borrow_mut().connected(self.endpoint, None);
    }
}

/// Begins HTTP/2 on a connection, and has it driven.
async fn make(
    connection: Connection,
    cluster: &ClusterState,
    freed: Rc<Notify>,
    bounds: FrameBounds,
) -> Result<Rc<Live>, ConnectError> {
    let Connection { stream, purpose, endpoint, terms, place, opened, .. } = connection;
    if let Stream::Tls(tls) = &stream
        && tls.get_ref().1.alpn_protocol() != Some(b"h2")
    {
        return Err(ConnectError::Tls("the endpoint does not speak HTTP/2 on this port".to_owned()));
    }
    let (streams, keep_alive) = match cluster.cluster.protocol {
        UpstreamProtocol::Http2 { streams, keep_alive } => (streams, keep_alive),
        UpstreamProtocol::Http1 | UpstreamProtocol::AsClient => (None, None),
    };
    let local = stream.local_address();
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEAD)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(RESETS)
        .enable_push(false);
    let turn = Turn::default();
    let marks = Rc::default();
    let watched = Watched::of_endpoint(stream, bounds, &turn, &marks);
    let begun = builder.handshake::<_, Outgoing>(Coalesced::new(watched, &turn)).await;
    let (send, connection) = begun.map_err(|error| ConnectError::Io(std::io::Error::other(error)))?;
    let live = Rc::new(Live {
        send,
        endpoint,
        purpose,
        local,
        most: streams.map_or(usize::MAX, |streams| streams as usize),
        active: Cell::new(0),
        closed: Cell::new(false),
        used: Cell::new(Instant::now()),
        terms: Cell::new(terms),
        marks,
        is_for_all: cluster.has_one_purpose(),
        limit: place,
        _opened: opened,
        freed,
    });
    tokio::task::spawn_local(turn.of(driver::drive(connection, Rc::downgrade(&live), keep_alive)));
    Ok(live)
}

#[cfg(test)]
mod tests;
