//! Standard outputs that cannot be written to: full (`/dev/full`), and pipes without a reader. No command may panic on them.

use std::fs::{self, File};
use std::process::{Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moongate");

/// Runs the program with that standard output.
fn into(stdout: Stdio, arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).stdout(stdout).stderr(Stdio::piped()).output().unwrap()
}

#[test]
fn a_full_output_is_an_error_and_a_closed_pipe_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let text = super::operation::server("g", 80) + &super::operation::direct("a", "g", 201);
    fs::write(folder.path().join("a.yaml"), text).unwrap();
    let folder = folder.path().to_str().unwrap();
    let commands: [&[&str]; 11] = [
        &["explain", "http://a.test/", folder],
        &["explain", "http://a.test/", folder, "-o", "json"],
        &["check", folder],
        &["check", folder, "-o", "json"],
        &["get", "gateways", "-f", folder],
        &["manifests"],
        &["crds"],
        &["completions", "bash"],
        &["--help"],
        &["run", "--help"],
        &["--version"],
    ];
    for command in commands {
        let full = into(File::options().write(true).open("/dev/full").unwrap().into(), command);
        let said = String::from_utf8_lossy(&full.stderr).into_owned();
        assert_eq!(full.status.code(), Some(2), "{command:?}: {said}");
        assert!(said.contains("cannot write to the standard output"), "{command:?}: {said}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let closed = into(writer.into(), command);
        assert_eq!(closed.status.code(), Some(0), "{command:?}: {closed:?}");
        assert!(closed.stderr.is_empty(), "{command:?}: {closed:?}");
    }
    let full =
        into(File::options().write(true).open("/dev/full").unwrap().into(), &["echo", "--listen", "127.0.0.1:0"]);
    assert_eq!(full.status.code(), Some(2), "{full:?}");
}
