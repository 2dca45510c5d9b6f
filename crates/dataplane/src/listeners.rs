//! The listeners of the process, on the control side: configured listeners, bound sockets, and commands to workers.

mod inherited;
mod sockets;

pub use inherited::Inherited;
pub use sockets::listen;

use crate::accept::Command;
use crate::conn::{
    AcceptCount, ExternalGate, ListenerState, Policies, Service, Services, TableState, TlsService, by_origin, retire,
};
use crate::keys::{KeySets, KeysUnavailable};
use ir::policy::Authorization;
use ir::{Changes, HostPattern, Listener, ListenerId, OriginalDestination, Snapshot, TableId};
use routing::authorization::Authorizer;
use routing::{Servers, Slots, TcpEntry};
use sockets::Kind;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// How long an address counts as the process's own after its listener was closed: its sockets may still be open.
const RECENT: Duration = Duration::from_secs(5);

/// The command channels of the workers.
pub(crate) type Workers = [UnboundedSender<Command>];

/// A listener that cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindProblem {
    /// The listener.
    pub listener: ListenerId,
    /// The error of the system.
    pub message: String,
}

/// All listeners and tables.
#[derive(Debug)]
pub(crate) struct Listeners {
    open: BTreeMap<ListenerId, Open>,
    tables: BTreeMap<TableId, Arc<TableState>>,
    closed: BTreeMap<SocketAddr, Instant>,
    inherited: Inherited,
    /// The policies of each listener that has any.
    policies: BTreeMap<ListenerId, Arc<Policies>>,
    /// The AuthorizationPolicies of workloads, built once for all listeners of each.
    authorizers: Vec<(Arc<Authorization>, Arc<Authorizer>)>,
    /// The keys of the issuers of tokens.
    keys: KeySets,
    /// Whether sockets are kept for a successor process.
    keeping: bool,
    /// The count of sockets that workers accept from, including those of closed listeners.
    accepting: AcceptCount,
}

#[derive(Debug)]
struct Open {
    state: Arc<ListenerState>,
    /// The bound address, or the error.
    bound: Result<SocketAddr, String>,
    /// Descriptors of the sockets that workers have.
    descriptors: usize,
    /// Duplicates of the workers' sockets, for a successor process.
    kept: Vec<TcpListener>,
}

impl Listeners {
    /// No listeners. Sockets in `inherited` are used before new ones are opened; `keeping` keeps sockets for a successor.
    pub(crate) fn new(inherited: Inherited, keeping: bool, keys: KeySets) -> Self {
        let (open, tables, closed, policies, authorizers, accepting) = Default::default();
        Self { open, tables, closed, inherited, policies, authorizers, keys, keeping, accepting }
    }

    /// Applies the changes, or the whole snapshot if the changes are unknown. Binds nothing. Returns whether connections have to check their
    /// drain state.
    pub(crate) fn apply(&mut self, snapshot: &Snapshot, changes: Option<&Changes>, slots: Slots<'_>) -> bool {
        let (tables, listeners) = match changes {
            Some(changes) => (changes.tables.clone(), changes.listeners.clone()),
            None => (all(snapshot.tables.keys(), self.tables.keys()), all(snapshot.listeners.keys(), self.open.keys())),
        };
        let mut demanding: BTreeSet<&ListenerId> = BTreeSet::new();
        for id in &listeners {
            if self.apply_policies(id, snapshot, slots) {
                demanding.insert(id);
            }
        }
        // Tables before services, which name them. Each takes its hosts and policies over in one step.
        for id in tables.iter().filter(|id| snapshot.tables.contains_key(*id)) {
            self.apply_table(id, snapshot, slots);
        }
        let mut hosts: BTreeMap<&TableId, Vec<HostPattern>> = BTreeMap::new();
        for (id, host) in changes.into_iter().flat_map(|changes| &changes.hosts) {
            hosts.entry(id).or_default().push(host.clone());
        }
        for id in snapshot.tables.keys().filter(|id| demanding.contains(&id.listener)) {
            hosts.entry(id).or_default();
        }
        let whole: BTreeSet<&TableId> = tables.iter().collect();
        for (id, changed) in hosts.into_iter().filter(|(id, _)| !whole.contains(id)) {
            self.update_table(id, &changed, snapshot, slots);
        }
        let mut ending = false;
        for id in &listeners {
            ending |= self.apply_listener(id, snapshot, slots);
        }
        for id in tables.iter().filter(|id| !snapshot.tables.contains_key(*id)) {
            if let Some(table) = self.tables.remove(id) {
                table.drain.begin();
                ending = true;
            }
        }
        ending
    }

    fn apply_table(&mut self, id: &TableId, snapshot: &Snapshot, slots: Slots<'_>) {
        let Some(http) = snapshot.tables.get(id) else { return };
        match self.tables.get(id) {
            Some(table) => table.replace(http, self.policies_of(&id.listener), slots),
            None => {
                let table = TableState::new(http, self.policies_of(&id.listener), slots);
                self.tables.insert(id.clone(), table);
            }
        }
    }

    fn update_table(&self, id: &TableId, changed: &[HostPattern], snapshot: &Snapshot, slots: Slots<'_>) {
        if let (Some(table), Some(http)) = (self.tables.get(id), snapshot.tables.get(id)) {
            table.update(http, changed, self.policies_of(&id.listener), slots);
        }
    }

    fn policies_of(&self, id: &ListenerId) -> Option<Arc<Policies>> {
        self.policies.get(id).map(Arc::clone)
    }

    /// Builds the policies of a listener, if they are others than before; whether they are.
    fn apply_policies(&mut self, id: &ListenerId, snapshot: &Snapshot, slots: Slots<'_>) -> bool {
        let listener = snapshot.listeners.get(id);
        let before = self.policies.get(id);
        let is_same = listener.is_some_and(|listener| match before {
            Some(before) => before.are_of(&listener.policies),
            None => listener.policies == ir::policy::Policies::default(),
        });
        if is_same {
            return false;
        }
        let policies = listener.and_then(|listener| {
            let policies = &listener.policies;
            let authorizer = policies.authorization.as_ref().map(|policies| self.authorizer(policies));
            let issuers = policies.authentication.as_ref().map(|config| self.keys.issuers(config));
            let ext_authz = policies.ext_authz.as_ref().map(|ext_authz| ExternalGate::new(ext_authz, slots));
            Policies::new(policies, ext_authz, issuers, authorizer).shared()
        });
        match policies {
            Some(policies) => drop(self.policies.insert(id.clone(), policies)),
            None => drop(self.policies.remove(id)),
        }
        true
    }

    /// Adds, updates or closes one listener. Returns whether connections have to check their drain state.
    fn apply_listener(&mut self, id: &ListenerId, snapshot: &Snapshot, slots: Slots<'_>) -> bool {
        let Some(listener) = snapshot.listeners.get(id) else {
            let gone = self.open.remove(id);
            if let Some(open) = &gone {
                open.state.close();
                self.closed.insert(id.address, Instant::now());
            }
            return gone.is_some();
        };
        let before = self.open.get(id).map(|open| open.state.services().clone());
        let services = self.services(listener, before.as_deref(), slots);
        let ending = before.is_some_and(|before| retire(&before.tls, &services.tls));
        match self.open.get(id) {
            Some(open) => open.state.replace(services),
            None => {
                let state = ListenerState::new(id, services);
                self.open
                    .insert(id.clone(), Open { state, bound: Err(String::new()), descriptors: 0, kept: Vec::new() });
            }
        }
        ending
    }

    /// The policies of a workload with their index; those that no listener has any more are forgotten.
    fn authorizer(&mut self, policies: &Arc<Authorization>) -> Arc<Authorizer> {
        self.authorizers.retain(|(_, authorizer)| Arc::strong_count(authorizer) > 1);
        let known = self.authorizers.iter().find(|(known, _)| Arc::ptr_eq(known, policies));
        if let Some((_, authorizer)) = known {
            return Arc::clone(authorizer);
        }
        let authorizer = Arc::new(Authorizer::build(policies));
        self.authorizers.push((Arc::clone(policies), Arc::clone(&authorizer)));
        authorizer
    }

    fn services(&self, listener: &Listener, before: Option<&Services>, slots: Slots<'_>) -> Services {
        let mut service = |service: &ir::Service| match service {
            ir::Service::Http(id) => self.tables.get(id).cloned().map(Service::Http),
            ir::Service::Tcp(route) => {
                let policies = self.policies_of(&listener.id);
                Some(Service::Tcp(Arc::new(TcpEntry::build(route, slots)), policies))
            }
        };
        let mut tls = Vec::with_capacity(listener.tls.len());
        let mut named = listener.clone();
        named.tls.clear();
        let earlier = by_origin(before.map_or(&[], |before| &before.tls));
        for server in &listener.tls {
            let Some(service) = service(&server.service) else { continue };
            if let Service::Http(table) = &service {
                table.set_server_index(tls.len());
            }
            let kept = earlier.get(&server.origin).map(|kept| &***kept);
            tls.push(TlsService::build(server, service, kept));
            named.tls.push(server.clone());
        }
        let plain = listener.plain.as_ref().and_then(service);
        Services {
            plain,
            servers: Servers::build(&named),
            tls,
            mesh_settings: Arc::clone(&listener.mesh_settings),
            policy_port: listener.policy_port,
            original_destination: listener.original_destination,
        }
    }

    /// Binds unbound listeners, and sends each worker its socket.
    pub(crate) fn bind_missing(&mut self, workers: &Workers) {
        self.closed.retain(|_, since| since.elapsed() < RECENT);
        for (id, open) in &mut self.open {
            if open.bound.is_err() {
                let ours = self.closed.contains_key(&id.address);
                let sockets = self.inherited.take(id.address);
                let is_transparent = open.state.services().original_destination == Some(OriginalDestination::Tproxy);
                let kind = Kind { is_transparent };
                let sockets = if sockets.is_empty() {
                    sockets::bind(id.address, workers.len(), ours, kind)
                } else {
                    sockets::share(sockets, workers.len(), kind)
                };
                let bound = sockets.and_then(|sockets| open.listen(sockets, workers, self.keeping, &self.accepting));
                open.bound = bound.map_err(|error| error.to_string());
            }
        }
    }

    /// Keys of issuers whose last fetch failed.
    pub(crate) fn keys_unavailable(&self) -> Vec<KeysUnavailable> {
        self.keys.unavailable()
    }

    /// The number of descriptors of listening sockets.
    pub(crate) fn descriptors(&self) -> usize {
        self.open.values().map(|open| open.descriptors + open.kept.len()).sum()
    }

    /// The listeners that are not bound, with the errors.
    pub(crate) fn problems(&self) -> Vec<BindProblem> {
        let problem = |(id, open): (&ListenerId, &Open)| {
            let message = open.bound.as_ref().err()?.clone();
            Some(BindProblem { listener: id.clone(), message })
        };
        self.open.iter().filter_map(problem).collect()
    }

    /// The bound listeners, with their addresses.
    pub(crate) fn bound(&self) -> Vec<(ListenerId, SocketAddr)> {
        let bound = |(id, open): (&ListenerId, &Open)| Some((id.clone(), *open.bound.as_ref().ok()?));
        self.open.iter().filter_map(bound).collect()
    }

    /// Whether connections may still wait in the queue of a socket.
    pub(crate) fn is_accepting(&self) -> bool {
        !self.accepting.is_zero()
    }

    /// Closes all listeners.
    pub(crate) fn close(&mut self) {
        self.inherited.close();
        for open in self.open.values_mut() {
            open.kept.clear();
            open.state.close();
        }
    }

    /// Duplicates of all listening sockets, for a successor.
    pub(crate) fn sockets(&self) -> io::Result<Vec<TcpListener>> {
        self.open.values().flat_map(|open| &open.kept).map(TcpListener::try_clone).collect()
    }

    /// Closes inherited sockets without a listener; returns their addresses.
    pub(crate) fn close_unwanted(&mut self) -> Vec<SocketAddr> {
        self.inherited.close()
    }
}

impl Open {
    /// Sends the workers their sockets; returns the bound address.
    fn listen(
        &mut self,
        sockets: Vec<TcpListener>,
        workers: &Workers,
        keeping: bool,
        accepting: &AcceptCount,
    ) -> io::Result<SocketAddr> {
        let address = sockets.first().map_or(Ok(self.state.id.address), TcpListener::local_addr)?;
        if keeping {
            self.kept = sockets.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?;
        }
        self.descriptors = sockets.len();
        for (worker, socket) in workers.iter().cycle().zip(sockets) {
            // A stopped worker receives no commands; the others serve.
            let _ = worker.send(Command::Listen(Arc::clone(&self.state), socket, accepting.begin()));
        }
        Ok(address)
    }
}

/// The union, without duplicates.
fn all<'a, T: Ord + Clone + 'a>(some: impl Iterator<Item = &'a T>, others: impl Iterator<Item = &'a T>) -> Vec<T> {
    some.chain(others).cloned().collect::<BTreeSet<T>>().into_iter().collect()
}
