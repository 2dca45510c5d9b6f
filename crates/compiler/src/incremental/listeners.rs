//! The listeners of the snapshot with their tables, and the findings about servers that stay closed because they have no route.

use super::bindings::Bindings;
use super::policies::WorkloadPolicies;
use super::proxies::Proxies;
use super::step::Step;
use super::tables::{Parts, TableKind, Tables};
use crate::code;
use crate::fast::FastSet;
use crate::plan::bindings::L4Binding;
use crate::plan::servers::{ListenerPlan, ServerKind, ServerPlan};
use crate::report::Notes;
use crate::settings::Settings;
use ir::{HostPattern, Listener, ListenerId, Map, MeshConnectionSettings, Service, TableId, TlsServer, WorkloadName};
use resources::key::ObjectRef;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The listeners, and what was found of Gateways while they were put together.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    listeners: Map<ListenerId, Arc<Listener>>,
    notes: BTreeMap<Arc<ListenerId>, BTreeMap<ObjectRef, Notes>>,
    /// What the mesh says of the connections of every listener.
    mesh_settings: Arc<MeshConnectionSettings>,
}

/// A listener while it is put together.
struct Assembly<'a> {
    bindings: &'a Bindings,
    proxies: &'a Proxies,
    listener: Listener,
    tables: BTreeMap<TableId, TableKind>,
    /// Names that some server has.
    taken: FastSet<HostPattern>,
    notes: BTreeMap<ObjectRef, Notes>,
}

impl Listeners {
    pub(super) fn new(mesh_settings: MeshConnectionSettings) -> Self {
        Self { mesh_settings: Arc::new(mesh_settings), ..Self::default() }
    }

    pub(super) fn map(&self) -> &Map<ListenerId, Arc<Listener>> {
        &self.listeners
    }

    /// What was found of a Gateway while a listener was put together.
    pub(super) fn findings(&self, id: &ListenerId, gateway: &ObjectRef) -> Option<&Notes> {
        self.notes.get(id)?.get(gateway)
    }

    /// Puts listeners together, and opens their tables; returns the Gateways of which something else may be reported.
    pub(super) fn assemble(
        &mut self,
        parts: Parts<'_>,
        ids: BTreeSet<Arc<ListenerId>>,
        tables: &mut Tables,
        step: &mut Step,
    ) -> BTreeSet<ObjectRef> {
        let mut reported = BTreeSet::new();
        for id in ids {
            step.work.listeners += 1;
            let (listener, of_listener, notes) = match parts.plans.listeners.get(&id) {
                Some(plan) => Assembly::put_together(parts, plan, &self.mesh_settings),
                None => Default::default(),
            };
            tables.open(&id, &of_listener, parts.settings, step);
            self.put(&id, listener, step);
            let before = self.notes.remove(&id).unwrap_or_default();
            if before != notes {
                reported.extend(before.into_keys().chain(notes.keys().cloned()));
            }
            if !notes.is_empty() {
                self.notes.insert(id, notes);
            }
        }
        reported
    }

    /// The workloads that have servers whose bytes are passed on. `AUTO_PASSTHROUGH`, which no policy is for (AP-12), does not count.
    pub(super) fn with_tcp_servers(&self) -> BTreeSet<WorkloadName> {
        let is_tcp = |service: &Service| matches!(service, Service::Tcp(_));
        let has = |listener: &Listener| {
            let passed_on = |server: &TlsServer| is_tcp(&server.service) && !server.mesh_only;
            listener.plain.as_ref().is_some_and(is_tcp) || listener.tls.iter().any(passed_on)
        };
        let found = self.listeners.iter().filter(|(_, listener)| has(listener));
        found.map(|(id, _)| id.workload.clone()).collect()
    }

    /// Gives the listeners of these workloads the policies that the workloads have now.
    pub(super) fn demand(&mut self, workloads: &BTreeSet<WorkloadName>, policies: &WorkloadPolicies, step: &mut Step) {
        let concerned = |id: &&ListenerId| workloads.contains(&id.workload);
        let ids: Vec<ListenerId> = match workloads.is_empty() {
            true => Vec::new(),
            false => self.listeners.keys().filter(concerned).cloned().collect(),
        };
        for id in ids {
            let policies = policies.of(&id.workload);
            let next = self.listeners.get(&id).map(|before| Listener { policies, ..(**before).clone() });
            self.put(&id, next, step);
        }
    }

    fn put(&mut self, id: &ListenerId, listener: Option<Listener>, step: &mut Step) {
        let before = self.listeners.get(id);
        match listener {
            Some(listener) if before.is_some_and(|before| **before == listener) => return,
            Some(listener) => self.listeners.insert_mut(id.clone(), Arc::new(listener)),
            None if before.is_none() => return,
            None => {
                self.listeners.remove_mut(id);
            }
        }
        step.changes.listeners.push(id.clone());
    }
}

/// A listener, unless there is nothing to serve; its tables; and what was found of its Gateways.
type Assembled = (Option<Listener>, BTreeMap<TableId, TableKind>, BTreeMap<ObjectRef, Notes>);

impl<'a> Assembly<'a> {
    fn put_together(parts: Parts<'a>, plan: &ListenerPlan, mesh_settings: &Arc<MeshConnectionSettings>) -> Assembled {
        let bindings = parts.bindings;
        let listener = Listener {
            id: (*plan.id).clone(),
            servers: Vec::new(),
            server_port: 0,
            policy_port: policy_port(plan.id.address.port(), parts.settings),
            plain: None,
            original_destination: None,
            tls: Vec::new(),
            mesh_settings: Arc::clone(mesh_settings),
            policies: parts.policies.of(&plan.id.workload),
        };
        let (tables, taken, notes) = Default::default();
        let mut assembly = Self { bindings, proxies: parts.proxies, listener, tables, taken, notes };
        // What ends TLS has its names whatever a rule for another server says.
        for server in plan.servers().iter().filter(|server| server.kind.termination().is_some()) {
            assembly.taken.extend(server.hosts.patterns().cloned());
        }
        plan.servers().iter().for_each(|server| assembly.server(server));
        let Assembly { listener, tables, notes, .. } = assembly;
        let serves = listener.plain.is_some() || !listener.tls.is_empty();
        (serves.then_some(listener), tables, notes)
    }

    fn server(&mut self, server: &ServerPlan) {
        let table = server.place.table.as_deref().cloned();
        let grpc_web = matches!(server.kind, ServerKind::Http { grpc_web: true, .. });
        if let Some(table) = &table {
            self.tables.entry(table.clone()).or_default().grpc_web |= grpc_web;
        }
        let opened = match (&server.kind, table.or_else(|| server.proxy_table())) {
            (ServerKind::Proxy(termination, _, original), Some(table)) => {
                let forward = self.proxies.of(&table).cloned();
                self.tables.insert(table.clone(), TableKind { grpc_web: false, forward });
                let service = Service::Http(table);
                match termination {
                    Some(_) => self.terminated(server, service),
                    None => {
                        self.listener.plain = Some(service);
                        self.listener.original_destination = *original;
                    }
                }
                true
            }
            (ServerKind::Http { .. }, Some(table)) => {
                self.listener.plain.get_or_insert(Service::Http(table));
                true
            }
            (ServerKind::Https(_), Some(table)) => {
                self.terminated(server, Service::Http(table));
                true
            }
            (ServerKind::Tcp, _) => {
                self.first_route(server).map(|service| self.listener.plain = Some(service)).is_some()
            }
            (ServerKind::Tls(_), _) => {
                self.first_route(server).map(|service| self.terminated(server, service)).is_some()
            }
            (ServerKind::Passthrough | ServerKind::AutoPassthrough, _) => self.passed_through(server),
            (ServerKind::Http { .. } | ServerKind::Https(_) | ServerKind::Proxy(..), None) => false,
        };
        if opened {
            self.listener.servers.push(server.origin.clone());
            if self.listener.server_port == 0 {
                self.listener.server_port = server.port;
            }
            return;
        }
        let message = match server.kind {
            ServerKind::AutoPassthrough => "no service of the mesh has one of its hosts: it accepts no connections",
            ServerKind::Passthrough => "no `tls` rule of a VirtualService has a name for it: it accepts no connections",
            _ => "no `tcp` rule of a VirtualService is for it: it accepts no connections",
        };
        self.note(server, code::NO_ROUTE_OF_BYTES, message.to_owned());
    }

    fn note(&mut self, server: &ServerPlan, code: code::Code, message: String) {
        let notes = self.notes.entry(server.place.owner.object.clone()).or_default();
        notes.add(code, server.field(), message);
    }

    fn terminated(&mut self, server: &ServerPlan, service: Service) {
        let mut names: Vec<_> = server.hosts.patterns().cloned().collect();
        // S-30, S-82: with `*` among them the others ask for nothing more.
        // Hosts of a forward proxy are those of destinations, and its clients may name it as they like.
        if names.contains(&HostPattern::Any) || matches!(server.kind, ServerKind::Proxy(..)) {
            names = vec![HostPattern::Any];
        }
        names.sort_unstable();
        names.dedup();
        let termination = server.kind.termination().cloned();
        self.listener.tls.push(TlsServer {
            origin: server.origin.clone(),
            names,
            mesh_only: false,
            termination,
            service,
        });
    }

    fn l4_of(&self, server: &ServerPlan) -> Vec<&'a L4Binding> {
        self.bindings.of_bytes(&server.place)
    }

    /// VS-64: the first rule of the first VirtualService.
    fn first_route(&self, server: &ServerPlan) -> Option<Service> {
        self.l4_of(server).first().map(|l4| Service::Tcp(Arc::clone(&l4.route)))
    }

    /// A server for each rule, by the names that no earlier rule has (VS-63). A name that was written wider than the server's own stands behind
    /// narrower ones, as it would if it had not been narrowed.
    fn passed_through(&mut self, server: &ServerPlan) -> bool {
        let rules = self.l4_of(server);
        let all = rules.iter().enumerate().flat_map(|(at, rule)| rule.names.iter().map(move |name| (at, name)));
        let mut all: Vec<(usize, &(HostPattern, HostPattern))> = all.collect();
        all.sort_by_key(|(_, (name, written))| if name == written { 0 } else { usize::MAX - width(written) });
        let mut names: Vec<Vec<HostPattern>> = vec![Vec::new(); rules.len()];
        let mut lost: Vec<Vec<String>> = vec![Vec::new(); rules.len()];
        for (at, (name, _)) in all {
            match (self.taken.insert(name.clone()), names.get_mut(at), lost.get_mut(at)) {
                (true, Some(names), _) => names.push(name.clone()),
                (_, _, Some(lost)) => lost.push(name.to_string()),
                (..) => {}
            }
        }
        let mut any = false;
        for ((l4, mut names), lost) in rules.into_iter().zip(names).zip(lost) {
            let (origin, service) = (l4.route.origin.clone(), Service::Tcp(Arc::clone(&l4.route)));
            if !lost.is_empty() {
                let message =
                    format!("another rule already has {} on this port, which {origin} wants", lost.join(", "));
                self.note(server, code::NAME_TAKEN, message);
            }
            if !names.is_empty() {
                any = true;
                names.sort_unstable();
                let mesh_only = server.kind == ServerKind::AutoPassthrough;
                let origin = if mesh_only { server.origin.clone() } else { origin };
                self.listener.tls.push(TlsServer { origin, names, mesh_only, termination: None, service });
            }
        }
        any
    }
}

/// The port that is bound as `bound`, before `--port-map`.
fn policy_port(bound: u16, settings: &Settings) -> u16 {
    let mapped = settings.port_map.iter().find(|(_, target)| **target == bound);
    mapped.map_or(bound, |(port, _)| *port)
}

/// How much of a name a pattern says.
fn width(pattern: &HostPattern) -> usize {
    match pattern {
        HostPattern::Exact(name) => name.len() + 1,
        HostPattern::Suffix(suffix) => suffix.len(),
        HostPattern::Any => 0,
    }
}
