//! Clients and servers that others wrote, with the gateway between them.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use testkit::gateway::{Gateway, Start};
use testkit::python::Python;

pub(super) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// A script that serves until it is dropped, and the port that it printed.
pub(super) struct Server(Child, u16);

impl Server {
    pub(super) fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self(child, line.trim().parse().unwrap())
    }
}

impl Server {
    pub(super) fn port(&self) -> u16 {
        self.1
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A gateway in front of a backend, for as long as the folder is there.
pub(super) fn gateway(configuration: &str) -> (Gateway, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("all.yaml"), configuration).unwrap();
    let args = ["--access-log", "off", "--workers", "1"].map(str::to_owned).to_vec();
    let program = Path::new(env!("CARGO_BIN_EXE_moongate"));
    let start = Start { program, paths: vec![folder.path().to_owned()], ports: vec![8080, 8443], args };
    (Gateway::start(&start).unwrap(), folder)
}

/// A server on port 8080 for one host, and a backend; `rules` are the routes to it.
fn configuration(host: &str, protocol: &str, backend: u16, rules: &str) -> String {
    let name = protocol.to_lowercase();
    format!(
        "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: gateway, namespace: default}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: 8080, name: {name}, protocol: {protocol}}}
    hosts: [{host}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: backend, namespace: default}}
spec:
  hosts: [backend.example]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 9000, targetPort: {backend}, name: {name}, protocol: {protocol}}}]
  endpoints: [{{address: 127.0.0.1}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: routes, namespace: default}}
spec:
  hosts: [{host}]
  gateways: [gateway]
  http:
{rules}"
    )
}

/// gRPC to a backend, and some answers of the gateway's own.
pub(super) fn grpc(backend: u16) -> String {
    const EMPTY: &str = "\
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: empty, namespace: default}
spec:
  hosts: [empty.example]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 9000, name: grpc, protocol: GRPC}]
";
    const RULES: &str = "  - match: [{uri: {prefix: /empty.}}]
    route: [{destination: {host: empty.example}}]
  - match: [{uri: {prefix: /forbidden.}}]
    directResponse: {status: 403, body: {string: 'not for you: 100%'}}
  - match: [{uri: {prefix: /moongate.}, headers: {x-short: {exact: '1'}}}]
    timeout: 0.2s
    route: [{destination: {host: backend.example}}]
  - match: [{uri: {prefix: /moongate.}}]
    route: [{destination: {host: backend.example}}]
";
    configuration("grpc.example", "GRPC", backend, RULES) + EMPTY
}

#[test]
fn s_119_grpc_goes_through_end_to_end() {
    let Some(python) = Python::with(&["grpcio"]).unwrap() else { return };
    let server = Server::start(python.command(&script("grpc_interop.py"), &["server"]));
    let (secured, ca) = with_tls(&grpc(server.1));
    let (gateway, folder) = gateway(&secured);
    let file = folder.path().join("ca.crt");
    std::fs::write(&file, ca).unwrap();
    let (plain, tls) = (gateway.address(8080).to_string(), gateway.address(8443).to_string());
    for arguments in [&["client", &plain][..], &["client", &tls, file.to_str().unwrap()]] {
        let told = told(python.command(&script("grpc_interop.py"), arguments), &gateway);
        assert_eq!(told.lines().count(), 19, "{told}");
    }
}

#[test]
fn s_119_grpc_web_is_translated_for_a_server_of_grpc() {
    let Some(python) = Python::with(&["grpcio"]).unwrap() else { return };
    let server = Server::start(python.command(&script("grpc_interop.py"), &["server"]));
    let web = grpc(server.1).replacen("name: grpc, protocol: GRPC}", "name: grpc-web, protocol: GRPC-WEB}", 1);
    let (gateway, _folder) = gateway(&web);
    let address = gateway.address(8080).to_string();
    let web = told(python.command(&script("grpc_web.py"), &[&address]), &gateway);
    assert_eq!(web.lines().count(), 5, "{web}");
    // gRPC itself is served there as ever.
    let itself = told(python.command(&script("grpc_interop.py"), &["client", &address]), &gateway);
    assert_eq!(itself.lines().count(), 19, "{itself}");
}

/// The output of a client that succeeded.
fn told(mut client: Command, gateway: &Gateway) -> String {
    let output = client.output().unwrap();
    let (told, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "after {told}:\n{wrong}\n{}", gateway.log());
    told.into_owned()
}

/// The configuration with the same host by TLS on port 8443, and the certificate to trust.
fn with_tls(configuration: &str) -> (String, String) {
    let own = rcgen::generate_simple_self_signed(["grpc.example".to_owned()]).unwrap();
    let indented = |text: String| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let (certificate, key) = (own.cert.pem(), own.signing_key.serialize_pem());
    let server = "  servers:
  - port: {number: 8443, name: https, protocol: HTTPS}
    hosts: [grpc.example]
    tls: {mode: SIMPLE, credentialName: own}
";
    let secret = format!(
        "---
apiVersion: v1
kind: Secret
metadata: {{name: own, namespace: istio-system}}
type: kubernetes.io/tls
stringData:
  tls.crt: |
{}  tls.key: |
{}",
        indented(certificate.clone()),
        indented(key)
    );
    (configuration.replacen("  servers:\n", server, 1) + &secret, certificate)
}

/// HTTP to a backend that speaks WebSocket.
pub(super) fn websocket(backend: u16) -> String {
    configuration("ws.example", "HTTP", backend, "  - route: [{destination: {host: backend.example}}]\n")
}

#[test]
fn s_118_frames_of_a_websocket_get_the_same_answers_as_without_the_gateway() {
    let Some(python) = Python::with(&["websockets"]).unwrap() else { return };
    let script = script("websocket_frames.py");
    let server = Server::start(python.command(&script, &["server"]));
    let (gateway, _folder) = gateway(&websocket(server.1));
    let told = |port: u16| {
        let output = python.command(&script, &["client", "127.0.0.1", &port.to_string()]).output().unwrap();
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), gateway.log());
        String::from_utf8(output.stdout).unwrap()
    };
    let (without, with) = (told(server.1), told(gateway.address(8080).port()));
    assert!(without.lines().count() > 70, "{without}");
    let differ: Vec<_> = without.lines().zip(with.lines()).filter(|(without, with)| without != with).collect();
    assert!(differ.is_empty() && without.lines().count() == with.lines().count(), "{differ:#?}");
}
