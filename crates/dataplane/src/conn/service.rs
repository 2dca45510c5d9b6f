//! What is done with the bytes of a connection: HTTP by a table, or a route of bytes; and where TLS is taken off before.

use super::Drain;
use crate::tls::{Acceptor, is_stricter};
use arc_swap::{ArcSwap, Guard};
use ir::{HostPattern, HttpTable, TlsServer};
use routing::{Slots, Table, TcpEntry};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Between two looks whether a worker still reads a table that is to be dropped.
const RELEASE_POLL: Duration = Duration::from_micros(50);
/// The place of a table that stands behind no TLS server.
const NO_SERVER: usize = usize::MAX;

/// What is done with bytes.
#[derive(Debug, Clone)]
pub(crate) enum Service {
    Http(Arc<TableState>),
    Tcp(Arc<TcpEntry>),
}

/// One table of HTTP hosts. It stays the same for as long as its id is configured, so that connections see what changes.
#[derive(Debug)]
pub(crate) struct TableState {
    /// Begun when it is configured no more.
    pub(crate) drain: Drain,
    version: ArcSwap<TableVersion>,
    /// Which of the listener's TLS servers it stands behind.
    server_index: AtomicUsize,
}

/// One version of a table.
#[derive(Debug)]
pub(crate) struct TableVersion {
    pub(crate) http: HttpTable,
    pub(crate) table: Table,
}

impl TableVersion {
    fn build(http: &HttpTable, slots: Slots<'_>) -> Self {
        Self { table: Table::build(http, slots), http: http.clone() }
    }
}

impl TableState {
    pub(crate) fn new(http: &HttpTable, slots: Slots<'_>) -> Arc<Self> {
        Arc::new(Self {
            drain: Drain::default(),
            version: ArcSwap::from_pointee(TableVersion::build(http, slots)),
            server_index: AtomicUsize::new(NO_SERVER),
        })
    }

    /// What it holds now; to be held while a request is decided, and no longer.
    pub(crate) fn version(&self) -> Guard<Arc<TableVersion>> {
        self.version.load()
    }

    /// Takes over a table that differs in more than some hosts.
    pub(crate) fn replace(&self, http: &HttpTable, slots: Slots<'_>) {
        self.publish(TableVersion::build(http, slots));
    }

    /// Takes over changed hosts.
    pub(crate) fn update(&self, http: &HttpTable, changed: &[HostPattern], slots: Slots<'_>) {
        let table = self.version.load().table.update(http, changed, slots);
        self.publish(TableVersion { http: http.clone(), table });
    }

    /// Puts a version in place of the last one, which is dropped here: tearing down a large table would stop a worker for a while.
    fn publish(&self, version: TableVersion) {
        let last = self.version.swap(Arc::new(version));
        while Arc::strong_count(&last) > 1 {
            std::thread::sleep(RELEASE_POLL);
        }
    }

    /// Says which of the listener's TLS servers it stands behind.
    pub(crate) fn set_server_index(&self, server_index: usize) {
        self.server_index.store(server_index, Ordering::Relaxed);
    }

    /// Which of the listener's TLS servers it stands behind; `None` for clear text.
    pub(crate) fn server_index(&self) -> Option<usize> {
        Some(self.server_index.load(Ordering::Relaxed)).filter(|server_index| *server_index != NO_SERVER)
    }
}

/// One TLS server of a listener.
#[derive(Debug)]
pub(crate) struct TlsService {
    /// What it was made of.
    pub(crate) server: TlsServer,
    /// `None` passes TLS through.
    pub(crate) acceptor: Option<Acceptor>,
    pub(crate) service: Service,
    acceptance: Arc<Acceptance>,
    /// Of the reviews that there were those that it came after.
    reviews: AtomicU64,
}

/// What became of the connections that a server accepted. Versions of a server that ask the same of clients share it, so that connections of
/// each of them see what comes.
#[derive(Debug, Default)]
struct Acceptance {
    /// Begun when clients would be judged differently now, or the server is gone.
    drain: Drain,
    /// How often a server came that may reject clients that were accepted.
    reviews: AtomicU64,
}

impl TlsService {
    /// Works a server out; `before` is the one of the same origin.
    pub(crate) fn build(server: &TlsServer, service: Service, before: Option<&Self>) -> Arc<Self> {
        let kept = before.and_then(|before| before.acceptor.as_ref());
        let acceptor = server.termination.as_ref().map(|termination| Acceptor::build(termination, kept));
        let alike = before.filter(|before| before.has_same_client_auth(server));
        let acceptance = alike.map_or_else(Arc::default, |before| Arc::clone(&before.acceptance));
        Arc::new(Self { server: server.clone(), acceptor, service, acceptance, reviews: AtomicU64::new(0) })
    }

    /// Whether connections that were let in by this server would be let in by `next` as well, so that they may stay.
    fn has_same_client_auth(&self, next: &TlsServer) -> bool {
        let client = |server: &TlsServer| server.termination.as_ref().map(|termination| termination.client.clone());
        client(&self.server) == client(next)
    }

    /// Whether its connections are to end with their next answer.
    pub(crate) fn is_draining(&self) -> bool {
        self.acceptance.drain.has_begun()
    }

    /// Whether its connections may be such as would be rejected now, so that each has to be looked at.
    pub(crate) fn needs_review(&self) -> bool {
        self.acceptance.reviews.load(Ordering::Acquire) != self.reviews.load(Ordering::Relaxed)
    }

    /// Whether it would reject clients that `before` accepted.
    pub(crate) fn is_stricter_than(&self, before: &Self) -> bool {
        is_stricter(before.server.termination.as_deref(), self.server.termination.as_deref())
    }

    /// Whether a client may ask for a name that both have.
    fn overlaps(&self, other: &Self) -> bool {
        let meets = |name: &HostPattern| other.server.names.iter().any(|its| its.intersect(name).is_some());
        self.server.names.iter().any(meets)
    }
}

/// Has connections end that came through servers which are gone or would judge them differently now, and looked at again that may have come
/// through a server which would reject them now. Whether there are such servers. To be called before `after` serves.
pub(crate) fn retire(before: &[Arc<TlsService>], after: &[Arc<TlsService>]) -> bool {
    let same = |all: &[Arc<TlsService>], one: &TlsService| {
        all.iter().find(|other| other.server.origin == one.server.origin).cloned()
    };
    let is_new = |next: &&Arc<TlsService>| same(before, next).is_none_or(|old| old.server != next.server);
    let new: Vec<&Arc<TlsService>> = after.iter().filter(is_new).collect();
    let mut ending = false;
    for old in before {
        if same(after, old).is_none_or(|next| !old.has_same_client_auth(&next.server)) {
            old.acceptance.drain.begin();
            ending = true;
        }
        if new.iter().any(|next| next.is_stricter_than(old) && next.overlaps(old)) {
            old.acceptance.reviews.fetch_add(1, Ordering::AcqRel);
            ending = true;
        }
    }
    for next in after {
        next.reviews.store(next.acceptance.reviews.load(Ordering::Acquire), Ordering::Relaxed);
    }
    ending
}
