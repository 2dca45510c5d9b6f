//! The rules of a VirtualService for TLS and TCP: VS-60 to VS-65.

use super::fields::{check_gateways, check_labels, check_port};
use super::http_route::{check_destination, check_weights};
use super::names::{covers, is_address, is_address_or_cidr, is_host, is_internal_sni, is_label};
use crate::code;
use crate::diagnostic::Findings;
use crate::spec::scalar::Text;
use crate::spec::text_match::Labels;
use crate::spec::virtual_service::{L4Destination, TlsMatch, VirtualService};
use std::collections::HashMap;

/// What matches for TLS and TCP have in common.
struct Conditions<'a> {
    subnets: &'a [Text],
    port: Option<u32>,
    labels: &'a Labels,
    gateways: &'a [Text],
    namespace: &'a str,
}

pub(super) fn check(spec: &VirtualService, findings: &mut Findings) {
    for (at, rule) in spec.tls.iter().enumerate() {
        findings.at(format_args!("tls[{at}]"), |findings| {
            if rule.matches.is_empty() {
                findings.error("match", code::L4_ROUTE, "a rule for TLS needs a match", "add `match` with `sniHosts`");
            }
            for (at, one) in rule.matches.iter().enumerate() {
                findings.at(format_args!("match[{at}]"), |findings| check_tls(one, spec, findings));
            }
            check_destinations(&rule.route, findings);
        });
    }
    for (at, rule) in spec.tcp.iter().enumerate() {
        findings.at(format_args!("tcp[{at}]"), |findings| {
            for (at, one) in rule.matches.iter().enumerate() {
                let conditions = Conditions {
                    subnets: &one.destination_subnets,
                    port: one.port,
                    labels: &one.source_labels,
                    gateways: &one.gateways,
                    namespace: &one.source_namespace,
                };
                findings.at(format_args!("match[{at}]"), |findings| check_conditions(&conditions, findings));
            }
            check_destinations(&rule.route, findings);
        });
    }
    check_reach("tls", spec.tls.iter().map(|rule| texts(&rule.matches)), findings);
    check_reach("tcp", spec.tcp.iter().map(|rule| texts(&rule.matches)), findings);
}

fn check_tls(one: &TlsMatch, spec: &VirtualService, findings: &mut Findings) {
    if one.sni_hosts.is_empty() {
        findings.error("sniHosts", code::L4_ROUTE, "a match for TLS needs at least one name", "add `sniHosts`");
    }
    for (at, host) in one.sni_hosts.iter().enumerate() {
        check_sni(host, &format!("sniHosts[{at}]"), &spec.hosts, findings);
    }
    let conditions = Conditions {
        subnets: &one.destination_subnets,
        port: one.port,
        labels: &one.source_labels,
        gateways: &one.gateways,
        namespace: &one.source_namespace,
    };
    check_conditions(&conditions, findings);
}

/// VS-60.
fn check_sni(sni: &str, field: &str, hosts: &[Text], findings: &mut Findings) {
    if is_address(sni) {
        let message = format!("clients do not ask for an address as `{sni}` by name");
        findings.warning(field, code::L4_ROUTE, message, "use the name of the server");
    } else if !(is_host(sni) || is_internal_sni(sni)) {
        findings.error(field, code::L4_ROUTE, format!("`{sni}` is not a valid name"), "write a name or `*.suffix`");
    } else if !hosts.iter().any(|host| covers(host, sni)) {
        let message = format!("`{sni}` is within none of the hosts of the VirtualService");
        findings.error(field, code::L4_ROUTE, message, "add it to `hosts`, or use a name within them");
    }
}

/// VS-61.
fn check_conditions(conditions: &Conditions<'_>, findings: &mut Findings) {
    for (at, subnet) in conditions.subnets.iter().enumerate().filter(|(_, subnet)| !is_address_or_cidr(subnet)) {
        let field = format!("destinationSubnets[{at}]");
        findings.error(
            &field,
            code::L4_ROUTE,
            format!("`{subnet}` is not a valid network"),
            "use an IP address or a CIDR",
        );
    }
    if let Some(port) = conditions.port.filter(|port| *port != 0) {
        check_port(port, "port", code::L4_ROUTE, findings);
    }
    check_labels(conditions.labels, "sourceLabels", code::L4_ROUTE, findings);
    check_gateways(conditions.gateways, findings);
    if !conditions.namespace.is_empty() && !is_label(conditions.namespace) {
        let message = format!("`{}` is not a valid namespace", conditions.namespace);
        findings.error("sourceNamespace", code::L4_ROUTE, message, "use letters, digits and hyphens");
    }
}

fn check_destinations(route: &[L4Destination], findings: &mut Findings) {
    if route.is_empty() {
        findings.error("route", code::L4_ROUTE, "the rule has no destination", "add `route`");
    }
    for (at, one) in route.iter().enumerate() {
        check_destination(one.destination.as_ref(), &format!("route[{at}].destination"), findings);
    }
    check_weights(route.iter().map(|one| one.weight), findings);
}

fn texts(matches: &[impl std::fmt::Debug]) -> Vec<String> {
    matches.iter().map(|one| format!("{one:?}")).collect()
}

/// IST0130, IST0131: rules behind one without a match, and matches that are there before.
fn check_reach(block: &str, rules: impl ExactSizeIterator<Item = Vec<String>>, findings: &mut Findings) {
    if rules.len() < 2 {
        return;
    }
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut takes_all = None;
    for (rule, matches) in rules.enumerate() {
        let count = matches.len();
        let mut again = 0;
        for text in matches {
            again += usize::from(*seen.entry(text).or_insert(rule) != rule);
        }
        let cause = match takes_all {
            Some(before) => format!("{block}[{before}] takes every connection"),
            None if count > 0 && again == count => "rules before it have the same matches".to_owned(),
            None => String::new(),
        };
        if !cause.is_empty() {
            let message = format!("the rule is never reached: {cause}");
            let help = "remove it, or move it before that rule";
            findings.warning(&format!("{block}[{rule}]"), code::UNREACHABLE_RULE, message, help);
        }
        if count == 0 {
            takes_all = takes_all.or(Some(rule));
        }
    }
}
