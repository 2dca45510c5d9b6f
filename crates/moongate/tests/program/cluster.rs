//! The program in a cluster with a real API server, by the rights that `moongate manifests` gives.

use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use testkit::backend::Backend;
use testkit::client;
use testkit::cluster::{self, Cluster};
use testkit::gateway::{Gateway, Start};
use testkit::load::Load;
use testkit::wait;
use testkit::writes::{self, Write};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moongate");

pub(crate) const OBJECTS: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: site, namespace: default, labels: {tier: edge}}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: answer, namespace: default}
spec:
  hosts: [a.test]
  gateways: [site]
  http: [{directResponse: {status: 200, body: {string: first}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: default}
spec: {host: reviews, trafficPolicy: {loadBalancer: {simple: RANDOM}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: out, namespace: default}
spec: {hosts: [out.test], location: MESH_EXTERNAL, resolution: DNS, ports: [{number: 443, name: tls, protocol: TLS}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: default}
spec: {mtls: {mode: STRICT}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {selector: {app: web}, ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]}
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere, namespace: default}
spec: {type: ExternalName, externalName: example.com}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: notes, namespace: default}
data: {"on": "080", text: "one\ntwo\n", time: "12:30", address: 10.0.0.1, flag: --x}
---
apiVersion: v1
kind: Secret
metadata: {name: plain, namespace: default}
stringData: {a: b}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}, {name: dns, port: 53, protocol: UDP}]
endpoints: [{addresses: [10.1.0.1]}, {addresses: [10.1.0.2]}, {addresses: [10.1.0.3]}, {addresses: [10.1.0.4]}]
"#;

/// A cluster with Istio's kinds, the gateway's own objects, and some more.
pub(crate) fn cluster() -> Option<Cluster> {
    let cluster = cluster::start().unwrap()?;
    cluster.apply_file(&cluster.istio()).unwrap();
    apply_manifests(&cluster);
    cluster.wait_for_kinds().unwrap();
    cluster.apply(OBJECTS).unwrap();
    Some(cluster)
}

fn apply_manifests(cluster: &Cluster) {
    let manifests = Command::new(PROGRAM).args(["manifests", "--as", "ingress,egress"]).output().unwrap();
    cluster.apply(&String::from_utf8(manifests.stdout).unwrap()).unwrap();
}

/// The program by the gateway's account.
fn gateway(cluster: &Cluster, state: &Path) -> Gateway {
    gateway_with(cluster, state, &[], "pod")
}

/// The same with further arguments, as a Pod of some name.
pub(crate) fn gateway_with(cluster: &Cluster, state: &Path, further: &[&str], pod: &str) -> Gateway {
    gateway_by(&cluster.kubeconfig("gateway"), state, further, pod)
}

/// The same by a kubeconfig.
pub(crate) fn gateway_by(kubeconfig: &Path, state: &Path, further: &[&str], pod: &str) -> Gateway {
    let kubeconfig = kubeconfig.display().to_string();
    let state = state.display().to_string();
    let args = ["--kubernetes", "--kubeconfig", &kubeconfig, "--state", &state, "--bind", "127.0.0.1"];
    let args = args.iter().chain(further).map(|one| (*one).to_owned()).collect();
    // The Service of the gateway leads port 80 to 8080, and 443 to 8443.
    let start = Start { program: Path::new(PROGRAM), paths: vec![], ports: vec![8080, 8443], args };
    let gateway = Gateway::spawn_with(&start, &[("POD_NAME", pod)]).unwrap();
    gateway.wait_ready().unwrap();
    gateway
}

/// A host that the Gateway `site` routes to a port of this machine, in two objects; `version` is in the response.
pub(crate) fn routed(name: &str, port: u16, version: usize) -> [Value; 2] {
    let metadata = json!({"name": name, "namespace": "default"});
    let object = |kind: &str, spec: &Value| json!({"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec});
    let entry = json!({
        "hosts": [format!("{name}.entry.test")], "location": "MESH_INTERNAL", "resolution": "STATIC",
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
        // An odd version has the endpoint twice, under another name.
        "endpoints": (0..=version % 2).map(|_| json!({"address": "127.0.0.1", "ports": {"http": port}})).collect::<Vec<_>>(),
    });
    let route = json!({
        "hosts": [format!("{name}.test")], "gateways": ["site"],
        "http": [{
            "headers": {"response": {"set": {"x-version": version.to_string()}}},
            "route": [{"destination": {"host": format!("{name}.entry.test"), "port": {"number": 80}}}],
        }],
    });
    [object("ServiceEntry", &entry), object("VirtualService", &route)]
}

/// Routes `real.test` to a backend.
pub(crate) fn apply_real_host(cluster: &Cluster) -> Backend {
    let backend = Backend::start(1, None).unwrap();
    let objects = routed("real", backend.address.port(), 0).map(|object| Write::Apply(object, "test"));
    writes::all(cluster, objects.into()).unwrap();
    backend
}

/// Requests to the host that answers by itself, and to the one with a backend.
pub(crate) fn load(gateway: &Gateway) -> Load {
    let address = gateway.address(8080);
    wait::until("the backend is served", || client::get(address, "real.test", "/").is_ok_and(|one| one.status == 200));
    Load::start(address, &["a.test", "real.test"])
}

/// Ends a load, in which requests still flow and none has failed.
pub(crate) fn end(load: Load) {
    let before = load.answered();
    wait::until("requests still flow", || load.answered() > before + 20);
    let failures = load.end().failures;
    assert!(failures.is_empty(), "{failures:#?}");
}

pub(crate) fn body(gateway: &Gateway, host: &str) -> String {
    let answer = client::get(gateway.address(8080), host, "/").unwrap();
    String::from_utf8(answer.body).unwrap()
}

pub(crate) fn set_answer(cluster: &Cluster, text: &str) {
    let patch =
        format!(r#"[{{"op": "replace", "path": "/spec/http/0/directResponse/body/string", "value": "{text}"}}]"#);
    cluster.must(&["patch", "vs", "answer", "--type=json", "-p", &patch]).unwrap();
}

#[test]
fn a_real_api_server_is_followed_through_its_failures() {
    let Some(mut cluster) = cluster() else { return };
    let services = cluster.must(&["get", "svc", "-n", "istio-system"]).unwrap();
    let ingress: Vec<&str> =
        services.lines().find(|line| line.starts_with("istio-ingressgateway")).unwrap().split_whitespace().collect();
    assert_eq!((ingress[1], ingress[3]), ("LoadBalancer", "<pending>"), "{services}");

    let _backend = apply_real_host(&cluster);
    let state = tempfile::tempdir().unwrap();
    let running = gateway(&cluster, state.path());
    let requests = load(&running);
    assert_eq!(body(&running, "a.test"), "first");
    set_answer(&cluster, "second");
    wait::until("the change is served", || body(&running, "a.test") == "second");
    let report = running.get(running.admin, "/report?format=text").unwrap().1;
    assert!(!report.contains("MG003"), "the rights are complete: {report}");

    // Without the API server everything is served as before, also by a process that starts.
    cluster.kill_api_server();
    wait::until("the failure is known", || {
        running.get(running.admin, "/report?format=text").unwrap().1.contains("MG0030")
    });
    assert_eq!(body(&running, "a.test"), "second");
    wait::until("the change is kept", || {
        let name = "virtualservices.networking.istio.io default answer ";
        let kept = fs::read_to_string(state.path().join("objects")).unwrap_or_default();
        kept.lines().rfind(|line| line.starts_with(name)).is_some_and(|line| line.contains("second"))
    });
    end(requests);
    drop(running);
    let running = gateway(&cluster, state.path());
    let requests = load(&running);
    assert_eq!(body(&running, "a.test"), "second");

    // It is found again, and what changes then is served.
    cluster.start_api_server().unwrap();
    set_answer(&cluster, "third");
    wait::patiently("the change is served", || body(&running, "a.test") == "third");

    // Rights that are withdrawn take nothing away, and are named.
    cluster.must(&["delete", "clusterrolebinding", "istio-ingressgateway-istio-system"]).unwrap();
    cluster.kill_api_server();
    cluster.start_api_server().unwrap();
    let denied = || running.get(running.admin, "/report?format=text").unwrap().1;
    wait::patiently("the denial is known", || denied().contains("MG0031"));
    assert_eq!(body(&running, "a.test"), "third");
    // Given back, they are used.
    apply_manifests(&cluster);
    set_answer(&cluster, "fourth");
    wait::patiently("the change is served", || body(&running, "a.test") == "fourth");
    wait::patiently("the denial is over", || !denied().contains("MG0031"));
    end(requests);
}

#[test]
fn dr_14_nodes_tell_where_the_gateway_is_and_only_that_is_kept() {
    let Some(cluster) = cluster() else { return };
    let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: near, namespace: default}\nspec:\n  host: web\n  \
                trafficPolicy: {outlierDetection: {}, loadBalancer: {localityLbSetting: {failover: [{from: south, to: north}]}}}\n";
    let node = "---\napiVersion: v1\nkind: Node\nmetadata: {name: own, labels: {kubernetes.io/os: linux}}\n";
    cluster.apply(&[rule, node].concat()).unwrap();
    let state = tempfile::tempdir().unwrap();
    let running = gateway_with(&cluster, state.path(), &["--node-name", "own"], "pod");
    let report = || running.get(running.admin, "/report?format=text").unwrap().1;
    let shown = |kind: &str| {
        let mut get = Command::new(PROGRAM);
        get.args(["get", kind, "--show-labels", "--no-headers", "--admin", &running.admin.to_string()]);
        String::from_utf8(get.output().unwrap().stdout).unwrap()
    };
    let nodes = || shown("nodes");
    assert!(report().contains("MG8014") && !report().contains("MG0031"), "{}", report());
    assert!(nodes().starts_with("own ") && nodes().trim_end().ends_with("<none>"), "{}", nodes());
    cluster.must(&["label", "node", "own", "topology.kubernetes.io/region=south"]).unwrap();
    wait::until("the place of the gateway is known", || !report().contains("MG8014"));
    assert!(nodes().trim_end().ends_with(" topology.kubernetes.io/region=south"), "{}", nodes());
    // Whoever may write rules could have all Nodes come and go otherwise.
    cluster.must(&["delete", "destinationrule", "near"]).unwrap();
    wait::until("the rule is gone", || !shown("destinationrules").contains("near"));
    assert!(nodes().starts_with("own "), "they are kept for ten minutes");
}
