//! What Istio itself answered, and what we answer to the same requests over real sockets. Differences that are to be fixed are listed
//! in `oracle/not-yet.txt`, which only ever gets shorter; those with a reason in `docs/divergences.md` in `oracle/diverges.txt`. An
//! answer that agrees may be in neither.

use super::twin;
use moongate::explain::{Outcome, TargetAnswer};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use testkit::client::take_peers;
use testkit::gateway::{Gateway, Signal, Start};
use testkit::numbers::{Backends, named_ports};
use testkit::oracle::{Exchange, Recording, differences, is_stricter, log_differences};
use testkit::secured::Certificates;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../oracle")
}

/// The exchanges of a profile in a list: `http/140:3,12` names a recording and exchanges of it, from 0; what follows a `#` is for people.
fn listed(file: &str, profile: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let of_profile = lines.filter(|line| line.starts_with(&format!("{profile}/")));
    let named = of_profile.flat_map(|line| {
        let (recording, numbers) = line.split_once(':').unwrap_or_else(|| panic!("{file}: no exchanges in `{line}`"));
        numbers.split(',').map(move |number| format!("{recording}:{number}"))
    });
    named.collect()
}

fn compare(profile: &str) {
    let recordings = Recording::read_profile(&root(), profile).unwrap();
    let certificates = Certificates::of_project().unwrap();
    let backends = Backends::start(&certificates).unwrap();
    let expected: BTreeSet<String> =
        listed("not-yet.txt", profile).union(&listed("diverges.txt", profile)).cloned().collect();
    // Where attempts are counted most of the time is waited, but their budgets are short: a few gateways at once, no more.
    let waits =
        recordings.iter().any(|recording| recording.exchanges.iter().any(|one| !one.istio["attempts"].is_null()));
    let threads =
        if waits { recordings.len().min(4) } else { std::thread::available_parallelism().map_or(1, usize::from) };
    let results: Vec<Differences> =
        testkit::parallel_on(threads, &recordings, |recording| run(recording, &backends, &certificates));
    let twins: Vec<&str> = results.iter().flat_map(|found| &found.twins).map(String::as_str).collect();
    let parted: Vec<&(String, String)> = results.iter().flat_map(|found| &found.parted).collect();
    let names: BTreeSet<String> = parted.iter().map(|(name, _)| name.clone()).collect();
    let new: Vec<&str> =
        parted.iter().filter(|(name, _)| !expected.contains(name)).map(|(_, what)| what.as_str()).collect();
    let mended: Vec<&String> = expected.difference(&names).collect();
    let count: usize = recordings.iter().map(|recording| recording.exchanges.len()).sum();
    println!("{profile}: {count} exchanges, {} part from Istio's", names.len());
    assert!(new.is_empty(), "{} of {count} answers part from Istio's:\n{}", new.len(), new.join("\n"));
    assert!(mended.is_empty(), "these agree now, take them off oracle/not-yet.txt or diverges.txt:\n{mended:?}");
    assert!(twins.is_empty(), "explain and the data plane part in {}:\n{}", twins.len(), twins.join("\n"));
}

/// Sends the request, and counts the attempts where Istio's were counted.
fn ask(
    exchange: &Exchange,
    name: &str,
    address: SocketAddr,
    backends: &Backends,
    certificates: &Certificates,
) -> serde_json::Value {
    if exchange.istio["attempts"].is_null() {
        return exchange.question.ask(address, certificates);
    }
    let mut question = exchange.question.clone();
    question.headers.retain(|(header, _)| header != "x-id");
    question.headers.push(("x-id".to_owned(), name.to_owned()));
    let mut ours = question.ask(address, certificates);
    let counts = backends.attempts.of(name);
    let counts = counts.into_iter().map(|(number, count)| (number.to_string(), count.into())).collect();
    ours["attempts"] = serde_json::Value::Object(counts);
    ours
}

/// Requests to Istio were sent thirty-two at a time: with a limit of concurrent attempts, Istio made fewer attempts than in sequence.
fn was_crowded(recording: &Recording, istio: &serde_json::Value, ours: &serde_json::Value) -> bool {
    let count = |answer: &serde_json::Value| {
        let counts = answer["attempts"].as_object().into_iter().flat_map(|counts| counts.values());
        counts.filter_map(serde_json::Value::as_u64).sum::<u64>()
    };
    recording.config.contains("maxRetries: 1") && count(istio) < count(ours)
}

/// The differences of one recording.
#[derive(Default)]
struct Differences {
    /// Name and description of every response that differs from Istio's.
    parted: Vec<(String, String)>,
    /// Differences between `explain` and the data plane.
    twins: Vec<String>,
}

fn run(recording: &Recording, backends: &Backends, certificates: &Certificates) -> Differences {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.yaml");
    // Files are named from the recording's own folder.
    let certs = root().join("certs").display().to_string();
    std::fs::write(&path, backends.rewrite(&recording.config).replace("../../certs", &certs)).unwrap();
    let mut ports = named_ports(&recording.config);
    ports.extend(recording.exchanges.iter().map(|exchange| exchange.question.port));
    let log = folder.path().join("access.log");
    let is_logged = recording.exchanges.iter().any(|exchange| exchange.istio["log"].is_array());
    let target = if is_logged { log.display().to_string() } else { "off".to_owned() };
    let mut args = vec!["--access-log".to_owned(), target, "--workers".to_owned(), "1".to_owned()];
    if let Some(mesh) = recording.mesh_config() {
        args.extend(["--mesh-config".to_owned(), mesh.display().to_string()]);
    }
    let own_args = recording.args().unwrap();
    args.extend(own_args.iter().cloned());
    let program = Path::new(env!("CARGO_BIN_EXE_moongate"));
    let explainer = twin::explainer(&path, recording.mesh_config().as_ref(), &own_args);
    let start = Start { program, paths: vec![path], ports: ports.into_iter().collect(), args };
    let mut gateway = Gateway::start(&start).unwrap_or_else(|error| panic!("{}: {error}", recording.name));
    let (mut found, mut logged) = (Differences::default(), Vec::new());
    for (number, exchange) in recording.exchanges.iter().enumerate() {
        let name = format!("{}:{number}", recording.name);
        take_peers();
        let ours = ask(exchange, &name, gateway.address(exchange.question.port), backends, certificates);
        let told = twin::ask(&explainer, &exchange.question);
        let number_of = |port: u16| backends.number(port);
        found.twins.extend(twin::part(&told, &ours, number_of).map(|problem| format!("{name} {problem}")));
        let peers = take_peers();
        let fields = differences(&exchange.istio, &ours, &recording.config);
        // Of several targets or endpoints either side may take any: both have to be in the set.
        let endpoints =
            |targets: &[TargetAnswer]| targets.iter().map(|target| target.endpoints.len().max(1)).sum::<usize>();
        let by_chance = matches!(&told.outcome, Outcome::Forwarded { targets, .. } if endpoints(targets) > 1);
        // Of requests that are sent again and again both took some of the set, not always the same.
        let among = |answer: &serde_json::Value| twin::among(&told, answer, number_of);
        let in_set = by_chance
            && match exchange.question.repeat {
                None => twin::part(&told, &exchange.istio, number_of).is_none(),
                Some(_) => fields == ["backends"] && among(&exchange.istio) && among(&ours),
            };
        let by_chance = in_set || was_crowded(recording, &exchange.istio, &ours);
        // Lines are compared where the answers agree.
        logged.push((name.clone(), exchange, peers, fields.is_empty().then_some(by_chance)));
        if !fields.is_empty() && !by_chance && !is_stricter(&exchange.question, &ours) {
            let what =
                format!("{name} {fields:?}\n  {:?}\n  istio {}\n  ours  {ours}", exchange.question, exchange.istio);
            found.parted.push((name, what));
        }
    }
    if is_logged {
        // All lines are written when the process has ended.
        gateway.signal(Signal::INT);
        gateway.wait().unwrap();
        let ports = recording.exchanges.iter().map(|exchange| exchange.question.port);
        let numbers = ports.map(|number| (gateway.address(number).port(), number)).collect();
        found.parted.extend(parted_lines(&logged, lines(&log, &numbers, backends)));
    }
    found
}

/// An exchange that was logged: its name, the addresses of its connections, and whether its answers agree by chance, where they agree.
type Logged<'a> = (String, &'a Exchange, Vec<SocketAddr>, Option<bool>);

/// Differences of the lines of exchanges.
fn parted_lines(logged: &[Logged<'_>], mut lines: BTreeMap<String, Vec<Value>>) -> Vec<(String, String)> {
    let mut left: BTreeMap<(SocketAddr, u16), usize> = BTreeMap::new();
    let ends = |exchange: &Exchange, peers: &[SocketAddr]| -> Vec<(SocketAddr, u16)> {
        peers.iter().map(|peer| (*peer, exchange.question.port)).collect()
    };
    for (_, exchange, peers, _) in logged {
        ends(exchange, peers).into_iter().for_each(|end| *left.entry(end).or_default() += 1);
    }
    let mut parted = Vec::new();
    for (name, exchange, peers, by_chance) in logged {
        let mut ours = Vec::new();
        for end in ends(exchange, peers) {
            let later = left.get_mut(&end).map_or(0, |count| {
                *count -= 1;
                *count
            });
            ours.extend(take_lines(&mut lines, end.0, end.1, later > 0));
        }
        parted.extend(by_chance.and_then(|by_chance| log_parts(name, exchange, &ours, by_chance)));
    }
    parted
}

/// Lines of the access log by the client's address, with the numbers of ports in the recording.
fn lines(log: &Path, numbers: &BTreeMap<u16, u16>, backends: &Backends) -> BTreeMap<String, Vec<Value>> {
    let text = std::fs::read_to_string(log).unwrap();
    let mut lines: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in text.lines() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let fields = line.as_object_mut().unwrap();
        let Some(Value::String(peer)) = fields.remove("peer") else { panic!("a line has no peer: {text}") };
        let is_there = !fields["request_id"].is_null();
        fields.insert("request_id".to_owned(), is_there.into());
        let mut rename = |field: &str, number: &dyn Fn(u16) -> Option<u16>| {
            let address = fields[field].as_str().and_then(|address| address.parse::<SocketAddr>().ok());
            if let Some((address, number)) = address.and_then(|address| Some((address, number(address.port())?))) {
                fields.insert(field.to_owned(), SocketAddr::new(address.ip(), number).to_string().into());
            }
        };
        rename("upstream_host", &|port| backends.number(port));
        rename("downstream_local_address", &|port| numbers.get(&port).copied());
        lines.entry(peer).or_default().push(line);
    }
    lines
}

/// The lines of a client's connection to a listener, in their order. The client's port may be used again: towards another listener, or, if
/// `again` is set, by a later connection to the same one; each connection has one line then.
fn take_lines(lines: &mut BTreeMap<String, Vec<Value>>, peer: SocketAddr, listener: u16, again: bool) -> Vec<Value> {
    let Some(of_peer) = lines.get_mut(&peer.to_string()) else { return Vec::new() };
    let listener = format!(":{listener}");
    let is_here = |line: &Value| line["downstream_local_address"].as_str().is_some_and(|at| at.ends_with(&listener));
    let most = if again { 1 } else { usize::MAX };
    let (mut taken, mut rest) = (Vec::new(), Vec::new());
    for line in std::mem::take(of_peer) {
        if is_here(&line) && taken.len() < most { taken.push(line) } else { rest.push(line) }
    }
    *of_peer = rest;
    taken
}

/// Name and description of lines that part from Istio's.
fn log_parts(name: &str, exchange: &Exchange, ours: &[Value], by_chance: bool) -> Option<(String, String)> {
    let istio = exchange.istio["log"].as_array()?;
    let has_backend = !exchange.istio["backend"].is_null();
    let mut fields = log_differences(istio, ours, has_backend);
    fields.retain(|field| !(by_chance && ["log.upstream_host", "log.upstream_cluster"].contains(&field.as_str())));
    let what = || format!("{name} {fields:?}\n  {:?}\n  istio {istio:?}\n  ours  {ours:?}", exchange.question);
    (!fields.is_empty()).then(|| (name.to_owned(), what()))
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

#[test]
fn profile_tls() {
    compare("tls");
}

#[test]
fn profile_delegate() {
    compare("delegate");
}

#[test]
fn profile_resilience() {
    compare("resilience");
}

#[test]
fn profile_authz() {
    compare("authz");
}

#[test]
fn profile_authz2() {
    compare("authz2");
}

#[test]
fn profile_egress() {
    compare("egress");
}

#[test]
fn profile_log() {
    compare("log");
}
