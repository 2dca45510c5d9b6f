//! The Service by which each gateway would be reached in a cluster, for `moongate get`: `istio-ingressgateway` of type LoadBalancer. Where
//! the configuration has that Service, it is shown as it is; without it, its ports are those of the Gateways. A running gateway adds
//! the address that it listens on as the external one. Not for a gateway that runs in a cluster, whose Services are as they are.

use compiler::Workload;
use resources::key::{Key, Kind, ObjectRef};
use resources::set::{Object, ResourceSet};
use resources::spec::core::Service;
use resources::spec::text_match::selects;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

/// The port of readiness in the Service of Istio's ingress gateway.
const STATUS_PORT: u16 = 15021;

/// What a running gateway listens on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Open {
    /// Bound addresses by the port of the server.
    pub(crate) servers: BTreeMap<u16, SocketAddr>,
    /// That of readiness.
    pub(crate) ready: Option<SocketAddr>,
}

/// Adds to the Services of a set those of gateways that have none, and to Services of gateways the address that is listened on. `open` has
/// what each running workload listens on.
pub(crate) fn add(
    services: &mut Vec<(ObjectRef, Value)>,
    set: &ResourceSet,
    workloads: &[Workload],
    open: Option<&dyn Fn(&Workload) -> Open>,
) {
    for workload in workloads {
        let open = open.map(|open| open(workload));
        let address = open.as_ref().and_then(external_address);
        let own: Vec<&Key> = set.services.iter().filter(|(_, one)| is_for(one, workload)).map(|(key, _)| key).collect();
        if own.is_empty() {
            let key = Key::new(workload.namespace.clone(), service_name(workload));
            let object = ObjectRef { kind: Kind::Service, key };
            // A Service of that name with another selector is the user's own.
            if services.iter().all(|(other, _)| *other != object) {
                let value = implied(&object, set, workload, open.as_ref(), address);
                services.push((object, value));
            }
            continue;
        }
        let Some(address) = address else { continue };
        for (_, value) in services.iter_mut().filter(|(object, _)| own.contains(&&object.key)) {
            publish(value, address);
        }
    }
    services.sort_by(|(one, _), (other, _)| one.cmp(other));
}

/// `istio-ingressgateway`, or what the workload's label `app` says.
pub(crate) fn service_name(workload: &Workload) -> Arc<str> {
    let app = workload.labels.iter().find(|(key, _)| &***key == "app").map(|(_, value)| &**value);
    app.map_or_else(|| format!("istio-{}gateway", workload.name.0).into(), Arc::from)
}

/// Whether a Service is the workload's own.
pub(crate) fn is_for(service: &Object<Service>, workload: &Workload) -> bool {
    !service.spec.selector.is_empty()
        && service.key.namespace == workload.namespace
        && selects(&service.spec.selector, &workload.labels)
}

/// The Service that a cluster would have.
fn implied(
    object: &ObjectRef,
    set: &ResourceSet,
    workload: &Workload,
    open: Option<&Open>,
    address: Option<IpAddr>,
) -> Value {
    let is_ingress = workload.name == Workload::ingress().name;
    let mut ports: BTreeMap<u16, String> = BTreeMap::new();
    for gateway in set.gateways.values().filter(|one| selects(&one.spec.selector, &workload.labels)) {
        for port in gateway.spec.servers.iter().filter_map(|server| server.port.as_ref()) {
            if let Ok(number) = u16::try_from(port.number) {
                ports.entry(number).or_insert_with(|| port.name.to_string());
            }
        }
    }
    let at = |number: u16| open.and_then(|open| open.servers.get(&number).copied());
    let mut list = Vec::new();
    if is_ingress {
        let ready = open.and_then(|open| open.ready);
        list.push(port("status-port", STATUS_PORT, ready));
    }
    list.extend(
        ports
            .iter()
            .filter(|(number, _)| **number != STATUS_PORT)
            .map(|(number, name)| port(name, *number, at(*number))),
    );
    let labels: Map<String, Value> =
        workload.labels.iter().map(|(key, value)| (key.to_string(), Value::from(&**value))).collect();
    let mut value = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": &*object.key.name, "namespace": &*object.key.namespace, "labels": labels.clone()},
        "spec": {"type": if is_ingress { "LoadBalancer" } else { "ClusterIP" }, "selector": labels, "ports": list},
    });
    if let Some(address) = address {
        publish(&mut value, address);
    }
    value
}

/// A port of the Service. Where another one is bound, that is what a node port is in a cluster.
fn port(name: &str, number: u16, bound: Option<SocketAddr>) -> Value {
    let mut port = json!({"name": name, "port": number, "protocol": "TCP"});
    if let (Some(bound), Value::Object(fields)) = (bound, &mut port)
        && bound.port() != number
    {
        fields.insert("nodePort".to_owned(), bound.port().into());
    }
    port
}

/// Gives a Service of type LoadBalancer an external address, unless it has one.
fn publish(service: &mut Value, address: IpAddr) {
    let text = |path: &str| service.pointer(path).and_then(Value::as_str);
    let has_one =
        service.pointer("/status/loadBalancer/ingress").and_then(Value::as_array).is_some_and(|all| !all.is_empty());
    if text("/spec/type") != Some("LoadBalancer") || has_one {
        return;
    }
    if let Value::Object(fields) = service {
        fields.insert("status".to_owned(), json!({"loadBalancer": {"ingress": [{"ip": address.to_string()}]}}));
    }
}

/// Where clients reach what is open: the address that is bound or, where that is all of them, the one that this machine uses by itself.
fn external_address(open: &Open) -> Option<IpAddr> {
    let bound = open.servers.values().next()?.ip();
    Some(if bound.is_unspecified() { own_address().unwrap_or(Ipv4Addr::LOCALHOST.into()) } else { bound })
}

/// The address from which this machine would send to others, of IPv4 if it has one. Nothing is sent: a socket for datagrams is only given its
/// destination.
fn own_address() -> Option<IpAddr> {
    // Addresses for documentation, RFC 5737 and RFC 3849.
    let elsewhere: [(IpAddr, IpAddr); 2] = [
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    ];
    elsewhere.into_iter().find_map(|(own, elsewhere)| {
        let socket = UdpSocket::bind((own, 0)).ok()?;
        socket.connect((elsewhere, 9)).ok()?;
        let address = socket.local_addr().ok()?.ip();
        (!address.is_unspecified()).then_some(address)
    })
}
