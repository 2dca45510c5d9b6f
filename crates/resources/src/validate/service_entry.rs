//! `ServiceEntry` and `WorkloadEntry`: SE-01 to SE-15, WE-01.

use super::names::{check_export_to, check_port, is_address, is_address_or_cidr, is_name, is_name_or_wildcard};
use crate::code;
use crate::diagnostic::Findings;
use crate::key::Kind;
use crate::spec::Spec;
use crate::spec::gateway::Protocol;
use crate::spec::service_entry::{Resolution, ServiceEntry};
use crate::spec::workload_entry::WorkloadEntry;
use std::collections::BTreeSet;

impl Spec for ServiceEntry {
    const KIND: Kind = Kind::ServiceEntry;

    fn validate(&self, findings: &mut Findings) {
        findings.at("spec", |findings| {
            check_hosts(self, findings);
            check_ports(self, findings);
            check_resolution(self, findings);
            for (at, address) in self.addresses.iter().enumerate() {
                if !is_address_or_cidr(address) {
                    let field = format!("addresses[{at}]");
                    findings.error(
                        &field,
                        code::SERVICE_ENTRY_ADDRESSES,
                        format!("`{address}` is no address"),
                        "use an IP address or a CIDR",
                    );
                }
            }
            check_export_to(&self.export_to, findings);
        });
    }
}

impl Spec for WorkloadEntry {
    const KIND: Kind = Kind::WorkloadEntry;

    fn validate(&self, findings: &mut Findings) {
        findings.at("spec", |findings| {
            if self.address.is_empty() && self.network.is_empty() {
                findings.error("address", code::WORKLOAD_ENTRY_ADDRESS, "the workload has no address", "set `address`");
            }
            check_endpoint_ports(self, findings);
        });
    }
}

fn check_endpoint_ports(entry: &WorkloadEntry, findings: &mut Findings) {
    if entry.address.starts_with("unix://") && !entry.ports.is_empty() {
        findings.error("ports", code::WORKLOAD_ENTRY_PORTS, "a unix socket has no ports", "remove `ports`");
    }
    for (name, number) in &entry.ports {
        check_port(*number, &format!("ports.{name}"), code::WORKLOAD_ENTRY_PORTS, findings);
    }
}

/// SE-01.
fn check_hosts(entry: &ServiceEntry, findings: &mut Findings) {
    if entry.hosts.is_empty() {
        findings.error(
            "hosts",
            code::SERVICE_ENTRY_HOSTS,
            "the ServiceEntry has no hosts",
            "add the names of the service",
        );
    }
    for (at, host) in entry.hosts.iter().enumerate() {
        if &**host == "*" || !is_name_or_wildcard(host) {
            let field = format!("hosts[{at}]");
            findings.error(
                &field,
                code::SERVICE_ENTRY_HOSTS,
                format!("`{host}` is no host of a service"),
                "use a name or `*.suffix`",
            );
        }
    }
}

/// SE-03, SE-15.
fn check_ports(entry: &ServiceEntry, findings: &mut Findings) {
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (at, port) in entry.ports.iter().enumerate() {
        findings.at(format!("ports[{at}]"), |findings| {
            check_port(port.number, "number", code::SERVICE_ENTRY_PORTS, findings);
            if port.target_port != 0 {
                check_port(port.target_port, "targetPort", code::SERVICE_ENTRY_PORTS, findings);
            }
            if port.name.is_empty() {
                findings.error(
                    "name",
                    code::SERVICE_ENTRY_PORTS,
                    "the port has no name",
                    "name it, for example `http`",
                );
            } else if !names.insert(&port.name) {
                findings.error(
                    "name",
                    code::SERVICE_ENTRY_PORTS,
                    format!("`{}` is there a second time", port.name),
                    "give each port a name of its own",
                );
            }
            if !numbers.insert(port.number) {
                findings.error(
                    "number",
                    code::SERVICE_ENTRY_PORTS,
                    format!("{} is there a second time", port.number),
                    "keep one of them",
                );
            }
            if !port.protocol.is_empty() && Protocol::parse(&port.protocol).is_none() {
                findings.error(
                    "protocol",
                    code::SERVICE_ENTRY_PORTS,
                    format!("`{}` is no protocol", port.protocol),
                    "use HTTP, HTTPS, TLS, TCP or GRPC",
                );
            }
        });
    }
}

/// SE-05 to SE-11.
fn check_resolution(entry: &ServiceEntry, findings: &mut Findings) {
    let resolution = entry.resolution.unwrap_or(Resolution::None);
    let wildcard = entry.hosts.iter().any(|host| host.starts_with('*'));
    let code = code::SERVICE_ENTRY_RESOLUTION;
    if entry.workload_selector.is_some() && !entry.endpoints.is_empty() {
        findings.error("endpoints", code, "`endpoints` and `workloadSelector` exclude each other", "keep one of them");
    }
    match resolution {
        Resolution::None if !entry.endpoints.is_empty() => {
            findings.error("endpoints", code, "there may be no endpoints with resolution NONE", "use STATIC or DNS");
        }
        Resolution::Dns | Resolution::DnsRoundRobin if wildcard && entry.endpoints.is_empty() => {
            findings.error("resolution", code, "a wildcard cannot be resolved", "name the hosts, or give endpoints");
        }
        Resolution::DnsRoundRobin if entry.endpoints.len() > 1 => {
            findings.error("endpoints", code, "DNS_ROUND_ROBIN takes one endpoint", "use DNS");
        }
        Resolution::DynamicDns if !wildcard || !entry.endpoints.is_empty() => {
            findings.error("resolution", code, "DYNAMIC_DNS takes a wildcard and no endpoints", "use DNS");
        }
        _ => {}
    }
    for (at, endpoint) in entry.endpoints.iter().enumerate() {
        findings.at(format!("endpoints[{at}]"), |findings| {
            check_endpoint(endpoint, resolution, findings);
            check_endpoint_ports(endpoint, findings);
        });
    }
}

/// SE-10.
fn check_endpoint(endpoint: &WorkloadEntry, resolution: Resolution, findings: &mut Findings) {
    let address = &endpoint.address;
    let unix = address.strip_prefix("unix://");
    let good = match (resolution, unix) {
        (Resolution::Static, Some(path)) => path.starts_with('/') || path.starts_with('@'),
        (_, Some(_)) => false,
        (Resolution::Static, None) => is_address(address) || (address.is_empty() && !endpoint.network.is_empty()),
        (_, None) => is_address(address) || is_name(address) || (address.is_empty() && !endpoint.network.is_empty()),
    };
    if !good {
        let help = match resolution {
            Resolution::Static => "use an IP address or `unix://` and an absolute path, or resolution DNS for names",
            _ => "use an IP address or a name",
        };
        findings.error(
            "address",
            code::SERVICE_ENTRY_ENDPOINT,
            format!("`{address}` cannot be an endpoint here"),
            help,
        );
    }
}
