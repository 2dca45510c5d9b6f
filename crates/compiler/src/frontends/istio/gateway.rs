//! Which listeners the workloads get: Gateways chosen by selector, merged by port (S-01 to S-22, GW-01 to GW-09).

mod coverage;
pub(crate) mod ports;
mod secured;
mod selector;
mod server;

use crate::code;
use crate::context::CompileContext;
use crate::credentials::{Finder, Used};
use crate::fast::FastMap;
use crate::hosts::{ServerHost, ServerHosts};
use crate::order;
use crate::report::Notes;
use crate::settings::Workload;
use ir::{HostPattern, ListenerId, ObjectKind, Origin, TableId, Termination};
use resources::key::Key;
use resources::set::Object;
use resources::spec::core::Service;
use resources::spec::gateway::{Gateway, Protocol, Server};
use resources::spec::text_match::selects;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// A listener that will be opened.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Which of the workloads it belongs to.
    pub(crate) workload: usize,
    /// Its servers in the order in which they merge (S-10), oldest Gateway first.
    pub(crate) servers: Vec<PlannedServer>,
}

/// A server of a listener.
#[derive(Debug, Clone)]
pub(crate) struct PlannedServer {
    pub(crate) gateway: Arc<Object<Gateway>>,
    /// Its place in the Gateway.
    pub(crate) index: usize,
    /// `port.number`.
    pub(crate) port: u16,
    pub(crate) hosts: Arc<ServerHosts>,
    pub(crate) kind: ServerKind,
}

/// What a server does with connections.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ServerKind {
    /// HTTP in clear text, perhaps to be sent to HTTPS (S-70).
    Http { to_https: bool, grpc_web: bool },
    /// HTTP in TLS.
    Https(Arc<Termination>),
    /// Bytes in TLS that is taken off.
    Tls(Arc<Termination>),
    /// TLS that is passed through.
    Passthrough,
    /// TLS of a mesh that is passed to whom its names say (GW-10).
    AutoPassthrough,
    /// Bytes.
    Tcp,
}

impl ServerKind {
    /// The termination, where TLS is taken off.
    pub(crate) fn termination(&self) -> Option<&Arc<Termination>> {
        match self {
            Self::Https(termination) | Self::Tls(termination) => Some(termination),
            Self::Http { .. } | Self::Passthrough | Self::AutoPassthrough | Self::Tcp => None,
        }
    }

    pub(crate) fn to_https(&self) -> bool {
        matches!(self, Self::Http { to_https: true, .. })
    }
}

impl PlannedServer {
    /// Whether VirtualServices bind to both alike: certificates have no part in that.
    pub(crate) fn binds_alike(&self, other: &Self) -> bool {
        self.gateway.key == other.gateway.key
            && self.index == other.index
            && self.port == other.port
            && self.hosts == other.hosts
            && self.kind.to_https() == other.kind.to_https()
            && std::mem::discriminant(&self.kind) == std::mem::discriminant(&other.kind)
    }

    /// The table that its routes go into, if HTTP is spoken.
    pub(crate) fn table(&self, listener: &ListenerId) -> Option<TableId> {
        let server = match &self.kind {
            ServerKind::Http { .. } => None,
            ServerKind::Https(_) => Some(format!("{}/servers[{}]", self.gateway.key, self.index).into()),
            ServerKind::Tls(_) | ServerKind::Passthrough | ServerKind::AutoPassthrough | ServerKind::Tcp => {
                return None;
            }
        };
        Some(TableId { listener: listener.clone(), server })
    }

    pub(crate) fn origin(&self) -> Origin {
        let Key { namespace, name } = self.gateway.key.clone();
        Origin { kind: ObjectKind::Gateway, namespace, name, rule: format!("servers[{}]", self.index).into() }
    }
}

/// All listeners, and what there is to say about Gateways.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    pub(crate) listeners: BTreeMap<Arc<ListenerId>, Plan>,
    /// Where each Gateway is served, in the order of the listeners; absent when it is for another workload.
    pub(crate) served: BTreeMap<Key, Vec<Arc<ListenerId>>>,
    pub(crate) notes: BTreeMap<Key, Notes>,
    /// Secrets, ConfigMaps and files that servers name.
    pub(crate) used: Used,
}

/// Plans every listener anew. Costs what all Gateways cost, and is done only when one of them, or a Service of the gateway
/// itself, changed.
pub(crate) fn plan(context: CompileContext<'_>) -> Plans {
    let mut plans = Plans::default();
    let mut gateways: Vec<_> = context.set.gateways.values().collect();
    gateways.sort_by(|a, b| order::by_age(a, b));
    for gateway in &gateways {
        let mut notes = Notes::default();
        server::fields_without_effect(gateway, &mut notes);
        plans.notes.insert(gateway.key.clone(), notes);
    }
    for (index, workload) in context.workloads().iter().enumerate() {
        let mut merge = Merge::new(context, workload, index, &mut plans);
        for gateway in gateways.iter().filter(|gateway| selects(&gateway.spec.selector, &workload.labels)) {
            merge.gateway(gateway);
        }
    }
    for gateway in gateways.iter().filter(|gateway| !plans.served.contains_key(&gateway.key)) {
        let (message, help) = selector::mismatch(&gateway.spec.selector, context.workloads());
        if let Some(notes) = plans.notes.get_mut(&gateway.key) {
            notes.add_with_help(code::OTHER_WORKLOAD, "spec.selector", message, help);
        }
    }
    plans
}

fn is_grpc_web(protocol: &str) -> bool {
    protocol.eq_ignore_ascii_case("GRPC-WEB") || protocol.eq_ignore_ascii_case("GRPC_WEB")
}

/// The merging of one workload's Gateways.
struct Merge<'a, 'b> {
    context: CompileContext<'a>,
    workload: &'a Workload,
    index: usize,
    services: Vec<&'a Arc<Object<Service>>>,
    /// The protocol that the first server in clear text has on an address (S-11, S-12, S-18).
    plain: BTreeMap<SocketAddr, (Protocol, Key)>,
    /// The hosts that TLS servers have on an address, and whose they are (S-15).
    secured: FastMap<(SocketAddr, HostPattern), Key>,
    plans: &'b mut Plans,
}

impl<'a, 'b> Merge<'a, 'b> {
    fn new(context: CompileContext<'a>, workload: &'a Workload, index: usize, plans: &'b mut Plans) -> Self {
        let services = ports::services_of(context, workload);
        Self { context, workload, index, services, plain: BTreeMap::new(), secured: FastMap::default(), plans }
    }

    fn gateway(&mut self, gateway: &Arc<Object<Gateway>>) {
        self.plans.served.entry(gateway.key.clone()).or_default();
        let mut notes = self.plans.notes.remove(&gateway.key).unwrap_or_default();
        for index in 0..gateway.spec.servers.len() {
            self.server(gateway, index, &mut notes);
        }
        self.plans.notes.insert(gateway.key.clone(), notes);
    }

    fn server(&mut self, gateway: &Arc<Object<Gateway>>, index: usize, notes: &mut Notes) {
        let Some(written) = gateway.spec.servers.get(index) else { return };
        let field = format!("spec.servers[{index}]");
        let Some(port) = server::port(written, &field, notes) else { return };
        let Some(ip) = server::bind(written, self.workload, &field, notes) else { return };
        let address = SocketAddr::new(ip, self.bound_port(port.number, &field, notes));
        if !self.claims(address, port.protocol, &gateway.key, &field, notes) {
            return;
        }
        let Some(kind) = self.kind(written, port.protocol, &field, notes) else { return };
        let mut hosts = server::hosts(written, gateway, &field, notes);
        if !matches!(kind, ServerKind::Http { .. } | ServerKind::Tcp) {
            hosts = self.unclaimed(address, hosts, &gateway.key, &field, notes);
            if hosts.is_empty() {
                return;
            }
        }
        if let Some(termination) = kind.termination() {
            let patterns = hosts.iter().map(|host| &host.pattern);
            coverage::check(&termination.credential, patterns, &format!("{field}.tls"), notes);
        }
        let (gateway, hosts) = (Arc::clone(gateway), Arc::new(ServerHosts::new(hosts)));
        let planned = PlannedServer { gateway, index, port: port.number, hosts, kind };
        self.open(address, planned, &field, notes);
    }

    fn kind(&mut self, written: &Server, protocol: Protocol, field: &str, notes: &mut Notes) -> Option<ServerKind> {
        let (kind, tls) = server::kind(written, protocol, field, notes)?;
        let field = format!("{field}.tls");
        let used = &mut self.plans.used;
        let mut finder = Finder { context: self.context, workload: self.workload, field: &field, notes, used };
        Some(match (kind, tls) {
            (server::Kind::Http, _) => ServerKind::Http {
                to_https: written.tls.as_ref().is_some_and(|tls| tls.https_redirect),
                grpc_web: written.port.as_ref().is_some_and(|port| is_grpc_web(&port.protocol)),
            },
            (server::Kind::Https, Some(tls)) => {
                ServerKind::Https(Arc::new(secured::termination(tls, true, &mut finder)))
            }
            (server::Kind::Tls, Some(tls)) => ServerKind::Tls(Arc::new(secured::termination(tls, false, &mut finder))),
            (server::Kind::Tcp, _) => ServerKind::Tcp,
            (server::Kind::AutoPassthrough, _) => ServerKind::AutoPassthrough,
            (server::Kind::Passthrough | server::Kind::Https | server::Kind::Tls, _) => ServerKind::Passthrough,
        })
    }

    /// The hosts of a TLS server that no older one has on the address. Istio leaves the whole server out for one of them (S-15); here the
    /// others are served (S-15). They are compared without their namespaces (S-16).
    fn unclaimed(
        &mut self,
        address: SocketAddr,
        hosts: Vec<ServerHost>,
        key: &Key,
        field: &str,
        notes: &mut Notes,
    ) -> Vec<ServerHost> {
        let mut kept: Vec<ServerHost> = Vec::with_capacity(hosts.len());
        for host in hosts {
            match self.secured.get(&(address, host.pattern.clone())) {
                // The same host for several namespaces of one server.
                Some(first) if first == key && kept.iter().any(|other| other.pattern == host.pattern) => {
                    kept.push(host)
                }
                Some(first) => {
                    let message = format!("Gateway {first} already has `{}` on {address}", host.pattern);
                    let help = "the oldest Gateway keeps a host; the other hosts of this server are served";
                    notes.add_with_help(code::DUPLICATE_NAME, format!("{field}.hosts"), message, help);
                }
                None => {
                    self.secured.insert((address, host.pattern.clone()), key.clone());
                    kept.push(host);
                }
            }
        }
        kept
    }

    /// S-40, and `--port-map` last.
    fn bound_port(&self, number: u16, field: &str, notes: &mut Notes) -> u16 {
        let (resolved, unknown) = ports::resolve(self.context, &self.services, number);
        if let Some(unknown) = unknown {
            let message = format!(
                "Service {} sends this port to `{}`, which no EndpointSlice knows; the port itself is listened on",
                unknown.service, unknown.name
            );
            notes.add(code::TARGET_PORT_UNKNOWN, format!("{field}.port.number"), message);
        }
        self.context.settings.port_map.get(&resolved).copied().unwrap_or(resolved)
    }

    /// Whether a server may have an address beside those that have it already. Clear text comes with clear text of the same
    /// family alone (S-10 to S-12); TLS does not join clear text, while clear text may join TLS (S-18).
    fn claims(&mut self, address: SocketAddr, protocol: Protocol, key: &Key, field: &str, notes: &mut Notes) -> bool {
        let tls = matches!(protocol, Protocol::Https | Protocol::Tls);
        match self.plain.get(&address) {
            Some((Protocol::Http, _)) if protocol == Protocol::Http => true,
            Some((_, first)) => {
                let message = format!(
                    "Gateway {first} already has {address} with another protocol, so that this server is left out"
                );
                notes.add_with_help(
                    code::PORT_CONFLICT,
                    format!("{field}.port"),
                    message,
                    "the oldest Gateway keeps a port",
                );
                false
            }
            None => {
                if !tls {
                    self.plain.insert(address, (protocol, key.clone()));
                }
                true
            }
        }
    }

    fn open(&mut self, address: SocketAddr, planned: PlannedServer, field: &str, notes: &mut Notes) {
        let taken = self.plans.listeners.iter().find(|(id, plan)| id.address == address && plan.workload != self.index);
        if let Some((other, _)) = taken {
            let message = format!("workload {} already listens on {address}", other.workload.0);
            let help = "give the server a `bind`, or the workloads different addresses";
            notes.add_with_help(code::ADDRESS_TAKEN, format!("{field}.port"), message, help);
            return;
        }
        let id = Arc::new(ListenerId { workload: self.workload.name.clone(), address });
        let id = self.plans.listeners.get_key_value(&id).map_or(id, |(known, _)| Arc::clone(known));
        let served = self.plans.served.entry(planned.gateway.key.clone()).or_default();
        if !served.contains(&id) {
            served.push(Arc::clone(&id));
        }
        let plan = self.plans.listeners.entry(id).or_insert(Plan { workload: self.index, servers: Vec::new() });
        plan.servers.push(planned);
    }
}
