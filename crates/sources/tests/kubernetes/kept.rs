//! What is kept, and how it is read.

use super::cluster::{Cluster, GATEWAY, codes, has, pod, route, secret, slice};
use resources::diagnostic::Severity;
use resources::key::{Key, Kind, ObjectRef};
use sources::{Loaded, ObjectVersion, WriteSettings};
use std::sync::Arc;
use testkit::api_server::ApiServer;

const RULES: &str = "/apis/networking.istio.io/v1/destinationrules";
/// Listings of all Pods.
const PODS: &str = "/api/v1/pods?&fieldSelector";
const SUBSETS: &str = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d, namespace: a}\nspec:\n  host: c\n  \
                       subsets: [{name: v1, labels: {version: v1}}]\n";

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
    server.apply(SUBSETS);
    let pods = |loaded: &Loaded| loaded.set.pods.keys().map(|key| key.name.to_string()).collect::<Vec<_>>();
    cluster.until("the Pod of the endpoint", |loaded| pods(loaded) == ["c-pod"]).await;
    assert_eq!(server.requests(PODS), 1, "before, no subset needs the labels of Pods");
    server.delete(RULES, "a", "d");
    cluster.until("no Pods", |loaded| pods(loaded).is_empty()).await;
    // They are listed with the next subset, and not to learn that none is needed.
    server.apply(SUBSETS);
    cluster.until("the Pod again", |loaded| pods(loaded) == ["c-pod"]).await;
    assert_eq!(server.requests(PODS), 2);
}

/// Whoever may write a rule could have all Pods listed time after time otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn pods_are_followed_for_a_while_when_no_subset_needs_them_any_more() {
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    server.apply(&route("r", "c"));
    server.apply(&slice("a", "c", "10.0.0.1"));
    server.apply(&pod("c-pod"));
    server.apply(SUBSETS);
    let mut cluster =
        Cluster::with(&server.kubeconfig(), |settings| settings.pace.unused = 10 * testkit::wait::TIMEOUT).await;
    assert_eq!(cluster.complete().await.set.pods.size(), 1);
    for _ in 0..3 {
        server.delete(RULES, "a", "d");
        let loaded = cluster.until("no rule", |loaded| loaded.set.destination_rules.size() == 0).await;
        assert_eq!(loaded.set.pods.size(), 1);
        server.apply(SUBSETS);
        cluster.until("the rule", |loaded| loaded.set.destination_rules.size() == 1).await;
    }
    assert_eq!(server.requests(PODS), 1);
}

/// Controllers that elect a leader by a ConfigMap write it every few seconds.
#[tokio::test(flavor = "multi_thread")]
async fn gw_14_config_maps_are_kept_that_are_the_mesh_settings_or_that_a_gateway_names() {
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    for name in ["istio", "istio-leader", "trusted"] {
        server.apply(&format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: istio-system}}\ndata: {{a: b}}\n"
        ));
    }
    let maps = |loaded: &Loaded| loaded.set.config_maps.keys().map(|key| key.name.to_string()).collect::<Vec<_>>();
    let mut cluster = Cluster::follow(&server).await;
    assert_eq!(maps(cluster.complete().await), ["istio"]);
    let names = |name: &str| {
        let tls = format!("mode: MUTUAL, caCertCredentialName: 'configmap://istio-system/{name}'");
        GATEWAY.replace("mode: SIMPLE", &tls)
    };
    let has_both = |loaded: &Loaded| {
        let mut maps = maps(loaded);
        maps.sort();
        maps == ["istio", "trusted"]
    };
    server.apply(&names("trusted"));
    cluster.until("what is named", has_both).await;
    server.apply(&names("istio"));
    cluster.until("what is not named any more is gone", |loaded| maps(loaded) == ["istio"]).await;
    server.apply(GATEWAY);
    let is_simple = |loaded: &Loaded| {
        loaded.set.gateways.values().all(|one| {
            one.spec
                .servers
                .iter()
                .filter_map(|server| server.tls.as_ref())
                .all(|tls| tls.ca_cert_credential_name.is_empty())
        })
    };
    let loaded = cluster.until("no ConfigMap is named", is_simple).await;
    assert_eq!(maps(loaded), ["istio"], "the mesh settings need no name");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_kept_where_statuses_are_written() {
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    let object = ObjectRef { kind: Kind::Gateway, key: Key::new("istio-system", "g") };
    for statuses in [true, false] {
        let write = WriteSettings { name: "gateway".into(), identity: "one".into(), statuses, publish: Vec::new() };
        let mut cluster =
            Cluster::with(&server.kubeconfig(), |settings| settings.write = statuses.then_some(write)).await;
        let version = cluster.complete().await.versions.get(&object).copied();
        assert_eq!(version, statuses.then(|| ObjectVersion::new("2", Some(1))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_read_as_from_yaml() {
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    server.apply(&route("good", "b"));
    let mut cluster = Cluster::follow(&server).await;
    let loaded = cluster.complete().await;
    let object = ObjectRef { kind: Kind::Gateway, key: Key::new("istio-system", "g") };
    assert!(loaded.set.source(&object).is_none(), "an API server has no files");
    // A version with errors does not replace one without, and is reported with the path of its field.
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
async fn what_is_only_shown_arrives_and_is_no_change() {
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    server.apply(SUBSETS);
    server.apply(&route("r", "c"));
    server.apply(&slice("a", "c", "10.0.0.1"));
    let service = |ip: &str| {
        let status = format!("{{conditions: [{{type: x}}], loadBalancer: {{ingress: [{{ip: {ip}}}]}}}}");
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: s, namespace: a}}\nspec: {{ports: [{{port: 80}}]}}\nstatus: {status}\n"
        )
    };
    let status = |restarts: u32| {
        let statuses = format!("[{{name: x, image: x, restartCount: {restarts}, state: {{running: {{}}}}}}]");
        pod("c-pod").replace("podIP:", &format!("containerStatuses: {statuses}, podIP:"))
    };
    server.apply(&service("1.1.1.1"));
    server.apply(&status(1));
    let mut cluster = Cluster::follow(&server).await;
    let shown = |loaded: &Loaded| {
        let services = loaded.set.services.values().flat_map(|one| one.spec.ingress()).map(|one| one.ip.to_string());
        let statuses = loaded.set.pods.values().flat_map(|one| one.spec.status.container_statuses.0.iter());
        (services.collect::<Vec<_>>(), statuses.map(|one| one.restart_count).collect::<Vec<_>>())
    };
    cluster.until("everything", |loaded| shown(loaded) == (vec!["1.1.1.1".to_owned()], vec![1])).await;
    server.apply(&service("2.2.2.2"));
    server.apply(&status(2));
    let mut changed = Vec::new();
    while shown(cluster.last.as_ref().unwrap()) != (vec!["2.2.2.2".to_owned()], vec![2]) {
        let loaded = cluster.watch.next().await.unwrap();
        changed.extend(loaded.set.changed.iter().cloned());
        assert!(loaded.only_shown, "{changed:?}");
        cluster.last = Some(loaded);
    }
    assert!(changed.is_empty(), "{changed:?}");
}
