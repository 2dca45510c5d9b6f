//! Endpoints of ServiceEntries, by their `resolution`.

use super::found::{EndpointQuery, FoundEndpoints, Seen};
use super::workloads::{labels_of, workload_entries};
use crate::context::CompileContext;
use crate::services::Backing;
use ir::{DynamicEndpoints, EndpointSource, IpRange};
use resources::annotation::ALLOWED_ADDRESSES;
use resources::set::Object;
use resources::spec::service_entry::{Resolution, ServiceEntry, ServicePort};
use resources::spec::text_match::Labels;
use resources::spec::workload_entry::WorkloadEntry;

/// SE-05: what a gateway has in place of an original destination.
const NO_ORIGINAL: &str = "the ServiceEntry's resolution is NONE: requests go to the address that the client asked for, which a gateway does not know";

/// The endpoints of one port of `object`.
pub(super) fn find(
    context: CompileContext<'_>,
    object: &Object<ServiceEntry>,
    others: &[Backing<'_>],
    wanted: EndpointQuery<'_>,
) -> EndpointSource {
    let first_only = match object.spec.resolution {
        None | Some(Resolution::None) => return EndpointSource::Never(NO_ORIGINAL.into()),
        Some(Resolution::DynamicDns) => return dynamic(object, wanted),
        Some(Resolution::Static) => return by_static(context, object, others, wanted),
        Some(Resolution::Dns) => false,
        Some(Resolution::DnsRoundRobin) => true,
    };
    if let Some(addresses) = context.settings.endpoints.get(wanted.host).filter(|_| wanted.takes_all()) {
        return super::service::overridden(addresses);
    }
    let mut found = FoundEndpoints::new(wanted);
    add(context, object, wanted, &mut found);
    // SE-07: without endpoints the host itself is the name.
    let has_own = !object.spec.endpoints.is_empty() || object.spec.workload_selector.is_some();
    if !has_own
        && wanted.takes_all()
        && !wanted.host.contains('*')
        && let Some(port) = port_named(object, wanted)
    {
        found.add(Seen::at(wanted.host, target(port)));
    }
    found.into_dns(first_only)
}

/// The endpoints for a forward proxy: with resolution NONE, too, the client says which name is meant.
pub(super) fn forward(
    context: CompileContext<'_>,
    object: &Object<ServiceEntry>,
    others: &[Backing<'_>],
    wanted: EndpointQuery<'_>,
) -> EndpointSource {
    if let Some(addresses) = context.settings.endpoints.get(wanted.host).filter(|_| wanted.takes_all()) {
        return super::service::overridden(addresses);
    }
    let has_own = !object.spec.endpoints.is_empty() || object.spec.workload_selector.is_some();
    match object.spec.resolution {
        None | Some(Resolution::None | Resolution::DynamicDns) => dynamic(object, wanted),
        Some(Resolution::Dns | Resolution::DnsRoundRobin) if !has_own => dynamic(object, wanted),
        Some(Resolution::Static | Resolution::Dns | Resolution::DnsRoundRobin) => find(context, object, others, wanted),
    }
}

/// SE-09: the addresses of the name that a client asks for.
fn dynamic(object: &Object<ServiceEntry>, wanted: EndpointQuery<'_>) -> EndpointSource {
    let (allowed, _) = allowed_addresses(object);
    EndpointSource::Dynamic(DynamicEndpoints { port: port_named(object, wanted).map(target), allowed: allowed.into() })
}

/// The addresses that the hosts of a ServiceEntry may have besides those of the internet: its `addresses`, and those of its annotation; and what of
/// the annotation is no range.
pub(crate) fn allowed_addresses(object: &Object<ServiceEntry>) -> (Vec<IpRange>, Vec<&str>) {
    let written = object.meta.annotations.get(ALLOWED_ADDRESSES).map_or("", |text| text);
    let annotated = written.split(',').map(str::trim).filter(|text| !text.is_empty());
    let mut allowed: Vec<IpRange> = object.spec.addresses.iter().filter_map(|text| text.parse().ok()).collect();
    let mut bad = Vec::new();
    for text in annotated {
        match text.parse() {
            Ok(range) => allowed.push(range),
            Err(_) => bad.push(text),
        }
    }
    (allowed, bad)
}

/// SE-14: ServiceEntries of one namespace with one host put their endpoints together, port by port name.
fn by_static(
    context: CompileContext<'_>,
    object: &Object<ServiceEntry>,
    others: &[Backing<'_>],
    wanted: EndpointQuery<'_>,
) -> EndpointSource {
    let mut found = FoundEndpoints::new(wanted);
    add(context, object, wanted, &mut found);
    for other in others {
        if let Backing::Entry(other) = other
            && other.key.namespace == object.key.namespace
            && other.key != object.key
            && other.spec.resolution == Some(Resolution::Static)
        {
            add(context, other, wanted, &mut found);
        }
    }
    found.into_static()
}

fn add(
    context: CompileContext<'_>,
    object: &Object<ServiceEntry>,
    wanted: EndpointQuery<'_>,
    found: &mut FoundEndpoints<'_>,
) {
    let Some(port) = port_named(object, wanted) else { return };
    let mut take = |one: &WorkloadEntry, labels: &Labels| {
        // WE-01: with a network alone it is behind that network's gateways, which are not known here.
        if one.address.is_empty() {
            return;
        }
        if let Some(port) = port_of_address(one, port) {
            let WorkloadEntry { address, weight, locality, .. } = one;
            found.add(Seen { address, port, weight: *weight, locality, labels, node: "" });
        }
    };
    let own = object.spec.endpoints.iter().filter(|endpoint| wanted.takes(&endpoint.labels));
    own.for_each(|endpoint| take(endpoint, &endpoint.labels));
    if let Some(selector) = &object.spec.workload_selector {
        let selected = workload_entries(context, &object.key.namespace, &selector.labels);
        for entry in selected {
            let labels = labels_of(entry);
            if wanted.takes(&labels) {
                take(&entry.spec, &labels);
            }
        }
    }
}

fn port_named<'a>(object: &'a Object<ServiceEntry>, wanted: EndpointQuery<'_>) -> Option<&'a ServicePort> {
    object.spec.ports.iter().find(|port| *port.name == *wanted.port.name)
}

/// SE-10: the endpoint's own port of that name, then `targetPort`, then the number. `None` for a number that is none.
pub(crate) fn port_of_address(address: &WorkloadEntry, port: &ServicePort) -> Option<u16> {
    let own = address.ports.get(&port.name).copied();
    match own {
        Some(number) => u16::try_from(number).ok().filter(|number| *number > 0),
        None => Some(target(port)),
    }
}

fn target(port: &ServicePort) -> u16 {
    let number = if port.target_port == 0 { port.number } else { port.target_port };
    u16::try_from(number).unwrap_or(0)
}
