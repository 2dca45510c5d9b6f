//! Gateways: which workloads they are for, and the servers that they ask for (S-01 to S-22, GW-01 to GW-09). Whether they get the
//! addresses is for `plan::merge` to say.

pub(crate) mod ports;
mod secured;
mod selector;
mod server;

use crate::code;
use crate::context::CompileContext;
use crate::credentials::{Finder, Used};
use crate::hosts::ServerHosts;
use crate::plan::owner::Owner;
use crate::plan::servers::{Candidate, Claim, Family, GatewayPlan, ServerKind, ServerPlace, ServerPlan};
use crate::report::Notes;
use crate::settings::Workload;
use ir::{ListenerId, ObjectKind, Origin, OriginalDestination, ProxyUsers};
use resources::annotation::{ORIGINAL_DESTINATION, PROXY_USERS};
use resources::set::Object;
use resources::spec::core::Service;
use resources::spec::gateway::{Gateway, Protocol, Server};
use resources::spec::text_match::selects;
use std::net::SocketAddr;
use std::sync::Arc;

/// Plans Gateways, with what all of them need.
pub(crate) struct Planner<'a> {
    context: CompileContext<'a>,
    /// The Services of each workload (S-40).
    services: Vec<Vec<&'a Arc<Object<Service>>>>,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(context: CompileContext<'a>) -> Self {
        let of = |workload| ports::services_of(context, workload);
        Self { context, services: context.workloads().iter().map(of).collect() }
    }

    /// Plans one Gateway for every workload that it selects.
    pub(crate) fn plan(&self, gateway: &Object<Gateway>) -> GatewayPlan {
        let owner = Arc::new(Owner::of(gateway));
        let mut plan = GatewayPlan {
            owner,
            selected: false,
            candidates: Vec::new(),
            notes: Notes::default(),
            used: Used::default(),
        };
        server::fields_without_effect(gateway, &mut plan.notes);
        for (index, workload) in self.context.workloads().iter().enumerate() {
            if selects(&gateway.spec.selector, &workload.labels) {
                plan.selected = true;
                let mut servers = Servers { planner: self, workload, index, gateway, plan: &mut plan };
                servers.add();
            }
        }
        if !plan.selected {
            let (message, help) = selector::mismatch(&gateway.spec.selector, self.context.workloads());
            plan.notes.add_with_help(code::OTHER_WORKLOAD, "spec.selector", message, help);
        }
        plan
    }
}

/// An entry of `spec.servers`.
#[derive(Clone, Copy)]
struct ServerEntry<'a> {
    index: usize,
    server: &'a Server,
    /// The path of its field.
    field: &'a str,
}

/// The servers of a Gateway for one workload.
struct Servers<'a, 'b> {
    planner: &'b Planner<'a>,
    workload: &'a Workload,
    index: usize,
    gateway: &'b Object<Gateway>,
    plan: &'b mut GatewayPlan,
}

impl Servers<'_, '_> {
    fn add(&mut self) {
        let gateway = self.gateway;
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let mut notes = Notes::default();
            let field = format!("spec.servers[{index}]");
            let claim = self.claim(ServerEntry { index, server, field: &field }, &mut notes);
            self.plan.candidates.push(Candidate { workload: self.index, index, field, notes, claim });
        }
    }

    /// What a server asks for; `None` with the reason said where it cannot be opened.
    fn claim(&mut self, entry: ServerEntry<'_>, notes: &mut Notes) -> Option<Claim> {
        let ServerEntry { server: written, field, .. } = entry;
        let port = server::port(written, field, notes)?;
        let ip = server::bind(written, self.workload, field, notes)?;
        let address = SocketAddr::new(ip, self.bound_port(port.number, field, notes));
        // Counts only if the server gets the address.
        let mut notes = Notes::default();
        let server = self.server(entry, address, &port, &mut notes);
        let family = match port.protocol {
            Protocol::Http => Family::Http,
            Protocol::Https | Protocol::Tls => Family::Tls,
            Protocol::HttpProxy if written.tls.is_some() => Family::Tls,
            Protocol::Tcp | Protocol::Udp | Protocol::HttpProxy => Family::Other,
        };
        Some(Claim { address, family, server, notes })
    }

    fn server(
        &mut self,
        entry: ServerEntry<'_>,
        address: SocketAddr,
        port: &server::ServerPort,
        notes: &mut Notes,
    ) -> Option<ServerPlan> {
        let ServerEntry { index, server: written, field } = entry;
        let kind = self.kind(written, port.protocol, field, notes)?;
        let hosts = Arc::new(ServerHosts::new(server::hosts(written, self.gateway, field, notes)));
        let listener = Arc::new(ListenerId { workload: self.workload.name.clone(), address });
        let rule: Arc<str> = format!("servers[{index}]").into();
        let place = ServerPlace::new(listener, Arc::clone(&self.plan.owner), index, &rule, &kind);
        let key = &self.gateway.key;
        let (namespace, name) = (Arc::clone(&key.namespace), Arc::clone(&key.name));
        let origin = Origin { kind: ObjectKind::Gateway, namespace, name, rule };
        Some(ServerPlan { place: Arc::new(place), origin, port: port.number, hosts, kind })
    }

    fn kind(&mut self, written: &Server, protocol: Protocol, field: &str, notes: &mut Notes) -> Option<ServerKind> {
        let (kind, tls) = server::kind(written, protocol, field, notes)?;
        let field = format!("{field}.tls");
        let (context, used) = (self.planner.context, &mut self.plan.used);
        let mut finder =
            Finder { context, workload: self.workload, owner: &self.gateway.key.namespace, field: &field, notes, used };
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
            (server::Kind::Proxy, tls) => {
                let original = original_destination(self.gateway, context, written.tls.is_some(), finder.notes)?;
                let termination = tls.map(|tls| Arc::new(secured::termination(tls, true, &mut finder)));
                let named = self.gateway.meta.annotations.get(PROXY_USERS);
                let finder = Finder { field: "metadata", ..finder };
                ServerKind::Proxy(termination, named.map(|secret| Arc::new(proxy_users(secret, finder))), original)
            }
            (server::Kind::AutoPassthrough, _) => ServerKind::AutoPassthrough,
            (server::Kind::Passthrough | server::Kind::Https | server::Kind::Tls, _) => ServerKind::Passthrough,
        })
    }

    /// S-40, and `--port-map` last.
    fn bound_port(&self, number: u16, field: &str, notes: &mut Notes) -> u16 {
        let context = self.planner.context;
        let services = self.planner.services.get(self.index).map_or(&[][..], Vec::as_slice);
        let (resolved, unknown) = ports::resolve(context, services, number);
        if let Some(unknown) = unknown {
            let message = format!(
                "Service {} sends this port to `{}`, which no EndpointSlice knows; the port itself is listened on",
                unknown.service, unknown.name
            );
            notes.add(code::TARGET_PORT_UNKNOWN, format!("{field}.port.number"), message);
        }
        context.settings.port_map.get(&resolved).copied().unwrap_or(resolved)
    }
}

fn is_grpc_web(protocol: &str) -> bool {
    protocol.eq_ignore_ascii_case("GRPC-WEB") || protocol.eq_ignore_ascii_case("GRPC_WEB")
}

/// How the network sends the connections of clients that do not know of the proxy. `None`, with the reason reported, where that is not clear: the
/// port stays closed.
fn original_destination(
    gateway: &Object<Gateway>,
    context: CompileContext<'_>,
    in_tls: bool,
    notes: &mut Notes,
) -> Option<Option<OriginalDestination>> {
    let Some(written) = gateway.meta.annotations.get(ORIGINAL_DESTINATION) else { return Some(None) };
    let has_header = context.settings.mesh.default_config.gateway_topology.proxy_protocol.is_some();
    let (why, help) = match written.trim() {
        _ if in_tls => {
            ("a server with TLS of its own is not for clients that do not know of it", "remove `tls` of the server")
        }
        "REDIRECT" => return Some(Some(OriginalDestination::Redirect)),
        "TPROXY" => return Some(Some(OriginalDestination::Tproxy)),
        "PROXY_PROTOCOL" if has_header => return Some(Some(OriginalDestination::ProxyProtocol)),
        "PROXY_PROTOCOL" => (
            "connections have no PROXY header",
            "set `defaultConfig.gatewayTopology.proxyProtocol: {}` in the mesh settings",
        ),
        _ => ("it is not a source of destinations", "write REDIRECT, TPROXY or PROXY_PROTOCOL"),
    };
    let message = format!("`{ORIGINAL_DESTINATION}: {written}`: {why}; the port stays closed");
    notes.add_with_help(code::ORIGINAL_DESTINATION, "metadata.annotations", message, help);
    None
}

/// The users in a Secret; none where it cannot be had, so that nobody is let in.
fn proxy_users(secret: &str, mut finder: Finder<'_, '_>) -> ProxyUsers {
    let values = finder.values_of(secret, "annotations").into_iter().flatten();
    // A line end at the end of a file is no part of a password.
    ProxyUsers::new(values.map(|(user, password)| (user.to_string(), password.trim_ascii_end().to_vec())))
}
