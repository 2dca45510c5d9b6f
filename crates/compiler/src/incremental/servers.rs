//! The step from Gateways to listeners: plans the Gateways that changed, merges the addresses that they ask for, and says for which
//! routes and listeners that makes a difference.

use super::dirty::Dirty;
use crate::compiled::Work;
use crate::context::CompileContext;
use crate::credentials::Used;
use crate::fast::FastMap;
use crate::frontends::{self, GatewayPlanner};
use crate::hosts::{ServerHost, ServerHosts};
use crate::plan::merge::{Merged, merge};
use crate::plan::servers::{GatewayPlan, ListenerPlan, Served, ServerPlan, ServerPlans};
use crate::report::Notes;
use ir::{HostPattern, ListenerId, TableId};
use resources::key::ObjectRef;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

/// What is known of Gateways and of the addresses that their servers ask for.
#[derive(Debug, Default)]
pub(super) struct Servers {
    gateways: BTreeMap<ObjectRef, GatewayPlan>,
    /// The Gateways that ask for each address.
    asking: BTreeMap<SocketAddr, BTreeSet<ObjectRef>>,
    merged: BTreeMap<SocketAddr, Merged>,
    plans: ServerPlans,
}

/// What is different after Gateways were planned anew.
#[derive(Debug, Default)]
pub(super) struct Replanned {
    /// Gateways that routes see differently.
    pub(super) gateways: BTreeMap<ObjectRef, Difference>,
    /// Names of Gateways that came or went, or are missing for another reason.
    pub(super) names: BTreeSet<Arc<str>>,
    /// Listeners whose servers are different.
    pub(super) listeners: BTreeSet<Arc<ListenerId>>,
    /// Hosts that a server began or ceased to send to HTTPS: they have an entry without any route (S-70).
    pub(super) redirects: Vec<(Arc<TableId>, HostPattern)>,
    /// Gateways of which something else may be reported.
    pub(super) findings: BTreeSet<ObjectRef>,
}

/// How routes see a Gateway differently.
#[derive(Debug)]
pub(super) enum Difference {
    /// These hosts came or went, and nothing else.
    Hosts(Vec<ServerHost>),
    Whole,
}

impl Servers {
    /// What routes bind to.
    pub(super) fn plans(&self) -> &ServerPlans {
        &self.plans
    }

    /// The Gateways that name a Secret, a ConfigMap or a file.
    pub(super) fn using(&self, is_used: impl Fn(&Used) -> bool) -> impl Iterator<Item = &ObjectRef> {
        self.gateways.iter().filter(move |(_, plan)| is_used(&plan.used)).map(|(gateway, _)| gateway)
    }

    /// Plans the dirty Gateways, and merges the addresses where that makes a difference.
    pub(super) fn replan(&mut self, context: CompileContext<'_>, dirty: &Dirty, work: &mut Work) -> Replanned {
        let mut replanned = Replanned::default();
        let mut addresses = BTreeSet::new();
        let planner = GatewayPlanner::new(context);
        let mut gateways = dirty.gateways.clone();
        if dirty.all_gateways {
            gateways.extend(frontends::gateways(context.set));
        }
        for gateway in gateways {
            work.gateways += 1;
            let next = planner.plan(&gateway);
            self.put(gateway, next, &mut addresses, &mut replanned);
        }
        for address in addresses {
            work.addresses += 1;
            self.merge(context, address, &mut replanned);
        }
        self.serve(&mut replanned);
        replanned
    }

    /// What is to be reported of a Gateway: what was found of it by itself, server by server, and then what was found of its listeners.
    pub(super) fn findings<'a>(
        &self,
        gateway: &ObjectRef,
        of_listener: impl Fn(&ListenerId) -> Option<&'a Notes>,
    ) -> Notes {
        let Some(plan) = self.gateways.get(gateway) else { return Notes::default() };
        let mut notes = plan.notes.clone();
        for candidate in &plan.candidates {
            notes.extend(&candidate.notes);
            let Some(claim) = &candidate.claim else { continue };
            let id = (gateway.clone(), candidate.workload, candidate.index);
            let found = self.merged.get(&claim.address).and_then(|merged| merged.notes.get(&id));
            found.into_iter().for_each(|found| notes.extend(found));
        }
        if let Some(Served::On(listeners)) = self.plans.gateways.get(gateway) {
            let sorted: BTreeSet<_> = listeners.iter().collect();
            sorted.into_iter().filter_map(|id| of_listener(id)).for_each(|found| notes.extend(found));
        }
        notes
    }

    /// Puts a plan in place of the one before; the addresses that either asks for have to be merged, unless both are the same.
    fn put(
        &mut self,
        gateway: ObjectRef,
        next: Option<GatewayPlan>,
        addresses: &mut BTreeSet<SocketAddr>,
        replanned: &mut Replanned,
    ) {
        let before = self.gateways.remove(&gateway);
        if before.is_none() || next.is_none() {
            replanned.names.insert(Arc::clone(&gateway.key.name));
        }
        if before != next {
            replanned.findings.insert(gateway.clone());
            let asked = |plan: &Option<GatewayPlan>| {
                let claims =
                    plan.iter().flat_map(|plan| &plan.candidates).filter_map(|candidate| candidate.claim.as_ref());
                claims.map(|claim| claim.address).collect::<BTreeSet<_>>()
            };
            let (old, new) = (asked(&before), asked(&next));
            for address in old.difference(&new) {
                if let Some(asking) = self.asking.get_mut(address) {
                    asking.remove(&gateway);
                }
            }
            for address in new.difference(&old) {
                self.asking.entry(*address).or_default().insert(gateway.clone());
            }
            addresses.extend(old);
            addresses.extend(new);
        }
        if let Some(next) = next {
            self.gateways.insert(gateway, next);
        }
    }

    /// Merges all that ask for an address.
    fn merge(&mut self, context: CompileContext<'_>, address: SocketAddr, replanned: &mut Replanned) {
        let asking = self.asking.get(&address);
        let gateways: Vec<_> = asking.into_iter().flatten().filter_map(|gateway| self.gateways.get(gateway)).collect();
        let next = merge(address, context.workloads(), &gateways);
        let before = self.merged.remove(&address).unwrap_or_default();
        let (old, new) = (before.listener.as_deref(), next.listener.as_deref());
        if old != new {
            let ids = old.into_iter().chain(new).map(|plan| Arc::clone(&plan.id));
            replanned.listeners.extend(ids);
            differences(old, new, &mut replanned.gateways);
            redirects(old, new, &mut replanned.redirects);
            old.into_iter().for_each(|plan| drop(self.plans.listeners.remove(&plan.id)));
            if let Some(plan) = &next.listener {
                self.plans.listeners.insert(Arc::clone(&plan.id), Arc::clone(plan));
            }
        }
        if before.notes != next.notes {
            let reported = before.notes.keys().chain(next.notes.keys());
            replanned.findings.extend(reported.map(|(gateway, ..)| gateway.clone()));
        }
        if gateways.is_empty() {
            self.asking.remove(&address);
        } else {
            self.merged.insert(address, next);
        }
    }

    /// Says where the Gateways are served that are different.
    fn serve(&mut self, replanned: &mut Replanned) {
        let different: BTreeSet<ObjectRef> = replanned.gateways.keys().chain(&replanned.findings).cloned().collect();
        for gateway in different {
            let served = self.gateways.get(&gateway).map(|plan| self.served(plan));
            let before = match served {
                Some(served) if self.plans.gateways.get(&gateway) == Some(&served) => continue,
                Some(served) => self.plans.gateways.insert(gateway.clone(), served),
                None => self.plans.gateways.remove(&gateway),
            };
            drop(before);
            replanned.findings.insert(gateway.clone());
            replanned.gateways.insert(gateway, Difference::Whole);
        }
    }

    fn served(&self, plan: &GatewayPlan) -> Served {
        if !plan.selected {
            return Served::Elsewhere;
        }
        let mut listeners: Vec<Arc<ListenerId>> = Vec::new();
        for candidate in &plan.candidates {
            let Some(claim) = &candidate.claim else { continue };
            let id = (plan.owner.object.clone(), candidate.workload, candidate.index);
            let merged = self.merged.get(&claim.address).filter(|merged| merged.has(&id));
            if let Some(listener) = merged.and_then(|merged| merged.listener.as_ref())
                && !listeners.contains(&listener.id)
            {
                listeners.push(Arc::clone(&listener.id));
            }
        }
        Served::On(listeners)
    }
}

impl Difference {
    /// The hosts that came or went, to be looked up; `None` where anything may be different.
    pub(super) fn hosts(&self) -> Option<ServerHosts> {
        match self {
            Self::Hosts(hosts) => Some(ServerHosts::new(hosts.clone())),
            Self::Whole => None,
        }
    }

    fn add(&mut self, other: Self) {
        match (self, other) {
            (Self::Whole, _) => {}
            (Self::Hosts(all), Self::Hosts(hosts)) => all.extend(hosts),
            (whole @ Self::Hosts(_), Self::Whole) => *whole = Self::Whole,
        }
    }
}

/// Adds what routes see differently of the servers of an address. Certificates have no part in that.
fn differences(
    before: Option<&ListenerPlan>,
    after: Option<&ListenerPlan>,
    gateways: &mut BTreeMap<ObjectRef, Difference>,
) {
    let mut add = |server: &ServerPlan, difference: Difference| {
        let gateway = &server.place.owner.object;
        match gateways.get_mut(gateway) {
            Some(known) => known.add(difference),
            None => drop(gateways.insert(gateway.clone(), difference)),
        }
    };
    let place = |server: &'_ ServerPlan| (server.place.owner.object.clone(), server.place.index);
    let mut gone: FastMap<(ObjectRef, usize), &ServerPlan> =
        servers(before).iter().map(|server| (place(server), server)).collect();
    for server in servers(after) {
        match gone.remove(&place(server)) {
            Some(old) if !old.is_placed_as(server) => add(server, Difference::Whole),
            Some(old) if old.hosts != server.hosts => {
                add(server, Difference::Hosts(old.hosts.symmetric_difference(&server.hosts)));
            }
            Some(_) => {}
            None => add(server, Difference::Whole),
        }
    }
    gone.into_values().for_each(|server| add(server, Difference::Whole));
}

fn servers(plan: Option<&ListenerPlan>) -> &[ServerPlan] {
    plan.map_or(&[], |plan| plan.servers())
}

/// Adds the hosts for which it is different whether a server of the address sends them to HTTPS.
fn redirects(
    before: Option<&ListenerPlan>,
    after: Option<&ListenerPlan>,
    redirects: &mut Vec<(Arc<TableId>, HostPattern)>,
) {
    let of = |plan: Option<&ListenerPlan>| {
        let servers = plan.into_iter().flat_map(|plan| plan.servers()).filter(|server| server.place.to_https);
        let hosts = servers.filter_map(|server| Some((server.place.table.as_ref()?, &server.hosts)));
        let hosts = hosts.flat_map(|(table, hosts)| hosts.patterns().map(|host| (Arc::clone(table), host.clone())));
        hosts.collect::<BTreeSet<_>>()
    };
    redirects.extend(of(before).symmetric_difference(&of(after)).cloned());
}
