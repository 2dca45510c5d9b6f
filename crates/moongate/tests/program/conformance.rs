//! Suites of others against the real program: h2spec for HTTP/2, testssl.sh for TLS. Failures that are known are named with their reasons; any
//! other fails.

use super::clients::gateway;
use std::path::Path;
use std::process::{Command, Stdio};
use testkit::backend::Backend;
use testkit::{debian, go};

/// The version that the expectations are those of.
const H2SPEC: &str = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible";

/// h2spec's failures. The gateway takes connections that do not begin with the preface of HTTP/2 for HTTP/1.1, and answers 400: the connection
/// ends as the suite demands, after an answer that it does not expect.
const H2SPEC_FAILS: &[&str] = &["2: Sends invalid connection preface"];

/// Vulnerabilities and weaknesses that testssl.sh has to find absent, by its ids.
const ABSENT: &[&str] = &[
    "SSLv2",
    "SSLv3",
    "cipherlist_NULL",
    "cipherlist_aNULL",
    "cipherlist_EXPORT",
    "cipherlist_LOW",
    "heartbleed",
    "CCS",
    "ticketbleed",
    "ROBOT",
    "secure_client_renego",
    "CRIME_TLS",
    "BREACH",
    "POODLE_SSL",
    "fallback_SCSV",
    "SWEET32",
    "FREAK",
    "DROWN",
    "LOGJAM",
    "BEAST",
    "LUCKY13",
    "RC4",
];

/// What is offered and what is not; both are remarks for testssl.sh.
const OFFERED: &[(&str, &str)] = &[
    ("TLS1", "not offered"),
    ("TLS1_1", "not offered"),
    ("TLS1_2", "offered"),
    ("TLS1_3", "offered with final"),
    ("ALPN_HTTP2", "h2"),
    ("cipherlist_3DES_IDEA", "not offered"),
    ("cipherlist_AVERAGE", "not offered"),
    ("cipherlist_STRONG", "offered"),
    ("PFS", "offered"),
];

/// A server in clear text and one with an ECDSA and an RSA certificate, in front of a backend.
fn configuration(backend: &Backend) -> String {
    let certificates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../oracle/certs").display().to_string();
    format!(
        "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: gateway, namespace: default}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: 8080, name: http, protocol: HTTP}}
    hosts: ['*']
  - port: {{number: 8443, name: https, protocol: HTTPS}}
    hosts: ['*']
    tls:
      mode: SIMPLE
      tlsCertificates:
      - {{serverCertificate: {certificates}/one.crt, privateKey: {certificates}/one.key}}
      - {{serverCertificate: {certificates}/rsa.crt, privateKey: {certificates}/rsa.key}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: backend, namespace: default}}
spec:
  hosts: [backend.example]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 9000, targetPort: {}, name: http, protocol: HTTP}}]
  endpoints: [{{address: 127.0.0.1}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: all, namespace: default}}
spec:
  hosts: ['*']
  gateways: [gateway]
  http: [{{route: [{{destination: {{host: backend.example}}}}]}}]
",
        backend.address.port()
    )
}

#[test]
fn h2spec_finds_nothing_but_what_is_known() {
    let Some(h2spec) = go::program(H2SPEC, "h2spec").unwrap() else { return };
    // The backend answers when it has received all of a request. An answer before that may end the stream before the client breaks its rules, and
    // what comes for a stream that has ended is ignored (RFC 9113 §5.1).
    let backend = Backend::start(1, None).unwrap();
    let (gateway, _folder) = gateway(&configuration(&backend));
    for (port, more) in [(8080, &[][..]), (8443, &["--tls", "--insecure"])] {
        let mut command = Command::new(&h2spec);
        command.args(["--host", "127.0.0.1", "--timeout", "10"]).args(more).stdin(Stdio::null());
        let output = command.args(["--port", &gateway.address(port).port().to_string()]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        // A suite that stops early finds nothing either.
        assert!(text.contains("145 tests, ") && text.contains(" 0 skipped, "), "{text}");
        let failures = text.split("Failures:").nth(1).unwrap_or_default();
        let failed: Vec<&str> = failures.lines().filter_map(|line| line.trim().strip_prefix("× ")).collect();
        assert_eq!(failed, H2SPEC_FAILS, "{text}");
    }
}

/// `.ci/run` installs it; it needs more than its own files.
#[test]
fn testssl_finds_no_weakness_of_tls() {
    let Some(testssl) = debian::installed("testssl") else {
        return testkit::not_run("testssl.sh is not installed").unwrap();
    };
    let backend = Backend::start(1, None).unwrap();
    let (gateway, folder) = gateway(&configuration(&backend));
    let report = folder.path().join("report.json");
    let mut command = Command::new(testssl);
    command.args(["--ip", "127.0.0.1", "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none"]);
    // Protocols, ciphers, forward secrecy and vulnerabilities: half a minute.
    command.args(["--protocols", "--std", "--fs", "--vulnerable", "--jsonfile"]).arg(&report);
    let target = format!("a.example.com:{}", gateway.address(8443).port());
    let output = command.arg(target).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let text = std::fs::read_to_string(&report).unwrap_or_else(|error| panic!("{error}: {said}"));
    let found: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let field = |one: &serde_json::Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
    let of = |id: &str| found.iter().find(|one| one["id"] == id).unwrap_or_else(|| panic!("no {id}: {said}"));
    for id in ABSENT {
        assert_eq!(field(of(id), "severity"), "OK", "{id}: {said}");
    }
    for (id, wanted) in OFFERED {
        assert_eq!(field(of(id), "finding"), *wanted, "{id}: {said}");
    }
    let severe = |one: &&serde_json::Value| ["LOW", "MEDIUM", "HIGH", "CRITICAL"].contains(&&*field(one, "severity"));
    let severe: Vec<_> = found.iter().filter(severe).collect();
    assert!(severe.is_empty(), "{severe:?}");
}
