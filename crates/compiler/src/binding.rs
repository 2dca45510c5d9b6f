//! Where a VirtualService takes effect: the listeners, servers and hosts it binds to, with its routes for each, or the reason
//! why it routes nothing (S-50 to S-55, VS-01 to VS-03).

mod refusal;

use crate::code;
use crate::gateways::{PlannedServer, Plans};
use crate::names;
use crate::report::Notes;
use crate::routes::{self, Target};
use crate::settings::Workload;
use crate::visibility::{self, Class};
use crate::world::World;
use ir::{HostPattern, ListenerId, Route};
use refusal::Refusal;
use resources::key::Key;
use resources::set::Object;
use resources::spec::gateway::Gateway;
use resources::spec::virtual_service::VirtualService;
use std::sync::Arc;

/// One server that a VirtualService binds to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bound {
    pub(crate) listener: Arc<ListenerId>,
    pub(crate) gateway: Arc<Object<Gateway>>,
    /// Which server of the Gateway.
    pub(crate) server: usize,
    pub(crate) class: Class,
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

/// Binds a VirtualService, and says what is to be said about it.
pub(crate) fn bind(world: World<'_>, plans: &Plans, object: &Object<VirtualService>) -> (Vec<Bound>, Notes) {
    let mut binder = Binder { world, plans, object, notes: Notes::default(), bound: Vec::new() };
    binder.run();
    (binder.bound, binder.notes)
}

struct Binder<'a> {
    world: World<'a>,
    plans: &'a Plans,
    object: &'a Object<VirtualService>,
    notes: Notes,
    bound: Vec<Bound>,
}

impl Binder<'_> {
    fn run(&mut self) {
        let spec = &self.object.spec;
        if spec.hosts.is_empty() {
            let message = "a VirtualService without hosts is for others to delegate to, and delegates do not act yet";
            self.notes.add(code::DELEGATE_SKIPPED, "spec.hosts", message);
            return;
        }
        let gateways = self.gateways();
        if gateways.is_empty() {
            let help = "name a Gateway in `gateways` to route what comes through it";
            let message = "it routes nothing here because it names no gateway: only sidecars use it";
            self.notes.add_with_help(code::MESH_ONLY, "spec.gateways", message, help);
            return;
        }
        routes::unserved_fields(spec, &mut self.notes);
        let hosts = self.hosts();
        for (field, gateway) in &gateways {
            if let Err(refusal) = self.gateway(gateway, &hosts) {
                refusal.say(self.world, self.plans, self.object, gateway, field, &mut self.notes);
            }
        }
        self.unbound_hosts(&hosts);
    }

    /// The Gateways that are named, each once, with the field that names it.
    fn gateways(&self) -> Vec<(String, Key)> {
        let mut gateways: Vec<(String, Key)> = Vec::new();
        for (index, text) in self.object.spec.gateways.iter().enumerate() {
            if let Some(key) = names::gateway(text, &self.object.key.namespace, self.world.domain())
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
            let full = names::full_host(text, &self.object.key.namespace, self.world.domain());
            match HostPattern::parse(&full) {
                Ok(host) => hosts.push(host),
                Err(why) => self.notes.add(code::BAD_HOST, format!("spec.hosts[{index}]"), why.to_string()),
            }
        }
        hosts
    }

    /// Binds to all servers of a Gateway, for whatever workloads it is, or says the one thing that stood in the way.
    fn gateway(&mut self, gateway: &Key, hosts: &[HostPattern]) -> Result<(), Refusal> {
        if self.world.set.gateways.get(gateway).is_none() {
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
        let workload = self.world.workloads().get(plan.workload).ok_or(Refusal::Closed)?;
        let class = self.class(workload).ok_or_else(|| Refusal::Hidden(Arc::clone(&workload.namespace)))?;
        let servers: Vec<_> = plan.servers.iter().filter(|server| server.gateway.key == *gateway).collect();
        let mut routes: Option<Arc<[Arc<Route>]>> = None;
        for server in &servers {
            let met = server.hosts.intersect(hosts, &self.object.key.namespace);
            if met.is_empty() {
                continue;
            }
            // VS-18: the routes are those for the first server that the VirtualService meets.
            let routes = routes.get_or_insert_with(|| self.routes(workload, gateway, server));
            if routes.is_empty() {
                return Err(Refusal::NoRules);
            }
            self.bound.push(Bound {
                listener: Arc::clone(id),
                gateway: Arc::clone(&server.gateway),
                server: server.index,
                class,
                hosts: met.into(),
                routes: Arc::clone(routes),
            });
        }
        if routes.is_some() { Ok(()) } else { Err(self.no_overlap(&servers, hosts)) }
    }

    fn class(&self, workload: &Workload) -> Option<Class> {
        let export_to = visibility::entries(&self.object.spec.export_to);
        let default = &self.world.settings.mesh.default_virtual_service_export_to;
        visibility::class(export_to, default, &self.object.key.namespace, &workload.namespace)
    }

    /// Compiles the routes, and shares them with those for another listener when they are the same.
    fn routes(&mut self, workload: &Workload, gateway: &Key, server: &PlannedServer) -> Arc<[Arc<Route>]> {
        let target = Target { workload, gateway, server_port: server.port };
        let routes = routes::compile_routes(self.world, self.object, target, &mut self.notes);
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
        if self.bound.is_empty() {
            return;
        }
        for (index, host) in hosts.iter().enumerate() {
            if !self.bound.iter().any(|bound| bound.meets(host)) {
                let message = format!("`{host}` is in no server of the named Gateways, and routes nothing");
                self.notes.add(code::HOST_UNBOUND, format!("spec.hosts[{index}]"), message);
            }
        }
    }
}
