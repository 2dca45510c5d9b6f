//! The hosts of each listener: who puts routes where, and the listeners of the snapshot.

use super::State;
use super::changed::Dirty;
use crate::binding::Bound;
use crate::fast::FastMap;
use crate::gateways::{Plan, PlannedServer, Plans};
use crate::order;
use ir::{Changes, ForwardedHeaders, Host, HostPattern, HttpListener, Listener, ListenerId, ListenerKind, Map};
use ir::{Origin, PathNormalization};
use resources::key::Key;
use resources::set::Object;
use resources::spec::mesh_config::Normalization;
use resources::spec::virtual_service::VirtualService;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Listeners and hosts whose routes changed, with the VirtualService that changed them.
pub(super) type Touched = BTreeMap<Arc<ListenerId>, Vec<(HostPattern, Key)>>;

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
                    let touched = dirty.tables.entry(Arc::clone(&bound.listener)).or_default();
                    touched.push((host.clone(), key.clone()));
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
    pub(super) fn fill_tables(&mut self, dirty: &mut Dirty, changes: &mut Changes) {
        for (id, touched) in &mut dirty.tables {
            let Some(before) = self.snapshot.listeners.get(&**id) else { continue };
            let mut listener = (**before).clone();
            let new = changes.listeners.contains(id);
            // In order: neighbours in the map are neighbours in memory.
            touched.sort_unstable();
            touched.dedup();
            let ListenerKind::Http(http) = &mut listener.kind;
            for of_host in touched.chunk_by(|(a, _), (b, _)| a == b) {
                let Some((pattern, _)) = of_host.first() else { continue };
                if self.fill_host(id, &mut http.hosts, pattern, of_host) && !new {
                    changes.hosts.push(((**id).clone(), pattern.clone()));
                }
            }
            self.snapshot.listeners.insert_mut((**id).clone(), Arc::new(listener));
        }
    }

    /// Puts one host together anew, and says whether it is different now. Who had put routes there is read from the routes.
    fn fill_host(
        &self,
        id: &Arc<ListenerId>,
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
        if contributions.is_empty() {
            return hosts.remove_mut(pattern);
        }
        contributions.sort_by(Contribution::order);
        let parts: Vec<_> = contributions.iter().map(|contribution| &contribution.bound.routes).collect();
        let host = Host { pattern: pattern.clone(), routes: order::catch_alls_last(&parts) };
        if before.is_some_and(|before| **before == host) {
            return false;
        }
        hosts.insert_mut(pattern.clone(), Arc::new(host));
        true
    }

    fn contributions(&self, id: &Arc<ListenerId>, pattern: &HostPattern, keys: &[Key]) -> Vec<Contribution<'_>> {
        let mut contributions = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(bound) = self.bound.get(key) else { continue };
            let Some(object) = self.set.virtual_services.get(key) else { continue };
            let here = bound.iter().filter(|bound| bound.listener == *id && bound.has(pattern));
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
