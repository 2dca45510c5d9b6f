//! `ServiceEntry`: SE-01 to SE-15. Its endpoints are checked as those of `workload_entry`.

use super::fields::{Exported, check_export_to, check_port, check_selector};
use super::lower_case;
use super::names::{is_address, is_address_or_cidr, is_host, is_label, is_name, is_partial_wildcard, is_resolvable};
use super::workload_entry::{check_labels_of, check_ports as check_endpoint_ports, check_socket};
use crate::code;
use crate::diagnostic::Findings;
use crate::key::{Key, Kind};
use crate::spec::Spec;
use crate::spec::gateway::Protocol;
use crate::spec::scalar::Text;
use crate::spec::service_entry::{Resolution, ServiceEntry, ServicePort};
use crate::spec::workload_entry::WorkloadEntry;
use crate::suggest;
use std::collections::BTreeSet;

impl Spec for ServiceEntry {
    const KIND: Kind = Kind::ServiceEntry;

    fn normalise(&mut self) {
        lower_case::service_entry(self);
    }

    fn validate(&self, key: &Key, findings: &mut Findings) {
        findings.at("spec", |findings| {
            check_hosts(&self.hosts, findings);
            check_addresses(self, findings);
            check_ports(self, findings);
            check_resolution(self, findings);
            check_endpoints(self, findings);
            check_several_hosts(self, findings);
            let exported = Exported { to: &self.export_to, field: "exportTo", namespace: &key.namespace };
            check_export_to(exported, findings);
        });
    }
}

fn resolution(entry: &ServiceEntry) -> Resolution {
    entry.resolution.unwrap_or(Resolution::None)
}

/// SE-01.
fn check_hosts(hosts: &[Text], findings: &mut Findings) {
    let code = code::SERVICE_ENTRY_HOSTS;
    if hosts.is_empty() {
        findings.error("hosts", code, "the ServiceEntry has no hosts", "add the names of the service");
    }
    for (at, host) in hosts.iter().enumerate() {
        let field = || format!("hosts[{at}]");
        if &**host == "*" || !is_host(host) {
            let help = "use a name or `*.suffix`";
            findings.error(&field(), code, format!("`{host}` is not a valid service host"), help);
        } else if is_partial_wildcard(host) {
            let message = format!("in `{host}` the `*` is part of a label");
            findings.warning(&field(), code, message, "write `*.` and the rest of the name");
        }
    }
}

/// SE-02.
fn check_addresses(entry: &ServiceEntry, findings: &mut Findings) {
    let code = code::SERVICE_ENTRY_ADDRESSES;
    let networks = matches!(resolution(entry), Resolution::None | Resolution::Static);
    for (at, address) in entry.addresses.iter().enumerate() {
        let field = || format!("addresses[{at}]");
        if !is_address_or_cidr(address) {
            let help = "use an IP address or a CIDR";
            findings.error(&field(), code, format!("`{address}` is not a valid address"), help);
        } else if address.contains('/') && !networks {
            let message = format!("a network as `{address}` goes with the resolutions NONE and STATIC alone");
            findings.error(&field(), code, message, "use an address, or another resolution");
        }
    }
}

/// SE-03.
fn check_ports(entry: &ServiceEntry, findings: &mut Findings) {
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (at, port) in entry.ports.iter().enumerate() {
        findings.at(format_args!("ports[{at}]"), |findings| {
            check_port_of(port, findings);
            if !port.name.is_empty() && !names.insert(&port.name) {
                let message = format!("duplicate port name `{}`", port.name);
                let help = "give each port a name of its own";
                findings.error("name", code::SERVICE_ENTRY_PORTS, message, help);
            }
            if !numbers.insert(port.number) {
                let message = format!("duplicate port number {}", port.number);
                findings.error("number", code::SERVICE_ENTRY_PORTS, message, "keep one of them");
            }
            if port.target_port != 0 && resolution(entry) == Resolution::None {
                let message = "`targetPort` has no effect with resolution NONE";
                findings.warning("targetPort", code::SERVICE_ENTRY_PORTS, message, "use STATIC or DNS, or remove it");
            }
        });
    }
}

fn check_port_of(port: &ServicePort, findings: &mut Findings) {
    let code = code::SERVICE_ENTRY_PORTS;
    check_port(port.number, "number", code, findings);
    if port.target_port != 0 {
        check_port(port.target_port, "targetPort", code, findings);
    }
    if port.name.is_empty() {
        findings.error("name", code, "the port has no name", "name it, for example `http`");
    } else if !is_label(&port.name) {
        let message = format!("`{}` is not a valid port name", port.name);
        findings.error("name", code, message, "use at most 63 letters, digits and hyphens");
    }
    if !port.protocol.is_empty() && Protocol::parse(&port.protocol).is_none() {
        let message = format!("unknown protocol `{}`", port.protocol);
        let known = ["HTTP", "HTTP2", "HTTPS", "TLS", "TCP", "GRPC"];
        findings.error("protocol", code, message, suggest::help(&port.protocol, &known, "use one of"));
    }
}

/// SE-05 to SE-11.
fn check_resolution(entry: &ServiceEntry, findings: &mut Findings) {
    let code = code::SERVICE_ENTRY_RESOLUTION;
    let none = entry.endpoints.is_empty();
    let mut refuse = |field: &str, message: &str, help: &str| findings.error(field, code, message, help);
    if entry.workload_selector.is_some() && !none {
        refuse("endpoints", "`endpoints` and `workloadSelector` exclude each other", "keep one of them");
    }
    match resolution(entry) {
        Resolution::None if !none => {
            refuse("endpoints", "there may be no endpoints with resolution NONE", "use STATIC or DNS");
        }
        Resolution::Dns | Resolution::DnsRoundRobin if none && entry.hosts.iter().any(|host| host.starts_with('*')) => {
            refuse("resolution", "a wildcard cannot be resolved", "name the hosts, or give endpoints");
        }
        Resolution::DnsRoundRobin if entry.endpoints.len() > 1 => {
            refuse("endpoints", "DNS_ROUND_ROBIN takes one endpoint", "use DNS");
        }
        Resolution::DynamicDns => check_dynamic(entry, &mut refuse),
        _ => {}
    }
    if let Some(selector) = &entry.workload_selector {
        check_selector(&selector.labels, code::SERVICE_ENTRY_SELECTOR, findings);
        if resolution(entry) != Resolution::Static {
            let message = "`workloadSelector` goes with resolution STATIC";
            findings.warning("workloadSelector", code, message, "use STATIC");
        }
    }
}

/// SE-09.
fn check_dynamic(entry: &ServiceEntry, refuse: &mut dyn FnMut(&str, &str, &str)) {
    if entry.hosts.iter().any(|host| !host.starts_with('*')) {
        refuse("resolution", "DYNAMIC_DNS takes wildcards alone", "use DNS for names");
    }
    if !entry.endpoints.is_empty() {
        refuse("endpoints", "DYNAMIC_DNS takes no endpoints", "remove them, or use DNS");
    }
    if !entry.addresses.is_empty() {
        refuse("addresses", "DYNAMIC_DNS takes no addresses", "remove them, or use NONE");
    }
    for (at, port) in entry.ports.iter().enumerate() {
        if matches!(Protocol::parse(&port.protocol), None | Some(Protocol::Tcp | Protocol::Udp)) {
            let field = format!("ports[{at}].protocol");
            refuse(&field, "DYNAMIC_DNS needs a protocol that names the host", "use HTTP, HTTP2, GRPC, HTTPS or TLS");
        }
    }
}

/// SE-15: bytes alone do not say which host they are for.
fn check_several_hosts(entry: &ServiceEntry, findings: &mut Findings) {
    if entry.hosts.len() < 2 || resolution(entry) == Resolution::None {
        return;
    }
    for (at, port) in entry.ports.iter().enumerate() {
        let protocol = Protocol::parse(&port.protocol);
        if !matches!(protocol, Some(Protocol::Http | Protocol::HttpProxy | Protocol::Https | Protocol::Tls)) {
            let field = format!("ports[{at}].protocol");
            let message = "with several hosts, connections of this protocol cannot be told apart";
            let help = "write a ServiceEntry for each host, or use HTTP or TLS";
            findings.error(&field, code::SERVICE_ENTRY_PORTS, message, help);
        }
    }
}

/// SE-10.
fn check_endpoints(entry: &ServiceEntry, findings: &mut Findings) {
    for (at, endpoint) in entry.endpoints.iter().enumerate() {
        findings.at(format_args!("endpoints[{at}]"), |findings| {
            check_endpoint(entry, endpoint, findings);
            check_endpoint_ports(endpoint, code::SERVICE_ENTRY_ENDPOINT, findings);
            check_labels_of(endpoint, code::SERVICE_ENTRY_ENDPOINT, findings);
            let named = |name: &str| entry.ports.iter().any(|port| &*port.name == name);
            for name in endpoint.ports.keys().filter(|name| !named(name)) {
                let message = format!("the ServiceEntry has no port `{name}`");
                let help = "use the names of `ports`";
                findings.error(&format!("ports.{name}"), code::SERVICE_ENTRY_ENDPOINT, message, help);
            }
        });
    }
}

fn check_endpoint(entry: &ServiceEntry, endpoint: &WorkloadEntry, findings: &mut Findings) {
    let code = code::SERVICE_ENTRY_ENDPOINT;
    let (address, resolution) = (&*endpoint.address, resolution(entry));
    if address.starts_with("unix://") && resolution == Resolution::Static {
        check_socket(endpoint, code, findings);
        if entry.ports.len() != 1 {
            let message = "a unix socket is the endpoint of one port";
            findings.error("address", code, message, "keep one port in the ServiceEntry");
        }
        return;
    }
    if address.is_empty() && !endpoint.network.is_empty() {
        let message = "without an address the endpoint can be reached through its network's gateway alone";
        findings.warning("address", code, message, "set `address`");
        return;
    }
    let name = resolution != Resolution::Static && (is_name(address) || is_resolvable(address));
    if !(is_address(address) || name) {
        let help = match resolution {
            Resolution::Static => "use an IP address or `unix://` and an absolute path, or resolution DNS for names",
            _ => "use an IP address or a name",
        };
        findings.error("address", code, format!("`{address}` cannot be an endpoint here"), help);
    } else if is_like_ipv4(address) {
        let message = format!("`{address}` is not an IP address, and DNS has no names that end in digits");
        findings.warning("address", code, message, "correct the address; requests to this endpoint get 503");
    }
}

/// Whether a name reads like an IPv4 address and is none: no top-level domain is a number (RFC 3696 §2).
fn is_like_ipv4(address: &str) -> bool {
    let last = address.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    !is_address(address) && !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit())
}
