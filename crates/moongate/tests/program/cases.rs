//! Every case of `cases/`, over real sockets and through the real program.

use super::twin;
use std::path::{Path, PathBuf};
use testkit::cases::{Case, Finding};
use testkit::gateway::{Gateway, Start};
use testkit::numbers::{Backends, named_ports};
use testkit::secured::Certificates;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases")
}

#[test]
fn every_case_answers_as_it_says() {
    let cases = Case::read_all(&root()).unwrap();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let certificates = Certificates::of_project().unwrap();
    let backends = Backends::start(&certificates).unwrap();
    let faults = testkit::parallel(&cases, |case| run(case, &backends, &certificates));
    let faults: Vec<String> = faults.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// What is not as the case says.
fn run(case: &Case, backends: &Backends, certificates: &Certificates) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.yaml");
    std::fs::write(&path, backends.rewrite(&case.config)).unwrap();
    let mut ports = named_ports(&case.config);
    let questions: Vec<_> = case.story.requests.iter().map(|sent| (sent, sent.question().unwrap())).collect();
    ports.extend(questions.iter().map(|(_, question)| question.port));
    let mut args = case.story.args.clone();
    if let Some(mesh) = case.mesh_config() {
        args.extend(["--mesh-config".to_owned(), mesh.display().to_string()]);
    }
    args.extend(["--access-log", "off", "--workers", "1"].map(str::to_owned));
    let program = Path::new(env!("CARGO_BIN_EXE_moongate"));
    let explainer = twin::explainer(&path, case.mesh_config().as_ref(), &case.story.args);
    let start = Start { program, paths: vec![path], ports: ports.into_iter().collect(), args };
    let gateway = match Gateway::start(&start) {
        Ok(gateway) => gateway,
        Err(error) => return vec![format!("{}: {error}", case.name)],
    };
    let mut faults = Vec::new();
    for (sent, question) in &questions {
        let live = question.ask(gateway.address(question.port), certificates);
        faults.extend(sent.faults(&live));
        // Whose connection it is `explain` cannot know.
        if question.proxied.is_some() {
            continue;
        }
        let told = twin::ask(&explainer, question);
        // A URL's port is that of the server, which a Service of the gateway may have translated (S-43).
        let translated = live["error"] == "refused" && told.listener.is_some();
        if !translated {
            faults.extend(twin::part(&told, &live, |port| backends.number(port)));
        }
    }
    faults.extend(unreported(case, &gateway));
    faults.into_iter().map(|fault| format!("{}: {fault}", case.name)).collect()
}

/// Findings that the case asks for and the report has not.
fn unreported(case: &Case, gateway: &Gateway) -> Vec<String> {
    let (_, page) = gateway.get(gateway.admin, "/report").unwrap();
    let report: Vec<serde_json::Value> = serde_json::from_str(&page).unwrap();
    let told = |one: &serde_json::Value, finding: &Finding| {
        let part = |field: &str| one["object"][field].as_str().unwrap_or_default().to_owned();
        let object = format!("{} {}/{}", part("kind"), part("namespace"), part("name"));
        one["code"] == finding.code.as_str() && object == finding.object
    };
    let missing = case.story.report.iter().filter(|finding| !report.iter().any(|one| told(one, finding)));
    missing.map(|finding| format!("{finding:?} is not in the report {page}")).collect()
}
