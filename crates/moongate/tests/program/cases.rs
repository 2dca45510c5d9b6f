//! Every case of `cases/`, over real sockets and through the real program.

use super::twin;
use std::path::{Path, PathBuf};
use testkit::cases::Case;
use testkit::gateway::{Gateway, Start};
use testkit::numbers::{Backends, named_ports};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases")
}

#[test]
fn every_case_answers_as_it_says() {
    let cases = Case::read_all(&root()).unwrap();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let backends = Backends::start().unwrap();
    let faults = testkit::parallel(&cases, |case| run(case, &backends));
    let faults: Vec<String> = faults.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// What is not as the case says.
fn run(case: &Case, backends: &Backends) -> Vec<String> {
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
    let start = Start { program, paths: vec![path], ports: ports.into_iter().collect(), args };
    let gateway = match Gateway::start(&start) {
        Ok(gateway) => gateway,
        Err(error) => return vec![format!("{}: {error}", case.name)],
    };
    let faults =
        questions.iter().flat_map(|(sent, question)| sent.faults(&question.ask(gateway.address(question.port))));
    faults.map(|fault| format!("{}: {fault}", case.name)).collect()
}
