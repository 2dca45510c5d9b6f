//! The services of a listener: HTTP with a route table, or TCP with a route; and the TLS servers in front of them.

use super::Drain;
use super::policies::Policies;
use crate::tls::{Acceptor, is_stricter};
use arc_swap::{ArcSwap, Guard};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use ir::{HostPattern, HttpTable, Origin, TlsServer};
use routing::{Slots, Table, TcpEntry};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The interval of checks whether a worker still reads a replaced table.
const RELEASE_POLL: Duration = Duration::from_micros(50);
/// How long is waited for them: requests that wait for a service or a body read a version for longer.
const RELEASE_WAIT: Duration = Duration::from_millis(5);
/// The server index of a table without a TLS server.
const NO_SERVER: usize = usize::MAX;

/// A service for connections.
#[derive(Debug, Clone)]
pub(crate) enum Service {
    Http(Arc<TableState>),
    /// With the policies of its workload.
    Tcp(Arc<TcpEntry>, Option<Arc<Policies>>),
}

/// One table of HTTP hosts. The value lives as long as its id is configured, so that connections see updates.
#[derive(Debug)]
pub(crate) struct TableState {
    /// Begun when the table is removed.
    pub(crate) drain: Drain,
    version: ArcSwap<TableVersion>,
    /// Versions that were replaced while requests waited: the last reference is dropped here.
    replaced: Mutex<Vec<Arc<TableVersion>>>,
    /// The index of its TLS server in the listener.
    server_index: AtomicUsize,
    /// Whether it is the table of a forward proxy.
    is_forward: AtomicBool,
}

/// One version of a table.
#[derive(Debug)]
pub(crate) struct TableVersion {
    pub(crate) http: HttpTable,
    pub(crate) table: Table,
    /// The policies of the workload; `None` if there are none.
    pub(crate) policies: Option<Arc<Policies>>,
}

impl TableVersion {
    fn build(http: &HttpTable, policies: Option<Arc<Policies>>, slots: Slots<'_>) -> Self {
        Self { table: Table::build(http, slots), http: http.clone(), policies }
    }
}

impl TableState {
    pub(crate) fn new(http: &HttpTable, policies: Option<Arc<Policies>>, slots: Slots<'_>) -> Arc<Self> {
        Arc::new(Self {
            drain: Drain::default(),
            version: ArcSwap::from_pointee(TableVersion::build(http, policies, slots)),
            replaced: Mutex::default(),
            server_index: AtomicUsize::new(NO_SERVER),
            is_forward: AtomicBool::new(http.settings.forward),
        })
    }

    /// The current version; hold it only while a request is decided, and an `Arc` of it while a request waits to be decided.
    pub(crate) fn version(&self) -> Guard<Arc<TableVersion>> {
        self.version.load()
    }

    /// Replaces the whole table.
    pub(crate) fn replace(&self, http: &HttpTable, policies: Option<Arc<Policies>>, slots: Slots<'_>) {
        self.publish(TableVersion::build(http, policies, slots));
    }

    /// Replaces changed hosts and the policies, in one step.
    pub(crate) fn update(
        &self,
        http: &HttpTable,
        changed: &[HostPattern],
        policies: Option<Arc<Policies>>,
        slots: Slots<'_>,
    ) {
        let table = self.version.load().table.update(http, changed, slots);
        self.publish(TableVersion { http: http.clone(), table, policies });
    }

    /// Publishes a version and drops the previous one here: dropping a large table would block a worker. One that a request still waits with
    /// is kept until a later version is published.
    fn publish(&self, version: TableVersion) {
        self.is_forward.store(version.http.settings.forward, Ordering::Relaxed);
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        replaced.push(self.version.swap(Arc::new(version)));
        let begun = Instant::now();
        loop {
            replaced.retain(|version| Arc::strong_count(version) > 1);
            if replaced.is_empty() || begun.elapsed() > RELEASE_WAIT {
                return;
            }
            std::thread::sleep(RELEASE_POLL);
        }
    }

    /// Whether it is the table of a forward proxy.
    pub(crate) fn is_forward(&self) -> bool {
        self.is_forward.load(Ordering::Relaxed)
    }

    /// Sets the index of its TLS server in the listener.
    pub(crate) fn set_server_index(&self, server_index: usize) {
        self.server_index.store(server_index, Ordering::Relaxed);
    }

    /// The index of its TLS server in the listener; `None` for plaintext.
    pub(crate) fn server_index(&self) -> Option<usize> {
        Some(self.server_index.load(Ordering::Relaxed)).filter(|server_index| *server_index != NO_SERVER)
    }
}

/// One TLS server of a listener.
#[derive(Debug)]
pub(crate) struct TlsService {
    /// Its configuration.
    pub(crate) server: TlsServer,
    /// `None` passes TLS through.
    pub(crate) acceptor: Option<Arc<Acceptor>>,
    pub(crate) service: Service,
    acceptance: Arc<Acceptance>,
    /// The number of reviews when this version was applied.
    reviews: AtomicU64,
}

/// The validity of connections that a server accepted. Versions of a server with the same client authentication share it, so that the
/// connections of each version see updates.
#[derive(Debug, Default)]
struct Acceptance {
    /// Begun when the client authentication changes, or the server is removed.
    drain: Drain,
    /// How often a server was applied that may reject accepted clients.
    reviews: AtomicU64,
}

impl TlsService {
    /// Builds a server; `before` is the previous version of the same origin.
    pub(crate) fn build(server: &TlsServer, service: Service, before: Option<&Self>) -> Arc<Self> {
        let kept = before.and_then(|before| before.acceptor.as_ref());
        let acceptor = server.termination.as_ref().map(|termination| Acceptor::build(termination, kept));
        let alike = before.filter(|before| before.has_same_client_auth(server));
        let acceptance = alike.map_or_else(Arc::default, |before| Arc::clone(&before.acceptance));
        Arc::new(Self { server: server.clone(), acceptor, service, acceptance, reviews: AtomicU64::new(0) })
    }

    /// Whether `next` has the same client authentication, so that connections may stay.
    fn has_same_client_auth(&self, next: &TlsServer) -> bool {
        let client = |server: &TlsServer| server.termination.as_ref().map(|termination| termination.client.clone());
        client(&self.server) == client(next)
    }

    /// Whether its connections close with their next response.
    pub(crate) fn is_draining(&self) -> bool {
        self.acceptance.drain.has_begun()
    }

    /// Whether its connections have to be checked, because a newer server may reject their clients.
    pub(crate) fn needs_review(&self) -> bool {
        self.acceptance.reviews.load(Ordering::Acquire) != self.reviews.load(Ordering::Relaxed)
    }

    /// Whether it would reject clients that `before` accepted.
    pub(crate) fn is_stricter_than(&self, before: &Self) -> bool {
        is_stricter(before.server.termination.as_deref(), self.server.termination.as_deref())
    }

    /// Whether some name belongs to both servers.
    fn overlaps(&self, other: &Self) -> bool {
        let meets = |name: &HostPattern| other.server.names.iter().any(|its| its.intersect(name).is_some());
        self.server.names.iter().any(meets)
    }
}

/// Drains the connections of servers that are removed or whose client authentication changes, and marks connections for a check that a stricter
/// server may reject. Returns whether there are such servers. Call it before `after` serves.
pub(crate) fn retire(before: &[Arc<TlsService>], after: &[Arc<TlsService>]) -> bool {
    let (earlier, later) = (by_origin(before), by_origin(after));
    let is_new = |next: &&Arc<TlsService>| earlier.get(&next.server.origin).is_none_or(|old| old.server != next.server);
    let new: Vec<&Arc<TlsService>> = after.iter().filter(is_new).collect();
    let mut ending = false;
    for old in before {
        if later.get(&old.server.origin).is_none_or(|next| !old.has_same_client_auth(&next.server)) {
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

/// The first server of each origin; a listener may have thousands of servers.
pub(crate) fn by_origin(services: &[Arc<TlsService>]) -> HashMap<&Origin, &Arc<TlsService>, RandomState> {
    let mut found = HashMap::with_capacity_and_hasher(services.len(), RandomState::default());
    for service in services {
        found.entry(&service.server.origin).or_insert(service);
    }
    found
}
