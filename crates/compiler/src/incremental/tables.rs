//! The hosts of each table: who puts routes where.

use super::dirty::Dirty;
use super::state::State;
use crate::binding::Bound;
use crate::fast::FastMap;
use crate::frontends::istio::gateway::{Plan, PlannedServer, Plans};
use crate::order;
use ir::{Changes, Host, HostPattern, Map, Origin, TableId};
use resources::key::Key;
use resources::set::Object;
use resources::spec::virtual_service::VirtualService;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What one VirtualService puts on a host through one server.
struct Contribution<'a> {
    object: &'a Object<VirtualService>,
    bound: &'a Bound,
}

impl Contribution<'_> {
    /// The order in which Istio puts routes on a host: server by server as they merge, then VirtualServices in their order
    /// (VS-04, S-61).
    fn order(&self, other: &Self) -> Ordering {
        order::by_age(&self.bound.gateway, &other.bound.gateway)
            .then(self.bound.server.cmp(&other.bound.server))
            .then(self.bound.class.cmp(&other.bound.class))
            .then_with(|| order::by_age(self.object, other.object))
    }
}

impl State {
    /// Marks the hosts where it makes a difference that a VirtualService is bound like this and not as before.
    pub(super) fn touch_hosts(&self, key: &Key, before: &[Bound], after: &[Bound], dirty: &mut Dirty) {
        for (here, there) in [(before, after), (after, before)] {
            for bound in here {
                let kept = |host: &HostPattern| there.iter().any(|other| same_place(bound, other) && other.has(host));
                for host in bound.hosts.iter().filter(|host| !kept(host)) {
                    let touched = dirty.tables.entry(Arc::clone(&bound.table)).or_default();
                    touched.push((host.clone(), key.clone()));
                }
            }
        }
    }

    /// Marks the hosts of servers that send to HTTPS: they have an entry without any VirtualService (S-70).
    pub(super) fn touch_redirects(&self, dirty: &mut Dirty) {
        for (id, plan) in &self.plans.listeners {
            for server in plan.servers.iter().filter(|server| server.kind.to_https()) {
                let table = Arc::new(TableId { listener: (**id).clone(), server: None });
                let hosts = server.hosts.patterns().map(|host| (host.clone(), server.gateway.key.clone()));
                dirty.tables.entry(table).or_default().extend(hosts);
            }
        }
    }

    /// Puts the touched hosts of each table together anew.
    pub(super) fn fill_tables(&mut self, dirty: &mut Dirty, changes: &mut Changes) {
        for (id, touched) in &mut dirty.tables {
            let Some(before) = self.snapshot.tables.get(&**id) else { continue };
            let mut table = (**before).clone();
            let new = changes.tables.contains(id);
            // In order: neighbours in the map are neighbours in memory.
            touched.sort_unstable();
            touched.dedup();
            for of_host in touched.chunk_by(|(a, _), (b, _)| a == b) {
                let Some((pattern, _)) = of_host.first() else { continue };
                if self.fill_host(id, &mut table.hosts, pattern, of_host) && !new {
                    changes.hosts.push(((**id).clone(), pattern.clone()));
                }
            }
            self.snapshot.tables.insert_mut((**id).clone(), Arc::new(table));
        }
    }

    /// Puts one host together anew, and says whether it is different now. Who had put routes there is read from the routes.
    fn fill_host(
        &self,
        id: &Arc<TableId>,
        hosts: &mut Map<HostPattern, Arc<Host>>,
        pattern: &HostPattern,
        touching: &[(HostPattern, Key)],
    ) -> bool {
        let before = hosts.get(pattern);
        let mut keys: Vec<Key> = touching.iter().map(|(_, key)| key.clone()).collect();
        // Routes of one VirtualService stand beside each other for the most part.
        let routes = before.map_or(&[][..], |host| &host.routes);
        let runs = routes.chunk_by(|a, b| Arc::ptr_eq(&a.origin.name, &b.origin.name));
        keys.extend(runs.filter_map(<[_]>::first).map(|route| key_of(&route.origin)));
        keys.sort_unstable();
        keys.dedup();
        let mut contributions = self.contributions(id, pattern, &keys);
        let redirects = self.redirects(id, pattern);
        if contributions.is_empty() && !redirects {
            return hosts.remove_mut(pattern);
        }
        contributions.sort_by(Contribution::order);
        let parts: Vec<_> = contributions.iter().map(|contribution| &contribution.bound.routes).collect();
        // S-73: one server that sends to HTTPS decides for the host.
        let https_redirect = redirects || contributions.iter().any(|contribution| contribution.bound.to_https);
        let host = Host { pattern: pattern.clone(), routes: order::catch_alls_last(&parts), https_redirect };
        if before.is_some_and(|before| **before == host) {
            return false;
        }
        hosts.insert_mut(pattern.clone(), Arc::new(host));
        true
    }

    /// Whether a server that sends to HTTPS names the very host.
    fn redirects(&self, id: &TableId, pattern: &HostPattern) -> bool {
        let servers = self.plans.listeners.get(&id.listener).filter(|_| id.server.is_none());
        let mut servers = servers.into_iter().flat_map(|plan| &plan.servers).filter(|server| server.kind.to_https());
        servers.any(|server| server.hosts.patterns().any(|host| host == pattern))
    }

    fn contributions(&self, id: &Arc<TableId>, pattern: &HostPattern, keys: &[Key]) -> Vec<Contribution<'_>> {
        let mut contributions = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(bound) = self.bound.get(key) else { continue };
            let Some(object) = self.set.virtual_services.get(key) else { continue };
            let here = bound.iter().filter(|bound| bound.table == *id && bound.has(pattern));
            contributions.extend(here.map(|bound| Contribution { object, bound }));
        }
        contributions
    }
}

fn key_of(origin: &Origin) -> Key {
    Key { namespace: Arc::clone(&origin.namespace), name: Arc::clone(&origin.name) }
}

/// Whether two put the same routes in the same place of the order.
fn same_place(one: &Bound, other: &Bound) -> bool {
    one.table == other.table
        && one.to_https == other.to_https
        && Arc::ptr_eq(&one.gateway, &other.gateway)
        && one.server == other.server
        && one.class == other.class
        && Arc::ptr_eq(&one.routes, &other.routes)
}

/// The names of Gateways that are served differently in two plans, so that VirtualServices have to be bound anew.
pub(super) fn differing_gateways(one: &Plans, other: &Plans) -> BTreeSet<Arc<str>> {
    let mut names = BTreeSet::new();
    for (a, b) in [(one, other), (other, one)] {
        for (key, listeners) in &a.served {
            if b.served.get(key) != Some(listeners) {
                names.insert(Arc::clone(&key.name));
            }
        }
        let differing = a.listeners.iter().flat_map(|(id, plan)| {
            let theirs: FastMap<(&Key, usize), &PlannedServer> =
                b.listeners.get(id).into_iter().flat_map(places).collect();
            let ours = places(plan)
                .filter(move |(place, server)| theirs.get(place).is_none_or(|other| !other.binds_alike(server)));
            ours.map(|((key, _), _)| Arc::clone(&key.name)).collect::<Vec<_>>()
        });
        names.extend(differing);
    }
    names
}

fn places(plan: &Plan) -> impl Iterator<Item = ((&Key, usize), &PlannedServer)> {
    plan.servers.iter().map(|server| ((&server.gateway.key, server.index), server))
}
