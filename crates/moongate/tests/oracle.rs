//! What Istio itself answered, and what we answer to the same requests over real sockets. Differences that are not mended yet
//! stand in `oracle/not-yet.txt`, which only ever gets shorter: an answer that agrees may not stand there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use testkit::gateway::{Gateway, Start};
use testkit::numbers::{Backends, named_ports};
use testkit::oracle::{Recording, differences};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../oracle")
}

/// `http/140:12`: recording and number of the exchange, from 0.
fn not_yet() -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("not-yet.txt")).unwrap();
    let name = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
    text.lines().map(name).filter(|line| !line.is_empty()).collect()
}

fn compare(profile: &str) {
    let recordings = Recording::read_profile(&root(), profile).unwrap();
    let backends = Backends::start().unwrap();
    let not_yet: BTreeSet<String> =
        not_yet().into_iter().filter(|name| name.starts_with(&format!("{profile}/"))).collect();
    let parted: Vec<(String, String)> =
        testkit::parallel(&recordings, |recording| run(recording, &backends)).into_iter().flatten().collect();
    let names: BTreeSet<String> = parted.iter().map(|(name, _)| name.clone()).collect();
    let new: Vec<&str> =
        parted.iter().filter(|(name, _)| !not_yet.contains(name)).map(|(_, what)| what.as_str()).collect();
    let mended: Vec<&String> = not_yet.difference(&names).collect();
    let count: usize = recordings.iter().map(|recording| recording.exchanges.len()).sum();
    println!("{profile}: {count} exchanges, {} part from Istio's", names.len());
    assert!(new.is_empty(), "{} of {count} answers part from Istio's:\n{}", new.len(), new.join("\n"));
    assert!(mended.is_empty(), "these agree now, take them off oracle/not-yet.txt:\n{mended:?}");
}

/// Name and description of every answer that differs.
fn run(recording: &Recording, backends: &Backends) -> Vec<(String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.yaml");
    std::fs::write(&path, backends.rewrite(&recording.config)).unwrap();
    let mut ports = named_ports(&recording.config);
    ports.extend(recording.exchanges.iter().map(|exchange| exchange.question.port));
    let mut args: Vec<String> = ["--access-log", "off", "--workers", "1"].map(str::to_owned).to_vec();
    if let Some(mesh) = recording.mesh_config() {
        args.extend(["--mesh-config".to_owned(), mesh.display().to_string()]);
    }
    let program = Path::new(env!("CARGO_BIN_EXE_moongate"));
    let start = Start { program, paths: vec![path], ports: ports.into_iter().collect(), args };
    let gateway = Gateway::start(&start).unwrap_or_else(|error| panic!("{}: {error}", recording.name));
    let mut parted = Vec::new();
    for (number, exchange) in recording.exchanges.iter().enumerate() {
        let ours = exchange.question.ask(gateway.address(exchange.question.port));
        let fields = differences(&exchange.istio, &ours, &recording.config);
        if !fields.is_empty() {
            let name = format!("{}:{number}", recording.name);
            let what =
                format!("{name} {fields:?}\n  {:?}\n  istio {}\n  ours  {ours}", exchange.question, exchange.istio);
            parted.push((name, what));
        }
    }
    parted
}

#[test]
fn profile_http() {
    compare("http");
}

#[test]
fn profile_targets() {
    compare("targets");
}

#[test]
fn profile_mesh() {
    compare("mesh");
}
