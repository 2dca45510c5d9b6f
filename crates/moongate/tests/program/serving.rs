//! Messages and readiness when nothing is served, or less than was configured.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use testkit::gateway::{Gateway, Start};
use testkit::wait::until;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moongate");

fn check(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, .. } =
        Command::new(PROGRAM).arg("check").arg(folder).args(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap())
}

fn start(folder: &Path) -> Start<'_> {
    Start {
        program: Path::new(PROGRAM),
        paths: vec![folder.to_owned()],
        ports: vec![80],
        args: vec!["--bind".to_owned(), "127.0.0.1".to_owned()],
    }
}

fn gateway(name: &str, label: &str, server: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  selector: {{istio: {label}}}\n  servers:\n  - {server}\n---\n"
    )
}

const HTTP: &str = "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}";

#[test]
fn s_01_labels_that_match_no_workload_are_named_and_fail_check() {
    let folder = tempfile::tempdir().unwrap();
    // As the gateway of Istio's Helm chart is labelled.
    fs::write(folder.path().join("g.yaml"), gateway("g", "ingress", HTTP)).unwrap();
    let (code, report) = check(folder.path(), &[]);
    assert_eq!(code, Some(1), "{report}");
    for text in
        ["selects `istio: ingress`, but this gateway has `istio: ingressgateway`", "--labels istio=ingress", "MG9005"]
    {
        assert!(report.contains(text), "{text} is not in {report}");
    }
    assert_eq!(check(folder.path(), &["--labels", "istio=ingress"]).0, Some(0));
}

#[test]
fn s_01_readiness_waits_for_a_listener_only_where_a_gateway_selects_the_workload() {
    let folder = tempfile::tempdir().unwrap();
    let write = |text: String| fs::write(folder.path().join("g.yaml"), text).unwrap();
    // Gateways of another workload: the own one may come later, and a rollout does not wait for it.
    let others = gateway("a", "ingressgateway", HTTP) + &gateway("b", "ingressgateway", "{port: {number: 0}}");
    write(others.clone());
    let mut start = start(folder.path());
    start.args.extend(["--as".to_owned(), "egress".to_owned()]);
    let process = Gateway::spawn(&start).unwrap();
    let ready = || process.get(process.ready, "/healthz/ready").map(|(status, _)| status);
    until("nothing is asked of it", || ready() == Some(200));
    until("it is logged", || process.log().contains("MG9005"));
    let log = process.log();
    let line = |code: &str| log.lines().find(|line| line.contains(code)).unwrap_or_default().to_owned();
    assert!(line("MG6001").contains("WARN") && line("MG9005").contains("WARN") && !log.contains("MG9002"), "{log}");
    let (_, page) = process.get(process.admin, "/").unwrap();
    assert!(page.contains("MG9005") && !page.contains("Nothing is wrong"), "{page}");
    // Its own, which has errors.
    write(others.clone() + &gateway("c", "egressgateway", "{port: {number: 0}}"));
    until("a listener is asked for", || ready() == Some(503));
    until("it is logged", || process.log().contains("MG9002"));
    write(others + &gateway("c", "egressgateway", HTTP));
    until("a listener serves", || ready() == Some(200));
    fs::remove_file(folder.path().join("g.yaml")).unwrap();
    until("nothing is left", || process.log().contains("MG0017") && ready() == Some(200));
}

#[test]
fn a_role_that_would_serve_a_gateway_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("g.yaml"), gateway("g", "egressgateway", HTTP)).unwrap();
    let (code, report) = check(folder.path(), &[]);
    assert!(code == Some(1) && report.contains("--as egress"), "{report}");
    assert_eq!(check(folder.path(), &["--as", "egress"]).0, Some(0));
}

#[test]
fn nothing_read_and_nothing_listened_on_are_findings() {
    let folder = tempfile::tempdir().unwrap();
    let (code, report) = check(folder.path(), &[]);
    assert!(code == Some(1) && report.contains("MG0017"), "{report}");
    let entry =
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: a}\nspec: {address: 1.1.1.1}\n";
    fs::write(folder.path().join("a.yaml"), entry).unwrap();
    let (code, report) = check(folder.path(), &[]);
    assert!(code == Some(0) && report.contains("MG9003"), "{report}");
}

#[test]
fn gw_03_a_server_that_serves_nothing_fails_check_though_others_serve() {
    let tls = |mode: &str| {
        format!("{{port: {{number: 443, name: s, protocol: TLS}}, hosts: ['a.test'], tls: {{mode: {mode}}}}}")
    };
    let servers = [
        ("UDP", "{port: {number: 53, name: s, protocol: UDP}, hosts: ['*']}".to_owned()),
        (
            "a Unix socket",
            "{bind: 'unix:///tmp/s', port: {number: 0, name: s, protocol: HTTP}, hosts: ['*']}".to_owned(),
        ),
        ("TCP without a rule", "{port: {number: 9000, name: s, protocol: TCP}, hosts: ['*']}".to_owned()),
        ("PASSTHROUGH without a rule", tls("PASSTHROUGH")),
        ("AUTO_PASSTHROUGH without a service", tls("AUTO_PASSTHROUGH")),
        ("ISTIO_MUTUAL", tls("ISTIO_MUTUAL")),
        ("another protocol on a port", "{port: {number: 80, name: s, protocol: TCP}, hosts: ['*']}".to_owned()),
        (
            "a certificate that is missing",
            "{port: {number: 443, name: s, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: none}}"
                .to_owned(),
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), gateway("a", "ingressgateway", HTTP)).unwrap();
    assert_eq!(check(folder.path(), &[]).0, Some(0));
    for (what, server) in servers {
        fs::write(folder.path().join("b.yaml"), gateway("b", "ingressgateway", &server)).unwrap();
        let (code, report) = check(folder.path(), &[]);
        assert_eq!(code, Some(1), "{what}: {report}");
    }
}

#[test]
fn mc_01_nothing_is_served_with_mesh_settings_that_never_were_valid() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = folder.path().join("mesh.yaml");
    fs::write(folder.path().join("g.yaml"), gateway("g", "ingressgateway", HTTP)).unwrap();
    // With the default in its place, `/admin//` would be another path than the rules mean.
    fs::write(&mesh, "pathNormalization: {normalization: MERGE}\n").unwrap();
    let (code, report) = check(folder.path(), &[]);
    assert!(code == Some(1) && report.contains("nothing is served without valid settings"), "{report}");
    let process = Gateway::spawn(&start(folder.path())).unwrap();
    let ready = || process.get(process.ready, "/healthz/ready").map(|(status, _)| status);
    until("it is logged", || process.log().contains("nothing is served without valid settings"));
    assert_eq!(ready(), Some(503));
    assert!(process.get(process.address(80), "/").is_none(), "{}", process.log());
    let (_, report) = process.get(process.admin, "/report?format=text").unwrap();
    assert!(report.contains("nothing is served without valid settings"), "{report}");
    fs::write(&mesh, "pathNormalization: {normalization: MERGE_SLASHES}\n").unwrap();
    until("it serves", || ready() == Some(200));
    // From now on settings with errors change nothing.
    fs::write(&mesh, "pathNormalization: {normalization: MERGE}\n").unwrap();
    until("it is logged", || process.log().contains("the settings before are kept"));
    assert_eq!(ready(), Some(200));
}

#[test]
fn dr_41_a_system_without_authorities_is_a_finding_where_something_needs_them() {
    let folder = tempfile::tempdir().unwrap();
    let empty = tempfile::tempdir().unwrap();
    let (file, empty) = (empty.path().join("none.crt").display().to_string(), empty.path().display().to_string());
    let tls = |mode: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: away, namespace: default}}\nspec:\n  host: away.test\n  trafficPolicy: {{tls: {{mode: {mode}, sni: away.test}}}}\n"
        )
    };
    let route = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: away, namespace: default}\nspec:\n  hosts: ['*']\n  gateways: [g]\n  http: [{route: [{destination: {host: away.test}}]}]\n---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: away, namespace: default}\nspec:\n  hosts: [away.test]\n  ports: [{number: 80, name: http, protocol: HTTP}]\n  resolution: STATIC\n  endpoints: [{address: 127.0.0.1}]\n---\n";
    fs::write(folder.path().join("g.yaml"), gateway("g", "ingressgateway", HTTP) + route).unwrap();
    fs::write(folder.path().join("tls.yaml"), tls("DISABLE")).unwrap();
    let environment = [("SSL_CERT_FILE", &*file), ("SSL_CERT_DIR", &*empty)];
    let process = Gateway::spawn_with(&start(folder.path()), &environment).unwrap();
    process.wait_ready().unwrap();
    let report = || process.get(process.admin, "/report?format=text").unwrap().1;
    assert!(!report().contains("MG9047"), "{}", report());
    fs::write(folder.path().join("tls.yaml"), tls("SIMPLE")).unwrap();
    until("it is reported", || report().contains("error[MG9047]: DestinationRule default/away"));
    until("it is logged", || process.log().lines().any(|line| line.contains("MG9047") && line.contains("ERROR")));
    let status = testkit::client::get(process.address(80), "away.test", "/").unwrap().status;
    assert_eq!(status, 503);
}
