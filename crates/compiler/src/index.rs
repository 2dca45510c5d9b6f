//! Reverse indexes: which objects are behind a host, and who asked for it, also where the answer was that there is none.
//!
//! Kept up from change to change by [`Index::replace`]; nothing here is ever scanned whole. Lists are sorted, so that the
//! order in which objects came never shows.

mod addresses;
mod host;

pub(crate) use addresses::{Addresses, pod_of};
pub(crate) use host::HostEntry;

use crate::fast::{FastMap, FastSet};
use crate::names;
use resources::Map;
use resources::few::Sorted;
use resources::key::{Key, ObjectRef};
use resources::set::Object;
use resources::spec::core::{EndpointSlice, Service};
use resources::spec::destination_rule::DestinationRule;
use resources::spec::service_entry::ServiceEntry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The label of an EndpointSlice that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The indexes.
#[derive(Debug, Default)]
pub(crate) struct Index {
    hosts: FastMap<Arc<str>, Box<HostEntry>>,
    /// DestinationRules for `*` and `*.suffix`, by that text.
    wildcard_rules: FastMap<Arc<str>, Sorted<Key>>,
    /// Objects with routes, which are kept once.
    sources: FastSet<Arc<ObjectRef>>,
    /// Objects with routes, by the Gateways that they name, and those by their names without namespaces.
    by_gateway: FastMap<Arc<str>, BTreeMap<ObjectRef, FastSet<Arc<ObjectRef>>>>,
    /// Objects with routes, by those that they delegate to.
    delegating: FastMap<ObjectRef, BTreeSet<Arc<ObjectRef>>>,
    /// EndpointSlices by their Service.
    slices: FastMap<Key, Sorted<Key>>,
    /// Pods by their addresses, and what has endpoints with them.
    pub(crate) addresses: Addresses,
    /// ServiceEntries and Services that select WorkloadEntries, by namespace.
    selecting: FastMap<Arc<str>, Selecting>,
}

/// What selects WorkloadEntries in one namespace.
#[derive(Debug, Default)]
pub(crate) struct Selecting {
    pub(crate) entries: BTreeSet<Key>,
    pub(crate) services: BTreeSet<Key>,
}

impl Index {
    /// What is known of a host, if anything is.
    pub(crate) fn host(&self, host: &str) -> Option<&HostEntry> {
        self.hosts.get(host).map(|entry| &**entry)
    }

    /// The host's shared text, if it is known.
    pub(crate) fn shared(&self, host: &str) -> Arc<str> {
        self.hosts.get_key_value(host).map_or_else(|| host.into(), |(text, _)| Arc::clone(text))
    }

    pub(crate) fn host_mut(&mut self, host: &str) -> &mut HostEntry {
        slot::<Box<HostEntry>>(&mut self.hosts, host)
    }

    /// All hosts that routes name, for wildcard rules.
    pub(crate) fn used_hosts(&self) -> impl Iterator<Item = &Arc<str>> {
        self.hosts.iter().filter(|(_, entry)| !entry.users.is_empty()).map(|(host, _)| host)
    }

    /// Makes room for what a first compilation brings.
    pub(crate) fn reserve(&mut self, hosts: usize, sources: usize) {
        self.hosts.reserve(hosts);
        self.sources.reserve(sources);
    }

    /// The shared name of an object with routes, if there is such an object.
    pub(crate) fn source(&self, object: &ObjectRef) -> Arc<ObjectRef> {
        self.sources.get(object).map_or_else(|| Arc::new(object.clone()), Arc::clone)
    }

    /// Forgets a host of which nothing is left.
    pub(crate) fn drop_if_empty(&mut self, host: &str) {
        if self.hosts.get(host).is_some_and(|entry| entry.is_empty()) {
            self.hosts.remove(host);
        }
    }

    /// The DestinationRules whose host is `pattern`, which begins with `*`.
    pub(crate) fn wildcard_rules(&self, pattern: &str) -> &[Key] {
        self.wildcard_rules.get(pattern).map_or(&[], Sorted::as_slice)
    }

    /// Whether there is any such rule.
    pub(crate) fn has_wildcard_rules(&self) -> bool {
        !self.wildcard_rules.is_empty()
    }

    /// The EndpointSlices of a Service.
    pub(crate) fn slices(&self, service: &Key) -> &[Key] {
        self.slices.get(service).map_or(&[], Sorted::as_slice)
    }

    /// What selects WorkloadEntries in a namespace.
    pub(crate) fn selecting(&self, namespace: &str) -> Option<&Selecting> {
        self.selecting.get(namespace)
    }

    /// Objects with routes that name this Gateway.
    pub(crate) fn naming(&self, gateway: &ObjectRef) -> impl Iterator<Item = &Arc<ObjectRef>> {
        let named = self.by_gateway.get(&*gateway.key.name).and_then(|gateways| gateways.get(gateway));
        named.into_iter().flatten()
    }

    /// Objects with routes that name a Gateway of this name, in whatever namespace.
    pub(crate) fn naming_namesakes(&self, name: &str) -> impl Iterator<Item = &Arc<ObjectRef>> {
        self.by_gateway.get(name).into_iter().flat_map(BTreeMap::values).flatten()
    }

    /// Objects with a rule that delegates to this one.
    pub(crate) fn delegating_to(&self, delegate: &ObjectRef) -> impl Iterator<Item = &Arc<ObjectRef>> {
        self.delegating.get(delegate).into_iter().flatten()
    }

    /// Takes an object with routes in or out.
    pub(crate) fn set_source(&mut self, source: &Arc<ObjectRef>, present: bool) {
        if present {
            self.sources.insert(Arc::clone(source));
        } else {
            self.sources.remove(source);
        }
    }

    /// Takes the names in an object with routes in or out.
    pub(crate) fn references(&mut self, source: &Arc<ObjectRef>, before: &References, after: &References) {
        for host in before.hosts.difference(&after.hosts) {
            self.host_mut(host).users.remove(source);
            self.drop_if_empty(host);
        }
        for host in after.hosts.difference(&before.hosts) {
            self.host_mut(host).users.insert(source);
        }
        for gateway in before.gateways.difference(&after.gateways) {
            self.unname(gateway, source);
        }
        for gateway in after.gateways.difference(&before.gateways) {
            let namesakes = slot(&mut self.by_gateway, &gateway.key.name);
            if !namesakes.contains_key(gateway) {
                namesakes.insert(gateway.clone(), FastSet::default());
            }
            if let Some(naming) = namesakes.get_mut(gateway) {
                naming.insert(Arc::clone(source));
            }
        }
        for delegate in before.delegates.difference(&after.delegates) {
            if let Some(roots) = self.delegating.get_mut(delegate) {
                roots.remove(source);
            }
        }
        for delegate in after.delegates.difference(&before.delegates) {
            self.delegating.entry_ref(delegate).or_default().insert(Arc::clone(source));
        }
    }

    fn unname(&mut self, gateway: &ObjectRef, source: &Arc<ObjectRef>) {
        let Some(namesakes) = self.by_gateway.get_mut(&*gateway.key.name) else { return };
        if let Some(naming) = namesakes.get_mut(gateway) {
            naming.remove(source);
            if naming.is_empty() {
                namesakes.remove(gateway);
            }
        }
        if namesakes.is_empty() {
            self.by_gateway.remove(&*gateway.key.name);
        }
    }

    pub(crate) fn service_entry(&mut self, object: &Object<ServiceEntry>, present: bool) {
        for host in &object.spec.hosts {
            self.host_mut(host).entries.set(&object.key, present);
            self.drop_if_empty(host);
        }
        if object.spec.workload_selector.is_some() {
            set_in(&mut slot(&mut self.selecting, &object.key.namespace).entries, &object.key, present);
        }
    }

    pub(crate) fn service(&mut self, object: &Object<Service>, present: bool) {
        if !object.spec.selector.is_empty() {
            set_in(&mut slot(&mut self.selecting, &object.key.namespace).services, &object.key, present);
        }
    }

    pub(crate) fn destination_rule(&mut self, object: &Object<DestinationRule>, domain: &str, present: bool) {
        let host = names::full_host(&object.spec.host, &object.key.namespace, domain);
        if host.starts_with('*') {
            slot(&mut self.wildcard_rules, &host).set(&object.key, present);
            self.wildcard_rules.retain(|_, rules| !rules.is_empty());
        } else {
            self.host_mut(&host).set_rule(&object.key, present);
            self.drop_if_empty(&host);
        }
    }

    /// Takes an EndpointSlice in or out. `services` are those of the set.
    pub(crate) fn slice(
        &mut self,
        object: &Object<EndpointSlice>,
        services: &Map<Key, Arc<Object<Service>>>,
        present: bool,
    ) {
        self.addresses.slice(object, present);
        if let Some(service) = service_of_slice(object) {
            // The Service's own name is not kept twice.
            let service = services.get(&service).map_or(&service, |object| &object.key);
            self.slices.entry_ref(service).or_default().set(&object.key, present);
        }
    }
}

/// Which Service a slice belongs to.
pub(crate) fn service_of_slice(object: &Object<EndpointSlice>) -> Option<Key> {
    let name = object.meta.labels.get(SERVICE_NAME)?;
    Some(Key::new(Arc::clone(&object.key.namespace), &**name))
}

/// The value of a text, which keeps the text that it has.
fn slot<'a, V: Default>(map: &'a mut FastMap<Arc<str>, V>, text: &str) -> &'a mut V {
    let shared = map.get_key_value(text).map_or_else(|| text.into(), |(known, _)| Arc::clone(known));
    map.entry(shared).or_default()
}

fn set_in(keys: &mut BTreeSet<Key>, key: &Key, present: bool) {
    if present {
        keys.insert(key.clone());
    } else {
        keys.remove(key);
    }
}

/// The names in an object with routes by which it is found again.
#[derive(Debug, Default)]
pub(crate) struct References {
    /// Full destination hosts.
    pub(crate) hosts: BTreeSet<String>,
    pub(crate) gateways: BTreeSet<ObjectRef>,
    /// Other objects whose rules it puts in.
    pub(crate) delegates: BTreeSet<ObjectRef>,
}
