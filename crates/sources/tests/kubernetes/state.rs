//! A folder that keeps what was read for a start without a server.

use super::cluster::{Cluster, GATEWAY, VIRTUAL_SERVICES, codes, has, route, secret, slice};
use resources::key::Kind;
use sources::Loaded;
use testkit::api_server::{self, ApiServer};

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
    let is_kept = |name: &str| {
        let begin = format!("virtualservices.networking.istio.io a {name} ");
        let text = std::fs::read_to_string(state.path().join("objects")).unwrap_or_default();
        text.lines().rfind(|line| line.starts_with(&begin)).is_some_and(|line| line.ends_with('}'))
    };
    testkit::wait::until("the change is kept", || {
        state.path().join("complete").exists() && is_kept("s") && !is_kept("r")
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

/// Without its guard, the traffic of a policy that was never valid would pass after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_a_server_keeps_the_guards_of_rejected_objects_or_waits() {
    let state = tempfile::tempdir().unwrap();
    let nowhere = api_server::kubeconfig(([127, 0, 0, 1], testkit::ports::free()).into());
    let guarded = |loaded: &Loaded| loaded.complete && has(&loaded.set, Kind::AuthorizationPolicy, "istio-system", "p");
    {
        let server = ApiServer::start().unwrap();
        server.apply(GATEWAY);
        server.apply(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: istio-system}\n\
             spec: {action: REFUSE}\n",
        );
        let mut cluster = Cluster::with_state(&server.kubeconfig(), Some(state.path())).await;
        cluster.until("the guard", guarded).await;
        testkit::wait::until("the configuration is kept", || state.path().join("complete").exists());
    }
    let mut cluster = Cluster::with_state(&nowhere, Some(state.path())).await;
    cluster.until("the guard without a server", guarded).await;
    drop(cluster);
    // A file that was cut might be another policy.
    let file = state.path().join("objects");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, whole.split_at(whole.len() / 2).0).unwrap();
    let mut cluster = Cluster::with_state(&nowhere, Some(state.path())).await;
    let loaded = cluster.until("the finding", |loaded| loaded.unavailable > 0).await;
    assert!(!loaded.complete && loaded.set.gateways.size() == 0);
}
