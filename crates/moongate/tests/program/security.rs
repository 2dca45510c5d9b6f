//! Security policies that cannot act: one that is not enforced fails `check`, is logged and reported (PA-01); keys that cannot be fetched are reported
//! while that lasts (RA-05).

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Instant;
use testkit::gateway::{Gateway, Start};
use testkit::wait::until;

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
        assert!(begun.elapsed() < testkit::wait::TIMEOUT, "not logged: {}", gateway.log());
        std::thread::yield_now();
    }
    let (status, report) = gateway.get(gateway.admin, "/report").unwrap();
    assert!(status == 200 && report.contains("MG5010") && report.contains("strict"), "{report}");
}

/// An issuer that answers 503, until it is told to answer with keys.
fn serve_keys(listener: TcpListener, served: mpsc::Receiver<()>) {
    let keys = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let mut is_up = false;
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        is_up |= served.try_recv().is_ok();
        let head = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
        if head.count() == 0 {
            continue;
        }
        let (status, body) = if is_up { ("200 OK", keys) } else { ("503 Later", "") };
        let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    }
}

#[test]
fn ra_05_keys_that_cannot_be_fetched_are_reported_until_they_are() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let (up, served) = mpsc::channel();
    std::thread::spawn(move || serve_keys(listener, served));
    let folder = tempfile::tempdir().unwrap();
    let (gateway, _) = CONFIG.split_once("---").unwrap();
    let tokens = format!(
        "---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: accounts, namespace: istio-system}}\n\
         spec:\n  jwtRules:\n  - {{issuer: one, jwksUri: '{url}'}}\n"
    );
    fs::write(folder.path().join("a.yaml"), format!("{gateway}{tokens}")).unwrap();
    let args = ["--bind", "127.0.0.1", "--jwks-blocked-ranges", "none"].map(str::to_owned).to_vec();
    let paths = vec![folder.path().to_owned()];
    let gateway = Gateway::start(&Start { program: Path::new(PROGRAM), paths, ports: vec![80], args }).unwrap();
    let report = || gateway.get(gateway.admin, "/report?format=text").unwrap().1;
    let metrics = || gateway.get(gateway.admin, "/metrics").unwrap().1;
    until("the failure is reported", || report().contains("MG9031"));
    let found = report();
    let said = "RequestAuthentication istio-system/accounts";
    assert!(
        found.contains(said) && found.contains("the keys of `one` cannot be fetched") && found.contains("a.yaml:"),
        "{found}"
    );
    assert!(found.contains("every token of the issuer is refused"), "{found}");
    assert!(metrics().contains("moongate_jwks_unavailable 1"), "{}", metrics());
    up.send(()).unwrap();
    until("the keys are fetched", || metrics().contains("moongate_jwks_unavailable 0"));
    assert!(!report().contains("MG9031"), "{}", report());
}
