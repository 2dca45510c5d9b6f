//! Reverse indexes: which objects are behind a host, and who asked for it, also where the answer was that there is none.
//!
//! Kept up from change to change by [`Index::replace`]; nothing here is ever scanned whole. Lists are sorted, so that the
//! order in which objects came never shows.

mod addresses;
mod host;

pub(crate) use addresses::{Addresses, pod_of};
pub(crate) use host::{ClusterUse, HostEntry, SortedKeys};

use crate::fast::{FastMap, FastSet};
use crate::names;
use resources::key::Key;
use resources::set::Object;
use resources::spec::core::{EndpointSlice, Service};
use resources::spec::destination_rule::DestinationRule;
use resources::spec::service_entry::ServiceEntry;
use resources::spec::virtual_service::VirtualService;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The label of an EndpointSlice that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The indexes.
#[derive(Debug, Default)]
pub(crate) struct Index {
    hosts: FastMap<Arc<str>, HostEntry>,
    /// DestinationRules for `*` and `*.suffix`, by that text.
    wildcard_rules: FastMap<Arc<str>, SortedKeys>,
    /// VirtualServices by the names (without namespaces) of the Gateways that they name.
    by_gateway_name: FastMap<Arc<str>, FastSet<Key>>,
    /// VirtualServices by those that they delegate to.
    delegating: FastMap<Key, BTreeSet<Key>>,
    /// EndpointSlices by their Service.
    slices: FastMap<Key, SortedKeys>,
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
        self.hosts.get(host)
    }

    /// The host's shared text, if it is known.
    pub(crate) fn shared(&self, host: &str) -> Arc<str> {
        self.hosts.get_key_value(host).map_or_else(|| host.into(), |(text, _)| Arc::clone(text))
    }

    pub(crate) fn host_mut(&mut self, host: &str) -> &mut HostEntry {
        slot(&mut self.hosts, host)
    }

    /// All hosts that routes name, for wildcard rules.
    pub(crate) fn used_hosts(&self) -> impl Iterator<Item = &Arc<str>> {
        self.hosts.iter().filter(|(_, entry)| !entry.users.is_empty()).map(|(host, _)| host)
    }

    /// Makes room for what a first compilation brings.
    pub(crate) fn reserve(&mut self, hosts: usize) {
        self.hosts.reserve(hosts);
    }

    /// Forgets a host of which nothing is left.
    pub(crate) fn drop_if_empty(&mut self, host: &str) {
        if self.hosts.get(host).is_some_and(HostEntry::is_empty) {
            self.hosts.remove(host);
        }
    }

    /// The DestinationRules whose host is `pattern`, which begins with `*`.
    pub(crate) fn wildcard_rules(&self, pattern: &str) -> &[Key] {
        self.wildcard_rules.get(pattern).map_or(&[], SortedKeys::as_slice)
    }

    /// Whether there is any such rule.
    pub(crate) fn has_wildcard_rules(&self) -> bool {
        !self.wildcard_rules.is_empty()
    }

    /// The EndpointSlices of a Service.
    pub(crate) fn slices(&self, service: &Key) -> &[Key] {
        self.slices.get(service).map_or(&[], SortedKeys::as_slice)
    }

    /// What selects WorkloadEntries in a namespace.
    pub(crate) fn selecting(&self, namespace: &str) -> Option<&Selecting> {
        self.selecting.get(namespace)
    }

    /// VirtualServices that name a Gateway of this name, in whatever namespace.
    pub(crate) fn naming_gateway(&self, name: &str) -> impl Iterator<Item = &Key> {
        self.by_gateway_name.get(name).into_iter().flatten()
    }

    /// VirtualServices with a rule that delegates to this one.
    pub(crate) fn delegating_to(&self, delegate: &Key) -> impl Iterator<Item = &Key> {
        self.delegating.get(delegate).into_iter().flatten()
    }

    /// Takes a VirtualService's names in or out. `named` is what it names: destination hosts and gateways.
    pub(crate) fn virtual_service(&mut self, key: &Key, before: &References, after: &References) {
        for host in before.hosts.difference(&after.hosts) {
            self.host_mut(host).users.remove(key);
            self.drop_if_empty(host);
        }
        for host in after.hosts.difference(&before.hosts) {
            self.host_mut(host).users.insert(key);
        }
        for name in before.gateways.difference(&after.gateways) {
            if let Some(set) = self.by_gateway_name.get_mut(name.as_str()) {
                set.remove(key);
            }
        }
        for name in after.gateways.difference(&before.gateways) {
            slot(&mut self.by_gateway_name, name).insert(key.clone());
        }
        for delegate in before.delegates.difference(&after.delegates) {
            if let Some(roots) = self.delegating.get_mut(delegate) {
                roots.remove(key);
            }
        }
        for delegate in after.delegates.difference(&before.delegates) {
            self.delegating.entry_ref(delegate).or_default().insert(key.clone());
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

    pub(crate) fn slice(&mut self, object: &Object<EndpointSlice>, present: bool) {
        self.addresses.slice(object, present);
        if let Some(service) = service_of_slice(object) {
            self.slices.entry_ref(&service).or_default().set(&object.key, present);
        }
    }
}

/// Which Service a slice belongs to.
pub(crate) fn service_of_slice(object: &Object<EndpointSlice>) -> Option<Key> {
    let name = object.meta.labels.get(SERVICE_NAME)?;
    Some(Key { namespace: Arc::clone(&object.key.namespace), name: (**name).into() })
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

/// The names in a VirtualService by which it is found again.
#[derive(Debug, Default)]
pub(crate) struct References {
    /// Full destination hosts.
    pub(crate) hosts: BTreeSet<String>,
    /// Names of Gateways, without their namespaces.
    pub(crate) gateways: BTreeSet<String>,
    /// Other VirtualServices whose rules it puts in.
    pub(crate) delegates: BTreeSet<Key>,
}

impl References {
    /// What `object` names.
    pub(crate) fn of(object: &Object<VirtualService>, domain: &str) -> Self {
        let namespace = &object.key.namespace;
        let spec = &object.spec;
        let of_http = spec.http.iter().flat_map(|rule| {
            let targets = rule.route.iter().filter_map(|route| route.destination.as_ref());
            let mirrors = rule.mirrors.iter().filter_map(|mirror| mirror.destination.as_ref());
            targets.chain(mirrors).chain(rule.mirror.as_deref())
        });
        let of_bytes = spec.tls.iter().flat_map(|rule| &rule.route).chain(spec.tcp.iter().flat_map(|rule| &rule.route));
        let hosts = of_http.chain(of_bytes.filter_map(|route| route.destination.as_ref()));
        let gateways = object.spec.gateways.iter().filter_map(|name| names::gateway(name, namespace, domain));
        Self {
            hosts: hosts.map(|to| names::full_host(&to.host, namespace, domain).into_owned()).collect(),
            gateways: gateways.map(|key| (*key.name).to_owned()).collect(),
            delegates: spec.http.iter().filter_map(|rule| names::delegate(rule, &object.key)).collect(),
        }
    }
}
