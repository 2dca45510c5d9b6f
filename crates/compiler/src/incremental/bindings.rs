//! The step from objects with routes to servers and hosts: where each is bound, and for each host of a table who puts routes there.

use crate::fast::FastMap;
use crate::order::Age;
use crate::plan::bindings::{Bound, L4Binding};
use crate::plan::servers::ServerPlace;
use ir::{Action, ClusterId, HostPattern, ListenerId, TableId, TargetCluster};
use resources::few::Sorted;
use resources::key::ObjectRef;
use resources::spec::metadata::CreationTime;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where objects with routes are bound.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    bound: FastMap<Arc<ObjectRef>, Source<Bound>>,
    /// What those do with bytes that have rules for them.
    l4: BTreeMap<Arc<ObjectRef>, Source<L4Binding>>,
    /// Those by the server that they are bound to.
    l4_of: FastMap<ServerId, BTreeSet<Arc<ObjectRef>>>,
    /// The objects that contribute routes to each host.
    contributors: FastMap<Arc<TableId>, FastMap<HostPattern, Sorted<Arc<ObjectRef>>>>,
}

/// A server by its listener, its owner and its place in its owner.
type ServerId = (Arc<ListenerId>, ObjectRef, usize);

/// What one object is bound to, with its time of creation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Source<B> {
    created: Option<CreationTime>,
    bindings: Box<[B]>,
}

impl<B> Default for Source<B> {
    fn default() -> Self {
        Self { created: None, bindings: Box::default() }
    }
}

impl<B> Source<B> {
    pub(super) fn new(created: Option<CreationTime>, bindings: Vec<B>) -> Self {
        Self { created, bindings: bindings.into() }
    }
}

/// What one object puts on a host through one server.
struct Contribution<'a> {
    source: &'a ObjectRef,
    created: Option<CreationTime>,
    bound: &'a Bound,
}

/// What is different after an object was bound anew.
#[derive(Debug, Default)]
pub(super) struct Rebound {
    before: (Source<Bound>, Source<L4Binding>),
    /// Hosts whose routes may be different.
    pub(super) hosts: Vec<(Arc<TableId>, HostPattern)>,
    /// Listeners whose routes of bytes are different.
    pub(super) listeners: Vec<Arc<ListenerId>>,
}

impl Bindings {
    /// Makes room for what a first compilation brings.
    pub(super) fn reserve(&mut self, sources: usize) {
        self.bound.reserve(sources);
    }

    /// Whether an object has rules for bytes that are bound.
    pub(super) fn has_l4(&self, source: &ObjectRef) -> bool {
        self.l4.contains_key(source)
    }

    /// Puts the bindings of an object in place of those before. Routes that come out as before stay the same by pointer.
    pub(super) fn put(&mut self, source: &Arc<ObjectRef>, mut bound: Source<Bound>, l4: Source<L4Binding>) -> Rebound {
        let before = self.bound.remove(source).unwrap_or_default();
        for bound in &mut bound.bindings {
            if let Some(same) = before.bindings.iter().find(|old| old.routes == bound.routes) {
                bound.routes = Arc::clone(&same.routes);
            }
        }
        let l4_before = self.l4.remove(source).unwrap_or_default();
        let mut rebound = Rebound::default();
        touch_hosts(&before, &bound, &mut rebound.hosts);
        self.contribute(source, &before.bindings, &bound.bindings);
        if l4_before != l4 {
            for server in l4_before.bindings.iter().map(|l4| server_id(&l4.place)) {
                if let Some(sources) = self.l4_of.get_mut(&server) {
                    sources.remove(source);
                    if sources.is_empty() {
                        self.l4_of.remove(&server);
                    }
                }
                rebound.listeners.push(server.0);
            }
            for server in l4.bindings.iter().map(|l4| server_id(&l4.place)) {
                rebound.listeners.push(Arc::clone(&server.0));
                self.l4_of.entry(server).or_default().insert(Arc::clone(source));
            }
        }
        if !bound.bindings.is_empty() {
            self.bound.insert(Arc::clone(source), bound);
        }
        if !l4.bindings.is_empty() {
            self.l4.insert(Arc::clone(source), l4);
        }
        rebound.before = (before, l4_before);
        rebound
    }

    /// What an object goes to, before it was bound anew and since.
    pub(super) fn targets<'a>(&'a self, source: &ObjectRef, rebound: &'a Rebound) -> Targets<'a> {
        let (bound, l4) = &rebound.before;
        let now = Uses {
            bound: self.bound.get(source).map_or(&[][..], |bound| &bound.bindings),
            l4: self.l4.get(source).map_or(&[][..], |l4| &l4.bindings),
        };
        Targets { before: Uses { bound: &bound.bindings, l4: &l4.bindings }, now }
    }

    /// What objects put on a host, in the order in which Istio puts routes there: server by server as they merge, then object by object
    /// (VS-04, S-61).
    pub(super) fn of_host(&self, table: &TableId, host: &HostPattern) -> Vec<&Bound> {
        let sources = self.contributors.get(table).and_then(|hosts| hosts.get(host)).map_or(&[][..], Sorted::as_slice);
        let mut found: Vec<Contribution<'_>> = Vec::with_capacity(sources.len());
        for source in sources {
            let Some(bound) = self.bound.get(source) else { continue };
            let here = bound.bindings.iter().filter(|bound| *bound.table == *table && bound.has(host));
            found.extend(here.map(|here| Contribution { source, created: bound.created, bound: here }));
        }
        found.sort_by(Contribution::order);
        found.into_iter().map(|contribution| contribution.bound).collect()
    }

    /// What objects do with the bytes of a server, the one that counts first (VS-04).
    pub(super) fn of_bytes(&self, server: &ServerPlace) -> Vec<&L4Binding> {
        let server = server_id(server);
        let sources = self.l4_of.get(&server).into_iter().flatten();
        let mut found: Vec<(Age<'_>, &L4Binding)> = Vec::new();
        for (source, l4) in sources.filter_map(|source| Some((source, self.l4.get(source)?))) {
            let is_here = |l4: &&L4Binding| server_id(&l4.place) == server;
            found.extend(l4.bindings.iter().filter(is_here).map(|here| (Age::new(l4.created, &source.key), here)));
        }
        found.sort_by(|(a, one), (b, other)| one.class.cmp(&other.class).then_with(|| a.cmp(b)));
        found.into_iter().map(|(_, l4)| l4).collect()
    }

    /// Brings the contributors of hosts up to date.
    fn contribute(&mut self, source: &Arc<ObjectRef>, before: &[Bound], after: &[Bound]) {
        let is_in = |all: &[Bound], table: &Arc<TableId>, host: &HostPattern| {
            all.iter().any(|bound| bound.table == *table && bound.has(host))
        };
        for bound in before {
            let Some(hosts) = self.contributors.get_mut(&bound.table) else { continue };
            for host in bound.hosts.as_slice().iter().filter(|host| !is_in(after, &bound.table, host)) {
                let Some(sources) = hosts.get_mut(host) else { continue };
                sources.remove(source);
                if sources.is_empty() {
                    hosts.remove(host);
                }
            }
            if hosts.is_empty() {
                self.contributors.remove(&bound.table);
            }
        }
        for bound in after {
            let hosts = self.contributors.entry_ref(&bound.table).or_default();
            for host in bound.hosts.as_slice().iter().filter(|host| !is_in(before, &bound.table, host)) {
                hosts.entry_ref(host).or_default().insert(source);
            }
        }
    }
}

impl Contribution<'_> {
    fn age(&self) -> Age<'_> {
        Age::new(self.created, &self.source.key)
    }

    fn order(&self, other: &Self) -> Ordering {
        let (here, there) = (&self.bound.place, &other.bound.place);
        here.owner
            .by_age(&there.owner)
            .then(here.index.cmp(&there.index))
            .then(self.bound.class.cmp(&other.bound.class))
            .then_with(|| self.age().cmp(&other.age()))
            .then_with(|| self.source.kind.cmp(&other.source.kind))
    }
}

fn server_id(place: &ServerPlace) -> ServerId {
    (Arc::clone(&place.listener), place.owner.object.clone(), place.index)
}

/// Adds the hosts where it makes a difference that an object is bound like this and not as before.
fn touch_hosts(before: &Source<Bound>, after: &Source<Bound>, touched: &mut Vec<(Arc<TableId>, HostPattern)>) {
    let same_age = before.created == after.created;
    for (here, there) in [(before, after), (after, before)] {
        for bound in &here.bindings {
            let is_same = |host: &HostPattern| {
                same_age && there.bindings.iter().any(|other| same_place(bound, other) && other.has(host))
            };
            let differing = bound.hosts.as_slice().iter().filter(|host| !is_same(host));
            touched.extend(differing.map(|host| (Arc::clone(&bound.table), host.clone())));
        }
    }
}

/// Whether two put the same routes in the same place of the order.
fn same_place(one: &Bound, other: &Bound) -> bool {
    one.place == other.place && one.class == other.class && Arc::ptr_eq(&one.routes, &other.routes)
}

/// What an object goes to, before it was bound anew and since.
pub(super) struct Targets<'a> {
    pub(super) before: Uses<'a>,
    pub(super) now: Uses<'a>,
}

/// What one object does.
pub(super) struct Uses<'a> {
    bound: &'a [Bound],
    l4: &'a [L4Binding],
}

impl<'a> Uses<'a> {
    /// The clusters that its routes go to, as often as they do.
    pub(super) fn ids(&self) -> impl Iterator<Item = &'a ClusterId> {
        let bytes = self.l4.iter().flat_map(|l4| &l4.route.targets).map(|target| &target.cluster);
        let routes = self.bound.iter().flat_map(|bound| bound.routes.iter());
        let forwards = routes.filter_map(|route| match &route.action {
            Action::Forward(forward) => Some(forward),
            Action::Redirect(_) | Action::Respond(_) => None,
        });
        let clusters = forwards.flat_map(|forward| {
            let targets = forward.targets.iter().map(|target| &target.cluster);
            targets.chain(forward.mirrors.iter().map(|mirror| &mirror.cluster))
        });
        clusters.chain(bytes).filter_map(|cluster| match cluster {
            TargetCluster::Known(id) => Some(id),
            TargetCluster::Unknown { .. } => None,
        })
    }
}
