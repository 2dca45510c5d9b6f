//! `VirtualService`: its hosts and gateways (VS-01 to VS-03). HTTP rules are in `http_route`, those for TLS and TCP in `l4_route`.

use super::fields::{Exported, check_export_to, check_gateways};
use super::http_route::{Around, check_http};
use super::l4_route;
use super::lower_case;
use super::names::{is_address, is_host, is_internal_sni, overlap};
use crate::code;
use crate::diagnostic::Findings;
use crate::key::{Key, Kind};
use crate::spec::Spec;
use crate::spec::virtual_service::VirtualService;

/// How many hosts of one object are compared with each other for overlaps.
const MAX_COMPARED: usize = 1024;

impl Spec for VirtualService {
    const KIND: Kind = Kind::VirtualService;

    fn normalise(&mut self) {
        lower_case::virtual_service(self);
    }

    fn validate(&self, key: &Key, findings: &mut Findings) {
        findings.at("spec", |findings| {
            // Without hosts it is a delegate, which another one's rules name (VS-48).
            let delegate = self.hosts.is_empty();
            if delegate {
                check_delegate(self, findings);
            }
            check_hosts(self, findings);
            check_gateways(&self.gateways, findings);
            if self.http.is_empty() && self.tls.is_empty() && self.tcp.is_empty() {
                let help = "add `http`, `tls` or `tcp`";
                findings.error("", code::VIRTUAL_SERVICE_NO_ROUTES, "the VirtualService has no rules", help);
            }
            // Whether a delegate is for the mesh says its root.
            let gateways_alone = delegate || !is_for_mesh(self);
            check_http(&self.http, Around { delegate, gateways_alone }, findings);
            l4_route::check(self, findings);
            let exported = Exported { to: &self.export_to, field: "exportTo", namespace: &key.namespace };
            check_export_to(exported, findings);
        });
    }
}

/// VS-48.
fn check_delegate(spec: &VirtualService, findings: &mut Findings) {
    if !spec.gateways.is_empty() {
        let help = "add the hosts that it routes; only a delegate has none, and that has no gateways either";
        findings.error("hosts", code::VIRTUAL_SERVICE_NO_HOSTS, "the VirtualService has no hosts", help);
    }
    for (field, given) in [("tls", !spec.tls.is_empty()), ("tcp", !spec.tcp.is_empty())] {
        if given {
            let help = format!("remove `{field}`, or add hosts");
            findings.error(field, code::HTTP_DELEGATE, "a delegate has HTTP rules alone", help);
        }
    }
}

fn is_for_mesh(spec: &VirtualService) -> bool {
    spec.gateways.is_empty() || spec.gateways.iter().any(|gateway| &**gateway == "mesh")
}

/// VS-01.
fn check_hosts(spec: &VirtualService, findings: &mut Findings) {
    let mesh = is_for_mesh(spec);
    let by_sni = spec.tls.iter().flat_map(|rule| &rule.matches).any(|one| !one.sni_hosts.is_empty());
    for (at, host) in spec.hosts.iter().enumerate() {
        let field = || format!("hosts[{at}]");
        if !(is_host(host) || is_address(host) || (by_sni && is_internal_sni(host))) {
            let help = "write a name, an address, `*.suffix` or `*`";
            findings.error(&field(), code::VIRTUAL_SERVICE_HOST, format!("`{host}` is not a valid host"), help);
        }
        if &**host == "*" && mesh {
            let help = "name the Gateways that it is for in `gateways`";
            findings.error(&field(), code::VIRTUAL_SERVICE_MESH_WILDCARD, "`*` may not be bound to the mesh", help);
        }
        if let Some(before) = spec.hosts.iter().take(at.min(MAX_COMPARED)).find(|before| overlap(before, host)) {
            let message = format!("`{host}` overlaps with `{before}` of the same VirtualService");
            let help = "keep one of them, or write two VirtualServices";
            findings.error(&field(), code::VIRTUAL_SERVICE_HOSTS_OVERLAP, message, help);
        }
    }
}
