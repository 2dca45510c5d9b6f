//! `moongate get` beside kubectl: of the files that kubectl writes, and of a gateway that runs in a cluster with a real API server.

use super::cluster::{cluster, gateway_with};
use serde_json::{Value, json};
use std::fs;
use std::process::{Command, Output};
use testkit::cluster::Cluster;
use testkit::gateway::Gateway;
use testkit::wait;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moongate");

/// Objects with all that a table shows; statuses come by `set_statuses`.
const SHOWN: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: balanced, namespace: default, labels: {empty: ""}}
spec:
  type: LoadBalancer
  selector: {app: web}
  externalIPs: [9.9.9.9]
  ports: [{name: http, port: 80, nodePort: 30080}, {name: dns, port: 53, nodePort: 30053, protocol: UDP}]
---
apiVersion: v1
kind: Service
metadata: {name: pending, namespace: default}
spec: {type: LoadBalancer, ports: [{port: 80, nodePort: 30081}]}
---
apiVersion: v1
kind: Service
metadata: {name: of-nodes, namespace: default}
spec: {type: NodePort, ports: [{port: 80, nodePort: 30082}], externalIPs: [9.9.9.8, 9.9.9.7]}
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: default}
spec: {clusterIP: None, selector: {app: web}}
---
apiVersion: v1
kind: Namespace
metadata: {name: ending}
---
apiVersion: v1
kind: Secret
metadata: {name: site, namespace: istio-system}
type: kubernetes.io/tls
stringData: {tls.crt: "", tls.key: ""}
---
apiVersion: v1
kind: Secret
metadata: {name: site-cacert, namespace: istio-system}
stringData: {cacert: ""}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: trusted, namespace: istio-system}
data: {ca.crt: "", empty: ""}
binaryData: {more: AA==}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: secured, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: [c.test], tls: {mode: MUTUAL, credentialName: site, caCertCredentialName: configmap://trusted}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: default}
spec:
  hosts: [b.test]
  gateways: [site]
  http: [{route: [{destination: {host: web, port: {number: 80}}}]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-2, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
- {addresses: [10.1.0.5], conditions: {ready: false, serving: true, terminating: false}, nodeName: node, zone: south}
- {addresses: [10.1.0.6], conditions: {ready: true}}
"#;

/// Sets the statuses that controllers set elsewhere.
fn set_statuses(cluster: &Cluster) {
    let ingress = [json!({"ip": "203.0.113.100"}), json!({"hostname": "lb.example.test"})];
    set_status(cluster, "service/balanced", &json!({"loadBalancer": {"ingress": ingress}}));
    cluster.must(&["delete", "ns", "ending", "--wait=false"]).unwrap();
}

fn set_status(cluster: &Cluster, object: &str, status: &Value) {
    let patch = json!({"status": status}).to_string();
    cluster.must(&["patch", object, "--subresource=status", "--type=merge", "-p", &patch]).unwrap();
}

#[test]
fn get_shows_what_kubectl_shows() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(SHOWN).unwrap();
    set_statuses(&cluster);
    let kinds = "gateways,virtualservices,destinationrules,serviceentries,peerauthentications,svc,secrets,cm,\
                 endpointslices,ns";
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("all.yaml"), cluster.must(&["get", kinds, "-A", "-o", "yaml"]).unwrap()).unwrap();
    let files = folder.path().display().to_string();
    let lines = [
        "svc -n istio-system",
        "svc -A -o wide",
        "svc",
        "svc kubernetes --show-labels",
        "gateways",
        "gw -l tier=edge",
        "gw -n nothing",
        "gw x",
        "gw x -A",
        "vs answer",
        "vs,dr,se,pa",
        "vs -A",
        "endpointslices",
        "secret plain --no-headers",
        "ns",
        "cm notes -o yaml",
        "cm notes -o json",
        "svc -o yaml",
        "vs answer x",
        "gw,vs -o name",
        "svc/web svc/elsewhere",
        "foo",
    ];
    for line in lines {
        assert_same(&cluster, line, &["-f", &files]);
    }
}

#[test]
fn get_of_a_gateway_in_a_cluster_shows_what_kubectl_shows() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(SHOWN).unwrap();
    set_statuses(&cluster);
    let state = tempfile::tempdir().unwrap();
    let running = gateway_with(&cluster, state.path(), &[], "pod");
    let admin = running.admin.to_string();
    let lines = [
        "svc -A",
        "svc -A -o wide --show-labels",
        "svc -n istio-system",
        "svc -o name",
        "ns",
        "gw,vs,dr,se,pa -A",
        "secret site site-cacert -n istio-system",
        "cm trusted -n istio-system",
        "endpointslices",
    ];
    for line in lines {
        assert_same(&cluster, line, &["--admin", &admin]);
    }
    // What is kept of an object is as the API server has it.
    let parts = [
        ("svc balanced", &["/spec/ports", "/spec/externalIPs", "/spec/selector", "/status", "/metadata/labels"][..]),
        ("svc headless", &["/spec/clusterIP"]),
        ("endpointslice web-2", &["/endpoints", "/ports", "/addressType", "/metadata/labels"]),
        ("ns ending", &["/status", "/metadata/labels"]),
        ("cm trusted -n istio-system", &["/data"]),
        ("secret site -n istio-system", &["/type"]),
        ("gw secured", &["/spec"]),
        ("vs web", &["/spec"]),
    ];
    for (line, paths) in parts {
        let words = [&words(line)[..], &["-o", "json"]].concat();
        let theirs: Value = serde_json::from_str(&cluster.must(&[&["get"], &*words].concat()).unwrap()).unwrap();
        let ours = get(&[&*words, &["--admin", &admin]].concat());
        let ours: Value = serde_json::from_slice(&ours.stdout).unwrap();
        for path in paths {
            assert_eq!(ours.pointer(path), theirs.pointer(path), "{line} {path}");
            assert!(theirs.pointer(path).is_some(), "{line} {path}");
        }
    }
    let secret = get(&["secret", "site", "-n", "istio-system", "-o", "yaml", "--admin", &admin]);
    let secret = String::from_utf8(secret.stdout).unwrap();
    assert!(secret.contains("data:\n  tls.crt: \"\"\n  tls.key: \"\"\n"), "{secret}");
}

#[test]
fn another_status_is_shown_and_changes_nothing_that_is_served() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(SHOWN).unwrap();
    let state = tempfile::tempdir().unwrap();
    let running = gateway_with(&cluster, state.path(), &[], "pod");
    let admin = running.admin.to_string();
    let shown = |line: &str| {
        let output = get(&[&words(line)[..], &["--no-headers", "--admin", &admin]].concat());
        String::from_utf8(output.stdout).unwrap()
    };
    wait::until("all Services are there", || shown("svc").contains("balanced"));
    let before = generation(&running);
    set_statuses(&cluster);
    wait::until("the address is shown", || shown("svc balanced").contains(" 203.0.113.100,lb.example.test,9.9.9.9 "));
    wait::until("the end of the Namespace is shown", || shown("ns ending").contains(" Terminating "));
    assert_eq!(generation(&running), before);
    // What comes next is served.
    super::cluster::set_answer(&cluster, "second");
    wait::until("the change is served", || super::cluster::body(&running, "a.test") == "second");
    assert_ne!(generation(&running), before);
    set_status(&cluster, "service/balanced", &json!({"loadBalancer": {"ingress": null}}));
    wait::until("the address is gone", || shown("svc balanced").contains(" 9.9.9.9 "));
}

/// The generation of the configuration that is applied.
fn generation(gateway: &Gateway) -> String {
    let metrics = gateway.get(gateway.admin, "/metrics").unwrap().1;
    metrics.lines().find(|line| line.starts_with("moongate_config_generation")).unwrap().to_owned()
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

fn get(words: &[&str]) -> Output {
    Command::new(PROGRAM).arg("get").args(words).output().unwrap()
}

/// Compares what kubectl says of a line with what this program says; `of` is where this has the objects from.
fn assert_same(cluster: &Cluster, line: &str, of: &[&str]) {
    let words = words(line);
    let theirs = cluster.kubectl(&[&["get"], &*words].concat()).unwrap();
    let ours = get(&[&*words, of].concat());
    let has_header = !words.contains(&"--no-headers");
    let (theirs, ours) = (Said::new(theirs, has_header), Said::new(ours, has_header));
    assert_eq!(ours, theirs, "{line}");
}

/// Exit code, output and error.
#[derive(Debug, PartialEq)]
struct Said {
    code: Option<i32>,
    error: String,
    output: Shown,
}

#[derive(Debug, PartialEq)]
enum Shown {
    /// The cells of tables, those with ages without them. That the columns have the width of their widest cells was looked at.
    Tables(Vec<Vec<Vec<String>>>),
    Text(String),
}

impl Said {
    fn new(output: Output, has_header: bool) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let out = text(output.stdout);
        let output_of = |out: String| match has_header {
            true if out.starts_with("NAME") => Shown::Tables(out.split("\n\n").map(table).collect()),
            true => Shown::Text(out),
            false => Shown::Tables(vec![headless(&out)]),
        };
        Self { code: output.status.code(), error: text(output.stderr), output: output_of(out) }
    }
}

/// Three spaces are behind the widest cell of a column, which has at least six characters with them.
const PADDING: usize = 3;
const MIN_WIDTH: usize = 6;

/// The cells of a table, the first row its header.
fn table(text: &str) -> Vec<Vec<String>> {
    let lines: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
    let header = &lines[0];
    // Names have single spaces in them.
    let begins =
        |at: &usize| header[*at] != ' ' && (*at == 0 || *at > 1 && header[at - 1] == ' ' && header[at - 2] == ' ');
    let starts: Vec<usize> = (0..header.len()).filter(begins).collect();
    let cell = |line: &Vec<char>, column: usize| {
        let end = starts.get(column + 1).copied().unwrap_or(usize::MAX).min(line.len());
        let cell: String = line.get(starts[column]..end).unwrap_or_default().iter().collect();
        if column + 1 == starts.len() { cell } else { cell.trim_end().to_owned() }
    };
    let mut rows: Vec<Vec<String>> =
        lines.iter().map(|line| (0..starts.len()).map(|column| cell(line, column)).collect()).collect();
    for (column, pair) in starts.windows(2).enumerate() {
        let widest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        assert_eq!(pair[1] - pair[0], (widest + PADDING).max(MIN_WIDTH), "column {column} of:\n{text}");
    }
    let ages = rows[0].iter().position(|name| name == "AGE");
    for row in rows.iter_mut().skip(1) {
        ages.into_iter().for_each(|column| hide_age(&mut row[column]));
    }
    rows
}

/// The cells of a table of one row without a header, none of them empty.
fn headless(text: &str) -> Vec<Vec<String>> {
    let line = text.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "one row: {text}");
    let mut cells: Vec<String> = line.split("   ").map(|cell| cell.trim().to_owned()).collect();
    cells.retain(|cell| !cell.is_empty());
    let (last, others) = cells.split_last().unwrap();
    let width = |cell: &String| (cell.chars().count() + PADDING).max(MIN_WIDTH);
    let laid_out: String = others.iter().map(|cell| format!("{cell:0$}", width(cell))).collect();
    assert_eq!(laid_out + last, line);
    cells.iter_mut().for_each(hide_age);
    vec![cells]
}

/// `5s`, `3m10s`, `2d`.
fn hide_age(cell: &mut String) {
    let is_age = cell.starts_with(|c: char| c.is_ascii_digit())
        && cell.ends_with(['s', 'm', 'h', 'd', 'y'])
        && cell.chars().all(|c| c.is_ascii_digit() || "smhdy".contains(c));
    if is_age {
        "AGE".clone_into(cell);
    }
}
