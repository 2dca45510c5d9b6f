//! The listeners of the snapshot, and the tables that they name: what is opened, for whom, and what stays closed for want of a route.

use super::dirty::Dirty;
use super::state::State;
use crate::code;
use crate::fast::FastSet;
use crate::frontends::istio::gateway::{Plan, PlannedServer, ServerKind};
use crate::frontends::istio::l4::L4Binding;
use crate::mesh_settings;
use crate::order;
use crate::report::Notes;
use ir::{Changes, ForwardedHeaders, HostPattern, HttpTable, Listener, ListenerId, Map};
use ir::{Service, TableId, TlsServer};
use resources::key::{Key, Kind};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A listener while it is put together.
struct Assembly<'a> {
    state: &'a State,
    id: &'a Arc<ListenerId>,
    listener: Listener,
    /// Tables with whether gRPC-Web is translated.
    tables: BTreeMap<TableId, bool>,
    /// Names that some server has.
    taken: FastSet<HostPattern>,
    notes: BTreeMap<Key, Notes>,
}

impl State {
    /// Puts the listeners together that may be different, with their tables; hosts of tables that stay are kept.
    pub(super) fn open_listeners(&mut self, dirty: &mut Dirty, changes: &mut Changes) {
        for id in std::mem::take(&mut dirty.listeners) {
            let (listener, tables, notes) = match self.plans.listeners.get(&id) {
                Some(plan) => Assembly::put_together(self, &id, plan),
                None => (None, BTreeMap::new(), BTreeMap::new()),
            };
            self.put_tables(&id, &tables, changes);
            self.put_listener(&id, listener, changes);
            let before = self.listener_notes.remove(&id).unwrap_or_default();
            dirty.gateway_notes.extend(before.into_keys().chain(notes.keys().cloned()));
            if !notes.is_empty() {
                self.listener_notes.insert(id, notes);
            }
        }
        for key in std::mem::take(&mut dirty.gateway_notes) {
            let Some(mut notes) = self.plans.notes.get(&key).cloned() else { continue };
            for of_listener in self.listener_notes.values().filter_map(|notes| notes.get(&key)) {
                notes.extend(of_listener);
            }
            self.report.set(Kind::Gateway, &key, notes);
        }
    }

    fn put_listener(&mut self, id: &ListenerId, listener: Option<Listener>, changes: &mut Changes) {
        let before = self.snapshot.listeners.get(id);
        match listener {
            Some(listener) if before.is_some_and(|before| **before == listener) => return,
            Some(listener) => self.snapshot.listeners.insert_mut(id.clone(), Arc::new(listener)),
            None if before.is_none() => return,
            None => {
                self.snapshot.listeners.remove_mut(id);
            }
        }
        changes.listeners.push(id.clone());
    }

    fn put_tables(&mut self, id: &ListenerId, tables: &BTreeMap<TableId, bool>, changes: &mut Changes) {
        let first = TableId { listener: id.clone(), server: None };
        let here =
            self.snapshot.tables.range(&first..).map(|(table, _)| table).take_while(|table| table.listener == *id);
        let gone: Vec<_> = here.filter(|table| !tables.contains_key(*table)).cloned().collect();
        for table in gone {
            self.snapshot.tables.remove_mut(&table);
            changes.tables.push(table);
        }
        for (table, grpc_web) in tables {
            let before = self.snapshot.tables.get(table);
            let hosts = before.map_or_else(Map::default, |table| table.hosts.clone());
            let next = self.table(hosts, *grpc_web);
            if before.is_none_or(|before| differs(before, &next)) {
                self.snapshot.tables.insert_mut(table.clone(), Arc::new(next));
                changes.tables.push(table.clone());
            }
        }
    }

    fn table(&self, hosts: Map<HostPattern, Arc<ir::Host>>, grpc_web: bool) -> HttpTable {
        let topology = &self.settings.mesh.default_config.gateway_topology;
        let (path_normalization, escaped_slashes) = mesh_settings::paths(&self.settings);
        HttpTable {
            hosts,
            path_normalization,
            escaped_slashes,
            forwarded: ForwardedHeaders {
                trusted_proxies: topology.num_trusted_proxies,
                certificates: mesh_settings::certificate_header(&self.settings),
            },
            grpc_web,
        }
    }

    /// What VirtualServices do with the bytes of a server, the one that counts first (VS-04).
    fn l4_bindings_of(&self, id: &ListenerId, server: &PlannedServer) -> Vec<&L4Binding> {
        let here =
            |l4: &&L4Binding| *l4.listener == *id && l4.gateway.key == server.gateway.key && l4.server == server.index;
        let mut found: Vec<(&Key, &L4Binding)> = Vec::new();
        for (key, l4) in &self.l4 {
            found.extend(l4.iter().filter(here).map(|l4| (key, l4)));
        }
        found.sort_by(|(a, one), (b, other)| {
            let objects = self.set.virtual_services.get(*a).zip(self.set.virtual_services.get(*b));
            let age = objects.map_or(std::cmp::Ordering::Equal, |(a, b)| order::by_age(a, b));
            one.class.cmp(&other.class).then(age)
        });
        found.into_iter().map(|(_, l4)| l4).collect()
    }
}

impl<'a> Assembly<'a> {
    /// The listener, unless there is nothing to serve; its tables; and what is to be said.
    fn put_together(
        state: &'a State,
        id: &'a Arc<ListenerId>,
        plan: &Plan,
    ) -> (Option<Listener>, BTreeMap<TableId, bool>, BTreeMap<Key, Notes>) {
        let listener = Listener {
            id: (**id).clone(),
            servers: Vec::new(),
            server_port: 0,
            plain: None,
            tls: Vec::new(),
            mesh_settings: Arc::clone(&state.mesh_settings),
        };
        let (tables, taken, notes) = Default::default();
        let mut assembly = Self { state, id, listener, tables, taken, notes };
        // What ends TLS has its names whatever a rule for another server says.
        for server in plan.servers.iter().filter(|server| server.kind.termination().is_some()) {
            assembly.taken.extend(server.hosts.patterns().cloned());
        }
        plan.servers.iter().for_each(|server| assembly.server(server));
        let Assembly { listener, tables, notes, .. } = assembly;
        let serves = listener.plain.is_some() || !listener.tls.is_empty();
        (serves.then_some(listener), tables, notes)
    }

    fn server(&mut self, server: &PlannedServer) {
        let table = server.table(self.id);
        let grpc_web = matches!(server.kind, ServerKind::Http { grpc_web: true, .. });
        if let Some(table) = &table {
            *self.tables.entry(table.clone()).or_default() |= grpc_web;
        }
        let opened = match (&server.kind, table) {
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
            (ServerKind::Http { .. } | ServerKind::Https(_), None) => false,
        };
        if opened {
            self.listener.servers.push(server.origin());
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

    fn note(&mut self, server: &PlannedServer, code: code::Code, message: String) {
        let notes = self.notes.entry(server.gateway.key.clone()).or_default();
        notes.add(code, format!("spec.servers[{}]", server.index), message);
    }

    fn terminated(&mut self, server: &PlannedServer, service: Service) {
        let mut names: Vec<_> = server.hosts.patterns().cloned().collect();
        // S-30, S-82: with `*` among them the others ask for nothing more.
        if names.contains(&HostPattern::Any) {
            names = vec![HostPattern::Any];
        }
        names.sort_unstable();
        names.dedup();
        let termination = server.kind.termination().cloned();
        self.listener.tls.push(TlsServer { origin: server.origin(), names, mesh_only: false, termination, service });
    }

    /// VS-64: the first rule of the first VirtualService.
    fn first_route(&self, server: &PlannedServer) -> Option<Service> {
        let l4 = self.state.l4_bindings_of(self.id, server);
        l4.first().map(|l4| Service::Tcp(Arc::clone(&l4.route)))
    }

    /// A server for each rule, by the names that nobody has before (VS-63). A name that was written wider than the server's own stands behind
    /// narrower ones, as it would if it had not been narrowed.
    fn passed_through(&mut self, server: &PlannedServer) -> bool {
        let rules = self.state.l4_bindings_of(self.id, server);
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
                let origin = if mesh_only { server.origin() } else { origin };
                self.listener.tls.push(TlsServer { origin, names, mesh_only, termination: None, service });
            }
        }
        any
    }
}

/// How much of a name a pattern says.
fn width(pattern: &HostPattern) -> usize {
    match pattern {
        HostPattern::Exact(name) => name.len() + 1,
        HostPattern::Suffix(suffix) => suffix.len(),
        HostPattern::Any => 0,
    }
}

/// Whether two tables differ in more than their hosts.
fn differs(one: &HttpTable, other: &HttpTable) -> bool {
    one.path_normalization != other.path_normalization
        || one.escaped_slashes != other.escaped_slashes
        || one.forwarded != other.forwarded
        || one.grpc_web != other.grpc_web
}
