//! `layers`: the directions between crates, and between the modules of the larger ones.
//!
//! The table here is the one of ARCHITECTURE.md. What a crate may import is listed, so that a new edge is a decision
//! that somebody writes down, not an accident.

use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every crate of ours and which others of ours it may use outside tests.
const CRATES: &[(&str, &[&str])] = &[
    ("text", &[]),
    ("ir", &["text"]),
    ("wire", &["text"]),
    ("resources", &["text"]),
    ("routing", &["ir", "text", "wire"]),
    ("upstream", &["ir", "wire"]),
    ("compiler", &["ir", "resources", "text"]),
    ("sources", &["resources"]),
    ("dataplane", &["ir", "routing", "text", "upstream", "wire"]),
    ("moongate", &["compiler", "dataplane", "ir", "resources", "routing", "sources", "text", "upstream", "wire"]),
    ("testkit", &["resources"]),
    ("xtask", &[]),
];

/// Crates of others that a crate may not use, and why.
const BANNED: &[(&str, &[&str], &str)] = &[
    ("text", &["tokio", "http", "httparse", "hyper"], "rules about characters, of no library"),
    ("ir", &["tokio", "kube", "tonic", "hyper"], "the contract is plain values"),
    ("wire", &["tokio", "hyper", "socket2"], "the codec is sans-io"),
    ("resources", &["tokio", "kube", "hyper"], "documents to values, no client"),
    ("compiler", &["tokio", "rustix", "socket2", "hyper"], "pure: no clock, net or environment"),
    ("routing", &["tokio", "rustix", "socket2", "hyper"], "decisions are pure"),
    ("dataplane", &["kube", "tonic", "axum", "hyper"], "the engines are ours"),
];

/// Modules of a crate, lowest first: a module may import those before it, never those behind it.
const MODULES: &[(&str, &[&str])] = &[
    (
        "compiler",
        &[
            "code",
            "fast",
            "names",
            "order",
            "settings",
            "mesh_settings",
            "texts",
            "visibility",
            "hosts",
            "index",
            "report",
            "headers",
            "matches",
            "context",
            "destination_rules",
            "ports",
            "services",
            "destinations",
            "localities",
            "endpoints",
            "gateways",
            "actions",
            "balance",
            "clusters",
            "lints",
            "routes",
            "binding",
            "memo",
        ],
    ),
    (
        "dataplane",
        &[
            "limits",
            "reasons",
            "metrics",
            "log",
            "tls",
            "conn",
            "http",
            "tcp",
            "entry",
            "accept",
            "listeners",
            "control",
        ],
    ),
    (
        "routing",
        &[
            "judge",
            "rewrite",
            "substitute",
            "route",
            "candidates",
            "host",
            "names",
            "table",
            "servers",
            "tcp",
            "decision",
            "explain",
        ],
    ),
    (
        "upstream",
        &[
            "endpoint",
            "balance",
            "coalesce",
            "watch",
            "certificate",
            "identity",
            "parameters",
            "tls",
            "connect",
            "cluster",
            "dns",
            "store",
            "pool",
            "h1",
            "h2",
        ],
    ),
];

/// Compares both tables with the workspace.
pub(crate) fn check() -> Result<()> {
    let metadata = MetadataCommand::new().no_deps().exec().context("`cargo metadata` failed")?;
    let mut faults = crate_faults(&metadata);
    for (name, order) in MODULES {
        let source = metadata.workspace_root.join("crates").join(name).join("src");
        faults.extend(module_faults(name, source.as_std_path(), order)?);
    }
    if !faults.is_empty() {
        bail!("the layers do not hold:\n  {}", faults.join("\n  "));
    }
    println!("layers hold: {} crates, {} with ordered modules", CRATES.len(), MODULES.len());
    Ok(())
}

fn crate_faults(metadata: &Metadata) -> Vec<String> {
    let allowed: BTreeMap<_, _> = CRATES.iter().copied().collect();
    let mut faults = Vec::new();
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        let Some(may) = allowed.get(name) else {
            faults.push(format!("{name} stands on no floor: add it to the table in crates/xtask/src/layers.rs"));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development) {
            let used = dependency.name.as_str();
            if allowed.contains_key(used) && !may.contains(&used) {
                faults.push(format!("{name} may not import {used}"));
            }
            for (_, banned, why) in BANNED.iter().filter(|(who, banned, _)| *who == name && banned.contains(&used)) {
                debug_assert!(!banned.is_empty());
                faults.push(format!("{name} may not import {used}: {why}"));
            }
        }
    }
    faults
}

fn module_faults(krate: &str, source: &Path, order: &[&str]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for (rank, module) in order.iter().enumerate() {
        for file in module_files(source, module)? {
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            for (number, line) in text.lines().enumerate() {
                for above in &order[rank + 1..] {
                    if imports(line, above) {
                        faults.push(format!(
                            "{krate}: {}:{} imports {above}, which stands above {module}",
                            file.display(),
                            number + 1
                        ));
                    }
                }
            }
        }
    }
    Ok(faults)
}

/// Whether a line of code names `crate::<module>` (a line of comment does not count).
fn imports(line: &str, module: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    code.match_indices("crate::").any(|(at, found)| {
        let rest = &code[at + found.len()..];
        let named = |text: &str| {
            text.strip_prefix(module).is_some_and(|after| !after.starts_with(|c: char| c == '_' || c.is_alphanumeric()))
        };
        match rest.strip_prefix('{') {
            Some(list) => list.split([',', '}']).any(|part| named(part.trim())),
            None => named(rest),
        }
    })
}

/// `module.rs` and every file below `module/`.
fn module_files(source: &Path, module: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let file = source.join(format!("{module}.rs"));
    if file.exists() {
        found.push(file);
    }
    let mut open = vec![source.join(module)];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            // Tests may look at the whole of their crate.
            } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
                found.push(path);
            }
        }
    }
    if found.is_empty() {
        bail!("{} has no module {module}: fix the table in crates/xtask/src/layers.rs", source.display());
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::imports;

    #[test]
    fn an_import_is_seen_alone_and_in_a_list() {
        assert!(imports("use crate::http::server;", "http"));
        assert!(imports("use crate::{limits, http};", "http"));
        assert!(imports("    crate::http::serve(conn)", "http"));
        assert!(!imports("use crate::http_date;", "http"));
        assert!(!imports("// see crate::http", "http"));
        assert!(!imports("use wire::http;", "http"));
    }
}
