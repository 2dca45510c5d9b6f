//! Checks of fields that several kinds have: ports, times, `exportTo`, names of Gateways, labels and selectors.

use super::names::{bad_label, is_label, is_name};
use crate::code;
use crate::diagnostic::Findings;
use crate::spec::scalar::{Duration, Text};
use crate::spec::text_match::Labels;
use std::collections::BTreeSet;

/// A list of namespaces that see something.
#[derive(Clone, Copy)]
pub(super) struct Exported<'a> {
    /// The list.
    pub(super) to: &'a [Text],
    /// Its field.
    pub(super) field: &'a str,
    /// The namespace that `.` stands for.
    pub(super) namespace: &'a str,
}

pub(super) fn check_port(number: u32, field: &str, code: &'static str, findings: &mut Findings) {
    if !(1..=65535).contains(&number) {
        findings.error(field, code, format!("{number} is not a valid port number"), "use a number from 1 to 65535");
    }
}

/// A time of Istio's API: whole milliseconds, and at least one.
pub(super) fn check_time(time: Option<Duration>, field: &str, code: &'static str, findings: &mut Findings) {
    let Some(time) = time else { return };
    match time.get() {
        Some(length) if length.as_millis() == 0 => {
            let help = "leave it out for the default, or use 1ms or more";
            findings.error(field, code, format!("{time} is shorter than 1 ms"), help);
        }
        Some(length) if length.subsec_nanos() % 1_000_000 != 0 => {
            findings.error(field, code, format!("{time} is finer than 1 ms"), "round it to milliseconds");
        }
        Some(_) => {}
        None => findings.error(field, code, format!("{time} is negative"), "use 1ms or more"),
    }
}

/// VS-03, DR-03, SE-12. Istio's admission takes `~` in a ServiceEntry alone; its control plane knows what it means everywhere.
pub(super) fn check_export_to(exported: Exported<'_>, findings: &mut Findings) {
    let Exported { to, field: list, namespace } = exported;
    let mut seen = BTreeSet::new();
    for (at, entry) in to.iter().enumerate() {
        let field = format!("{list}[{at}]");
        let namespace = if &**entry == "." { namespace } else { entry };
        if !(matches!(&**entry, "." | "*" | "~") || is_label(entry)) {
            let message = format!("`{entry}` is not a valid namespace");
            let help = "use `.` for its own namespace, `*` for all, or names of namespaces";
            findings.error(&field, code::EXPORT_TO, message, help);
        } else if !seen.insert(namespace) {
            let message = format!("duplicate namespace `{namespace}`");
            findings.error(&field, code::EXPORT_TO, message, "keep one of them");
        }
    }
    for (all, what) in [("*", "everybody"), ("~", "nobody")] {
        if seen.contains(all) && to.len() > 1 {
            let message = format!("`{all}` is {what}, and yet there are other namespaces");
            findings.error(list, code::EXPORT_TO, message, format!("keep `{all}` alone, or the others"));
        }
    }
}

pub(super) fn check_labels(labels: &Labels, field: &str, code: &'static str, findings: &mut Findings) {
    if let Some(label) = bad_label(labels) {
        let help = "use letters, digits, `-`, `_` and `.`, with letters or digits at both ends";
        findings.error(field, code, format!("`{label}` is not a valid label"), help);
    }
}

/// A selector of workloads; without labels it selects every one of the namespace.
pub(super) fn check_selector(labels: &Labels, code: &'static str, findings: &mut Findings) {
    findings.at("workloadSelector", |findings| {
        if labels.is_empty() {
            let message = "the selector has no labels, so that it selects every workload of the namespace";
            findings.warning("", code, message, "name the labels of the workloads");
        }
        for (name, value) in labels {
            if name.is_empty() || name.contains('*') || value.contains('*') {
                let message = format!("a selector has no wildcards and no empty names: `{name}={value}`");
                findings.error("labels", code, message, "name the labels of the workloads");
            }
        }
    });
}

/// VS-02, VS-19.
pub(super) fn check_gateways(gateways: &[Text], findings: &mut Findings) {
    for (at, gateway) in gateways.iter().enumerate() {
        let field = || format!("gateways[{at}]");
        let good = match gateway.split_once('/') {
            Some((namespace, name)) => (namespace == "." || is_label(namespace)) && is_label(name),
            None => is_name(gateway),
        };
        if !good {
            let help = "write `name` for one of its own namespace, or `namespace/name`";
            findings.error(&field(), code::GATEWAY_NAME, format!("`{gateway}` names no Gateway"), help);
        } else if let Some((name, rest)) = gateway.split_once('.').filter(|_| !gateway.contains('/')) {
            let namespace = rest.split('.').next().unwrap_or(rest);
            let message = format!("`{gateway}` is the old form of `{namespace}/{name}`");
            findings.warning(&field(), code::GATEWAY_NAME, message, format!("write `{namespace}/{name}`"));
        }
    }
}
