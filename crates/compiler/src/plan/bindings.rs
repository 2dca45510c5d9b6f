//! Where an object with routes takes effect: the listeners, servers and hosts it binds to, with its routes for each, or the reason why it
//! routes nothing (S-30 to S-55). Which object that is, and what its rules say, is for the front end to know.

use crate::plan::owner::Owner;
use crate::plan::servers::{Served, ServerPlace, ServerPlan, ServerPlans};
use crate::report::Notes;
use crate::settings::Workload;
use crate::visibility::Class;
use ir::{HostPattern, ListenerId, Route, TableId, TcpRoute};
use resources::few::Few;
use resources::key::ObjectRef;
use resources::spec::metadata::CreationTime;
use std::sync::Arc;

/// An object with routes, as a front end reads it.
pub(crate) struct RouteSource<'a> {
    pub(crate) owner: Owner,
    /// Its hosts.
    pub(crate) hosts: Vec<HostPattern>,
    /// How a workload's namespace sees it, or that it does not.
    pub(crate) class: &'a dyn Fn(&Workload) -> Option<Class>,
    /// Compiles its rules for HTTP.
    pub(crate) http: &'a dyn Fn(BoundServer<'_>, &mut Notes) -> Routes,
    /// Compiles its rules for bytes.
    pub(crate) bytes: &'a dyn Fn(BoundServer<'_>, &mut Notes) -> Vec<BytesRule>,
}

/// Routes in their order.
pub(crate) type Routes = Arc<[Arc<Route>]>;

/// For what rules are compiled: a server of a workload.
#[derive(Clone, Copy)]
pub(crate) struct BoundServer<'a> {
    pub(crate) workload: &'a Workload,
    pub(crate) server: &'a ServerPlan,
    /// How the workload's namespace sees the object.
    pub(crate) class: Class,
}

/// A rule for bytes.
pub(crate) struct BytesRule {
    /// The names that clients ask for, each with the one that it was written as where that is wider; none where the server's own count.
    pub(crate) names: Vec<(HostPattern, HostPattern)>,
    pub(crate) route: Arc<TcpRoute>,
}

/// One server that speaks HTTP, and what an object routes through it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bound {
    pub(crate) place: Arc<ServerPlace>,
    /// Where its routes go.
    pub(crate) table: Arc<TableId>,
    pub(crate) class: Class,
    /// The effective hosts (S-31), sorted.
    pub(crate) hosts: Few<HostPattern>,
    pub(crate) routes: Routes,
}

/// What an object does with the bytes of one server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct L4Binding {
    pub(crate) place: Arc<ServerPlace>,
    pub(crate) class: Class,
    /// As in [`BytesRule`].
    pub(crate) names: Vec<(HostPattern, HostPattern)>,
    pub(crate) route: Arc<TcpRoute>,
}

impl Bound {
    /// Whether this is one of its hosts.
    pub(crate) fn has(&self, host: &HostPattern) -> bool {
        self.hosts.as_slice().binary_search(host).is_ok()
    }

    /// Whether any of its hosts is one that `host` stands for.
    fn meets(&self, host: &HostPattern) -> bool {
        match host {
            HostPattern::Exact(_) => self.has(host),
            HostPattern::Suffix(_) | HostPattern::Any => self.hosts.as_slice().iter().any(|met| host.covers(met)),
        }
    }
}

/// Why an object does not bind to a Gateway; of several reasons, the one that got furthest counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refusal {
    /// No such Gateway (S-50).
    Unknown,
    /// It is for another workload (S-01).
    Elsewhere,
    /// It opens no port that is served.
    Closed,
    /// The workload's namespace, which does not see the object (S-51).
    Hidden(Arc<str>),
    /// No host in common; the Gateway's hosts (S-52).
    NoOverlap(String),
    /// Hosts in common, but for objects of another namespace (S-31).
    Namespace,
    /// Every rule is for others (S-53).
    NoRules,
}

/// Where an object takes effect, and what was found.
#[derive(Default)]
pub(crate) struct Binding {
    /// When the object was created.
    pub(crate) created: Option<CreationTime>,
    pub(crate) bound: Vec<Bound>,
    pub(crate) l4: Vec<L4Binding>,
    pub(crate) notes: Notes,
}

/// Binds one object, Gateway by Gateway.
pub(crate) struct Binder<'a> {
    workloads: &'a [Workload],
    plans: &'a ServerPlans,
    source: RouteSource<'a>,
    pub(crate) bound: Vec<Bound>,
    pub(crate) l4: Vec<L4Binding>,
    /// Hosts that some server of bytes has as well.
    met: Vec<HostPattern>,
}

/// The routes that go into each table of one listener.
type OfTables = Vec<(Arc<TableId>, Routes)>;

impl<'a> Binder<'a> {
    pub(crate) fn new(workloads: &'a [Workload], plans: &'a ServerPlans, source: RouteSource<'a>) -> Self {
        Self { workloads, plans, source, bound: Vec::new(), l4: Vec::new(), met: Vec::new() }
    }

    /// Binds to all servers of a Gateway, for whatever workloads it is, or returns the one thing that stood in the way.
    pub(crate) fn attach(&mut self, gateway: &ObjectRef, notes: &mut Notes) -> Result<(), Refusal> {
        let listeners = match self.plans.gateways.get(gateway) {
            None => return Err(Refusal::Unknown),
            Some(Served::Elsewhere) => return Err(Refusal::Elsewhere),
            Some(Served::On(listeners)) => listeners,
        };
        let mut outcome = Err(Refusal::Closed);
        for listener in listeners {
            let here = self.listener(listener, gateway, notes);
            outcome = match (outcome, here) {
                (Ok(()), _) | (_, Ok(())) => Ok(()),
                (Err(one), Err(other)) => Err(one.max(other)),
            };
        }
        outcome
    }

    /// Whether it takes effect nowhere.
    pub(crate) fn is_unbound(&self) -> bool {
        self.bound.is_empty() && self.l4.is_empty()
    }

    /// The hosts that no server has, each with its place in the list.
    pub(crate) fn unmet(&self) -> impl Iterator<Item = (usize, &HostPattern)> {
        let is_met = |host: &HostPattern| {
            self.met.iter().any(|met| host.covers(met)) || self.bound.iter().any(|bound| bound.meets(host))
        };
        self.source.hosts.iter().enumerate().filter(move |(_, host)| !is_met(host))
    }

    fn listener(&mut self, id: &ListenerId, gateway: &ObjectRef, notes: &mut Notes) -> Result<(), Refusal> {
        let plan = self.plans.listeners.get(id).ok_or(Refusal::Closed)?;
        let workload = self.workloads.get(plan.workload).ok_or(Refusal::Closed)?;
        let class = (self.source.class)(workload).ok_or_else(|| Refusal::Hidden(Arc::clone(&workload.namespace)))?;
        let servers = plan.of(gateway);
        let mut routes = OfTables::new();
        let mut outcome = Err(self.no_overlap(servers));
        for server in servers {
            let met = server.hosts.intersect(&self.source.hosts, &self.source.owner.object.key.namespace);
            if met.is_empty() {
                continue;
            }
            let target = BoundServer { workload, server, class };
            let bound = match &server.place.table {
                Some(table) => self.http(&mut routes, table, target, met, notes),
                None => self.bytes(target, met, notes),
            };
            outcome = if bound || outcome.is_ok() { Ok(()) } else { Err(Refusal::NoRules) };
        }
        outcome
    }

    /// Binds to a server that speaks HTTP. VS-18: the routes of a table are those for the first server of it that the object meets.
    fn http(
        &mut self,
        routes: &mut OfTables,
        table: &Arc<TableId>,
        target: BoundServer<'_>,
        met: Vec<HostPattern>,
        notes: &mut Notes,
    ) -> bool {
        let known = routes.iter().position(|(known, _)| known == table);
        let place = known.unwrap_or_else(|| {
            routes.push((Arc::clone(table), self.routes(target, notes)));
            routes.len() - 1
        });
        let Some((table, routes)) = routes.get(place).filter(|(_, routes)| !routes.is_empty()) else { return false };
        self.bound.push(Bound {
            place: Arc::clone(&target.server.place),
            table: Arc::clone(table),
            class: target.class,
            hosts: met.into(),
            routes: Arc::clone(routes),
        });
        true
    }

    /// Binds to a server of bytes.
    fn bytes(&mut self, target: BoundServer<'_>, met: Vec<HostPattern>, notes: &mut Notes) -> bool {
        let rules = (self.source.bytes)(target, notes);
        let any = !rules.is_empty();
        if any {
            self.met.extend(met);
        }
        let place = &target.server.place;
        self.l4.extend(rules.into_iter().map(|BytesRule { names, route }| L4Binding {
            place: Arc::clone(place),
            class: target.class,
            names,
            route,
        }));
        any
    }

    /// Compiles the routes, and shares them with those for another listener when they are the same.
    fn routes(&self, target: BoundServer<'_>, notes: &mut Notes) -> Routes {
        let routes = (self.source.http)(target, notes);
        let same = self.bound.iter().find(|bound| bound.routes == routes);
        same.map_or(routes, |bound| Arc::clone(&bound.routes))
    }

    fn no_overlap(&self, servers: &[ServerPlan]) -> Refusal {
        let theirs = servers.iter().map(|server| server.hosts.describe()).collect::<Vec<_>>().join(", ");
        if servers.iter().any(|server| server.hosts.overlaps(&self.source.hosts)) {
            Refusal::Namespace
        } else {
            Refusal::NoOverlap(theirs)
        }
    }
}

#[cfg(test)]
mod tests {
    use ir::HostPattern;
    use resources::few::Sorted;

    #[test]
    fn a_list_of_hosts_takes_little_room() {
        assert_eq!(size_of::<Sorted<HostPattern>>(), size_of::<HostPattern>());
    }
}
