//! An API server as a source: what is kept, what is kept although the server fails, and what absence is proven by.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use resources::diagnostic::Severity;
use resources::key::{Key, Kind, ObjectRef};
use resources::set::ResourceSet;
use sources::{Access, KubernetesSettings, KubernetesSource, Loaded, Pace, Watch, watch};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use testkit::api_server::{self, ApiServer};
use testkit::wait::TIMEOUT;

const GATEWAYS: &str = "/apis/networking.istio.io/v1/gateways";
const VIRTUAL_SERVICES: &str = "/apis/networking.istio.io/v1/virtualservices";
const SECRETS: &str = "/api/v1/secrets";

const GATEWAY: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: site}}]
";

/// Everything that a source has said so far.
struct Cluster {
    watch: Watch,
    last: Option<Loaded>,
    _folder: tempfile::TempDir,
}

impl Cluster {
    async fn follow(server: &ApiServer) -> Self {
        Self::with_state(&server.kubeconfig(), None).await
    }

    async fn with_state(kubeconfig: &str, state: Option<&Path>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().join("config");
        std::fs::write(&path, kubeconfig).unwrap();
        let [first, longest, install, removal] = [5, 20, 20, 100].map(Duration::from_millis);
        let settings = KubernetesSettings {
            access: Access { kubeconfig: Some(path), context: None },
            namespace: "istio-system".into(),
            state: state.map(Path::to_owned),
            pace: Pace { first, longest, install, removal },
            write: None,
        };
        Self { watch: watch(KubernetesSource::new(settings).await.unwrap()), last: None, _folder: folder }
    }

    /// Waits until what was read meets a condition.
    async fn until(&mut self, what: &str, condition: impl Fn(&Loaded) -> bool) -> &Loaded {
        let search = async {
            while !self.last.as_ref().is_some_and(&condition) {
                self.last = Some(self.watch.next().await.expect("the source goes on"));
            }
        };
        if tokio::time::timeout(TIMEOUT, search).await.is_err() {
            panic!("waited too long: {what}; there is {:#?}", self.last);
        }
        self.last.as_ref().unwrap()
    }

    async fn complete(&mut self) -> &Loaded {
        self.until("the configuration is complete", |loaded| loaded.complete).await
    }
}

fn has(set: &ResourceSet, kind: Kind, namespace: &str, name: &str) -> bool {
    set.contains(&ObjectRef { kind, key: Key { namespace: namespace.into(), name: name.into() } })
}

fn route(name: &str, host: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: a}}\nspec:\n  hosts: [x.test]\n  \
         gateways: [istio-system/g]\n  http: [{{route: [{{destination: {{host: {host}}}}}]}}]\n---\n"
    )
}

fn slice(namespace: &str, service: &str, address: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {service}-1\n  namespace: {namespace}\n  labels: \
         {{kubernetes.io/service-name: {service}}}\naddressType: IPv4\nports: [{{port: 80}}]\nendpoints: [{{addresses: [{address}], \
         targetRef: {{kind: Pod, name: {service}-pod, namespace: {namespace}}}}}]\n---\n"
    )
}

fn secret(namespace: &str, name: &str, kind: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: {namespace}}}\ntype: {kind}\ndata: {{tls.crt: eA==}}\n---\n"
    )
}

fn pod(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: a, labels: {{version: v1}}}}\nstatus: {{phase: Running, podIP: \
         10.0.0.1}}\n---\n"
    )
}

fn codes(loaded: &Loaded) -> Vec<&'static str> {
    loaded.diagnostics.iter().map(|one| one.code).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_something_refers_to_is_kept() {
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    server.apply(&route("r", "b"));
    for (namespace, service) in [("a", "b"), ("a", "c"), ("d", "b")] {
        server.apply(&slice(namespace, service, "10.0.0.1"));
    }
    for (namespace, name) in [("istio-system", "site"), ("istio-system", "other"), ("a", "site")] {
        server.apply(&secret(namespace, name, "kubernetes.io/tls"));
    }
    server.apply(&pod("b-pod"));
    server.apply(&pod("c-pod"));
    let mut cluster = Cluster::follow(&server).await;
    let set = Arc::clone(&cluster.complete().await.set);
    assert!(has(&set, Kind::EndpointSlice, "a", "b-1") && has(&set, Kind::Secret, "istio-system", "site"));
    assert_eq!((set.endpoint_slices.size(), set.secrets.size(), set.pods.size()), (1, 1, 0));
    assert_eq!(server.requests("/pods"), 0, "no subset needs the labels of Pods");

    // A new reference brings what is there, a reference that is gone takes it away.
    server.apply(&route("r", "c.a.svc.cluster.local"));
    let swapped = |loaded: &Loaded| {
        has(&loaded.set, Kind::EndpointSlice, "a", "c-1") && !has(&loaded.set, Kind::EndpointSlice, "a", "b-1")
    };
    cluster.until("the slices of the other Service", swapped).await;
    // Changes of what is kept arrive, and those of others do not.
    server.apply(&slice("a", "b", "10.0.0.7"));
    server.apply(&slice("a", "c", "10.0.0.8"));
    let address = |loaded: &Loaded| {
        let slices = loaded.set.endpoint_slices.values();
        slices.map(|one| one.spec.endpoints[0].addresses[0].to_string()).collect::<Vec<_>>()
    };
    cluster.until("the new address", |loaded| address(loaded) == ["10.0.0.8"]).await;

    // Subsets need the labels of the Pods that endpoints name.
    server.apply(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d, namespace: a}\nspec:\n  host: c\n  subsets: \
         [{name: v1, labels: {version: v1}}]\n",
    );
    let pods = |loaded: &Loaded| loaded.set.pods.keys().map(|key| key.name.to_string()).collect::<Vec<_>>();
    cluster.until("the Pod of the endpoint", |loaded| pods(loaded) == ["c-pod"]).await;
    server.delete("/apis/networking.istio.io/v1/destinationrules", "a", "d");
    cluster.until("no Pods", |loaded| pods(loaded).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_read_as_from_yaml_and_have_their_versions() {
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    server.apply(&route("good", "b"));
    let mut cluster = Cluster::follow(&server).await;
    let loaded = cluster.complete().await;
    let object = ObjectRef { kind: Kind::Gateway, key: Key { namespace: "istio-system".into(), name: "g".into() } };
    assert_eq!(&*loaded.versions.get(&object).unwrap().resource_version, "2");
    assert!(loaded.set.source(&object).is_none(), "an API server has no files");
    // A version with errors does not replace one without, and is told with the path of its field.
    server.apply(&route("good", "b").replace("http:", "htpp:"));
    let loaded = cluster.until("the error", |loaded| codes(loaded).contains(&"MG0004")).await;
    let error = loaded.diagnostics.iter().find(|one| one.code == "MG0004").unwrap();
    assert_eq!((error.severity, &*error.field, &error.position), (Severity::Error, "spec.htpp", &None));
    let kept = loaded.set.virtual_services.values().next().unwrap();
    assert_eq!(kept.spec.http.len(), 1, "the last good version is kept");
    server.apply(&route("good", "c"));
    let fixed = |loaded: &Loaded| !codes(loaded).contains(&"MG0004");
    cluster.until("the object without errors", fixed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_not_gone() {
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    server.apply(&route("one", "b"));
    server.apply(&route("two", "b"));
    let mut cluster = Cluster::follow(&server).await;
    cluster.complete().await;
    // A server that fails: everything stays, and one finding says why.
    server.fail(true);
    let loaded = cluster.until("the finding", |loaded| loaded.unavailable > 0).await;
    assert_eq!(codes(loaded), ["MG0030"]);
    assert_eq!((loaded.set.gateways.size(), loaded.set.virtual_services.size()), (1, 2));
    // What is deleted meanwhile is found missing by the listing afterwards: the versions before have expired.
    server.delete_silently(VIRTUAL_SERVICES, "a", "two");
    server.expire();
    server.fail(false);
    let recovered = |loaded: &Loaded| loaded.unavailable == 0 && loaded.set.virtual_services.size() == 1;
    let loaded = cluster.until("what is left", recovered).await;
    assert!(has(&loaded.set, Kind::VirtualService, "a", "one") && loaded.diagnostics.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_is_cut_goes_on_where_it_was() {
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    let mut cluster = Cluster::follow(&server).await;
    cluster.complete().await;
    for number in 0..3 {
        server.cut();
        server.apply(&GATEWAY.replace("name: g,", &format!("name: h{number},")));
        cluster.until("the new Gateway", |loaded| loaded.set.gateways.size() == 2 + number).await;
    }
    assert_eq!(server.requests(&format!("{GATEWAYS}?&limit")), 1, "it is listed once");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_pages_that_expire_are_listed_again() {
    let server = ApiServer::start().unwrap();
    for number in 0..1203 {
        server.apply(&route(&format!("r{number}"), "b"));
    }
    server.expire_pages();
    let mut cluster = Cluster::follow(&server).await;
    assert_eq!(cluster.complete().await.set.virtual_services.size(), 1203);
    assert!(server.requests("continue=") >= 3, "page by page, and once more");
    server.delete_silently(VIRTUAL_SERVICES, "a", "r7");
    server.expire();
    let loaded = cluster.until("the object that is gone", |loaded| loaded.set.virtual_services.size() == 1202).await;
    assert_eq!(loaded.set.changed.len(), 1, "a listing repeats what is known");
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_that_are_not_installed_are_waited_for_and_removed_only_for_sure() {
    let server = ApiServer::start().unwrap();
    server.install(VIRTUAL_SERVICES, false);
    server.apply(GATEWAY);
    let mut cluster = Cluster::follow(&server).await;
    let is_known = |loaded: &Loaded| loaded.complete && codes(loaded) == ["MG0032"];
    let loaded = cluster.until("the finding", is_known).await;
    assert!(loaded.diagnostics[0].message.ends_with("virtualservices.networking.istio.io"));
    server.install(VIRTUAL_SERVICES, true);
    server.apply(&route("late", "b"));
    let late = |loaded: &Loaded| loaded.set.virtual_services.size() == 1 && loaded.diagnostics.is_empty();
    cluster.until("the objects of the new kind", late).await;
    // An API server that starts lacks kinds for a moment.
    server.install(GATEWAYS, false);
    cluster.until("the kind is gone for good", |loaded| loaded.set.gateways.size() == 0).await;
    assert_eq!(cluster.last.as_ref().unwrap().set.virtual_services.size(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_rights_are_one_finding_and_nothing_is_complete_without_them() {
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    server.forbid(GATEWAYS, true);
    server.forbid("/api/v1/services", true);
    let mut cluster = Cluster::follow(&server).await;
    let both = |loaded: &Loaded| {
        let found = loaded.diagnostics.iter().find(|one| one.code == "MG0031");
        found.is_some_and(|one| one.message.contains("gateways.networking.istio.io, services:"))
    };
    let loaded = cluster.until("the finding", both).await;
    assert_eq!((codes(loaded), loaded.complete), (vec!["MG0031"], false));
    server.forbid(GATEWAYS, false);
    server.forbid("/api/v1/services", false);
    let loaded = cluster.complete().await;
    assert!(has(&loaded.set, Kind::Gateway, "istio-system", "g"));
    cluster.until("no finding", |loaded| loaded.diagnostics.is_empty()).await;
    // Rights that are withdrawn while all is served take nothing away.
    server.forbid(SECRETS, true);
    let loaded = cluster.until("the finding", |loaded| codes(loaded) == ["MG0031"]).await;
    assert!(loaded.complete && loaded.set.gateways.size() == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_a_server_has_what_was_kept() {
    let state = tempfile::tempdir().unwrap();
    let nowhere = api_server::kubeconfig(([127, 0, 0, 1], testkit::ports::free()).into());
    {
        let server = ApiServer::start().unwrap();
        server.apply(GATEWAY);
        server.apply(&route("r", "b"));
        server.apply(&slice("a", "b", "10.0.0.1"));
        server.apply(&secret("istio-system", "site", "kubernetes.io/tls"));
        let mut cluster = Cluster::with_state(&server.kubeconfig(), Some(state.path())).await;
        cluster.complete().await;
        server.apply(&route("s", "b"));
        server.delete(VIRTUAL_SERVICES, "a", "r");
        let is_changed = |loaded: &Loaded| {
            has(&loaded.set, Kind::VirtualService, "a", "s") && loaded.set.virtual_services.size() == 1
        };
        cluster.until("the change", is_changed).await;
    }
    let objects = state.path().join("objects/virtualservices.networking.istio.io/a");
    testkit::wait::until("the change is kept", || {
        state.path().join("complete").exists() && objects.join("s").exists() && !objects.join("r").exists()
    });
    let mut cluster = Cluster::with_state(&nowhere, Some(state.path())).await;
    let loaded = cluster.complete().await;
    assert!(has(&loaded.set, Kind::VirtualService, "a", "s") && has(&loaded.set, Kind::Secret, "istio-system", "site"));
    assert!(has(&loaded.set, Kind::EndpointSlice, "a", "b-1"));
    let loaded = cluster.until("the finding", |loaded| loaded.unavailable > 0).await;
    assert_eq!((codes(loaded), loaded.set.virtual_services.size()), (vec!["MG0030"], 1));
    drop(cluster);
    // Without a folder there is nothing to serve.
    let mut cluster = Cluster::with_state(&nowhere, None).await;
    let loaded = cluster.until("the finding", |loaded| loaded.unavailable > 0).await;
    assert!(!loaded.complete);
    drop(cluster);
    // With a server again, what has changed meanwhile is found.
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    let mut cluster = Cluster::with_state(&server.kubeconfig(), Some(state.path())).await;
    let is_new = |loaded: &Loaded| loaded.set.virtual_services.size() == 0 && loaded.set.gateways.size() == 1;
    let loaded = cluster.until("what the server has", is_new).await;
    assert!(has(&loaded.set, Kind::Gateway, "istio-system", "g"));
    cluster.until("nothing refers to the slice", |loaded| loaded.set.endpoint_slices.size() == 0).await;
}
