//! `WorkloadEntry` (WE-01), and what the endpoints of a ServiceEntry share with it.

use super::fields::{check_labels, check_port};
use super::names::{is_address, is_label, is_resolvable, is_socket_path};
use crate::code;
use crate::diagnostic::Findings;
use crate::key::{Key, Kind};
use crate::spec::Spec;
use crate::spec::workload_entry::WorkloadEntry;

impl Spec for WorkloadEntry {
    const KIND: Kind = Kind::WorkloadEntry;

    fn validate(&self, _key: &Key, findings: &mut Findings) {
        findings.at("spec", |findings| {
            check_address(self, findings);
            check_ports(self, code::WORKLOAD_ENTRY_PORTS, findings);
            check_labels_of(self, code::WORKLOAD_ENTRY_LABELS, findings);
        });
    }
}

fn check_address(entry: &WorkloadEntry, findings: &mut Findings) {
    let code = code::WORKLOAD_ENTRY_ADDRESS;
    if entry.address.is_empty() && entry.network.is_empty() {
        findings.error("address", code, "the workload has no address", "set `address`");
    } else if entry.address.is_empty() {
        let message = "without an address the workload can be reached through its network's gateway alone";
        findings.warning("address", code, message, "set `address`");
    } else if entry.address.starts_with("unix://") {
        check_socket(entry, code, findings);
    } else if !(is_address(&entry.address) || is_resolvable(&entry.address)) {
        let message = format!("`{}` is not a valid address", entry.address);
        findings.error("address", code, message, "use an IP address, a name, or `unix://` and an absolute path");
    }
}

/// A unix socket is an absolute path and has no ports.
pub(super) fn check_socket(entry: &WorkloadEntry, code: &'static str, findings: &mut Findings) {
    let path = entry.address.strip_prefix("unix://").unwrap_or_default();
    if !is_socket_path(path) {
        let message = format!("`{path}` is not an absolute path");
        findings.error("address", code, message, "write `unix:///path/to/socket`, or `unix://@name`");
    }
    if !entry.ports.is_empty() {
        findings.error("ports", code, "a unix socket has no ports", "remove `ports`");
    }
}

pub(super) fn check_ports(entry: &WorkloadEntry, code: &'static str, findings: &mut Findings) {
    for (name, number) in &entry.ports {
        let field = format!("ports.{name}");
        if !is_label(name) {
            let message = format!("`{name}` is not a valid port name");
            findings.error(&field, code, message, "use at most 63 letters, digits and hyphens");
        }
        check_port(*number, &field, code, findings);
    }
}

pub(super) fn check_labels_of(entry: &WorkloadEntry, code: &'static str, findings: &mut Findings) {
    check_labels(&entry.labels, "labels", code, findings);
}
