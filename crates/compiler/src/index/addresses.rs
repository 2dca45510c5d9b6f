//! Pods by their addresses, and the EndpointSlices and Endpoints that have such an address or name such a Pod: what has to be looked at
//! again when a Pod changes, and which labels an endpoint has.

use crate::fast::FastMap;
use crate::few::Sorted;
use resources::key::{Key, Kind, ObjectRef};
use resources::set::Object;
use resources::spec::core::{EndpointSlice, Endpoints, TargetRef};
use resources::spec::pod::Pod;
use std::net::IpAddr;
use std::sync::Arc;

/// The index.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    pods: FastMap<IpAddr, Sorted<Key>>,
    holders: FastMap<IpAddr, Sorted<ObjectRef>>,
    /// Those that name a Pod.
    naming: FastMap<Key, Sorted<ObjectRef>>,
}

impl Addresses {
    /// Takes a Pod in or out.
    pub(crate) fn pod(&mut self, object: &Object<Pod>, present: bool) {
        for address in addresses(object) {
            set(&mut self.pods, address, &object.key, present);
        }
    }

    /// Takes an EndpointSlice in or out.
    pub(crate) fn slice(&mut self, object: &Object<EndpointSlice>, present: bool) {
        let holder = ObjectRef { kind: Kind::EndpointSlice, key: object.key.clone() };
        for endpoint in &object.spec.endpoints {
            let addresses = endpoint.addresses.iter().map(|address| &**address);
            self.holder(&holder, addresses, endpoint.target_ref.as_ref(), present);
        }
    }

    /// Takes Endpoints in or out.
    pub(crate) fn endpoints(&mut self, object: &Object<Endpoints>, present: bool) {
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
            set(&mut self.holders, address, holder, present);
        }
        if let Some(pod) = target.and_then(|target| pod_of(target, &holder.key.namespace)) {
            set(&mut self.naming, pod, holder, present);
        }
    }

    /// The Pod that has an address: the first by name, should several say so.
    pub(crate) fn pod_at(&self, address: IpAddr) -> Option<&Key> {
        self.pods.get(&address)?.as_slice().first()
    }

    /// Everything that has endpoints with a Pod's addresses or that names it.
    pub(crate) fn holders(&self, object: &Object<Pod>) -> impl Iterator<Item = &ObjectRef> {
        let by_address = addresses(object).filter_map(|address| self.holders.get(&address));
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

fn set<K: Eq + std::hash::Hash, V: Ord + Clone>(map: &mut FastMap<K, Sorted<V>>, key: K, value: &V, present: bool) {
    if present {
        map.entry(key).or_default().insert(value);
    } else if let Some(values) = map.get_mut(&key) {
        values.remove(value);
        if values.is_empty() {
            map.remove(&key);
        }
    }
}
