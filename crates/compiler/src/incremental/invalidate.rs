//! From a changed object to everything that has to be looked at again.

use super::clusters::Clusters;
use super::dirty::Dirty;
use super::servers::Servers;
use crate::credentials::Used;
use crate::destination_rules;
use crate::endpoints;
use crate::frontends;
use crate::index::{Index, References, service_of_slice};
use crate::localities;
use crate::names;
use crate::settings::Settings;
use resources::key::{Key, Kind, ObjectRef};
use resources::set::{Object, ResourceSet};
use resources::spec::core::{EndpointSubset, Service};
use resources::spec::destination_rule::{ConnectionPool, DestinationRule, Subset, TrafficPolicy, Tunnel};
use resources::spec::pod::Pod;
use resources::spec::scalar::Duration;
use resources::spec::security::RequestAuthentication;
use resources::spec::service_entry::ServiceEntry;
use resources::spec::text_match::selects;
use resources::spec::workload_entry::WorkloadEntry;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// The parts of the state that tell what depends on what.
pub(super) struct Dependencies<'a> {
    pub(super) before: &'a ResourceSet,
    pub(super) set: &'a ResourceSet,
    pub(super) settings: &'a Settings,
    pub(super) index: &'a mut Index,
    pub(super) servers: &'a Servers,
    pub(super) clusters: &'a Clusters,
}

/// Everything is new: fills the indexes.
pub(super) fn everything(set: &ResourceSet, settings: &Settings, index: &mut Index) -> Dirty {
    let nothing = References::default();
    let count = frontends::count_route_sources(set);
    index.reserve(set.service_entries.size().max(count), count);
    let sources: BTreeSet<Arc<ObjectRef>> = frontends::route_sources(set).map(Arc::new).collect();
    for source in &sources {
        index.set_source(source, true);
        index.references(source, &nothing, &frontends::references(set, source, &settings.domain));
    }
    set.service_entries.values().for_each(|object| index.service_entry(object, true));
    set.services.values().for_each(|object| index.service(object, true));
    set.destination_rules.values().for_each(|object| index.destination_rule(object, &settings.domain, true));
    set.endpoint_slices.values().for_each(|object| index.slice(object, &set.services, true));
    set.endpoints.values().for_each(|object| index.addresses.endpoints(object, true));
    set.pods.values().for_each(|object| index.addresses.pod(object, set, true));
    Dirty { all: true, all_gateways: true, sources, ..Dirty::default() }
}

impl Dependencies<'_> {
    /// Brings the indexes up to date for what changed, and returns what depends on it.
    pub(super) fn changed(&mut self) -> Dirty {
        let mut dirty = Dirty::default();
        let set = self.set;
        set.changed.iter().for_each(|object| self.object(object, &mut dirty));
        self.nodes(&mut dirty);
        set.changed_files.iter().for_each(|path| self.credential(|used| used.files.contains(path), &mut dirty));
        self.users_of_hosts(&mut dirty);
        dirty
    }

    fn object(&mut self, object: &ObjectRef, dirty: &mut Dirty) {
        let (before, set) = (self.before, self.set);
        let key = &object.key;
        match object.kind {
            Kind::Gateway => {
                dirty.gateways.insert(object.clone());
            }
            Kind::VirtualService => self.virtual_service(object, dirty),
            Kind::DestinationRule => {
                let (old, new) = (before.destination_rules.get(key), set.destination_rules.get(key));
                let reach = Reach::of(old, new, destination_rule_looks_alike);
                old.into_iter().for_each(|old| self.destination_rule(old, false, reach, dirty));
                new.into_iter().for_each(|new| self.destination_rule(new, true, reach, dirty));
                dirty.gone.extend(new.is_none().then(|| object.clone()));
            }
            Kind::ServiceEntry => {
                let (old, new) = (before.service_entries.get(key), set.service_entries.get(key));
                let reach = Reach::of(old, new, service_entry_looks_alike);
                old.into_iter().for_each(|old| self.service_entry(old, false, reach, dirty));
                new.into_iter().for_each(|new| self.service_entry(new, true, reach, dirty));
                dirty.gone.extend(new.is_none().then(|| object.clone()));
            }
            Kind::Service => {
                let (old, new) = (before.services.get(key), set.services.get(key));
                let reach = Reach::of(old, new, service_looks_alike);
                old.into_iter().for_each(|old| self.service(old, false, reach, dirty));
                new.into_iter().for_each(|new| self.service(new, true, reach, dirty));
                dirty.gone.extend(new.is_none().then(|| object.clone()));
            }
            Kind::EndpointSlice => self.endpoint_slice(key, dirty),
            Kind::Endpoints => {
                for (set, present) in [(before, false), (set, true)] {
                    if let Some(endpoints) = set.endpoints.get(key) {
                        self.index.addresses.endpoints(endpoints, present);
                    }
                }
                self.endpoints_of(key, dirty);
            }
            Kind::WorkloadEntry => {
                let found = [before.workload_entries.get(key), set.workload_entries.get(key)];
                found.into_iter().flatten().for_each(|object| self.workload_entry(object, dirty));
            }
            // Also those that were looked for in vain.
            Kind::Secret | Kind::ConfigMap => self.credential(|used| used.objects.contains(key), dirty),
            Kind::Pod => self.pod(before.pods.get(key), set.pods.get(key), dirty),
            Kind::RequestAuthentication => {
                self.request_authentication(key, dirty);
                dirty.policies.insert(object.clone());
            }
            Kind::AuthorizationPolicy | Kind::PeerAuthentication => {
                dirty.policies.insert(object.clone());
            }
            // Nodes are looked at together.
            Kind::Node | Kind::Namespace => {}
        }
    }

    fn virtual_service(&mut self, object: &ObjectRef, dirty: &mut Dirty) {
        let domain = &self.settings.domain;
        let old = frontends::references(self.before, object, domain);
        let new = frontends::references(self.set, object, domain);
        let source = self.index.source(object);
        self.index.set_source(&source, self.set.contains(object));
        self.index.references(&source, &old, &new);
        dirty.sources.insert(source);
        // Whether anything delegates to them is reported there.
        let delegates = old.delegates.symmetric_difference(&new.delegates);
        dirty.sources.extend(delegates.map(|delegate| self.index.source(delegate)));
    }

    fn endpoint_slice(&mut self, key: &Key, dirty: &mut Dirty) {
        for (set, present) in [(self.before, false), (self.set, true)] {
            let Some(slice) = set.endpoint_slices.get(key) else { continue };
            self.index.slice(slice, &set.services, present);
            if let Some(service) = service_of_slice(slice) {
                self.endpoints_of(&service, dirty);
            }
        }
    }

    /// Conditions on claims are reported where no token is verified.
    fn request_authentication(&self, key: &Key, dirty: &mut Dirty) {
        let seen = |set: &ResourceSet| {
            let object = set.request_authentications.get(key)?;
            let RequestAuthentication { selector, target_ref, target_refs, jwt_rules, .. } = &object.spec;
            let targets = (selector.clone(), target_ref.clone(), target_refs.clone());
            (!jwt_rules.is_empty()).then_some(targets)
        };
        if seen(self.before) != seen(self.set) {
            dirty.sources.extend(frontends::with_claims(self.set).map(|source| self.index.source(&source)));
        }
    }

    /// Marks what depends on a Secret, a ConfigMap or a file.
    fn credential(&self, is_used: impl Fn(&Used) -> bool, dirty: &mut Dirty) {
        dirty.gateways.extend(self.servers.using(&is_used).cloned());
        dirty.clusters.extend(self.clusters.using(&is_used).cloned());
    }

    fn users_of_hosts(&self, dirty: &mut Dirty) {
        for host in &dirty.hosts {
            if let Some(entry) = self.index.host(host) {
                dirty.sources.extend(entry.users.as_slice().iter().cloned());
            }
        }
    }

    fn destination_rule(&mut self, object: &Object<DestinationRule>, present: bool, reach: Reach, dirty: &mut Dirty) {
        let domain = &self.settings.domain;
        self.index.destination_rule(object, domain, present);
        let host = destination_rules::host_of(object, domain);
        let reached = reach.hosts(dirty);
        reached.insert((*host).into());
        if let Some(suffix) = host.strip_prefix('*') {
            reached.extend(self.index.used_hosts().filter(|used| used.ends_with(suffix)).cloned());
        }
    }

    fn service_entry(&mut self, object: &Object<ServiceEntry>, present: bool, reach: Reach, dirty: &mut Dirty) {
        self.index.service_entry(object, present);
        reach.hosts(dirty).extend(object.spec.hosts.iter().map(|host| Arc::from(&**host)));
    }

    fn service(&mut self, object: &Object<Service>, present: bool, reach: Reach, dirty: &mut Dirty) {
        self.index.service(object, present);
        reach.hosts(dirty).insert(self.host_of(&object.key));
        // S-40: its ports say where the gateway listens.
        dirty.all_gateways |= self.is_of_gateway(object);
    }

    fn endpoints_of(&self, service: &Key, dirty: &mut Dirty) {
        dirty.endpoints.insert(self.host_of(service));
        dirty.all_gateways |= self.set.services.get(service).is_some_and(|object| self.is_of_gateway(object));
    }

    fn host_of(&self, service: &Key) -> Arc<str> {
        names::service_host(&service.name, &service.namespace, &self.settings.domain).into()
    }

    /// Whether a Service is one of a workload of this process.
    fn is_of_gateway(&self, object: &Object<Service>) -> bool {
        self.settings.workloads.iter().any(|workload| frontends::is_of_workload(object, workload))
    }

    /// Pods give their labels to the endpoints that have their addresses or name them.
    fn pod(&mut self, old: Option<&Arc<Object<Pod>>>, new: Option<&Arc<Object<Pod>>>, dirty: &mut Dirty) {
        if let (Some(old), Some(new)) = (old, new)
            && old.meta.labels == new.meta.labels
            && old.spec == new.spec
        {
            return;
        }
        old.into_iter().for_each(|old| self.index.addresses.pod(old, self.set, false));
        new.into_iter().for_each(|new| self.index.addresses.pod(new, self.set, true));
        let holders = old.into_iter().chain(new).flat_map(|pod| self.index.addresses.holders(pod));
        let services: BTreeSet<Key> = holders.filter_map(|holder| self.service_of(holder)).collect();
        services.iter().for_each(|service| self.endpoints_of(service, dirty));
    }

    /// Nodes tell where their endpoints are (DR-13). They come and move rarely, so that all endpoints are looked at, once for all Nodes: an index
    /// would cost each endpoint memory.
    fn nodes(&self, dirty: &mut Dirty) {
        let changed = self.set.changed.iter().filter(|object| object.kind == Kind::Node);
        let moved: HashSet<&str> =
            changed.filter(|node| self.has_moved(&node.key)).map(|node| &*node.key.name).collect();
        if moved.is_empty() {
            return;
        }
        let slices = self.set.endpoint_slices.values();
        let here = slices.filter(|slice| slice.spec.endpoints.iter().any(|one| moved.contains(&*one.node_name)));
        let of_slices = here.filter_map(|slice| service_of_slice(slice));
        let has = |subset: &EndpointSubset| {
            subset.addresses.iter().chain(&subset.not_ready_addresses).any(|one| moved.contains(&*one.node_name))
        };
        let endpoints = self.set.endpoints.values().filter(|object| object.spec.subsets.iter().any(has));
        let services: BTreeSet<Key> = of_slices.chain(endpoints.map(|object| object.key.clone())).collect();
        services.iter().for_each(|service| self.endpoints_of(service, dirty));
    }

    /// Whether a Node is elsewhere than before.
    fn has_moved(&self, node: &Key) -> bool {
        let [before, now] = [self.before, self.set].map(|set| set.nodes.get(node).map(|node| &node.meta.labels));
        !localities::are_alike(before, now)
    }

    /// The Service whose endpoints an EndpointSlice or Endpoints has.
    fn service_of(&self, holder: &ObjectRef) -> Option<Key> {
        match holder.kind {
            Kind::EndpointSlice => service_of_slice(self.set.endpoint_slices.get(&holder.key)?),
            _ => Some(holder.key.clone()),
        }
    }

    /// WorkloadEntries act through the Services and ServiceEntries of their namespace that select them (SE-11).
    fn workload_entry(&self, object: &Object<WorkloadEntry>, dirty: &mut Dirty) {
        let Some(selecting) = self.index.selecting(&object.key.namespace) else { return };
        let labels = endpoints::labels_of(object);
        for entry in selecting.entries.iter().filter_map(|key| self.set.service_entries.get(key)) {
            let selector = entry.spec.workload_selector.as_ref();
            if selector.is_some_and(|selector| selects(&selector.labels, &labels)) {
                dirty.endpoints.extend(entry.spec.hosts.iter().map(|host| Arc::from(&**host)));
            }
        }
        for service in selecting.services.iter().filter_map(|key| self.set.services.get(key)) {
            if selects(&service.spec.selector, &labels) {
                dirty.endpoints.insert(self.host_of(&service.key));
            }
        }
    }
}

/// Adds the objects that put the rules of others in: what a delegate says, its roots say.
pub(super) fn add_roots(index: &Index, sources: &mut BTreeSet<Arc<ObjectRef>>) {
    let roots: Vec<Arc<ObjectRef>> = sources.iter().flat_map(|source| index.delegating_to(source)).cloned().collect();
    sources.extend(roots);
}

/// How far a change reaches.
#[derive(Clone, Copy)]
enum Reach {
    /// To routes: what they see of the object is different.
    Routes,
    /// To clusters alone.
    Clusters,
}

impl Reach {
    fn of<T>(old: Option<&Arc<Object<T>>>, new: Option<&Arc<Object<T>>>, alike: fn(&T, &T) -> bool) -> Self {
        match (old, new) {
            (Some(old), Some(new)) if old.meta == new.meta && alike(&old.spec, &new.spec) => Self::Clusters,
            _ => Self::Routes,
        }
    }

    /// Where hosts are marked.
    fn hosts(self, dirty: &mut Dirty) -> &mut BTreeSet<Arc<str>> {
        match self {
            Self::Routes => &mut dirty.hosts,
            Self::Clusters => &mut dirty.endpoints,
        }
    }
}

/// Whether routes see the same: who holds where, and which subsets there are.
fn destination_rule_looks_alike(old: &DestinationRule, new: &DestinationRule) -> bool {
    let subset = |subset: &Subset| (subset.name.clone(), subset.labels.is_empty());
    old.host == new.host
        && old.export_to == new.export_to
        && old.workload_selector == new.workload_selector
        && old.subsets.iter().map(subset).eq(new.subsets.iter().map(subset))
        && policies_of_bytes(old) == policies_of_bytes(new)
}

/// What routes of bytes take from a policy: its tunnel (DR-50), and by port, where one is named, the idle time of each pool that is
/// written (VS-66).
type OfBytes<'a> = (Option<&'a Tunnel>, Vec<(Option<u32>, Option<Option<Duration>>)>);

/// The same of a rule, and of each of its subsets.
fn policies_of_bytes(rule: &DestinationRule) -> Vec<Option<OfBytes<'_>>> {
    let idle = |pool: Option<&ConnectionPool>| pool.map(|pool| pool.tcp.as_ref().and_then(|tcp| tcp.idle_timeout));
    let of_policy = |policy: &'_ TrafficPolicy| {
        let of_ports = policy
            .port_level_settings
            .iter()
            .map(|settings| (settings.port.map(|port| port.number), idle(settings.connection_pool.as_deref())));
        std::iter::once((None, idle(policy.connection_pool.as_deref()))).chain(of_ports).collect()
    };
    let policies =
        std::iter::once(&rule.traffic_policy).chain(rule.subsets.iter().map(|subset| &subset.traffic_policy));
    policies.map(|policy| policy.as_deref().map(|policy| (policy.tunnel.as_deref(), of_policy(policy)))).collect()
}

/// Whether routes see the same: hosts, ports and visibility.
fn service_entry_looks_alike(old: &ServiceEntry, new: &ServiceEntry) -> bool {
    old.hosts == new.hosts && old.ports == new.ports && old.export_to == new.export_to
}

/// Whether routes see the same: the ports.
fn service_looks_alike(old: &Service, new: &Service) -> bool {
    old.ports == new.ports
}
