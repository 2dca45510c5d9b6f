//! The hosts of each listener: who puts routes where, and the listeners of the snapshot.

use super::State;
use super::changed::Dirty;
use crate::binding::Bound;
use crate::gateways::{Plan, PlannedServer, Plans};
use crate::index::{FastMap, FastSet};
use crate::order;
use crate::visibility::Class;
use ir::{Changes, ForwardedHeaders, Host, HostPattern, HttpListener, Listener, ListenerId, ListenerKind, Map};
use ir::{PathNormalization, Route};
use resources::key::Key;
use resources::set::Object;
use resources::spec::gateway::Gateway;
use resources::spec::mesh_config::Normalization;
use resources::spec::virtual_service::VirtualService;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// By listener and host, everybody's routes.
pub(super) type Tables = BTreeMap<Arc<ListenerId>, FastMap<HostPattern, Vec<Contribution>>>;
/// Listeners and hosts whose routes changed.
pub(super) type Touched = BTreeMap<Arc<ListenerId>, FastSet<HostPattern>>;

/// What one VirtualService puts on a host through one server.
#[derive(Debug)]
pub(super) struct Contribution {
    gateway: Arc<Object<Gateway>>,
    server: usize,
    class: Class,
    object: Arc<Object<VirtualService>>,
    routes: Arc<[Arc<Route>]>,
}

impl Contribution {
    /// The order in which Istio puts routes on a host: server by server as they merge, then VirtualServices in their order
    /// (VS-04, S-61).
    fn order(&self, other: &Self) -> Ordering {
        order::by_age(&self.gateway, &other.gateway)
            .then(self.server.cmp(&other.server))
            .then(self.class.cmp(&other.class))
            .then_with(|| order::by_age(&self.object, &other.object))
    }
}

impl State {
    /// Takes away what a VirtualService had put on hosts, and puts on what it has now; hosts where both are the same are not
    /// touched.
    pub(super) fn move_routes(&mut self, key: &Key, before: &[Bound], after: &[Bound], dirty: &mut Dirty) {
        let kept = |bound: &Bound, host: &HostPattern, others: &[Bound]| {
            others.iter().any(|other| same_place(bound, other) && other.hosts.contains(host))
        };
        let object = self.set.virtual_services.get(key);
        for bound in before {
            let Some(table) = self.tables.get_mut(&bound.listener) else { continue };
            for host in &bound.hosts {
                let Some(contributions) = table.get_mut(host) else { continue };
                contributions
                    .retain(|c| c.object.key != *key || c.gateway.key != bound.gateway.key || c.server != bound.server);
                if contributions.is_empty() {
                    table.remove(host);
                }
                if !kept(bound, host, after) {
                    touch(dirty, bound, host);
                }
            }
        }
        for (bound, object) in after.iter().zip(std::iter::repeat(object)) {
            let Some(object) = object else { continue };
            let table = self.tables.entry(Arc::clone(&bound.listener)).or_default();
            for host in &bound.hosts {
                table.entry_ref(host).or_insert_with(|| Vec::with_capacity(1)).push(Contribution {
                    gateway: Arc::clone(&bound.gateway),
                    server: bound.server,
                    class: bound.class,
                    object: Arc::clone(object),
                    routes: Arc::clone(&bound.routes),
                });
                if !kept(bound, host, before) {
                    touch(dirty, bound, host);
                }
            }
        }
    }

    /// Opens and closes listeners as planned; hosts of those that stay are kept.
    pub(super) fn open_listeners(&mut self, changes: &mut Changes) {
        let gone = self.snapshot.listeners.keys().filter(|id| !self.plans.listeners.contains_key(*id));
        for id in gone.cloned().collect::<Vec<_>>() {
            self.snapshot.listeners.remove_mut(&id);
            changes.listeners.push(id);
        }
        for (id, plan) in &self.plans.listeners {
            let before = self.snapshot.listeners.get(&**id);
            let hosts = before.map_or_else(Map::default, |listener| match &listener.kind {
                ListenerKind::Http(http) => http.hosts.clone(),
            });
            let listener = self.listener(id, plan, hosts);
            if before.is_none_or(|before| differs(before, &listener)) {
                self.snapshot.listeners.insert_mut((**id).clone(), Arc::new(listener));
                changes.listeners.push((**id).clone());
            }
        }
    }

    fn listener(&self, id: &ListenerId, plan: &Plan, hosts: Map<HostPattern, Arc<Host>>) -> Listener {
        let mesh = &self.settings.mesh;
        Listener {
            id: id.clone(),
            servers: plan.servers.iter().map(PlannedServer::origin).collect(),
            server_port: plan.servers.first().map_or(0, |server| server.port),
            kind: ListenerKind::Http(HttpListener {
                hosts,
                path_normalization: match mesh.path_normalization.normalization {
                    None | Some(Normalization::Default | Normalization::Base) => PathNormalization::Base,
                    Some(Normalization::None) => PathNormalization::None,
                    Some(Normalization::MergeSlashes) => PathNormalization::MergeSlashes,
                    Some(Normalization::DecodeAndMergeSlashes) => PathNormalization::DecodeAndMergeSlashes,
                },
                forwarded: ForwardedHeaders {
                    trusted_proxies: mesh.default_config.gateway_topology.num_trusted_proxies,
                },
            }),
        }
    }

    /// Puts the touched hosts of each listener together anew.
    pub(super) fn fill_tables(&mut self, dirty: &Dirty, changes: &mut Changes) {
        for (id, touched) in &dirty.tables {
            let Some(before) = self.snapshot.listeners.get(&**id) else {
                self.tables.remove(id);
                continue;
            };
            let ListenerKind::Http(http) = &before.kind;
            let mut http = http.clone();
            let mut listener = Listener { kind: ListenerKind::Http(http.clone()), ..(**before).clone() };
            let new = changes.listeners.contains(id);
            let table = self.tables.entry(Arc::clone(id)).or_default();
            for pattern in touched {
                if fill_host(&mut http.hosts, table, pattern) && !new {
                    changes.hosts.push(((**id).clone(), pattern.clone()));
                }
            }
            listener.kind = ListenerKind::Http(http);
            self.snapshot.listeners.insert_mut((**id).clone(), Arc::new(listener));
        }
        self.tables.retain(|id, table| !table.is_empty() || self.plans.listeners.contains_key(id));
    }
}

/// Puts one host together anew, and says whether it is different now.
fn fill_host(
    hosts: &mut Map<HostPattern, Arc<Host>>,
    table: &mut FastMap<HostPattern, Vec<Contribution>>,
    pattern: &HostPattern,
) -> bool {
    let Some(contributions) = table.get_mut(pattern) else { return hosts.remove_mut(pattern) };
    contributions.sort_by(Contribution::order);
    let parts: Vec<_> = contributions.iter().map(|contribution| &contribution.routes).collect();
    let host = Host { pattern: pattern.clone(), routes: order::catch_alls_last(&parts) };
    if hosts.get(pattern).is_some_and(|before| **before == host) {
        return false;
    }
    hosts.insert_mut(pattern.clone(), Arc::new(host));
    true
}

fn touch(dirty: &mut Dirty, bound: &Bound, host: &HostPattern) {
    dirty.tables.entry(Arc::clone(&bound.listener)).or_default().insert(host.clone());
}

/// Whether two put the same routes in the same place of the order.
fn same_place(one: &Bound, other: &Bound) -> bool {
    one.listener == other.listener
        && Arc::ptr_eq(&one.gateway, &other.gateway)
        && one.server == other.server
        && one.class == other.class
        && Arc::ptr_eq(&one.routes, &other.routes)
}

/// Whether two listeners differ in more than their hosts.
fn differs(one: &Listener, other: &Listener) -> bool {
    let ListenerKind::Http(a) = &one.kind;
    let ListenerKind::Http(b) = &other.kind;
    one.servers != other.servers
        || one.server_port != other.server_port
        || a.path_normalization != b.path_normalization
        || a.forwarded != b.forwarded
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
            let ours =
                places(plan).filter(move |(place, server)| theirs.get(place).is_none_or(|other| *other != *server));
            ours.map(|((key, _), _)| Arc::clone(&key.name)).collect::<Vec<_>>()
        });
        names.extend(differing);
    }
    names
}

fn places(plan: &Plan) -> impl Iterator<Item = ((&Key, usize), &PlannedServer)> {
    plan.servers.iter().map(|server| ((&server.gateway.key, server.index), server))
}
