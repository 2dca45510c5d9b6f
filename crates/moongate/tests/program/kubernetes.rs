//! `moongate run --kubernetes` beside an API server of the test's own: readiness, and traffic while the server fails.

use std::fs;
use std::path::Path;
use std::process::Command;
use testkit::api_server::ApiServer;
use testkit::client;
use testkit::gateway::{Gateway, Start};
use testkit::wait;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moongate");

fn answer(text: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: a, namespace: istio-system}}\nspec:\n  hosts: \
         ['*']\n  gateways: [g]\n  http: [{{directResponse: {{status: 200, body: {{string: {text}}}}}}}]\n"
    )
}

#[test]
fn an_api_server_is_served_once_all_of_it_is_known_and_while_it_fails() {
    let server = ApiServer::start().unwrap();
    server.apply(&super::operation::server("g", 80).replace("namespace: default", "namespace: istio-system"));
    server.apply(&answer("first"));
    server.forbid("/api/v1/secrets", true);
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("config");
    fs::write(&kubeconfig, server.kubeconfig()).unwrap();
    let kubeconfig = kubeconfig.display().to_string();
    let args = ["--kubernetes", "--kubeconfig", &kubeconfig, "--bind", "127.0.0.1"].map(str::to_owned).to_vec();
    let start = Start { program: Path::new(PROGRAM), paths: vec![], ports: vec![80], args };
    let gateway = Gateway::spawn(&start).unwrap();
    let report = || gateway.get(gateway.admin, "/report?format=text").map(|(_, text)| text).unwrap_or_default();
    wait::until("the denial is reported", || report().contains("MG0031"));
    assert_eq!(gateway.get(gateway.ready, "/healthz/ready").unwrap().0, 503, "a kind is not known");
    server.forbid("/api/v1/secrets", false);
    gateway.wait_ready().unwrap();
    let body = || String::from_utf8(client::get(gateway.address(80), "a.test", "/").unwrap().body).unwrap();
    assert_eq!(body(), "first");
    server.apply(&answer("second"));
    wait::until("the change is served", || body() == "second");
    server.fail(true);
    wait::until("the failure is reported", || report().contains("MG0030"));
    assert_eq!((body(), gateway.get(gateway.ready, "/healthz/ready").unwrap().0), ("second".to_owned(), 200));
    let shown = Command::new(PROGRAM)
        .args(["get", "gw,vs", "-n", "istio-system", "-o", "name", "--admin", &gateway.admin.to_string()])
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert_eq!(shown, "gateway.networking.istio.io/g\nvirtualservice.networking.istio.io/a\n");
}

#[test]
fn mc_01_a_file_of_mesh_settings_counts_beside_a_cluster_and_is_watched() {
    let server = ApiServer::start().unwrap();
    let map = |normalization: &str| format!("pathNormalization: {{normalization: {normalization}}}\n");
    server.apply(&super::operation::server("g", 80).replace("namespace: default", "namespace: istio-system"));
    server.apply(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a, namespace: istio-system}\nspec:\n  hosts: ['*']\n  \
         gateways: [g]\n  http:\n  - {match: [{uri: {exact: /a/b}}], directResponse: {status: 200, body: {string: merged}}}\n  \
         - {directResponse: {status: 200, body: {string: apart}}}\n",
    );
    server.apply(&format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: \"{}\"\n",
        map("NONE").trim_end()
    ));
    let folder = tempfile::tempdir().unwrap();
    let (kubeconfig, mesh) = (folder.path().join("config"), folder.path().join("mesh.yaml"));
    fs::write(&kubeconfig, server.kubeconfig()).unwrap();
    fs::write(&mesh, map("MERGE_SLASHES")).unwrap();
    let [kubeconfig, file] = [&kubeconfig, &mesh].map(|path| path.display().to_string());
    let args = ["--kubernetes", "--kubeconfig", &kubeconfig, "--mesh-config", &file, "--bind", "127.0.0.1"];
    let args = args.map(str::to_owned).to_vec();
    let start = Start { program: Path::new(PROGRAM), paths: vec![], ports: vec![80], args };
    let gateway = Gateway::spawn(&start).unwrap();
    gateway.wait_ready().unwrap();
    let body = || String::from_utf8(client::get(gateway.address(80), "a.test", "/a//b").unwrap().body).unwrap();
    assert_eq!(body(), "merged", "the settings of the file hold from the first configuration on");
    let new = folder.path().join("new");
    fs::write(&new, map("NONE")).unwrap();
    fs::rename(&new, &mesh).unwrap();
    wait::until("the other settings hold", || body() == "apart");
}

#[test]
fn options_that_go_with_no_cluster_are_named() {
    let output = Command::new(PROGRAM).args(["run", "--kubernetes", "folder"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("--kubernetes") && error.contains("[PATH]"), "{error}");
    let missing = ["run", "--kubernetes", "--mesh-config", "/nowhere/mesh.yaml"];
    let output = Command::new(PROGRAM).args(missing).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("/nowhere/mesh.yaml"), "{error}");
}
