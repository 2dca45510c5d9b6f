//! Operating the program: the example, edits, broken documents, ports in use, its end, exit codes.

use std::fs;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use testkit::client::{self, Answer, NoAnswer, Request};
use testkit::gateway::{Gateway, Start};
use testkit::numbers::Backends;
use testkit::secured::Certificates;
use testkit::wait::until;

pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_moongate");

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(super) fn start(folder: &Path, ports: &[u16], args: &[&str]) -> Gateway {
    let mut args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    args.extend(["--bind".to_owned(), "127.0.0.1".to_owned()]);
    let start = Start { program: Path::new(PROGRAM), paths: vec![folder.to_owned()], ports: ports.to_vec(), args };
    Gateway::start(&start).unwrap()
}

pub(super) fn get(gateway: &Gateway, port: u16, host: &str) -> Result<Answer, NoAnswer> {
    client::get(gateway.address(port), host, "/")
}

pub(super) fn status(gateway: &Gateway, port: u16, host: &str) -> u16 {
    get(gateway, port, host).map_or(0, |answer| answer.status)
}

pub(super) fn server(name: &str, port: u16) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  selector: {{istio: ingressgateway}}\n  servers:\n  - port: {{number: {port}, name: http, protocol: HTTP}}\n    hosts: ['*']\n---\n"
    )
}

pub(super) fn direct(name: &str, gateway: &str, status: u16) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  hosts: [{name}.test]\n  gateways: [{gateway}]\n  http:\n  - directResponse: {{status: {status}}}\n---\n"
    )
}

#[test]
fn edits_show_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("g.yaml"), server("g", 80)).unwrap();
    fs::write(folder.path().join("a.yaml"), direct("a", "g", 201)).unwrap();
    let gateway = start(folder.path(), &[80], &[]);
    assert_eq!(status(&gateway, 80, "a.test"), 201);
    fs::write(folder.path().join("a.yaml"), direct("a", "g", 202)).unwrap();
    until("the edit shows", || status(&gateway, 80, "a.test") == 202);
    fs::remove_file(folder.path().join("a.yaml")).unwrap();
    until("the host is gone", || status(&gateway, 80, "a.test") == 404);
}

#[test]
fn mc_01_mesh_settings_change_while_serving() {
    let folder = tempfile::tempdir().unwrap();
    let own = tempfile::tempdir().unwrap();
    let named = own.path().join("own.yaml");
    fs::write(folder.path().join("g.yaml"), server("g", 80) + &direct("a", "g", 201)).unwrap();
    let settings = |name: &str| format!("defaultConfig: {{proxyHeaders: {{server: {{value: {name}}}}}}}\n");
    let shows = |gateway: &Gateway, name: &str| {
        until(name, || get(gateway, 80, "a.test").unwrap().header("server").as_deref() == Some(name));
    };
    let gateway = start(folder.path(), &[80], &[]);
    shows(&gateway, "istio-envoy");
    fs::write(folder.path().join("mesh.yaml"), settings("one")).unwrap();
    shows(&gateway, "one");
    fs::write(folder.path().join("mesh.yaml"), settings("two")).unwrap();
    shows(&gateway, "two");
    // An unreadable file changes nothing; the report has a finding.
    fs::write(folder.path().join("mesh.yaml"), "defaultConfig: [\n").unwrap();
    until("it is told", || gateway.get(gateway.admin, "/report").unwrap().1.contains("the settings before are kept"));
    shows(&gateway, "two");
    fs::remove_file(folder.path().join("mesh.yaml")).unwrap();
    shows(&gateway, "istio-envoy");
    drop(gateway);
    // A flag counts first, and its file is watched wherever it is.
    fs::write(folder.path().join("mesh.yaml"), settings("beside")).unwrap();
    fs::write(&named, settings("named")).unwrap();
    let gateway = start(folder.path(), &[80], &["--mesh-config", named.to_str().unwrap()]);
    shows(&gateway, "named");
    fs::write(&named, settings("changed")).unwrap();
    shows(&gateway, "changed");
}

/// One good document of each Istio kind and some of Kubernetes', and how to break it.
const KINDS: &[(&str, &str)] = &[
    ("Gateway", "spec: {servers: [{port: {number: 0, name: x, protocol: HTTP}, hosts: ['*']}]}"),
    (
        "VirtualService",
        "spec: {hosts: [x.test], gateways: [g], http: [{timeout: 0s, route: [{destination: {host: x}}]}]}",
    ),
    ("DestinationRule", "spec: {host: x.test, subsets: [{nam: a}]}"),
    ("ServiceEntry", "spec: {hosts: ['*'], ports: [{number: 80, name: http, protocol: HTTP}]}"),
    ("WorkloadEntry", "spec: {address: ''}"),
];

#[test]
fn a_broken_document_of_each_kind_is_named_and_fifty_good_ones_serve() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("g.yaml"), server("g", 80)).unwrap();
    let good: String = (0..50).map(|number| direct(&format!("good-{number}"), "g", 204)).collect();
    fs::write(folder.path().join("good.yaml"), good).unwrap();
    let mut broken = String::new();
    for (kind, spec) in KINDS {
        broken +=
            &format!("apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: broken}}\n{spec}\n---\n");
    }
    broken += "apiVersion: v1\nkind: Service\nmetadata: {name: broken}\nspec: {ports: [{port: x}]}\n---\n";
    broken += "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: broken}\nendpoints: {}\n---\n";
    broken += "apiVersion: v1\nkind: Secret\nmetadata: {name: broken}\ndata: {a: '%'}\n---\n";
    broken += "kind: [\n";
    let path = folder.path().join("broken.yaml");
    fs::write(&path, broken).unwrap();
    let gateway = start(folder.path(), &[80], &[]);
    for number in 0..50 {
        assert_eq!(status(&gateway, 80, &format!("good-{number}.test")), 204);
    }
    let (_, page) = gateway.get(gateway.admin, "/report").unwrap();
    let report: Vec<serde_json::Value> = serde_json::from_str(&page).unwrap();
    let named = |kind: &str| {
        report.iter().any(|one| {
            let line = one["position"]["line"].as_u64().unwrap_or_default();
            one["object"]["kind"] == kind && one["object"]["name"] == "broken" && one["severity"] == "error" && line > 0
        })
    };
    for kind in KINDS.iter().map(|(kind, _)| *kind).chain(["Service", "EndpointSlice", "Secret"]) {
        assert!(named(kind), "{kind} is not named in {page}");
    }
    assert!(report.iter().any(|one| one["code"] == "MG0001"), "{page}");
    fs::write(&path, direct("mended", "g", 205)).unwrap();
    until("the mended document serves", || status(&gateway, 80, "mended.test") == 205);
}

#[test]
fn the_log_names_the_line_of_a_field_that_leads_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("g.yaml"), server("g", 80)).unwrap();
    let rule = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\nspec:\n  hosts: [v.test]\n  \
                gateways: [g]\n  http:\n  - route:\n    - destination: {host: nowhere.test}\n";
    fs::write(folder.path().join("v.yaml"), rule).unwrap();
    let gateway = start(folder.path(), &[80], &[]);
    until("the finding is logged", || gateway.log().contains("v.yaml:9:21: error[MG8001]"));
}

#[test]
fn a_document_that_breaks_keeps_its_last_good_version() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(folder.path().join("g.yaml"), server("g", 80)).unwrap();
    fs::write(&path, direct("a", "g", 201)).unwrap();
    let gateway = start(folder.path(), &[80], &[]);
    fs::write(&path, direct("a", "g", 201).replace("status: 201", "status: 1")).unwrap();
    let told = || gateway.get(gateway.admin, "/report?format=text").unwrap().1.contains("MG0009");
    until("the report tells of it", told);
    assert_eq!(status(&gateway, 80, "a.test"), 201);
}

#[test]
fn a_port_in_use_is_one_finding_and_the_rest_serves() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let text = server("g", 80) + &server("taken", port) + &direct("a", "g", 201) + &direct("b", "taken", 201);
    fs::write(folder.path().join("a.yaml"), text).unwrap();
    let gateway = start(folder.path(), &[80], &[]);
    assert_eq!(status(&gateway, 80, "a.test"), 201);
    let (_, page) = gateway.get(gateway.admin, "/report").unwrap();
    let report: Vec<serde_json::Value> = serde_json::from_str(&page).unwrap();
    let found: Vec<_> = report.iter().filter(|one| one["code"] == "MG9001").collect();
    assert_eq!(found.len(), 1, "{page}");
    assert_eq!(found[0]["object"]["name"], "taken");
    until("the log names the line of the port", || gateway.log().contains("a.yaml:16:5: error[MG9001]"));
    drop(taken);
    until("the port is taken up once it is free", || status(&gateway, port, "b.test") == 201);
}

#[test]
fn the_log_names_the_line_of_a_certificate_that_expires() {
    let folder = tempfile::tempdir().unwrap();
    let pem = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let (certificate, key) = (
        include_str!("../../../testkit/data/x509-v1/server.crt"),
        include_str!("../../../testkit/data/x509-v1/server.key"),
    );
    let tls = "HTTPS}\n    tls: {mode: SIMPLE, credentialName: web}";
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: web, namespace: istio-system}}\nstringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
        pem(certificate),
        pem(key)
    );
    fs::write(folder.path().join("a.yaml"), server("g", 443).replace("HTTP}", tls) + &secret).unwrap();
    let gateway = start(folder.path(), &[443], &["--certificate-warning", "100000"]);
    until("the finding is logged", || gateway.log().contains("a.yaml:8:5: warning[MG9042]"));
}

#[test]
fn the_admin_pages_have_the_state_and_are_bound_to_loopback() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), server("g", 80) + &direct("a", "g", 201)).unwrap();
    let gateway = start(folder.path(), &[80], &["--workers", "2"]);
    assert_eq!(status(&gateway, 80, "a.test"), 201);
    let page = |path: &str| gateway.get(gateway.admin, path).unwrap();
    assert!(page("/").1.contains("<title>Moongate</title>"));
    assert!(page("/config").1.contains("a.test"));
    let metrics = page("/metrics").1;
    for line in ["istio_requests_total{", "moongate_worker_generation{worker=\"1\"}", "process_resident_memory_bytes"] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    assert_eq!((page("/healthz/live").0, page("/healthz/ready").0, page("/nothing").0), (200, 200, 404));
    let headers = [("Host".to_owned(), "evil.example".to_owned())];
    let asked = Request { method: "GET", target: "/config", headers: &headers, body: b"" };
    assert_eq!(client::send(gateway.admin, &asked).unwrap().status, 403);
}

#[test]
fn check_fails_when_there_are_errors_and_shows_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    let text = server("g", 80) + &direct("a", "g", 201);
    fs::write(&path, &text).unwrap();
    let folder_name = folder.path().to_str().unwrap();
    let good = run(&["check", folder_name]);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    assert!(stdout(&good).contains("2 objects: 0 errors"), "{good:?}");
    fs::write(&path, text.replace("hosts: ['*']", "hots: ['*']")).unwrap();
    let bad = run(&["check", folder_name]);
    assert_eq!(bad.status.code(), Some(1));
    let shown = stdout(&bad);
    assert!(shown.contains("a.yaml:8:5") && shown.contains("did you mean `hosts`?"), "{shown}");
    let json: Vec<serde_json::Value> =
        serde_json::from_str(&stdout(&run(&["analyze", folder_name, "-o", "json"]))).unwrap();
    assert!(json.iter().any(|one| one["code"] == "MG0004"));
    assert_eq!(run(&["check", "/no/such/folder"]).status.code(), Some(2));
    assert_eq!(run(&["check"]).status.code(), Some(2));
}

#[test]
fn explain_tells_why_in_text_and_json() {
    let folder = tempfile::tempdir().unwrap();
    let rule =
        "  - match: [{uri: {prefix: /api}, headers: {x-user: {exact: alice}}}]\n    directResponse: {status: 202}\n";
    let text = server("g", 80) + &direct("a", "g", 201).replace("  http:\n", &format!("  http:\n{rule}"));
    fs::write(folder.path().join("a.yaml"), text).unwrap();
    let folder = folder.path().to_str().unwrap();
    let shown = stdout(&run(&["explain", "GET", "http://a.test/api", "-H", "x-user: bob", folder]));
    assert!(shown.contains("the header x-user is `bob`") && shown.contains("201"), "{shown}");
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&run(&["explain", "http://a.test:81/", folder, "--output", "json"]))).unwrap();
    assert_eq!(json["outcome"]["kind"], "refused");
    let secured = stdout(&run(&["explain", "https://a.test:80/", folder]));
    assert!(secured.contains("the port speaks clear text"), "{secured}");
    let bad = run(&["explain", "ftp://a.test/", folder]);
    assert_eq!(bad.status.code(), Some(2));
}

#[test]
fn explain_names_the_scheme_that_is_missing() {
    for arguments in [&["explain", "dev.example.com", "config"][..], &["explain", "GET", "dev.example.com", "config"]] {
        let output = run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("did you mean `http://dev.example.com`?"), "{said}");
    }
}

#[test]
fn the_demo_serves_the_example_and_shows_edits() {
    let folder = tempfile::tempdir().unwrap();
    let port = testkit::ports::free();
    let config = folder.path().join("demo");
    let mut child = Command::new(PROGRAM)
        .args(["demo", "--port", &port.to_string(), "--admin", "127.0.0.1:0", "--ready", "127.0.0.1:0", "--dir"])
        .arg(&config)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let ask = |host: &str| {
        let headers = [("Host".to_owned(), host.to_owned())];
        let asked = Request { method: "GET", target: "/", headers: &headers, body: b"" };
        client::send(SocketAddr::from(([127, 0, 0, 1], port)), &asked)
            .map_or((0, String::new()), |answer| (answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
    };
    until("the demo serves", || ask("dev.example.com").0 == 200);
    assert!(ask("dev.example.com").1.contains("\"backend\": \"dev\""));
    assert!(ask("test.example.com").1.contains("\"backend\": \"test\""));
    assert_eq!(ask("other.example.com").0, 404);
    let text = fs::read_to_string(config.join("dev.yaml")).unwrap();
    fs::write(config.join("dev.yaml"), text.replace("host: dev\n", "host: test\n")).unwrap();
    until("the edit shows", || ask("dev.example.com").1.contains("\"backend\": \"test\""));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_address_that_cannot_be_had_is_named_with_its_flag() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["run", folder.path().to_str().unwrap(), "--ready", &address, "--admin", "127.0.0.1:0"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains(&address) && said.contains("--ready"), "{said}");
}

#[test]
fn both_gateways_stand_beside_each_other_and_do_not_merge() {
    let folder = tempfile::tempdir().unwrap();
    let egress = server("e", 81).replace("ingressgateway", "egressgateway");
    let text = server("g", 80) + &egress + &direct("a", "g", 201) + &direct("b", "e", 202);
    fs::write(folder.path().join("a.yaml"), text).unwrap();
    let gateway = start(folder.path(), &[80, 81], &["--as", "ingress,egress"]);
    assert_eq!([status(&gateway, 80, "a.test"), status(&gateway, 80, "b.test")], [201, 404]);
    assert_eq!([status(&gateway, 81, "a.test"), status(&gateway, 81, "b.test")], [404, 202]);
}

#[test]
fn the_access_log_goes_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let log: PathBuf = folder.path().join("access.log");
    let certificates = Certificates::of_project().unwrap();
    let backends = Backends::start(&certificates).unwrap();
    let text = backends.rewrite(
        &fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases/start/two-hosts/in.yaml")).unwrap(),
    );
    let config = folder.path().join("config");
    fs::create_dir(&config).unwrap();
    fs::write(config.join("a.yaml"), text).unwrap();
    let gateway = start(&config, &[80], &["--access-log", log.to_str().unwrap()]);
    assert_eq!(status(&gateway, 80, "dev.example.com"), 200);
    until("the line is written", || fs::read_to_string(&log).unwrap_or_default().ends_with('\n'));
    let line = fs::read_to_string(&log).unwrap();
    assert!(line.contains("\"GET / HTTP/1.1\" 200 - via_upstream") && line.contains("outbound|80||a.test"), "{line}");
}
