//! A security policy that is not enforced: `check` fails, `run` logs an error, and the report has it (PA-01).

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use testkit::gateway::{Gateway, Start};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moongate");

const CONFIG: &str = "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ['*']
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: istio-system}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  mtls: {mode: STRICT}
";

#[test]
fn pa_01_a_policy_that_selects_the_gateway_is_an_error_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), CONFIG).unwrap();
    let check = Command::new(PROGRAM).arg("check").arg(folder.path()).output().unwrap();
    let shown = String::from_utf8_lossy(&check.stdout).into_owned();
    assert_eq!(check.status.code(), Some(1), "{shown}");
    let said = "PeerAuthentication istio-system/strict: it selects the workload `ingress` (namespace istio-system)";
    assert!(shown.contains("error[MG5010]") && shown.contains(said) && shown.contains("a.yaml:14:3"), "{shown}");

    let args = vec!["--bind".to_owned(), "127.0.0.1".to_owned()];
    let paths = vec![folder.path().to_owned()];
    let gateway = Gateway::start(&Start { program: Path::new(PROGRAM), paths, ports: vec![80], args }).unwrap();
    let begun = Instant::now();
    let logged = || {
        let log = gateway.log();
        log.lines().any(|line| line.contains("ERROR") && line.contains("MG5010") && line.contains("strict"))
    };
    while !logged() {
        assert!(begun.elapsed() < Duration::from_secs(20), "not logged: {}", gateway.log());
        std::thread::yield_now();
    }
    let (status, report) = gateway.get(gateway.admin, "/report").unwrap();
    assert!(status == 200 && report.contains("MG5010") && report.contains("strict"), "{report}");
}
