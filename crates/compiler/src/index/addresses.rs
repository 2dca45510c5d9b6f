//! Pods by their addresses, and the EndpointSlices and Endpoints that have such an address or name such a Pod: what has to be looked at
//! again when a Pod changes, and which labels an endpoint has.

use crate::fast::FastMap;
use resources::few::Sorted;
use resources::key::{Key, Kind, ObjectRef};
use resources::set::{Object, ResourceSet};
use resources::spec::core::{EndpointSlice, Endpoints, TargetRef};
use resources::spec::pod::Pod;
use std::net::IpAddr;
use std::sync::Arc;

/// The index. What has endpoints is kept only once there is a Pod: without any nothing asks for it, and an entry for each endpoint takes
/// memory.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    pods: FastMap<IpAddr, Sorted<Key>>,
    /// `None` before the first Pod.
    endpoints: Option<Holders>,
}

/// What has endpoints.
#[derive(Debug, Default)]
struct Holders {
    by_address: FastMap<IpAddr, Sorted<ObjectRef>>,
    /// Those that name a Pod.
    naming: FastMap<Key, Sorted<ObjectRef>>,
}

impl Addresses {
    /// Takes a Pod in or out. `set` has the endpoints to begin with.
    pub(crate) fn pod(&mut self, object: &Object<Pod>, set: &ResourceSet, present: bool) {
        self.endpoints.get_or_insert_with(|| Holders::of(set));
        for address in addresses(object) {
            change(&mut self.pods, address, &object.key, present);
        }
    }

    /// Takes an EndpointSlice in or out.
    pub(crate) fn slice(&mut self, object: &Object<EndpointSlice>, present: bool) {
        if let Some(holders) = &mut self.endpoints {
            holders.slice(object, present);
        }
    }

    /// Takes Endpoints in or out.
    pub(crate) fn endpoints(&mut self, object: &Object<Endpoints>, present: bool) {
        if let Some(holders) = &mut self.endpoints {
            holders.endpoints(object, present);
        }
    }

    /// The Pod that has an address: the first by name, should several say so.
    pub(crate) fn pod_at(&self, address: IpAddr) -> Option<&Key> {
        self.pods.get(&address)?.as_slice().first()
    }

    /// Everything that has endpoints with a Pod's addresses or that names it.
    pub(crate) fn holders(&self, object: &Object<Pod>) -> impl Iterator<Item = &ObjectRef> {
        self.endpoints.iter().flat_map(move |holders| holders.of_pod(object))
    }
}

impl Holders {
    fn of(set: &ResourceSet) -> Self {
        let mut holders = Self::default();
        set.endpoint_slices.values().for_each(|object| holders.slice(object, true));
        set.endpoints.values().for_each(|object| holders.endpoints(object, true));
        holders
    }

    fn slice(&mut self, object: &Object<EndpointSlice>, present: bool) {
        let holder = ObjectRef { kind: Kind::EndpointSlice, key: object.key.clone() };
        for endpoint in &object.spec.endpoints {
            let addresses = endpoint.addresses.iter().map(|address| &**address);
            self.holder(&holder, addresses, endpoint.target_ref.as_deref(), present);
        }
    }

    fn endpoints(&mut self, object: &Object<Endpoints>, present: bool) {
        let holder = ObjectRef { kind: Kind::Endpoints, key: object.key.clone() };
        for subset in &object.spec.subsets {
            for one in subset.addresses.iter().chain(&subset.not_ready_addresses) {
                self.holder(&holder, std::iter::once(&*one.ip), one.target_ref.as_ref(), present);
            }
        }
    }

    fn holder<'a>(
        &mut self,
        holder: &ObjectRef,
        addresses: impl Iterator<Item = &'a str>,
        target: Option<&TargetRef>,
        present: bool,
    ) {
        for address in addresses.filter_map(|address| address.parse().ok()) {
            change(&mut self.by_address, address, holder, present);
        }
        if let Some(pod) = target.and_then(|target| pod_of(target, &holder.key.namespace)) {
            change(&mut self.naming, pod, holder, present);
        }
    }

    fn of_pod(&self, object: &Object<Pod>) -> impl Iterator<Item = &ObjectRef> {
        let by_address = addresses(object).filter_map(|address| self.by_address.get(&address));
        by_address.chain(self.naming.get(&object.key)).flat_map(Sorted::as_slice)
    }
}

/// The Pod that an endpoint of `namespace` names.
pub(crate) fn pod_of(target: &TargetRef, namespace: &Arc<str>) -> Option<Key> {
    let namespace = if target.namespace.is_empty() { Arc::clone(namespace) } else { (*target.namespace).into() };
    (&*target.kind == "Pod").then(|| Key::new(namespace, &*target.name))
}

fn addresses(object: &Object<Pod>) -> impl Iterator<Item = IpAddr> {
    object.spec.addresses().filter_map(|address| address.parse().ok())
}

fn change<K: Eq + std::hash::Hash, V: Ord + Clone>(map: &mut FastMap<K, Sorted<V>>, key: K, value: &V, present: bool) {
    if present {
        map.entry(key).or_default().insert(value);
    } else if let Some(values) = map.get_mut(&key) {
        values.remove(value);
        if values.is_empty() {
            map.remove(&key);
        }
    }
}
