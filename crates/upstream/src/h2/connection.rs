//! An HTTP/2 connection to an endpoint, and the streams on it.

use super::outgoing::Outgoing;
use crate::connect::{ConnectionPermit, PoolKey};
use crate::endpoint::{ConnectionLifetime, EndpointState, Opened};
use crate::watch::Marks;
use ::h2::client::SendRequest;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use tokio::sync::Notify;

/// The right to one stream, and what is needed to open it.
#[derive(Debug)]
pub struct H2Stream {
    /// Accepts the request's head at once.
    pub send: SendRequest<Outgoing>,
    /// Whether the connection existed before.
    pub reused: bool,
    /// The local address.
    pub local: Option<SocketAddr>,
    /// Held for as long as the stream lasts.
    pub permit: StreamPermit,
    /// Malformed responses seen on the connection.
    pub marks: Rc<Marks>,
}

/// A stream's part of the connection's limit of streams. Dropping it makes room for another stream.
#[derive(Debug)]
pub struct StreamPermit(Rc<H2Connection>);

impl StreamPermit {
    /// The endpoint.
    pub fn endpoint(&self) -> &Arc<EndpointState> {
        &self.0.endpoint
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get().saturating_sub(1));
        self.0.used.set(Instant::now());
        if self.0.is_for_all {
            self.0.freed.notify_one();
        } else {
            // The first waiter may have another pool key, for which this connection is of no use: all are woken.
            self.0.freed.notify_waiters();
        }
    }
}

/// An established connection.
#[derive(Debug)]
pub(super) struct H2Connection {
    pub(super) send: SendRequest<Outgoing>,
    pub(super) endpoint: Arc<EndpointState>,
    pub(super) pool_key: Option<Box<PoolKey>>,
    pub(super) local: Option<SocketAddr>,
    /// The configured limit of streams.
    pub(super) most: usize,
    pub(super) active: Cell<usize>,
    pub(super) closed: Cell<bool>,
    pub(super) used: Cell<Instant>,
    pub(super) lifetime: Cell<ConnectionLifetime>,
    pub(super) marks: Rc<Marks>,
    /// Whether any waiter can use the connection, since the cluster has one pool key.
    pub(super) is_for_all: bool,
    /// The permit of the cluster's limiter, where connections are limited.
    pub(super) limit: Option<ConnectionPermit>,
    /// The connection's part of the limit of the process.
    pub(super) _opened: Opened,
    /// Woken when a stream ends; shared by all connections to the endpoint.
    pub(super) freed: Rc<Notify>,
}

impl H2Connection {
    /// The right to a stream, if the connection has room for one. Notices when the connection accepts no more streams.
    pub(super) fn try_stream(self: &Rc<Self>) -> Option<StreamPermit> {
        if !self.is_open(Instant::now) || self.active.get() >= self.most.min(self.send.current_max_send_streams()) {
            return None;
        }
        match self.send.clone().poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => {
                self.active.set(self.active.get() + 1);
                self.count();
                Some(StreamPermit(Rc::clone(self)))
            }
            Poll::Ready(Err(_)) => {
                self.closed.set(true);
                None
            }
            Poll::Pending => None,
        }
    }

    /// Counts a stream. After the last one allowed, the connection accepts no more and ends with the streams it has.
    fn count(&self) {
        let mut lifetime = self.lifetime.get();
        if !lifetime.is_unbounded() {
            lifetime.count_request();
            self.lifetime.set(lifetime);
            if lifetime.is_exhausted() {
                self.closed.set(true);
            }
        }
    }

    /// Whether the connection accepts streams.
    pub(super) fn is_open(&self, now: impl FnOnce() -> Instant) -> bool {
        if !self.lifetime.get().has_no_deadline() && !self.lifetime.get().allows_request(now()) {
            self.closed.set(true);
        }
        !self.closed.get()
    }

    /// Whether the connection is to be closed because of the limit: it has no permit, being older than the limit, or it is idle, the limit is
    /// exceeded, and the worker has `others`.
    pub(super) fn is_surplus(&self, others: bool) -> bool {
        match self.limit.as_ref().and_then(ConnectionPermit::limiter) {
            None => true,
            Some(limiter) => others && self.active.get() == 0 && limiter.is_exceeded(),
        }
    }

    pub(super) fn stream(permit: StreamPermit, reused: bool) -> H2Stream {
        let live = &permit.0;
        H2Stream { send: live.send.clone(), reused, local: live.local, marks: Rc::clone(&live.marks), permit }
    }
}
