//! Endpoints of Services: EndpointSlices, else Endpoints, and WorkloadEntries that the Service selects; else DNS.

use super::found::{EndpointQuery, FoundEndpoints, NO_LABELS, Seen};
use super::workloads::{labels_of, workload_entries};
use crate::context::CompileContext;
use crate::index::pod_of;
use ir::{Endpoint, EndpointAddress, EndpointSource};
use resources::set::Object;
use resources::spec::core::{CoreServicePort, EndpointPort, EndpointSlice, Endpoints, Service, TargetRef};
use resources::spec::scalar::NumberOrName;
use resources::spec::text_match::Labels;
use resources::spec::workload_entry::WorkloadEntry;
use std::net::SocketAddr;
use std::sync::Arc;

/// The endpoints of one port of `object`.
pub(super) fn find(context: CompileContext<'_>, object: &Object<Service>, wanted: EndpointQuery<'_>) -> EndpointSource {
    let Some(port) = object.spec.ports.iter().find(|port| port.port == wanted.port.number) else {
        return FoundEndpoints::new(wanted).into_static();
    };
    if is_resolved_by_dns(context, object) {
        return by_dns(context, object, port, wanted);
    }
    let mut found = FoundEndpoints::new(wanted);
    add_slices(context, object, port, wanted, &mut found);
    add_selected(context, object, port, wanted, &mut found);
    found.into_static()
}

/// Whether there is nothing but the name to go by: neither EndpointSlice, Endpoints nor a selected WorkloadEntry.
pub(crate) fn is_resolved_by_dns(context: CompileContext<'_>, object: &Object<Service>) -> bool {
    let selected = || {
        let selector = &object.spec.selector;
        !selector.is_empty() && workload_entries(context, &object.key.namespace, selector).next().is_some()
    };
    is_external_name(object)
        || (context.index.slices(&object.key).is_empty()
            && context.set.endpoints.get(&object.key).is_none()
            && !selected())
}

fn is_external_name(object: &Object<Service>) -> bool {
    &*object.spec.kind == "ExternalName" && !object.spec.external_name.is_empty()
}

/// Slices win over Endpoints, of which a cluster keeps both.
fn add_slices(
    context: CompileContext<'_>,
    object: &Object<Service>,
    port: &CoreServicePort,
    wanted: EndpointQuery<'_>,
    found: &mut FoundEndpoints<'_>,
) {
    let unready = object.spec.publish_not_ready_addresses;
    let slices = context.index.slices(&object.key);
    let adding = Adding { context, namespace: &object.key.namespace, port, unready, wanted };
    for slice in slices.iter().filter_map(|key| context.set.endpoint_slices.get(key)) {
        adding.slice(&slice.spec, found);
    }
    if slices.is_empty()
        && let Some(endpoints) = context.set.endpoints.get(&object.key)
    {
        adding.endpoints(&endpoints.spec, found);
    }
}

/// What of slices and Endpoints is added.
struct Adding<'a> {
    context: CompileContext<'a>,
    namespace: &'a Arc<str>,
    port: &'a CoreServicePort,
    /// Also endpoints that are not ready.
    unready: bool,
    wanted: EndpointQuery<'a>,
}

impl<'a> Adding<'a> {
    fn slice(&self, slice: &EndpointSlice, found: &mut FoundEndpoints<'_>) {
        let Some(number) = number_of(&slice.ports, self.port) else { return };
        for endpoint in &slice.endpoints {
            if !self.unready && endpoint.conditions.ready == Some(false) {
                continue;
            }
            let node = &endpoint.node_name;
            for address in &endpoint.addresses {
                let labels = self.labels(address, endpoint.target_ref.as_deref());
                if self.wanted.takes(labels) {
                    let locality = found.locality_policy.of_endpoint(self.context.set, &endpoint.zone, node, labels);
                    found.add(Seen { locality: &locality, node, labels, ..Seen::at(address, number) });
                }
            }
        }
    }

    fn endpoints(&self, endpoints: &Endpoints, found: &mut FoundEndpoints<'_>) {
        for subset in &endpoints.subsets {
            let Some(number) = number_of(&subset.ports, self.port) else { continue };
            let others = subset.not_ready_addresses.iter().filter(|_| self.unready);
            for address in subset.addresses.iter().chain(others) {
                let labels = self.labels(&address.ip, address.target_ref.as_ref());
                if self.wanted.takes(labels) {
                    let node = &address.node_name;
                    let locality = found.locality_policy.of_endpoint(self.context.set, "", node, labels);
                    found.add(Seen { locality: &locality, node, labels, ..Seen::at(&address.ip, number) });
                }
            }
        }
    }

    /// The labels of an endpoint (DR-06): those of the Pod that it names, or that has its address. Whether it is ready is for the slice to
    /// say, as in Istio.
    fn labels(&self, address: &str, target: Option<&TargetRef>) -> &'a Labels {
        if self.context.set.pods.is_empty() {
            return &NO_LABELS;
        }
        let pods = &self.context.set.pods;
        let named = target.and_then(|target| pods.get(&pod_of(target, self.namespace)?));
        let at = || pods.get(self.context.index.addresses.pod_at(address.parse().ok()?)?);
        named.or_else(at).map_or(&NO_LABELS, |pod| &pod.meta.labels)
    }
}

/// Ports of endpoints go by the name of the Service's port.
fn number_of(ports: &[EndpointPort], of: &CoreServicePort) -> Option<u16> {
    ports.iter().find(|port| port.name == of.name).and_then(|port| port.port)
}

fn add_selected(
    context: CompileContext<'_>,
    object: &Object<Service>,
    port: &CoreServicePort,
    wanted: EndpointQuery<'_>,
    found: &mut FoundEndpoints<'_>,
) {
    if object.spec.selector.is_empty() {
        return;
    }
    let selected = workload_entries(context, &object.key.namespace, &object.spec.selector);
    for entry in selected {
        let labels = labels_of(entry);
        if !wanted.takes(&labels) {
            continue;
        }
        let named = |name: &str| entry.spec.ports.get(name).and_then(|number| u16::try_from(*number).ok());
        let number = named(&port.name).or_else(|| match &port.target_port {
            Some(NumberOrName::Number(number)) => Some(*number),
            Some(NumberOrName::Name(name)) => named(name),
            None => Some(port.port),
        });
        if let Some(port) = number {
            let WorkloadEntry { address, weight, locality, .. } = &entry.spec;
            found.add(Seen { address, port, weight: *weight, locality, labels: &labels, node: "" });
        }
    }
}

fn by_dns(
    context: CompileContext<'_>,
    object: &Object<Service>,
    port: &CoreServicePort,
    wanted: EndpointQuery<'_>,
) -> EndpointSource {
    if let Some(addresses) = context.settings.endpoints.get(wanted.host).filter(|_| wanted.takes_all()) {
        return overridden(addresses);
    }
    let mut found = FoundEndpoints::new(wanted);
    if !wanted.takes_all() {
        return found.into_static();
    }
    if is_external_name(object) {
        found.add(Seen::at(&object.spec.external_name, port.port));
        return found.into_dns(false);
    }
    // A headless Service's name stands for its Pods, which listen on the target port.
    let number = match &port.target_port {
        Some(NumberOrName::Number(number)) if &*object.spec.cluster_ip == "None" => *number,
        _ => port.port,
    };
    found.add(Seen::at(&format!("{}.{}.svc", object.key.name, object.key.namespace), number));
    found.into_dns(false)
}

/// The addresses of `--endpoint`.
pub(super) fn overridden(addresses: &[SocketAddr]) -> EndpointSource {
    let endpoint = |address: &SocketAddr| Endpoint {
        address: EndpointAddress::Ip(*address),
        weight: 1,
        locality: None,
        priority: 0,
    };
    let mut endpoints: Vec<_> = addresses.iter().map(endpoint).collect();
    endpoints.sort_unstable();
    endpoints.dedup();
    EndpointSource::Static(Arc::from(endpoints))
}
