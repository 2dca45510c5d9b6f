//! Input that is not a file: standard input, pipes and FIFOs, which can be read only once.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;
use testkit::client;
use testkit::gateway::{Gateway, Start};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moongate");

const GOOD: &str = "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ['*']
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: default}
spec:
  hosts: [a.test]
  gateways: [g]
  http:
  - directResponse: {status: 204}
";

/// Runs the program with `input` on its standard input, which is a pipe.
fn piped(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that fails early closes its end.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn standard_input_is_checked_by_each_of_its_names() {
    for (argument, name) in [("-", "<stdin>"), ("/dev/stdin", "/dev/stdin"), ("/dev/fd/0", "/dev/fd/0")] {
        let good = piped(&["check", argument], GOOD);
        assert_eq!(good.status.code(), Some(0), "{argument}: {}{}", text(&good.stdout), text(&good.stderr));
        assert!(text(&good.stdout).contains("2 objects"), "{argument}: {}", text(&good.stdout));
        let bad = piped(&["check", argument], &GOOD.replace("status: 204", "status: 99"));
        assert_eq!(bad.status.code(), Some(1), "{argument}");
        let shown = text(&bad.stdout);
        // The line is shown although the input cannot be read again.
        assert!(shown.contains(&format!("--> {name}:17:")) && shown.contains("status: 99"), "{argument}: {shown}");
    }
}

#[test]
fn a_request_is_explained_by_what_standard_input_has() {
    let explained = piped(&["explain", "http://a.test/", "-"], GOOD);
    assert!(text(&explained.stdout).contains("204"), "{}{}", text(&explained.stdout), text(&explained.stderr));
}

#[test]
fn input_that_is_no_text_fails_with_its_name() {
    let mut child = Command::new(PROGRAM);
    child.args(["check", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a: \xff\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("-: it is not UTF-8 (line 1)"), "{}", text(&output.stderr));
}

#[test]
fn a_fifo_is_served_from_and_opened_once() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("config");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let writer = {
        let fifo = fifo.clone();
        // One finding, so that the line of a field is looked up as well.
        let lost = "  - match: [{uri: {prefix: /lost}}]\n    route:\n    - destination: {host: nowhere.test}\n";
        let input = GOOD.replace("  - directResponse", &format!("{lost}  - directResponse"));
        std::thread::spawn(move || fs::write(fifo, input).unwrap())
    };
    let args = vec!["--bind".to_owned(), "127.0.0.1".to_owned()];
    let gateway = Gateway::start(&Start { program: Path::new(PROGRAM), paths: vec![fifo], ports: vec![80], args });
    let gateway = gateway.unwrap();
    writer.join().unwrap();
    assert_eq!(client::get(gateway.address(80), "a.test", "/").unwrap().status, 204);
    let begun = Instant::now();
    while !gateway.log().contains("nowhere.test") {
        assert!(begun.elapsed() < testkit::wait::TIMEOUT, "nothing was reported: {}", gateway.log());
        std::thread::yield_now();
    }
    assert!(gateway.log().contains("read once"), "{}", gateway.log());
}
