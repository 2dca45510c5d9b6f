//! What kubectl shows of each kind: the printers of Kubernetes for its own kinds, the printer columns of Istio's CRDs for Istio's.

use super::age::age;
use super::pod;
use super::value::{NONE, array, at, or, plain, text};
use jiff::Timestamp;
use resources::key::Kind;
use serde_json::Value;
use std::collections::BTreeSet;

/// How many ports or addresses are listed.
const LISTED: usize = 3;

const UNSET: &str = "<unset>";

/// The names of the columns of a kind; `wide`: all of them.
pub(super) fn names(kind: Kind, wide: bool) -> Vec<&'static str> {
    let (usual, more): (&[&str], &[&str]) = match kind {
        Kind::Service => (&["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"], &["SELECTOR"]),
        Kind::Endpoints => (&["NAME", "ENDPOINTS", "AGE"], &[]),
        Kind::EndpointSlice => (&["NAME", "ADDRESSTYPE", "PORTS", "ENDPOINTS", "AGE"], &[]),
        Kind::Secret => (&["NAME", "TYPE", "DATA", "AGE"], &[]),
        Kind::ConfigMap => (&["NAME", "DATA", "AGE"], &[]),
        Kind::Namespace => (&["NAME", "STATUS", "AGE"], &[]),
        Kind::Pod => {
            (&["NAME", "READY", "STATUS", "RESTARTS", "AGE"], &["IP", "NODE", "NOMINATED NODE", "READINESS GATES"])
        }
        Kind::Node => (
            &["NAME", "STATUS", "ROLES", "AGE", "VERSION"],
            &["INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME"],
        ),
        Kind::VirtualService => (&["NAME", "GATEWAYS", "HOSTS", "AGE"], &[]),
        Kind::DestinationRule => (&["NAME", "HOST", "AGE"], &[]),
        Kind::ServiceEntry => (&["NAME", "HOSTS", "LOCATION", "RESOLUTION", "AGE"], &[]),
        Kind::WorkloadEntry => (&["NAME", "AGE", "ADDRESS"], &[]),
        Kind::AuthorizationPolicy => (&["NAME", "ACTION", "AGE"], &[]),
        Kind::PeerAuthentication => (&["NAME", "MODE", "AGE"], &[]),
        // Istio's CRD has no further columns; these are of the gateway's own CRDs.
        Kind::Gateway => (&["NAME", "AGE"], &["SELECTOR", "PORTS", "HOSTS"]),
        Kind::RequestAuthentication => (&["NAME", "AGE"], &[]),
    };
    usual.iter().chain(if wide { more } else { &[] }).copied().collect()
}

/// The cells of an object.
pub(super) fn cells(kind: Kind, object: &Value, wide: bool, now: Timestamp) -> Vec<String> {
    let names = names(kind, wide);
    names.into_iter().map(|name| cell(kind, name, object, now)).collect()
}

fn cell(kind: Kind, column: &str, object: &Value, now: Timestamp) -> String {
    match (kind, column) {
        (_, "NAME") => text(object, "/metadata/name").to_owned(),
        (_, "AGE") => age(object, now),
        (Kind::Service, "TYPE") => or(text(object, "/spec/type"), "ClusterIP"),
        (Kind::Service, "CLUSTER-IP") => cluster_ip(object),
        (Kind::Service, "EXTERNAL-IP") => external_ip(object),
        (Kind::Service, "PORT(S)") => or(&service_ports(object), NONE),
        (Kind::Service, _) => labels(object.pointer("/spec/selector")),
        (Kind::Endpoints, _) => endpoints(object),
        (Kind::EndpointSlice, "ADDRESSTYPE") => text(object, "/addressType").to_owned(),
        (Kind::EndpointSlice, "PORTS") => listed(array(object, "/ports").map(slice_port), UNSET),
        (Kind::EndpointSlice, _) => {
            listed(array(object, "/endpoints").flat_map(|one| array(one, "/addresses")).map(plain), UNSET)
        }
        (Kind::Secret, "TYPE") => or(text(object, "/type"), "Opaque"),
        (Kind::Secret, _) => keys(object, &["/data", "/stringData"]),
        (Kind::ConfigMap, _) => keys(object, &["/data", "/binaryData"]),
        (Kind::Namespace, _) => or(text(object, "/status/phase"), "Active"),
        (Kind::Pod, column) => pod::cell(column, object, now),
        (Kind::Node, column) => node(column, object),
        (Kind::VirtualService, "GATEWAYS") => at(object, "/spec/gateways"),
        (Kind::VirtualService | Kind::ServiceEntry, "HOSTS") => at(object, "/spec/hosts"),
        (Kind::DestinationRule, _) => at(object, "/spec/host"),
        (Kind::ServiceEntry, "LOCATION") => at(object, "/spec/location"),
        (Kind::ServiceEntry, _) => at(object, "/spec/resolution"),
        (Kind::WorkloadEntry, _) => at(object, "/spec/address"),
        (Kind::AuthorizationPolicy, _) => at(object, "/spec/action"),
        (Kind::PeerAuthentication, _) => at(object, "/spec/mtls/mode"),
        (Kind::Gateway, "SELECTOR") => labels(object.pointer("/spec/selector")),
        (Kind::Gateway, "PORTS") => {
            or(&unique(array(object, "/spec/servers").map(|one| at(one, "/port/number"))), NONE)
        }
        (Kind::Gateway, _) => {
            or(&unique(array(object, "/spec/servers").flat_map(|one| array(one, "/hosts")).map(plain)), NONE)
        }
        (Kind::VirtualService | Kind::RequestAuthentication, _) => String::new(),
    }
}

/// Labels as `a=b,c=d`.
pub(super) fn labels(value: Option<&Value>) -> String {
    let pairs = value.and_then(Value::as_object).into_iter().flatten();
    let mut pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}={}", plain(value))).collect();
    pairs.sort_unstable();
    or(&pairs.join(","), NONE)
}

fn unique(values: impl Iterator<Item = String>) -> String {
    let mut seen = BTreeSet::new();
    values.filter(|value| seen.insert(value.clone())).collect::<Vec<_>>().join(",")
}

fn cluster_ip(service: &Value) -> String {
    let several = array(service, "/spec/clusterIPs").next().and_then(Value::as_str);
    or(several.unwrap_or_else(|| text(service, "/spec/clusterIP")), NONE)
}

fn external_ip(service: &Value) -> String {
    let given: Vec<String> = array(service, "/spec/externalIPs").map(plain).collect();
    match &*or(text(service, "/spec/type"), "ClusterIP") {
        "ClusterIP" | "NodePort" => or(&given.join(","), NONE),
        "LoadBalancer" => {
            let mut published = load_balancer(service);
            if !given.is_empty() {
                let before = (!published.is_empty()).then_some(published);
                published = before.into_iter().chain(given).collect::<Vec<_>>().join(",");
            }
            or(&published, "<pending>")
        }
        "ExternalName" => text(service, "/spec/externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

/// In full: an API server makes the table for all columns, whichever kubectl shows.
fn load_balancer(service: &Value) -> String {
    let address = |one: &Value| {
        Some(text(one, "/ip")).filter(|ip| !ip.is_empty()).unwrap_or_else(|| text(one, "/hostname")).to_owned()
    };
    let all: BTreeSet<String> =
        array(service, "/status/loadBalancer/ingress").map(address).filter(|address| !address.is_empty()).collect();
    all.into_iter().collect::<Vec<_>>().join(",")
}

fn service_ports(service: &Value) -> String {
    let port = |one: &Value| {
        let (number, protocol) = (at(one, "/port"), or(text(one, "/protocol"), "TCP"));
        match one.get("nodePort").and_then(Value::as_u64).filter(|port| *port > 0) {
            Some(node) => format!("{number}:{node}/{protocol}"),
            None => format!("{number}/{protocol}"),
        }
    };
    array(service, "/spec/ports").map(port).collect::<Vec<_>>().join(",")
}

fn endpoints(object: &Value) -> String {
    let mut all = Vec::new();
    for subset in array(object, "/subsets") {
        let addresses: Vec<&str> = array(subset, "/addresses").map(|one| text(one, "/ip")).collect();
        let ports: Vec<String> = array(subset, "/ports").map(|one| at(one, "/port")).collect();
        if ports.is_empty() {
            all.extend(addresses.iter().map(|ip| (*ip).to_owned()));
        }
        for port in ports {
            all.extend(
                addresses
                    .iter()
                    .map(|ip| if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }),
            );
        }
    }
    // None are listed where there are only such that are not ready.
    let nothing = if array(object, "/subsets").next().is_none() { NONE } else { "" };
    listed(all.into_iter(), nothing)
}

fn slice_port(port: &Value) -> String {
    match (port.get("port"), port.get("name")) {
        (Some(number), _) if !number.is_null() => plain(number),
        (_, Some(name)) if !name.is_null() => plain(name),
        _ => "*".to_owned(),
    }
}

/// Some of them, and how many more there are.
fn listed(all: impl Iterator<Item = String>, nothing: &str) -> String {
    let all: Vec<String> = all.collect();
    let shown = all.iter().take(LISTED).cloned().collect::<Vec<_>>().join(",");
    match all.len() {
        0 => nothing.to_owned(),
        count if count > LISTED => format!("{shown} + {} more...", count - LISTED),
        _ => shown,
    }
}

/// How many keys there are, of all these maps.
fn keys(object: &Value, paths: &[&str]) -> String {
    let maps = paths.iter().filter_map(|path| object.pointer(path)?.as_object());
    maps.flat_map(|map| map.keys()).collect::<BTreeSet<_>>().len().to_string()
}

fn node(column: &str, node: &Value) -> String {
    let address = |kind: &str| {
        let found = array(node, "/status/addresses").find(|one| text(one, "/type") == kind);
        or(found.map_or("", |one| text(one, "/address")), NONE)
    };
    let info = |path: &str| or(text(node, path), "<unknown>");
    match column {
        "STATUS" => {
            let ready = array(node, "/status/conditions").find(|one| text(one, "/type") == "Ready");
            let status = match ready.map(|one| text(one, "/status")) {
                Some("True") => "Ready",
                Some(_) => "NotReady",
                None => "Unknown",
            };
            let is_closed = node.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
            format!("{status}{}", if is_closed { ",SchedulingDisabled" } else { "" })
        }
        "ROLES" => {
            let labels = node.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
            let role = |(name, value): (&String, &Value)| {
                let named = name.strip_prefix("node-role.kubernetes.io/").filter(|role| !role.is_empty());
                let valued = value.as_str().filter(|role| name == "kubernetes.io/role" && !role.is_empty());
                named.or(valued).map(str::to_owned)
            };
            let roles: BTreeSet<String> = labels.filter_map(role).collect();
            or(&roles.into_iter().collect::<Vec<_>>().join(","), NONE)
        }
        "VERSION" => text(node, "/status/nodeInfo/kubeletVersion").to_owned(),
        "INTERNAL-IP" => address("InternalIP"),
        "EXTERNAL-IP" => address("ExternalIP"),
        "OS-IMAGE" => info("/status/nodeInfo/osImage"),
        "KERNEL-VERSION" => {
            let version = info("/status/nodeInfo/kernelVersion");
            let architecture = text(node, "/status/nodeInfo/architecture");
            if architecture.is_empty() { version } else { format!("{version} ({architecture})") }
        }
        _ => info("/status/nodeInfo/containerRuntimeVersion"),
    }
}
