//! From a changed object to everything that has to be looked at again.

use super::dirty::Dirty;
use super::state::State;
use crate::destination_rules;
use crate::endpoints;
use crate::frontends::istio::gateway::ports;
use crate::index::{References, service_of_slice};
use crate::names;
use resources::key::{Key, Kind, ObjectRef};
use resources::set::{Object, ResourceSet};
use resources::spec::core::Service;
use resources::spec::destination_rule::{ConnectionPool, DestinationRule, Subset, TrafficPolicy, Tunnel};
use resources::spec::pod::Pod;
use resources::spec::scalar::Duration;
use resources::spec::service_entry::ServiceEntry;
use resources::spec::text_match::selects;
use resources::spec::virtual_service::VirtualService;
use resources::spec::workload_entry::WorkloadEntry;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Everything is new.
pub(super) fn apply_all(state: &mut State, dirty: &mut Dirty) {
    let State { set, index, settings, .. } = state;
    let nothing = References::default();
    index.reserve(set.service_entries.size().max(set.virtual_services.size()));
    for (key, object) in &set.virtual_services {
        index.virtual_service(key, &nothing, &References::of(object, &settings.domain));
    }
    set.service_entries.values().for_each(|object| index.service_entry(object, true));
    set.services.values().for_each(|object| index.service(object, true));
    set.destination_rules.values().for_each(|object| index.destination_rule(object, &settings.domain, true));
    set.endpoint_slices.values().for_each(|object| index.slice(object, true));
    set.endpoints.values().for_each(|object| index.addresses.endpoints(object, true));
    set.pods.values().for_each(|object| index.addresses.pod(object, true));
    dirty.gateways = true;
    dirty.all = true;
}

/// Brings the indexes up to date for one object, and marks what depends on it.
pub(super) fn apply(state: &mut State, before: &ResourceSet, object: &ObjectRef, dirty: &mut Dirty) {
    let key = &object.key;
    match object.kind {
        Kind::Gateway => {
            dirty.gateways = true;
            dirty.gateway_names.insert(Arc::clone(&key.name));
        }
        Kind::VirtualService => {
            let domain = &state.settings.domain;
            let named = |object: Option<&Arc<Object<VirtualService>>>| {
                object.map_or_else(References::default, |object| References::of(object, domain))
            };
            let (old, new) = (named(before.virtual_services.get(key)), named(state.set.virtual_services.get(key)));
            state.index.virtual_service(key, &old, &new);
            dirty.virtual_services.insert(key.clone());
            // Whether anybody delegates to them is said there.
            dirty.virtual_services.extend(old.delegates.symmetric_difference(&new.delegates).cloned());
        }
        Kind::DestinationRule => {
            let old = before.destination_rules.get(key).cloned();
            let new = state.set.destination_rules.get(key).cloned();
            let reach = Reach::of(old.as_deref(), new.as_deref(), destination_rule_looks_alike);
            old.iter().for_each(|old| destination_rule(state, old, false, reach, dirty));
            new.iter().for_each(|new| destination_rule(state, new, true, reach, dirty));
            if new.is_none() {
                state.report.set(Kind::DestinationRule, key, Default::default());
            }
        }
        Kind::ServiceEntry => {
            let old = before.service_entries.get(key).cloned();
            let new = state.set.service_entries.get(key).cloned();
            let reach = Reach::of(old.as_deref(), new.as_deref(), service_entry_looks_alike);
            old.iter().for_each(|old| service_entry(state, old, false, reach, dirty));
            new.iter().for_each(|new| service_entry(state, new, true, reach, dirty));
            if new.is_none() {
                state.report.set(Kind::ServiceEntry, key, Default::default());
            }
        }
        Kind::Service => {
            let old = before.services.get(key).cloned();
            let new = state.set.services.get(key).cloned();
            let reach = Reach::of(old.as_deref(), new.as_deref(), service_looks_alike);
            old.iter().for_each(|old| service(state, old, false, reach, dirty));
            new.iter().for_each(|new| service(state, new, true, reach, dirty));
            if new.is_none() {
                state.report.set(Kind::Service, key, Default::default());
            }
        }
        Kind::EndpointSlice => {
            for (set, present) in [(before, false), (&state.set.clone(), true)] {
                let Some(slice) = set.endpoint_slices.get(key) else { continue };
                state.index.slice(slice, present);
                if let Some(service) = service_of_slice(slice) {
                    endpoints_of(state, &service, dirty);
                }
            }
        }
        Kind::Endpoints => {
            for (set, present) in [(before, false), (&state.set.clone(), true)] {
                if let Some(endpoints) = set.endpoints.get(key) {
                    state.index.addresses.endpoints(endpoints, present);
                }
            }
            endpoints_of(state, key, dirty);
        }
        Kind::WorkloadEntry => {
            let found = [before.workload_entries.get(key), state.set.workload_entries.get(key)];
            found.into_iter().flatten().for_each(|object| workload_entry(state, object, dirty));
        }
        // Also those that were looked for in vain.
        Kind::Secret | Kind::ConfigMap => {
            dirty.gateways |= state.plans.used.objects.contains(key);
            let users = state.credentials.iter().filter(|(_, used)| used.objects.contains(key));
            dirty.clusters.extend(users.map(|(id, _)| id.clone()));
        }
        Kind::Pod => {
            let old = before.pods.get(key).cloned();
            let new = state.set.pods.get(key).cloned();
            pod(state, old.as_deref(), new.as_deref(), dirty);
        }
        Kind::RequestAuthentication | Kind::AuthorizationPolicy | Kind::PeerAuthentication => {
            dirty.policies.insert(object.clone());
        }
        Kind::Namespace => {}
    }
}

/// Marks what depends on a file.
pub(super) fn apply_file(state: &State, path: &Arc<str>, dirty: &mut Dirty) {
    dirty.gateways |= state.plans.used.files.contains(path);
    let users = state.credentials.iter().filter(|(_, used)| used.files.contains(path));
    dirty.clusters.extend(users.map(|(id, _)| id.clone()));
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
    fn of<T>(old: Option<&Object<T>>, new: Option<&Object<T>>, alike: fn(&T, &T) -> bool) -> Self {
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

/// Whether routes see the same: hosts, ports, and for whom.
fn service_entry_looks_alike(old: &ServiceEntry, new: &ServiceEntry) -> bool {
    old.hosts == new.hosts && old.ports == new.ports && old.export_to == new.export_to
}

/// Whether routes see the same: the ports.
fn service_looks_alike(old: &Service, new: &Service) -> bool {
    old.ports == new.ports
}

fn destination_rule(
    state: &mut State,
    object: &Object<DestinationRule>,
    present: bool,
    reach: Reach,
    dirty: &mut Dirty,
) {
    let domain = Arc::clone(&state.settings.domain);
    state.index.destination_rule(object, &domain, present);
    let host = destination_rules::host_of(object, &domain);
    let reached = reach.hosts(dirty);
    reached.insert((*host).into());
    if let Some(suffix) = host.strip_prefix('*') {
        reached.extend(state.index.used_hosts().filter(|used| used.ends_with(suffix)).cloned());
    }
}

fn service_entry(state: &mut State, object: &Object<ServiceEntry>, present: bool, reach: Reach, dirty: &mut Dirty) {
    state.index.service_entry(object, present);
    reach.hosts(dirty).extend(object.spec.hosts.iter().map(|host| Arc::from(&**host)));
}

fn service(state: &mut State, object: &Object<Service>, present: bool, reach: Reach, dirty: &mut Dirty) {
    state.index.service(object, present);
    let key = &object.key;
    reach.hosts(dirty).insert(names::service_host(&key.name, &key.namespace, &state.settings.domain).into());
    // S-40: its ports say where the gateway listens.
    dirty.gateways |= state.settings.workloads.iter().any(|workload| ports::is_for(object, workload));
}

fn endpoints_of(state: &State, service: &Key, dirty: &mut Dirty) {
    dirty.endpoints.insert(names::service_host(&service.name, &service.namespace, &state.settings.domain).into());
    let own = state.set.services.get(service);
    dirty.gateways |=
        own.is_some_and(|own| state.settings.workloads.iter().any(|workload| ports::is_for(own, workload)));
}

/// Pods give their labels to the endpoints that have their addresses or name them.
fn pod(state: &mut State, old: Option<&Object<Pod>>, new: Option<&Object<Pod>>, dirty: &mut Dirty) {
    if let (Some(old), Some(new)) = (old, new)
        && old.meta.labels == new.meta.labels
        && old.spec == new.spec
    {
        return;
    }
    old.iter().for_each(|old| state.index.addresses.pod(old, false));
    new.iter().for_each(|new| state.index.addresses.pod(new, true));
    let holders = old.into_iter().chain(new).flat_map(|pod| state.index.addresses.holders(pod));
    let services: BTreeSet<Key> = holders.filter_map(|holder| state.service_of(holder)).collect();
    services.iter().for_each(|service| endpoints_of(state, service, dirty));
}

impl State {
    /// The Service whose endpoints an EndpointSlice or Endpoints has.
    fn service_of(&self, holder: &ObjectRef) -> Option<Key> {
        match holder.kind {
            Kind::EndpointSlice => service_of_slice(self.set.endpoint_slices.get(&holder.key)?),
            _ => Some(holder.key.clone()),
        }
    }
}

/// WorkloadEntries act through the Services and ServiceEntries of their namespace that select them (SE-11).
fn workload_entry(state: &State, object: &Object<WorkloadEntry>, dirty: &mut Dirty) {
    let Some(selecting) = state.index.selecting(&object.key.namespace) else { return };
    let labels = endpoints::labels_of(object);
    for entry in selecting.entries.iter().filter_map(|key| state.set.service_entries.get(key)) {
        let selector = entry.spec.workload_selector.as_ref();
        if selector.is_some_and(|selector| selects(&selector.labels, &labels)) {
            dirty.endpoints.extend(entry.spec.hosts.iter().map(|host| Arc::from(&**host)));
        }
    }
    for service in selecting.services.iter().filter_map(|key| state.set.services.get(key)) {
        if selects(&service.spec.selector, &labels) {
            let Key { namespace, name } = &service.key;
            dirty.endpoints.insert(names::service_host(name, namespace, &state.settings.domain).into());
        }
    }
}
