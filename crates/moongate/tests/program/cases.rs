//! Every case of `cases/`, over real sockets and through the real program.

use super::twin;
use moongate::explain::Explainer;
use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use testkit::cases::{Case, Finding, Page, Sent};
use testkit::gateway::{Gateway, Start};
use testkit::numbers::{Backends, named_ports};
use testkit::outcome::Question;
use testkit::secured::Certificates;
use testkit::wait::TIMEOUT;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases")
}

#[test]
fn every_case_answers_as_it_says() {
    let cases = Case::read_all(&root()).unwrap();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let certificates = Certificates::of_project().unwrap();
    let backends = Backends::start(&certificates).unwrap();
    // Some wait for backends that are slow.
    let faults = testkit::parallel_on(8, &cases, |case| run(case, &backends, &certificates));
    let faults: Vec<String> = faults.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// The differences from the expectations of a case.
fn run(case: &Case, backends: &Backends, certificates: &Certificates) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.yaml");
    std::fs::write(&path, backends.rewrite(&case.config)).unwrap();
    let steps = case.story.requests.iter().filter_map(|sent| sent.config.as_ref());
    let steps: Vec<String> = steps.map(|file| case.read_config(file).unwrap()).collect();
    let mut ports: BTreeSet<u16> = steps.iter().chain([&case.config]).flat_map(|config| named_ports(config)).collect();
    let questions: Vec<_> = case.story.requests.iter().map(|sent| (sent, sent.question().unwrap())).collect();
    ports.extend(questions.iter().map(|(_, question)| question.port));
    let mut args = case.story.args.clone();
    if let Some(mesh) = case.mesh_config() {
        args.extend(["--mesh-config".to_owned(), mesh.display().to_string()]);
    }
    let log = folder.path().join("access.log");
    let target = if case.story.log.is_empty() { "off".to_owned() } else { log.display().to_string() };
    args.extend(["--access-log".to_owned(), target, "--workers".to_owned(), "1".to_owned()]);
    let program = Path::new(env!("CARGO_BIN_EXE_moongate"));
    let explainer = || twin::explainer(&path, case.mesh_config().as_ref(), &case.story.args);
    let mut context = CaseContext { explainer: explainer(), backends, certificates };
    let start = Start { program, paths: vec![path.clone()], ports: ports.into_iter().collect(), args };
    let gateway = match Gateway::start(&start) {
        Ok(gateway) => gateway,
        Err(error) => return vec![format!("{}: {error}", case.name)],
    };
    let (mut faults, mut steps) = (Vec::new(), steps.into_iter());
    for (sent, question) in &questions {
        if let Some(config) = sent.config.as_ref().and_then(|_| steps.next()) {
            let beside = folder.path().join("next");
            std::fs::write(&beside, backends.rewrite(&config)).unwrap();
            std::fs::rename(beside, &path).unwrap();
            context.explainer = explainer();
        }
        let until = Instant::now() + sent.config.as_ref().map_or(Duration::ZERO, |_| TIMEOUT);
        faults.extend(loop {
            let found = context.faults(sent, question, &gateway);
            if found.is_empty() || Instant::now() >= until {
                break found;
            }
        });
    }
    faults.extend(unreported(case, &gateway));
    // Requests are counted and logged after their clients have the responses.
    faults.extend(settled(|| case.story.pages.iter().flat_map(|page| missing(page, &gateway)).collect()));
    faults.extend(settled(|| unlogged(case, &log)));
    faults.into_iter().map(|fault| format!("{}: {fault}", case.name)).collect()
}

/// What the requests of a case share.
struct CaseContext<'a> {
    explainer: Explainer,
    backends: &'a Backends,
    certificates: &'a Certificates,
}

impl CaseContext<'_> {
    /// Sends a request, and passes it to `explain`; returns the differences from the expectations.
    fn faults(&self, sent: &Sent, question: &Question, gateway: &Gateway) -> Vec<String> {
        // What this machine has not cannot be connected to: IPv6, say.
        if sent.to.is_some_and(|to| TcpListener::bind((to, 0)).is_err()) {
            return Vec::new();
        }
        let mut address = gateway.address(question.port);
        address.set_ip(sent.to.unwrap_or(address.ip()));
        let live = question.ask(address, self.certificates);
        let mut faults = sent.faults(&live);
        // Whose connection it is `explain` cannot know.
        if sent.to.is_some() || sent.version.is_some() || sent.proxied.is_some() {
            return faults;
        }
        let (told, text) = twin::ask_for_people(&self.explainer, question);
        let untold = sent.told.iter().filter(|part| !text.contains(&***part));
        faults.extend(untold.map(|part| format!("{}: explain does not say {part:?}, but {text}", sent.send)));
        // A URL's port is that of the server, which a Service of the gateway may have translated (S-43).
        let translated = live["error"] == "refused" && told.listener.is_some();
        if !translated {
            faults.extend(twin::part(&told, &live, |port| self.backends.number(port)));
        }
        faults
    }
}

/// Findings that the case expects and the report does not have.
fn unreported(case: &Case, gateway: &Gateway) -> Vec<String> {
    let (_, page) = gateway.get(gateway.admin, "/report").unwrap();
    let report: Vec<serde_json::Value> = serde_json::from_str(&page).unwrap();
    let text = |one: &serde_json::Value, field: &str| one[field].as_str().unwrap_or_default().to_owned();
    let object = |one: &serde_json::Value| {
        let object = Some(&one["object"]).filter(|object| !object.is_null())?;
        Some(format!("{} {}/{}", text(object, "kind"), text(object, "namespace"), text(object, "name")))
    };
    let told = |one: &serde_json::Value, finding: &Finding| {
        one["code"] == finding.code.as_str()
            && object(one) == finding.object
            && text(one, "message").contains(&finding.says)
    };
    let missing: Vec<_> =
        case.story.report.iter().filter(|finding| !report.iter().any(|one| told(one, finding))).collect();
    let lines = report
        .iter()
        .map(|one| format!("\n  {} {} {}", text(one, "code"), object(one).unwrap_or_default(), text(one, "message")));
    let page: String = if missing.is_empty() { String::new() } else { lines.collect() };
    missing.into_iter().map(|finding| format!("{finding:?} is not in the report:{page}")).collect()
}

/// Repeats a check until it finds nothing, within a bound.
fn settled(find: impl Fn() -> Vec<String>) -> Vec<String> {
    let until = Instant::now() + TIMEOUT;
    loop {
        let found = find();
        if found.is_empty() || Instant::now() >= until {
            return found;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Texts that the access log does not have.
fn unlogged(case: &Case, log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let missing = case.story.log.iter().filter(|part| !text.contains(&***part));
    missing.map(|part| format!("{part:?} is not in the access log: {text}")).collect()
}

/// Texts that an admin page does not have.
fn missing(page: &Page, gateway: &Gateway) -> Vec<String> {
    let (_, text) = gateway.get(gateway.admin, &page.path).unwrap();
    let missing = page.has.iter().filter(|part| !text.contains(&***part));
    missing.map(|part| format!("{part:?} is not on {}: {text}", page.path)).collect()
}

/// A line of `rows.txt`: an id, and after a `-` the reason why no case covers it.
fn listed_rows() -> Vec<(String, Option<String>)> {
    let text = std::fs::read_to_string(root().join("rows.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parts = lines.map(|line| line.split_once(" - ").map_or((line, None), |(id, why)| (id, Some(why))));
    parts.map(|(id, why)| (id.trim().to_owned(), why.map(|why| why.trim().to_owned()))).collect()
}

#[test]
fn rows_have_a_case_or_a_reason() {
    let mut cited: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for case in Case::read_all(&root()).unwrap() {
        for id in case.story.rows {
            cited.entry(id).or_default().push(case.name.clone());
        }
    }
    let rows = listed_rows();
    let reasons = rows.iter().filter(|(_, why)| why.is_some()).count();
    println!("{} rows: {} with cases, {reasons} with a reason", rows.len(), rows.len() - reasons);
    let without: Vec<_> = rows.iter().filter(|(id, why)| why.is_none() && !cited.contains_key(id)).collect();
    let without: Vec<_> = without.into_iter().map(|(id, _)| id.as_str()).collect();
    println!("rows without a case: {}", if without.is_empty() { "none".to_owned() } else { without.join(" ") });
    let ids: BTreeSet<_> = rows.iter().map(|(id, _)| id).collect();
    let unlisted: Vec<_> = cited.iter().filter(|(id, _)| !ids.contains(id)).collect();
    let both: Vec<_> = rows.iter().filter(|(id, why)| why.is_some() && cited.contains_key(id)).collect();
    assert!(ids.len() == rows.len(), "cases/rows.txt has an id twice");
    assert!(rows.iter().all(|(_, why)| why.as_ref().is_none_or(|why| !why.is_empty())), "a reason says nothing");
    assert!(without.is_empty(), "these rows have neither a case nor a reason: {}", without.join(" "));
    assert!(unlisted.is_empty(), "cases cite rows that cases/rows.txt has not: {unlisted:?}");
    assert!(both.is_empty(), "these rows have a reason, and cases all the same: {both:?}");
}
