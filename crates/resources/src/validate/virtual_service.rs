//! `VirtualService`: its hosts, gateways and rules for TLS and TCP. HTTP rules are in `http_route`.

use super::http_route::{check_http, check_weights, destination_of};
use super::names::{check_export_to, is_address, is_label, is_name, is_name_or_wildcard, overlap};
use crate::code;
use crate::diagnostic::Findings;
use crate::key::Kind;
use crate::spec::Spec;
use crate::spec::virtual_service::{L4Destination, VirtualService};

impl Spec for VirtualService {
    const KIND: Kind = Kind::VirtualService;

    fn validate(&self, findings: &mut Findings) {
        findings.at("spec", |findings| {
            // Without hosts and gateways it is a delegate, which another one's rules name (VS-48).
            let delegate = self.hosts.is_empty() && self.gateways.is_empty();
            if self.hosts.is_empty() && !delegate {
                let help = "add the hosts that it routes; only a delegate has none, and that has no gateways either";
                findings.error("hosts", code::VIRTUAL_SERVICE_NO_HOSTS, "the VirtualService has no hosts", help);
            }
            check_hosts(self, findings);
            for (at, gateway) in self.gateways.iter().enumerate() {
                check_gateway(gateway, &format!("gateways[{at}]"), findings);
            }
            if self.http.is_empty() && self.tls.is_empty() && self.tcp.is_empty() {
                findings.error(
                    "",
                    code::VIRTUAL_SERVICE_NO_ROUTES,
                    "the VirtualService has no rules",
                    "add `http`, `tls` or `tcp`",
                );
            }
            if delegate && !(self.tls.is_empty() && self.tcp.is_empty()) {
                findings.error(
                    "",
                    code::HTTP_DELEGATE,
                    "a delegate has HTTP rules alone",
                    "remove `tls` and `tcp`, or add hosts",
                );
            }
            check_http(&self.http, delegate, findings);
            check_l4(self, findings);
            check_export_to(&self.export_to, findings);
        });
    }
}

fn check_hosts(spec: &VirtualService, findings: &mut Findings) {
    let mesh = spec.gateways.is_empty() || spec.gateways.iter().any(|gateway| &**gateway == "mesh");
    for (at, host) in spec.hosts.iter().enumerate() {
        let field = format!("hosts[{at}]");
        if !(is_name_or_wildcard(host) || is_address(host)) {
            let help = "write a name, an address, `*.suffix` or `*`";
            findings.error(&field, code::VIRTUAL_SERVICE_HOST, format!("`{host}` is no host"), help);
        }
        if &**host == "*" && mesh {
            let help = "name the Gateways that it is for in `gateways`";
            findings.error(&field, code::VIRTUAL_SERVICE_MESH_WILDCARD, "`*` may not be bound to the mesh", help);
        }
        if let Some(before) = spec.hosts.iter().take(at).find(|before| overlap(before, host)) {
            let message = format!("`{host}` overlaps with `{before}` of the same VirtualService");
            findings.error(
                &field,
                code::VIRTUAL_SERVICE_HOSTS_OVERLAP,
                message,
                "keep one of them, or write two VirtualServices",
            );
        }
    }
}

/// VS-02.
pub(super) fn check_gateway(gateway: &str, field: &str, findings: &mut Findings) {
    let good = match gateway.split_once('/') {
        Some((namespace, name)) => (namespace == "." || is_label(namespace)) && is_name(name),
        None => is_name(gateway),
    };
    if !good {
        let help = "write `name` for one of its own namespace, or `namespace/name`";
        findings.error(field, code::GATEWAY_NAME, format!("`{gateway}` names no Gateway"), help);
    }
}

/// VS-60 to VS-65.
fn check_l4(spec: &VirtualService, findings: &mut Findings) {
    for (at, rule) in spec.tls.iter().enumerate() {
        findings.at(format!("tls[{at}]"), |findings| {
            if rule.matches.is_empty() {
                findings.error("match", code::L4_ROUTE, "a rule for TLS needs a match", "add `match` with `sniHosts`");
            }
            for (at, one) in rule.matches.iter().enumerate() {
                if one.sni_hosts.is_empty() {
                    let field = format!("match[{at}].sniHosts");
                    findings.error(&field, code::L4_ROUTE, "a match for TLS needs at least one name", "add `sniHosts`");
                }
            }
            check_l4_destinations(&rule.route, findings);
        });
    }
    for (at, rule) in spec.tcp.iter().enumerate() {
        findings.at(format!("tcp[{at}]"), |findings| check_l4_destinations(&rule.route, findings));
    }
}

fn check_l4_destinations(route: &[L4Destination], findings: &mut Findings) {
    if route.is_empty() {
        findings.error("route", code::L4_ROUTE, "the rule has no destination", "add `route`");
    }
    for (at, one) in route.iter().enumerate() {
        destination_of(one.destination.as_ref(), &format!("route[{at}].destination"), findings);
    }
    check_weights(&route.iter().map(|one| one.weight).collect::<Vec<_>>(), findings);
}
