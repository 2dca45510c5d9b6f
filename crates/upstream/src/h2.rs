//! HTTP/2 connections to endpoints: each worker has few to an endpoint, and each carries many streams.

mod connection;
mod driver;
mod outgoing;

use crate::cluster::ClusterState;
use crate::coalesce::{Coalesced, Turn};
use crate::connect::{ConnectContext, ConnectError, Connection, ConnectionLimiter, ConnectionPermit, PoolKey, Stream};
use crate::endpoint::EndpointState;
use crate::watch::{FrameBounds, Watched};
use ::h2::client::Builder;
use connection::H2Connection;
pub use connection::{H2Stream, StreamPermit};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use ir::UpstreamProtocol;
pub use outgoing::{Holder, Outgoing};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::timeout_at;

/// The most connections of a worker to an endpoint for one pool key; further requests wait. The pool key differs by client (DR-51) and by SNI
/// (DR-42). Several, so that streams whose clients read nothing leave room for others.
const CONNECTIONS: usize = 64;
/// Above this number of connections to an endpoint, for all pool keys together, idle ones are closed.
const OF_ALL_KINDS: usize = 1024;
/// Receive window of a stream, in bytes: how far an endpoint may send ahead of a client that reads nothing.
pub const STREAM_WINDOW: u32 = 64 << 10;
/// Receive window of a connection, in bytes. It does not bound memory, the budgets do: if it were small, streams whose clients read nothing
/// would use it up, and block all other streams of the connection.
const CONNECTION_WINDOW: u32 = 1 << 30;
/// The largest response head, in bytes (S-122).
const HEAD: u32 = 60 << 10;
/// Bytes of a request that wait on a stream until the endpoint reads them.
const SEND_BUFFER: usize = 64 << 10;
/// Reset streams that are remembered.
const RESETS: usize = 256;

/// Whether the endpoint has not processed the request, which may therefore be sent again: the stream was refused, or the connection was
/// closing when the stream began (RFC 9113 §8.7).
pub fn is_unprocessed(error: &::h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(::h2::Reason::REFUSED_STREAM);
    error.is_remote() && (refused || error.is_go_away())
}

/// A worker's HTTP/2 connections by endpoint, in use or idle.
#[derive(Debug, Default)]
pub struct Streams {
    by_endpoint: HashMap<u64, Slot, RandomState>,
    bounds: FrameBounds,
}

/// The connections to one endpoint.
#[derive(Debug)]
struct Slot {
    endpoint: Arc<EndpointState>,
    live: Vec<Rc<H2Connection>>,
    connecting: usize,
    freed: Rc<Notify>,
}

impl Slot {
    /// A permit for one more connection; an idle connection with another pool key may be closed for it.
    fn acquire(&mut self, limiter: &Arc<ConnectionLimiter>) -> Option<ConnectionPermit> {
        if !self.live.is_empty() {
            let permit = limiter.try_acquire();
            if permit.is_some() || !self.close_idle() {
                return permit;
            }
        }
        // Each worker may have one connection to each endpoint beyond the limit, or some endpoints would be out of its reach.
        if self.live.is_empty() { Some(limiter.acquire_beyond_limit()) } else { limiter.try_acquire() }
    }

    /// Closes idle connections; returns whether there was any.
    fn close_idle(&mut self) -> bool {
        let before = self.live.len();
        self.live.retain(|live| live.active.get() > 0);
        self.live.len() < before
    }
}

/// The next step of a request that needs a stream.
enum Next {
    Take(H2Stream),
    Connect(Rc<Notify>, Option<ConnectionPermit>),
    Wait(Rc<Notify>),
}

impl Streams {
    /// No connections; `bounds` limit what endpoints may send.
    pub fn new(bounds: FrameBounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// A stream on an existing connection that has room for one.
    pub fn take(
        &mut self,
        cluster: &ClusterState,
        endpoint: &EndpointState,
        context: ConnectContext<'_>,
    ) -> Option<H2Stream> {
        let slot = self.by_endpoint.get(&endpoint.id)?;
        let wanted = cluster.pool_key(context).ok()?;
        let mut alike = slot.live.iter().filter(|live| live.pool_key.as_deref() == wanted.as_ref());
        alike.find_map(H2Connection::try_stream).map(|permit| H2Connection::stream(permit, true))
    }

    fn next(&mut self, cluster: &ClusterState, endpoint: &Arc<EndpointState>, wanted: Option<&PoolKey>) -> Next {
        let slot = self.by_endpoint.entry(endpoint.id).or_insert_with(|| Slot {
            endpoint: Arc::clone(endpoint),
            live: Vec::new(),
            connecting: 0,
            freed: Rc::default(),
        });
        let mut alike = 0;
        for live in slot.live.iter().filter(|live| live.pool_key.as_deref() == wanted) {
            alike += usize::from(!live.closed.get());
            if let Some(permit) = live.try_stream() {
                return Next::Take(H2Connection::stream(permit, true));
            }
        }
        slot.live.retain(|live| !live.closed.get());
        let freed = Rc::clone(&slot.freed);
        if slot.live.len() >= OF_ALL_KINDS {
            slot.close_idle();
        }
        // One connection at a time: requests that come meanwhile share it, unless it belongs to one client.
        let is_shared = slot.connecting > 0 && !wanted.is_some_and(PoolKey::is_client_specific);
        if is_shared || alike >= CONNECTIONS {
            return Next::Wait(freed);
        }
        let permit = match cluster.limiter().map(|limiter| slot.acquire(limiter)) {
            None => None,
            Some(Some(permit)) => Some(permit),
            Some(None) => {
                cluster.count_overflow();
                return Next::Wait(freed);
            }
        };
        slot.connecting += 1;
        Next::Connect(freed, permit)
    }

    fn connected(&mut self, endpoint: u64, live: Option<Rc<H2Connection>>) {
        if let Some(slot) = self.by_endpoint.get_mut(&endpoint) {
            slot.connecting = slot.connecting.saturating_sub(1);
            slot.live.extend(live);
            slot.freed.notify_waiters();
        }
    }

    /// Closes connections that were idle for too long or whose endpoint is gone; streams in flight keep their connection.
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

    /// The number of connections.
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
    context: ConnectContext<'_>,
    limit: Duration,
) -> Result<H2Stream, ConnectError> {
    let deadline = tokio::time::Instant::now() + limit;
    let wanted = cluster.pool_key(context)?;
    let mut pending = None;
    loop {
        let next = streams.borrow_mut().next(cluster, endpoint, wanted.as_ref());
        if !matches!(next, Next::Take(_)) && pending.is_none() {
            pending = Some(cluster.begin_pending());
        }
        let overflow = matches!(pending, Some(None));
        let (freed, permit) = match next {
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
            Next::Connect(freed, permit) => (freed, permit),
        };
        let begun = Begun { streams, endpoint: endpoint.id };
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        let connection = cluster.connect_at(endpoint, context, permit, left).await?;
        let bounds = streams.borrow().bounds;
        let making = make(connection, cluster, freed, bounds);
        let live = timeout_at(deadline, making).await.map_err(|_| ConnectError::Timeout)??;
        let permit = live.try_stream();
        begun.end(live);
        if let Some(permit) = permit {
            return Ok(H2Connection::stream(permit, false));
        }
    }
}

/// A connection attempt. Waiters are woken when it ends, also when the task is dropped.
struct Begun<'a> {
    streams: &'a RefCell<Streams>,
    endpoint: u64,
}

impl Begun<'_> {
    fn end(self, live: Rc<H2Connection>) {
        self.streams.borrow_mut().connected(self.endpoint, Some(live));
        std::mem::forget(self);
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.streams.borrow_mut().connected(self.endpoint, None);
    }
}

/// Begins HTTP/2 on a connection, and spawns the task that drives it.
async fn make(
    connection: Connection,
    cluster: &ClusterState,
    freed: Rc<Notify>,
    bounds: FrameBounds,
) -> Result<Rc<H2Connection>, ConnectError> {
    let Connection { stream, pool_key, endpoint, lifetime, permit: limit, opened, .. } = connection;
    if let Stream::Tls(tls) = &stream
        && tls.get_ref().1.alpn_protocol() != Some(b"h2")
    {
        return Err(ConnectError::Tls("the endpoint does not speak HTTP/2 on this port".to_owned()));
    }
    let (streams, keep_alive) = match &cluster.config.protocol {
        UpstreamProtocol::Http2 { streams, keep_alive } => (*streams, keep_alive.as_deref().copied()),
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
    let live = Rc::new(H2Connection {
        send,
        endpoint,
        pool_key,
        local,
        most: streams.map_or(usize::MAX, |streams| streams as usize),
        active: Cell::new(0),
        closed: Cell::new(false),
        used: Cell::new(Instant::now()),
        lifetime: Cell::new(lifetime),
        marks,
        is_for_all: cluster.has_one_pool_key(),
        limit,
        _opened: opened,
        freed,
    });
    tokio::task::spawn_local(turn.of(driver::drive(connection, Rc::downgrade(&live), keep_alive)));
    Ok(live)
}

#[cfg(test)]
mod tests;
