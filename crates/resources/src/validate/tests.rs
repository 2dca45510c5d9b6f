//! Each rule of validation by its row: a spec, and all that is to be found in it.

use crate::diagnostic::{Diagnostic, Severity};
use crate::read::{documents, read};
use std::path::Path;
use std::sync::Arc;

mod authorization;
mod destination_rule;
mod gateway;
mod http_route;
mod mesh_config;
mod providers;
mod request_authentication;
mod service_entry;
mod virtual_service;
mod workload_entry;

/// All diagnostics of an object of a kind with this `spec`, in namespace `apps`.
fn diagnostics(kind: &str, name: &str, spec: &str) -> Vec<Diagnostic> {
    let spec = spec.trim().replace('\n', "\n  ");
    let group = if matches!(kind, "AuthorizationPolicy" | "RequestAuthentication") { "security" } else { "networking" };
    let text = format!(
        "apiVersion: {group}.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: apps}}\nspec:\n  {spec}\n"
    );
    let file: Arc<Path> = Arc::from(Path::new("in.yaml"));
    documents(&text).flat_map(|document| read(&file, document).diagnostics).collect()
}

/// As `E MG1001 spec.servers`; the word is `W` for a warning.
fn found(kind: &str, spec: &str) -> Vec<String> {
    diagnostics(kind, "o", spec).iter().map(short).collect()
}

fn short(diagnostic: &Diagnostic) -> String {
    assert!(diagnostic.help.is_some(), "it says nothing about what to do: {diagnostic:?}");
    assert!(!diagnostic.message.ends_with('.'), "{diagnostic:?}");
    let grave = if diagnostic.severity == Severity::Error { "E" } else { "W" };
    format!("{grave} {} {}", diagnostic.code, diagnostic.field)
}

/// Findings whose fields are written from `root` on.
fn below(root: &str, wanted: &[&str]) -> Vec<String> {
    let whole = |line: &&str| match line.splitn(3, ' ').collect::<Vec<_>>()[..] {
        [grave, code, field] => format!("{grave} {code} {root}.{field}"),
        _ => format!("{line} {root}"),
    };
    wanted.iter().map(whole).collect()
}

/// Holds `spec` to have just these findings.
#[track_caller]
fn holds(kind: &str, spec: &str, wanted: &[&str]) {
    assert_eq!(found(kind, spec), wanted, "{spec}");
}

#[test]
fn export_to_names_namespaces_once() {
    let entry = |list: &str| found("ServiceEntry", &format!("hosts: [a.test]\nexportTo: {list}"));
    for good in ["[.]", "['*']", "[a, b]", "['~']", "[]", "[., other]"] {
        assert_eq!(entry(good), [""; 0], "{good}");
    }
    for (bad, field) in [
        ("[a/b]", "spec.exportTo[0]"),
        ("[., apps]", "spec.exportTo[1]"),
        ("[a, a]", "spec.exportTo[1]"),
        ("['*', a]", "spec.exportTo"),
        ("['~', a]", "spec.exportTo"),
    ] {
        assert_eq!(entry(bad), [format!("E MG2023 {field}")], "{bad}");
    }
}
