//! YAML to a printed snapshot: each `goldens/NAME.yaml` compiles to what `goldens/NAME.txt` has, snapshot and report.
//!
//! `MOONGATE_GOLDENS=write cargo test --workspace --test goldens` writes the texts. Read the difference before you commit it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use compiler::{Compiled, Memo, Settings, Workload, compile};
use resources::read::{documents, read};
use resources::set::{Change, ResourceSet};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[test]
fn yaml_compiles_to_the_printed_snapshot() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let write = std::env::var("MOONGATE_GOLDENS").is_ok_and(|value| value == "write");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(!files.is_empty());
    let mut different = Vec::new();
    for file in files {
        let printed = printed(&compiled(&fs::read_to_string(&file).unwrap()));
        let golden = file.with_extension("txt");
        if write {
            fs::write(&golden, printed).unwrap();
            continue;
        }
        let wanted = fs::read_to_string(&golden).unwrap_or_default();
        if let Some((line, (found, wanted))) = first_difference(&printed, &wanted) {
            different.push(format!("{}:{line}\n  has      {wanted}\n  compiled {found}", golden.display()));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// The first line that differs, from 1, with both texts.
fn first_difference<'a>(found: &'a str, wanted: &'a str) -> Option<(usize, (&'a str, &'a str))> {
    let lines = found.lines().count().max(wanted.lines().count());
    let line = |text: &'a str, at: usize| text.lines().nth(at).unwrap_or("(nothing)");
    (0..lines).map(|at| (at + 1, (line(found, at), line(wanted, at)))).find(|(_, (found, wanted))| found != wanted)
}

/// Both gateways of Istio, at addresses of their own.
fn compiled(yaml: &str) -> Compiled {
    let egress = Workload { bind: IpAddr::V4(Ipv4Addr::LOCALHOST), ..Workload::egress() };
    let settings = Settings { workloads: vec![Workload::ingress(), egress], ..Settings::default() };
    let file: Arc<Path> = Path::new("in.yaml").into();
    let mut objects = Vec::new();
    for document in documents(yaml) {
        let reading = read(&file, document);
        assert!(reading.rejected.is_empty() && !reading.unreadable, "{:?}", reading.diagnostics);
        objects.extend(reading.objects);
    }
    compile(&ResourceSet::default().with(objects.into_iter().map(Change::Put)), &settings, &mut Memo::default())
}

/// Listeners, tables with hosts and their routes, clusters, findings; one line for each, fields without a value left out.
fn printed(compiled: &Compiled) -> String {
    let mut text = String::new();
    for listener in compiled.snapshot.listeners.values() {
        writeln!(text, "listener {}: server port {}", listener.id, listener.server_port).unwrap();
        listener.servers.iter().for_each(|server| writeln!(text, "  server {server}").unwrap());
        listener.plain.iter().for_each(|service| writeln!(text, "  plain {}", json(service)).unwrap());
        listener.tls.iter().for_each(|server| writeln!(text, "  tls {}", json(server)).unwrap());
    }
    for (id, table) in &compiled.snapshot.tables {
        writeln!(text, "table {}", json(id)).unwrap();
        for host in table.hosts.values() {
            let redirect = if host.https_redirect { " to HTTPS" } else { "" };
            writeln!(text, "  host {}{redirect}", host.pattern).unwrap();
            for route in host.routes.iter() {
                let (origin, name) = (&route.origin, &route.name);
                writeln!(text, "    {origin} {name:?}: {} {}", json(&route.matches), json(&route.action)).unwrap();
            }
        }
    }
    for cluster in compiled.snapshot.clusters.values() {
        writeln!(text, "cluster {}", json(cluster)).unwrap();
    }
    for found in compiled.report.iter() {
        let object = found.object.as_ref().unwrap();
        writeln!(text, "{} {object} {}: {}", found.code, found.field, found.message).unwrap();
        found.help.iter().for_each(|help| writeln!(text, "  help: {help}").unwrap());
    }
    text
}

fn json(value: &impl Serialize) -> String {
    pruned(serde_json::to_value(value).unwrap()).unwrap_or(Value::Null).to_string()
}

/// The value without parts that are empty; `None` for one that is empty itself.
fn pruned(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Array(values) => {
            let kept: Vec<Value> = values.into_iter().filter_map(pruned).collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        Value::Object(fields) => {
            let kept = fields.into_iter().filter_map(|(name, value)| Some((name, pruned(value)?)));
            // Sorted, whether or not some crate asks `serde_json` to keep the order.
            let kept: BTreeMap<String, Value> = kept.collect();
            (!kept.is_empty()).then(|| Value::Object(kept.into_iter().collect()))
        }
        other => Some(other),
    }
}
