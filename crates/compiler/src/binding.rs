//! Where a VirtualService takes effect: the listeners, servers and hosts it binds to, with its routes for each, or the reason
//! why it routes nothing (S-50 to S-55, VS-01 to VS-03).

mod refusal;

use crate::code;
use crate::context::CompileContext;
use crate::frontends::istio::gateway::{PlannedServer, Plans};
use crate::frontends::istio::l4::{self, L4Binding};
use crate::frontends::istio::routes::{self, Target};
use crate::names;
use crate::report::Notes;
use crate::settings::Workload;
use crate::visibility::{self, Class};
use ir::{HostPattern, ListenerId, Route, TableId};
use refusal::Refusal;
use resources::key::Key;
use resources::set::Object;
use resources::spec::gateway::Gateway;
use resources::spec::virtual_service::VirtualService;
use std::sync::Arc;

/// One server that a VirtualService binds to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bound {
    /// Where its routes go.
    pub(crate) table: Arc<TableId>,
    pub(crate) gateway: Arc<Object<Gateway>>,
    /// Which server of the Gateway.
    pub(crate) server: usize,
    pub(crate) class: Class,
    /// Whether the server sends what comes in clear text to HTTPS (S-70).
    pub(crate) to_https: bool,
    /// The effective hosts (S-31).
    pub(crate) hosts: Box<[HostPattern]>,
    pub(crate) routes: Arc<[Arc<Route>]>,
}

impl Bound {
    /// Whether this is one of its hosts, which are sorted.
    pub(crate) fn has(&self, host: &HostPattern) -> bool {
        self.hosts.binary_search(host).is_ok()
    }

    /// Whether any of its hosts is one that `host` stands for.
    fn meets(&self, host: &HostPattern) -> bool {
        match host {
            HostPattern::Exact(_) => self.has(host),
            HostPattern::Suffix(_) | HostPattern::Any => self.hosts.iter().any(|met| host.covers(met)),
        }
    }
}

/// Where a VirtualService takes effect, and what is to be said about it.
#[derive(Default)]
pub(crate) struct Binding {
    pub(crate) bound: Vec<Bound>,
    pub(crate) l4: Vec<L4Binding>,
    pub(crate) notes: Notes,
}

/// The routes that go into each table of one listener.
type OfTables = Vec<(Arc<TableId>, Arc<[Arc<Route>]>)>;

/// Binds a VirtualService.
pub(crate) fn bind(context: CompileContext<'_>, plans: &Plans, object: &Object<VirtualService>) -> Binding {
    let (bound, l4) = (Vec::new(), Vec::new());
    let mut binder = Binder { context, plans, object, notes: Notes::default(), bound, l4, met: Vec::new() };
    binder.run();
    Binding { bound: binder.bound, l4: binder.l4, notes: binder.notes }
}

struct Binder<'a> {
    context: CompileContext<'a>,
    plans: &'a Plans,
    object: &'a Object<VirtualService>,
    notes: Notes,
    bound: Vec<Bound>,
    l4: Vec<L4Binding>,
    /// Hosts that some server of bytes has as well.
    met: Vec<HostPattern>,
}

impl Binder<'_> {
    fn run(&mut self) {
        let spec = &self.object.spec;
        if spec.hosts.is_empty() {
            if self.context.index.delegating_to(&self.object.key).next().is_none() {
                let message = "a VirtualService without hosts is for others to delegate to, and none does";
                self.notes.add(code::DELEGATE_UNUSED, "spec.hosts", message);
            }
            return;
        }
        let gateways = self.gateways();
        if gateways.is_empty() {
            let help = "name a Gateway in `gateways` to route what comes through it";
            let message = "it routes nothing here because it names no gateway: only sidecars use it";
            self.notes.add_with_help(code::MESH_ONLY, "spec.gateways", message, help);
            return;
        }
        let hosts = self.hosts();
        for (field, gateway) in &gateways {
            if let Err(refusal) = self.gateway(gateway, &hosts) {
                refusal.say(self.context, self.plans, self.object, gateway, field, &mut self.notes);
            }
        }
        self.unbound_hosts(&hosts);
        self.unused_blocks();
    }

    /// VS-67: rules of a kind that no server of the Gateways has a use for.
    fn unused_blocks(&mut self) {
        let spec = &self.object.spec;
        let reached = |block: &str| self.l4.iter().any(|l4| l4.route.origin.rule.starts_with(block));
        let unused = [
            (!spec.http.is_empty() && self.bound.is_empty(), "http", "a server that speaks HTTP"),
            (!spec.tls.is_empty() && !reached("tls"), "tls", "a server that passes TLS through"),
            (!spec.tcp.is_empty() && !reached("tcp"), "tcp", "a server for TCP, or for TLS that is taken off"),
        ];
        if self.bound.is_empty() && self.l4.is_empty() {
            return;
        }
        for (is_unused, block, wanted) in unused {
            if is_unused {
                let message = format!("its `{block}` rules are not used: none of its Gateways has {wanted} for it");
                self.notes.add(code::FIELD_NO_EFFECT, format!("spec.{block}"), message);
            }
        }
    }

    /// The Gateways that are named, each once, with the field that names it.
    fn gateways(&self) -> Vec<(String, Key)> {
        let mut gateways: Vec<(String, Key)> = Vec::new();
        for (index, text) in self.object.spec.gateways.iter().enumerate() {
            if let Some(key) = names::gateway(text, &self.object.key.namespace, self.context.domain())
                && !gateways.iter().any(|(_, known)| *known == key)
            {
                gateways.push((format!("spec.gateways[{index}]"), key));
            }
        }
        gateways
    }

    fn hosts(&mut self) -> Vec<HostPattern> {
        let mut hosts = Vec::with_capacity(self.object.spec.hosts.len());
        for (index, text) in self.object.spec.hosts.iter().enumerate() {
            let full = names::full_host(text, &self.object.key.namespace, self.context.domain());
            match HostPattern::parse(&full) {
                Ok(host) => hosts.push(host),
                Err(why) => self.notes.add(code::BAD_HOST, format!("spec.hosts[{index}]"), why.to_string()),
            }
        }
        hosts
    }

    /// Binds to all servers of a Gateway, for whatever workloads it is, or says the one thing that stood in the way.
    fn gateway(&mut self, gateway: &Key, hosts: &[HostPattern]) -> Result<(), Refusal> {
        if self.context.set.gateways.get(gateway).is_none() {
            return Err(Refusal::Unknown);
        }
        let listeners = self.plans.served.get(gateway).ok_or(Refusal::Elsewhere)?;
        let mut outcome = Err(Refusal::Closed);
        for listener in listeners {
            let here = self.listener(listener, gateway, hosts);
            outcome = match (outcome, here) {
                (Ok(()), _) | (_, Ok(())) => Ok(()),
                (Err(one), Err(other)) => Err(one.max(other)),
            };
        }
        outcome
    }

    fn listener(&mut self, id: &Arc<ListenerId>, gateway: &Key, hosts: &[HostPattern]) -> Result<(), Refusal> {
        let plan = self.plans.listeners.get(id).ok_or(Refusal::Closed)?;
        let workload = self.context.workloads().get(plan.workload).ok_or(Refusal::Closed)?;
        let class = self.class(workload).ok_or_else(|| Refusal::Hidden(Arc::clone(&workload.namespace)))?;
        let servers: Vec<_> = plan.servers.iter().filter(|server| server.gateway.key == *gateway).collect();
        let mut routes = OfTables::new();
        let mut outcome = Err(self.no_overlap(&servers, hosts));
        for server in &servers {
            let met = server.hosts.intersect(hosts, &self.object.key.namespace);
            if met.is_empty() {
                continue;
            }
            let bound = match server.table(id) {
                Some(table) => self.http(&mut routes, table, (workload, gateway, class), server, met),
                None => self.bytes(id, (workload, class), server, met),
            };
            outcome = if bound || outcome.is_ok() { Ok(()) } else { Err(Refusal::NoRules) };
        }
        outcome
    }

    /// Binds to a server that speaks HTTP. VS-18: the routes of a table are those for the first server of it that the VirtualService meets.
    fn http(
        &mut self,
        routes: &mut OfTables,
        table: TableId,
        (workload, gateway, class): (&Workload, &Key, Class),
        server: &PlannedServer,
        met: Vec<HostPattern>,
    ) -> bool {
        let known = routes.iter().position(|(known, _)| **known == table);
        let place = known.unwrap_or_else(|| {
            routes.push((Arc::new(table), self.routes(workload, gateway, server)));
            routes.len() - 1
        });
        let Some((table, routes)) = routes.get(place).filter(|(_, routes)| !routes.is_empty()) else { return false };
        self.bound.push(Bound {
            table: Arc::clone(table),
            gateway: Arc::clone(&server.gateway),
            server: server.index,
            class,
            to_https: server.kind.to_https(),
            hosts: met.into(),
            routes: Arc::clone(routes),
        });
        true
    }

    /// Binds to a server of bytes.
    fn bytes(
        &mut self,
        listener: &Arc<ListenerId>,
        (workload, class): (&Workload, Class),
        planned: &PlannedServer,
        met: Vec<HostPattern>,
    ) -> bool {
        let server = l4::Server { listener, planned, workload, class };
        let found = l4::compile(self.context, self.object, server, &mut self.notes);
        let any = !found.is_empty();
        if any {
            self.met.extend(met);
        }
        self.l4.extend(found);
        any
    }

    fn class(&self, workload: &Workload) -> Option<Class> {
        let export_to = visibility::entries(&self.object.spec.export_to);
        let default = &self.context.settings.mesh.default_virtual_service_export_to;
        visibility::class(export_to, default, &self.object.key.namespace, &workload.namespace)
    }

    /// Compiles the routes, and shares them with those for another listener when they are the same.
    fn routes(&mut self, workload: &Workload, gateway: &Key, server: &PlannedServer) -> Arc<[Arc<Route>]> {
        let target = Target { workload, gateway, server_port: server.port };
        let routes = routes::compile_routes(self.context, self.object, target, &mut self.notes);
        let same = self.bound.iter().find(|bound| bound.routes == routes);
        same.map_or(routes, |bound| Arc::clone(&bound.routes))
    }

    fn no_overlap(&self, servers: &[&PlannedServer], hosts: &[HostPattern]) -> Refusal {
        let theirs = servers.iter().map(|server| server.hosts.describe()).collect::<Vec<_>>().join(", ");
        if servers.iter().any(|server| server.hosts.refuses_only_namespace(hosts)) {
            Refusal::Namespace
        } else {
            Refusal::NoOverlap(theirs)
        }
    }

    /// Names the hosts that no server has, of a VirtualService that binds with others.
    fn unbound_hosts(&mut self, hosts: &[HostPattern]) {
        if self.bound.is_empty() && self.l4.is_empty() {
            return;
        }
        for (index, host) in hosts.iter().enumerate() {
            let l4 = self.met.iter().any(|met| host.covers(met));
            if !l4 && !self.bound.iter().any(|bound| bound.meets(host)) {
                let message = format!("`{host}` is in no server of the named Gateways, and routes nothing");
                self.notes.add(code::HOST_UNBOUND, format!("spec.hosts[{index}]"), message);
            }
        }
    }
}
