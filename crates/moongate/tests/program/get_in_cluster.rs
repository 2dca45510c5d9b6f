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
apiVersion: v1
kind: ConfigMap
metadata: {name: odd, namespace: default, annotations: {note: "a: b # c"}}
data:
  markup: "<a> & 'b' \"c\""
  space: "b\u00a0c"
  tabs: "a\tb\n\tc\n"
  blanks: " a "
  lines: "a \n\n b\n\n"
  no-end: "a\nb"
  control: "a\u0001b\u001b[31mc"
  words: "yes"
  nothing: "null"
  tilde: "~"
  sum: "=x"
  star: "*x"
  percent: "%x"
  at: "@x"
  dash: "- x"
  question: "? x"
  colon: "x:"
  hex: "0x1F"
  octal: "0o17"
  sexagesimal: "1:20:30"
  float: "1e3"
  infinite: ".inf"
  date: "2020-01-01"
  merge: "<<"
  long: "aaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbb cccccccccccccccccccccccccc ddddddddddddddddddddd eeeeeeeeeeeeeeeeee ffffffffffff"
  emoji: "\U0001F600 é"
  json: '{"a": [1, 2]}'
  empty: ""
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
- {addresses: [10.1.0.5], conditions: {ready: false, serving: true, terminating: false}, nodeName: own, zone: south, targetRef: {kind: Pod, name: running, namespace: default}}
- {addresses: [10.1.0.6], conditions: {ready: true}, targetRef: {kind: Pod, name: starting, namespace: default}}
- {addresses: [10.1.0.7], conditions: {ready: true}, targetRef: {kind: Pod, name: ending, namespace: default}}
---
apiVersion: v1
kind: Endpoints
metadata: {name: web, namespace: default}
subsets:
- {addresses: [{ip: 10.1.0.1}, {ip: "fd00::1"}], ports: [{name: http, port: 8080}, {name: dns, port: 53}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: not-ready, namespace: default}
subsets: [{notReadyAddresses: [{ip: 10.1.0.1}], ports: [{port: 8080}]}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: subsets, namespace: default}
spec:
  host: web
  trafficPolicy: {outlierDetection: {}}
  subsets: [{name: v1, labels: {version: v1}}]
---
apiVersion: v1
kind: Node
metadata: {name: own, labels: {node-role.kubernetes.io/control-plane: "", node-role.kubernetes.io/edge: "", topology.kubernetes.io/region: south}}
---
apiVersion: v1
kind: Node
metadata: {name: closed, labels: {kubernetes.io/role: worker}}
spec: {unschedulable: true}
---
apiVersion: v1
kind: Pod
metadata: {name: running, namespace: default, labels: {app: web, version: v1}, annotations: {large: text}}
spec:
  nodeName: own
  readinessGates: [{conditionType: example.com/gate}]
  initContainers: [{name: before, image: x}, {name: beside, image: x, restartPolicy: Always}]
  containers: [{name: a, image: x}, {name: b, image: x}]
---
apiVersion: v1
kind: Pod
metadata: {name: starting, namespace: default, labels: {app: web}}
spec:
  initContainers: [{name: before, image: x}]
  containers: [{name: a, image: x}]
---
apiVersion: v1
kind: Pod
metadata: {name: ending, namespace: default, labels: {app: web}}
spec: {nodeName: own, containers: [{name: a, image: x}]}
"#;

/// Sets the statuses that controllers set elsewhere.
fn set_statuses(cluster: &Cluster) {
    set_balanced(cluster);
    set_status(cluster, "pod/running", &status_of_running_pod());
    let waiting = json!({"waiting": {"reason": "ErrImagePull", "message": "x"}});
    let starting = json!({"phase": "Pending", "initContainerStatuses": [container("before", 2, false, &waiting)]});
    set_status(cluster, "pod/starting", &starting);
    let info = json!({
        "kubeletVersion": "v1.36.3", "osImage": "Some Linux 1.0", "kernelVersion": "6.1.0", "architecture": "arm64",
        "containerRuntimeVersion": "containerd://2.0", "operatingSystem": "linux", "machineID": "", "systemUUID": "", "bootID": "",
        "kubeProxyVersion": "",
    });
    let addresses = [
        json!({"type": "InternalIP", "address": "192.0.2.1"}),
        json!({"type": "ExternalIP", "address": "203.0.113.1"}),
    ];
    let ready = json!({"type": "Ready", "status": "True"});
    set_status(cluster, "node/own", &json!({"conditions": [ready], "nodeInfo": info, "addresses": addresses}));
    cluster.must(&["delete", "ns", "ending", "--wait=false"]).unwrap();
    cluster.must(&["delete", "pod", "ending", "--wait=false"]).unwrap();
}

/// A load balancer has an address and a name.
fn set_balanced(cluster: &Cluster) {
    let ingress = [json!({"ip": "203.0.113.100"}), json!({"hostname": "lb.example.test"})];
    set_status(cluster, "service/balanced", &json!({"loadBalancer": {"ingress": ingress}}));
}

/// A container was started anew years ago, and one of two conditions of readiness holds.
fn status_of_running_pod() -> Value {
    let running = json!({"running": {"startedAt": "2020-01-01T00:00:01Z"}});
    let mut again = container("a", 3, true, &running);
    let end = json!({"exitCode": 1, "reason": "Error", "finishedAt": "2020-01-01T00:00:00Z", "startedAt": null});
    again["lastState"] = json!({"terminated": end});
    let mut beside = container("beside", 1, true, &running);
    beside["started"] = true.into();
    let done = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status});
    json!({
        "phase": "Running", "podIP": "10.1.0.5", "podIPs": [{"ip": "10.1.0.5"}],
        "conditions": [condition("Ready", "False"), condition("Initialized", "True"), condition("example.com/gate", "True")],
        "initContainerStatuses": [container("before", 0, false, &done), beside],
        "containerStatuses": [again, container("b", 0, false, &running)],
    })
}

fn container(name: &str, restarts: u32, ready: bool, state: &Value) -> Value {
    json!({"name": name, "restartCount": restarts, "ready": ready, "state": state, "image": "x", "imageID": ""})
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
                 endpointslices,endpoints,ns,pods,nodes";
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
        "gw -n nothing -o yaml",
        "gw -n nothing -o json",
        "gw -n nothing -o name",
        "gw x",
        "gw x -o yaml",
        "gw x y -o yaml",
        "gw x -A",
        "vs answer",
        "vs,dr,se,pa",
        "vs -A",
        "gw,pa --no-headers -l app~notin~(web)",
        "endpointslices",
        "endpointslices -o wide",
        "endpoints -o wide",
        "pods",
        "pods -o wide --show-labels",
        "pod running --no-headers",
        "nodes",
        "nodes -o wide",
        "node own -A",
        "secrets -A -o wide",
        "secret plain --no-headers",
        "cm -A -o wide",
        "ns",
        "ns -o wide",
        "cm notes -o yaml",
        "cm notes -o json",
        "cm odd -o json",
        "cm odd -o yaml",
        "svc -o yaml",
        "pods -o yaml",
        "vs answer x",
        "gw,vs -o name",
        "gw,vs site",
        "svc/web svc/elsewhere",
        "svc/web gw/x svc/elsewhere gw/site",
        "svc/web/x",
        "foo",
        "pods -l app=web,version",
        "pods -l !version,app~in~(web,~x)",
        "svc -l empty=",
        "svc -l a~b",
        "gw,svc -l a~in~(b",
        "svc -l=-a",
        "svc -l a=b@,c~in~(@,b)",
        "svc -l a>b",
        "svc web -l a=b",
        "svc/web -l a=b",
        "svc --show-labels -o yaml",
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
    let running = gateway_with(&cluster, state.path(), &["--node-name", "own"], "pod");
    let admin = running.admin.to_string();
    // Pods come once EndpointSlices are there that name them.
    let has = |kind: &str, name: &str| get(&[kind, name, "--admin", &admin]).status.success();
    wait::until("the Pods are there", || ["running", "starting", "ending"].iter().all(|name| has("pod", name)));
    wait::until("the Nodes are there", || has("node", "closed"));
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
        "pods running starting ending",
        "pods -o wide --show-labels",
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
        ("pod running", &["/spec/nodeName", "/spec/readinessGates", "/status/podIPs"]),
        ("node own", &["/metadata/creationTimestamp"]),
        ("gw secured", &["/spec"]),
        ("vs web", &["/spec"]),
    ];
    for (line, paths) in parts {
        let words: Vec<&str> = line.split(' ').chain(["-o", "json"]).collect();
        let theirs: Value = serde_json::from_str(&cluster.must(&[&["get"], &*words].concat()).unwrap()).unwrap();
        let ours = get(&[&*words, &["--admin", &admin]].concat());
        let ours: Value = serde_json::from_slice(&ours.stdout).unwrap();
        for path in paths {
            assert_eq!(ours.pointer(path), theirs.pointer(path), "{line} {path}");
            assert!(theirs.pointer(path).is_some(), "{line} {path}");
        }
    }
    // Where a Node is, what for and since when is kept of it.
    let nodes = String::from_utf8(get(&["nodes", "--admin", &admin]).stdout).unwrap();
    let cells: Vec<Vec<String>> = table(&nodes).into_iter().map(|row| row[..3].to_vec()).collect();
    let expected =
        [["NAME", "STATUS", "ROLES"], ["closed", "Unknown", "worker"], ["own", "Unknown", "control-plane,edge"]];
    assert_eq!(cells, expected);
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
        let words: Vec<&str> = line.split(' ').chain(["--no-headers", "--admin", &admin]).collect();
        let output = get(&words);
        String::from_utf8(output.stdout).unwrap()
    };
    wait::until("all Services are there", || shown("svc").contains("balanced"));
    wait::until("the Pods are there", || shown("pods").lines().count() == 3);
    let before = generation(&running);
    set_balanced(&cluster);
    let again = json!({"containerStatuses": [container("a", 7, true, &json!({"running": {}}))]});
    set_status(&cluster, "pod/running", &again);
    wait::until("the restarts are shown", || shown("pod running").split_whitespace().nth(3) == Some("7"));
    cluster.must(&["delete", "ns", "ending", "--wait=false"]).unwrap();
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

fn get(words: &[&str]) -> Output {
    Command::new(PROGRAM).arg("get").args(words).output().unwrap()
}

/// Compares what kubectl says of a line with what this program says; `of` is where this has the objects from. In a word, `~` is a space.
fn assert_same(cluster: &Cluster, line: &str, of: &[&str]) {
    let words: Vec<String> = line.split(' ').map(|word| word.replace('~', " ")).collect();
    let words: Vec<&str> = words.iter().map(|word| &**word).collect();
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
        // kubectl has its opinion of Endpoints.
        let is_said = |line: &&str| !line.starts_with("Warning: v1 Endpoints is deprecated");
        let error = text(output.stderr).lines().filter(is_said).map(|line| line.to_owned() + "\n").collect();
        Self { code: output.status.code(), error, output: output_of(out) }
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

/// The cells of tables without headers, none of them empty, each with the column of characters that it begins in. Ages are the last ones.
fn headless(text: &str) -> Vec<Vec<String>> {
    let row = |line: &str| {
        let mut cells = Vec::new();
        let mut at = 0;
        for part in line.split("   ") {
            let mut cell = part.trim_start().to_owned();
            let begin = at + part.len() - cell.len();
            at += part.len() + 3;
            hide_age(&mut cell);
            if !cell.is_empty() {
                cells.push(format!("{begin} {}", cell.trim_end()));
            }
        }
        cells
    };
    text.lines().map(row).collect()
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
