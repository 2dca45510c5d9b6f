//! What the leader writes into a real API server, by the rights that `moongate manifests` gives: statuses, the Lease, addresses of Services.
//! Whatever stands in the way of that, requests are served.

use crate::program::cluster::{apply_real_host, body, cluster, end, gateway_by, gateway_with, load, set_answer};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use testkit::cluster::Cluster;
use testkit::gateway::{Gateway, Signal};
use testkit::load::Load;
use testkit::secured::{Certificates, Hello};
use testkit::{client, wait};

/// A Lease ends after 15 s without its holder, and a loaded machine adds to that.
const ELECTION: Duration = Duration::from_secs(90);

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < ELECTION, "waited too long: {what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

fn object(cluster: &Cluster, name: &str, namespace: &str) -> Value {
    serde_json::from_str(&cluster.must(&["get", name, "-n", namespace, "-o", "json"]).unwrap()).unwrap()
}

/// The condition `Reconciled` of an object, if it has one.
fn reconciled(cluster: &Cluster, name: &str) -> Option<Value> {
    let object = object(cluster, name, "default");
    object.pointer("/status/conditions")?.as_array()?.iter().find(|one| one["type"] == "Reconciled").cloned()
}

fn is_reconciled(cluster: &Cluster, name: &str, status: &str) -> bool {
    let object = object(cluster, name, "default");
    reconciled(cluster, name)
        .is_some_and(|one| one["status"] == status && one["observedGeneration"] == object["metadata"]["generation"])
}

fn holder(cluster: &Cluster) -> String {
    let lease = cluster.kubectl(&["get", "lease", "istio-ingressgateway", "-n", "istio-system", "-o", "json"]).unwrap();
    let lease: Value = serde_json::from_slice(&lease.stdout).unwrap_or_default();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

fn report(gateway: &Gateway) -> String {
    gateway.get(gateway.admin, "/report?format=text").unwrap().1
}

const BAD_ROUTE: &str = r"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: broken, namespace: default}
spec:
  hosts: [b.test]
  gateways: [site]
  http: [{route: [{destination: {host: nowhere}}]}]
";
const GOOD_ROUTE: &str = r"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: broken, namespace: default}
spec:
  hosts: [b.test]
  gateways: [site]
  http: [{directResponse: {status: 200}}]
";
const ELSEWHERE: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: other, namespace: default}
spec:
  selector: {istio: other}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: inside, namespace: default}
spec:
  hosts: [c.test]
  http: [{directResponse: {status: 200}}]
"#;

#[test]
fn the_leader_writes_what_it_finds_into_statuses_and_another_takes_its_place() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(BAD_ROUTE).unwrap();
    cluster.apply(ELSEWHERE).unwrap();
    let states = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let first = gateway_with(&cluster, states[0].path(), &["--write-status"], "pod-1");
    until("the first leads", || holder(&cluster).starts_with("pod-1_"));
    let second = gateway_with(&cluster, states[1].path(), &["--write-status"], "pod-2");

    until("statuses are written", || {
        is_reconciled(&cluster, "gw/site", "True") && is_reconciled(&cluster, "vs/answer", "True")
    });
    until("an error is told", || is_reconciled(&cluster, "vs/broken", "False"));
    let broken = object(&cluster, "vs/broken", "default");
    let message = &broken["status"]["validationMessages"][0];
    assert_eq!((&message["type"]["code"], &message["level"]), (&"MG8001".into(), &"ERROR".into()), "{broken}");
    let condition = reconciled(&cluster, "vs/broken").unwrap();
    let text = condition["message"].as_str().unwrap();
    assert!(text.starts_with("istio-system/istio-ingressgateway: 1 error: MG8001 spec.http[0]"), "{text}");
    // Objects of others, and objects about which there is nothing to say, are left alone.
    for name in ["gw/other", "vs/inside", "dr/reviews", "se/out"] {
        assert_eq!(object(&cluster, name, "default").get("status"), None, "{name}");
    }

    // What is not different is not written: nothing has another version a while after the last write.
    let versions = || {
        let text = cluster.must(&["get", "gw,vs", "-n", "default", "-o", "json"]).unwrap();
        let list: Value = serde_json::from_str(&text).unwrap();
        let all = list["items"].as_array().unwrap().clone();
        all.iter().map(|one| one["metadata"]["resourceVersion"].clone()).collect::<Vec<_>>()
    };
    let before = versions();
    let renewed = || object(&cluster, "lease/istio-ingressgateway", "istio-system")["spec"]["renewTime"].clone();
    let time = renewed();
    until("time passes", || renewed() != time);
    assert_eq!(versions(), before);

    // Entries of another controller are kept, also where both write at the same time.
    let others = r#"{"status": {"conditions": [{"type": "Other", "status": "True"}],
        "validationMessages": [{"type": {"name": "Other", "code": "IST0101"}, "level": "INFO"}]}}"#;
    cluster.must(&["patch", "vs/broken", "--subresource=status", "--type=merge", "-p", others]).unwrap();
    cluster.apply(GOOD_ROUTE).unwrap();
    until("the error is gone", || is_reconciled(&cluster, "vs/broken", "True"));
    let mended = object(&cluster, "vs/broken", "default");
    assert_eq!(mended["status"]["validationMessages"].as_array().unwrap().len(), 1, "{mended}");
    assert_eq!(mended["status"]["validationMessages"][0]["type"]["code"], "IST0101");
    assert!(mended["status"]["conditions"].as_array().unwrap().iter().any(|one| one["type"] == "Other"), "{mended}");

    // The leader dies: another goes on, and nobody's request fails.
    let _backend = apply_real_host(&cluster);
    let requests = load(&second);
    first.signal(Signal::KILL);
    cluster.apply(BAD_ROUTE).unwrap();
    until("the second leads", || holder(&cluster).starts_with("pod-2_"));
    until("statuses go on", || is_reconciled(&cluster, "vs/broken", "False"));
    end(requests);

    // One that ends in order leaves the Lease to the next at once.
    drop(first);
    let third = gateway_with(&cluster, states[0].path(), &["--write-status"], "pod-3");
    second.terminate();
    until("the Lease is given up", || !holder(&cluster).starts_with("pod-2_"));
    until("the third leads", || holder(&cluster).starts_with("pod-3_"));
    cluster.apply(GOOD_ROUTE).unwrap();
    until("statuses go on", || is_reconciled(&cluster, "vs/broken", "True"));

    // A Gateway that selects another workload takes its VirtualServices with it.
    let away = r#"[{"op": "replace", "path": "/spec/selector/istio", "value": "other"}]"#;
    cluster.must(&["patch", "gw/site", "--type=json", "-p", away]).unwrap();
    until("the entries are taken away", || {
        ["gw/site", "vs/answer", "vs/broken"].iter().all(|name| reconciled(&cluster, name).is_none())
    });
    assert!(report(&third).contains("MG6001"));
}

/// What becomes of an object, by a watch of the test's own.
struct History {
    watch: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl History {
    fn of(cluster: &Cluster, name: &str) -> Self {
        let message = r#"{.status.conditions[?(@.type=="Reconciled")].message}"#;
        let columns = format!("-o=jsonpath={{.metadata.generation}} {{.metadata.labels.history}}:{message}{{\"\\n\"}}");
        let mut watch = cluster.command(&["get", name, "--watch", &columns]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        Self { watch, lines }
    }

    /// The generation and the message of the condition of each version, until the first with a label `history`.
    fn until_label(mut self, label: &str) -> Vec<(u64, String)> {
        let mut versions = Vec::new();
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            let (generation, rest) = line.split_once(' ').unwrap();
            let (shown, message) = rest.split_once(':').unwrap();
            if shown == label {
                return versions;
            }
            versions.push((generation.parse().unwrap(), message.to_owned()));
        }
        panic!("the watch has ended: {versions:?}");
    }
}

impl Drop for History {
    fn drop(&mut self) {
        let _ = self.watch.kill();
        let _ = self.watch.wait();
    }
}

#[test]
fn of_two_gateways_one_writes_a_status_and_once_for_each_change() {
    const CHANGES: u64 = 10;
    const LABEL: &str = "ended";
    let Some(cluster) = cluster() else { return };
    let manifests = Command::new(env!("CARGO_BIN_EXE_moongate")).args(["manifests", "-n", "edge"]).output().unwrap();
    cluster.apply(&String::from_utf8(manifests.stdout).unwrap()).unwrap();
    let edge = cluster.kubeconfig_of("edge", "istio-ingressgateway").unwrap();
    // Each serves both objects. This one is the other's from the beginning.
    let owned = r#"{"status": {"conditions": [{"type": "Reconciled", "status": "True", "message": "edge/istio-ingressgateway: -"}]}}"#;
    cluster.must(&["patch", "gw/site", "--subresource=status", "--type=merge", "-p", owned]).unwrap();
    let begun = object(&cluster, "vs/answer", "default")["metadata"]["generation"].as_u64().unwrap();
    let history = History::of(&cluster, "vs/answer");

    let states = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let first = gateway_with(&cluster, states[0].path(), &["--write-status"], "pod-1");
    let second = gateway_by(&edge, states[1].path(), &["--write-status", "--namespace", "edge"], "pod-2");
    let renewed = |namespace: &str| {
        let path = "-o=jsonpath={.spec.renewTime}";
        cluster.kubectl(&["get", "lease", "istio-ingressgateway", "-n", namespace, path]).unwrap().stdout
    };
    let times = || ["istio-system", "edge"].map(renewed);
    let later = || {
        let before = times();
        until("both lead, and time passes", || times().iter().zip(&before).all(|(now, before)| now != before));
    };
    until("the status that it has already is written by the second", || is_reconciled(&cluster, "gw/site", "True"));
    until("the other is written by one of them", || is_reconciled(&cluster, "vs/answer", "True"));
    for number in 0..CHANGES {
        let answer = format!("answer {number}");
        set_answer(&cluster, &answer);
        wait::until("both serve it", || [&first, &second].iter().all(|gateway| body(gateway, "a.test") == answer));
    }
    until("the status is of the last change", || is_reconciled(&cluster, "vs/answer", "True"));
    later();
    later();
    cluster.must(&["label", "vs", "answer", &format!("history={LABEL}")]).unwrap();

    let versions = history.until_label(LABEL);
    for generation in begun..=begun + CHANGES {
        let of_it = versions.iter().filter(|(one, _)| *one == generation).count();
        assert!((1..=2).contains(&of_it), "the change, and one status at most: {versions:#?}");
    }
    let owners = versions.iter().filter_map(|(_, message)| message.split_once(": ")).map(|(owner, _)| owner);
    assert_eq!(owners.collect::<BTreeSet<_>>().len(), 1, "{versions:#?}");
    assert!(reconciled(&cluster, "gw/site").unwrap()["message"].as_str().unwrap().starts_with("edge/"));
}

#[test]
fn a_status_of_another_gateway_stays_and_a_careless_writer_is_answered_once_for_each_write() {
    let Some(cluster) = cluster() else { return };
    let state = tempfile::tempdir().unwrap();
    // Another gateway has the status of the VirtualService.
    let foreign =
        r#"{"status": {"conditions": [{"type": "Reconciled", "status": "True", "message": "edge/other: applied"}]}}"#;
    cluster.must(&["patch", "vs/answer", "--subresource=status", "--type=merge", "-p", foreign]).unwrap();
    let _running = gateway_with(&cluster, state.path(), &["--write-status"], "pod-1");
    until("others are written", || is_reconciled(&cluster, "gw/site", "True"));
    assert_eq!(reconciled(&cluster, "vs/answer").unwrap()["message"], "edge/other: applied");
    // Given up by the other, it is taken.
    cluster.must(&["patch", "vs/answer", "--subresource=status", "--type=merge", "-p", r#"{"status": null}"#]).unwrap();
    until("it is written", || is_reconciled(&cluster, "vs/answer", "True"));
    // A writer that takes no notice of others is in turn not overwhelmed: what it does is repaired once for each of its writes.
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0..20 {
                let patch = format!(
                    r#"{{"status": {{"conditions": [{{"type": "Other", "status": "True", "message": "{number}"}}]}}}}"#
                );
                cluster.must(&["patch", "gw/site", "--subresource=status", "--type=merge", "-p", &patch]).unwrap();
            }
        });
        writer.join().unwrap();
    });
    until("it is written again", || is_reconciled(&cluster, "gw/site", "True"));
    let site = object(&cluster, "gw/site", "default");
    let other = site["status"]["conditions"].as_array().unwrap().iter().find(|one| one["type"] == "Other").cloned();
    assert_eq!(other.unwrap()["message"], "19", "{site}");
}

#[test]
fn rights_to_write_that_are_missing_are_one_finding_and_change_nothing_else() {
    let Some(cluster) = cluster() else { return };
    let state = tempfile::tempdir().unwrap();
    // The right to write statuses is the last of the rules.
    let role = object(&cluster, "clusterrole/istio-ingressgateway-istio-system", "default");
    let rules = role["rules"].as_array().unwrap();
    let kept: Vec<&Value> = rules.iter().filter(|rule| !rule["resources"].to_string().contains("/status")).collect();
    assert!(kept.len() < rules.len());
    let patch = |rules: Value| serde_json::json!([{"op": "replace", "path": "/rules", "value": rules}]).to_string();
    let apply = |text: &str| {
        cluster.must(&["patch", "clusterrole", "istio-ingressgateway-istio-system", "--type=json", "-p", text]).unwrap()
    };
    apply(&patch(serde_json::json!(kept)));
    let _backend = apply_real_host(&cluster);
    let running = gateway_with(&cluster, state.path(), &["--write-status"], "pod-1");
    let requests = load(&running);
    until("the denial is told", || report(&running).contains("MG0034"));
    assert_eq!(report(&running).matches("MG0034").count(), 1);
    set_answer(&cluster, "second");
    wait::until("changes are served", || body(&running, "a.test") == "second");
    apply(&patch(role["rules"].clone()));
    until("statuses are written", || is_reconciled(&cluster, "vs/answer", "True"));
    until("the finding is gone", || !report(&running).contains("MG0034"));

    // The same for the Lease.
    cluster.must(&["delete", "rolebinding", "istio-ingressgateway", "-n", "istio-system"]).unwrap();
    until("the denial is told", || report(&running).contains("the Lease of the leader"));
    end(requests);
}

#[test]
fn an_address_is_published_where_no_other_controller_has_set_one() {
    let Some(cluster) = cluster() else { return };
    let state = tempfile::tempdir().unwrap();
    let manifests = std::process::Command::new(env!("CARGO_BIN_EXE_moongate"))
        .args(["manifests", "--publish-address", "192.0.2.10,lb.example.com"])
        .output()
        .unwrap();
    cluster.apply(&String::from_utf8(manifests.stdout).unwrap()).unwrap();
    let address = || {
        let services = cluster.must(&["get", "svc", "-n", "istio-system"]).unwrap();
        let line = services.lines().find(|line| line.starts_with("istio-ingressgateway")).unwrap().to_owned();
        line.split_whitespace().nth(3).unwrap().to_owned()
    };
    assert_eq!(address(), "<pending>");
    let arguments = ["--publish-address", "192.0.2.10", "--publish-address", "lb.example.com"];
    let running = gateway_with(&cluster, state.path(), &arguments, "pod-1");
    until("the address is there", || address() == "192.0.2.10,lb.example.com");
    // Without `--write-status` nothing else is written.
    assert_eq!(reconciled(&cluster, "gw/site"), None);
    // What the process wrote before is its own, also with other addresses.
    running.terminate();
    until("the Lease is given up", || holder(&cluster).is_empty());
    drop(running);
    let running = gateway_with(&cluster, state.path(), &["--publish-address", "192.0.2.11"], "pod-2");
    until("the address is another", || address() == "192.0.2.11");
    // Another controller sets one: it stays.
    let theirs = r#"{"status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}]}}}"#;
    let service = "svc/istio-ingressgateway";
    cluster
        .must(&["patch", service, "-n", "istio-system", "--subresource=status", "--type=merge", "-p", theirs])
        .unwrap();
    until("the conflict is known", || running.log().contains("another controller has set the address"));
    assert_eq!(address(), "198.51.100.1");
    assert!(!report(&running).contains("MG0034"), "{}", report(&running));
}

#[test]
fn kinds_and_namespaces_come_and_go_without_a_request_that_fails() {
    let Some(cluster) = cluster() else { return };
    let state = tempfile::tempdir().unwrap();
    cluster.must(&["delete", "crd", "serviceentries.networking.istio.io"]).unwrap();
    let running = gateway_with(&cluster, state.path(), &["--write-status"], "pod-1");
    let of_answer = Load::start(running.address(8080), &["a.test"]);
    // The API server may still list a kind for a moment after its definition is gone.
    until("the kind that is not installed is reported", || report(&running).contains("MG0032"));
    // Installed late.
    cluster.apply_file(&cluster.istio()).unwrap();
    cluster.wait_for_kinds().unwrap();
    cluster
        .apply(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: late, namespace: default}\nspec: {hosts: \
             [late.test], location: MESH_EXTERNAL, resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], \
             endpoints: [{address: 127.0.0.1}]}\n",
        )
        .unwrap();
    until("the kind is read", || {
        running.get(running.admin, "/report?format=text").is_some_and(|(_, text)| !text.contains("MG0032"))
    });
    until("its objects are read", || running.log().contains("configuration applied") && get(&running, "se", "late"));

    let _backend = apply_real_host(&cluster);
    let requests = load(&running);

    // A namespace with a route of its own. `replicas` deletes one with controllers, which empty it.
    cluster.must(&["create", "namespace", "shop"]).unwrap();
    let shop = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: shop, namespace: shop}\nspec:\n  hosts: \
                [shop.test]\n  gateways: [default/site]\n  http: [{directResponse: {status: 200, body: {string: shop}}}]\n";
    cluster.apply(shop).unwrap();
    wait::until("the namespace is served", || body(&running, "shop.test") == "shop");
    until("its status is written", || {
        let shop = object(&cluster, "vs/shop", "shop");
        shop.pointer("/status/conditions/0/status").is_some_and(|status| status == "True")
    });
    cluster.must(&["delete", "vs", "--all", "-n", "shop"]).unwrap();
    wait::until("its route is gone", || client::get(running.address(8080), "shop.test", "/").unwrap().status == 404);
    end(requests);
    end(of_answer);
}

const SECURE: &str = r"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: secure, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [s.test]
    tls: {mode: SIMPLE, credentialName: site-cert}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: secure, namespace: default}
spec:
  hosts: [s.test]
  gateways: [secure]
  http: [{directResponse: {status: 200}}]
";

#[test]
fn a_secret_is_rotated_without_a_connection_that_fails() {
    const CERTIFICATES: [&str; 2] = ["back0", "client"];
    let Some(cluster) = cluster() else { return };
    let certificates = Certificates::of_project().unwrap();
    let rotate = |name: &str| {
        let file = |end: &str| format!("{}/../../oracle/certs/{name}.{end}", env!("CARGO_MANIFEST_DIR"));
        let (certificate, key) = (format!("--cert={}", file("crt")), format!("--key={}", file("key")));
        let secret = ["create", "secret", "tls", "site-cert", "-n", "istio-system", &certificate, &key];
        cluster.apply(&cluster.must(&[&secret[..], &["--dry-run=client", "-o", "yaml"]].concat()).unwrap()).unwrap();
    };
    rotate(CERTIFICATES[0]);
    cluster.apply(SECURE).unwrap();
    let state = tempfile::tempdir().unwrap();
    let running = gateway_with(&cluster, state.path(), &[], "pod-1");
    let address = running.address(8443);
    let hello = Hello { sni: Some("s.test".to_owned()), ..Hello::default() };
    let request = b"GET / HTTP/1.1\r\nhost: s.test\r\nconnection: close\r\n\r\n";
    let shown = || {
        certificates
            .exchange(address, &hello, request)
            .map(|(name, answer)| (name, answer.starts_with(b"HTTP/1.1 200")))
    };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut names = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let (name, is_answered) = shown().expect("a connection fails");
                assert!(is_answered && CERTIFICATES.contains(&&*name), "{name}");
                names.push(name);
            }
            names
        });
        for round in 1..6 {
            let name = CERTIFICATES[round % 2];
            rotate(name);
            wait::until("the certificate is another", || shown().is_ok_and(|(shown, _)| shown == name));
        }
        stop.store(true, Ordering::Relaxed);
        assert!(load.join().unwrap().len() > 5);
    });
}

/// Whether the running gateway has an object.
fn get(gateway: &Gateway, kind: &str, name: &str) -> bool {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_moongate"))
        .args(["get", kind, name, "-n", "default", "--admin", &gateway.admin.to_string()])
        .output()
        .unwrap();
    output.status.success()
}
