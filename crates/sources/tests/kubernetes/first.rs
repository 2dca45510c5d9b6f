//! What the first configuration waits for, and what it does not.

use super::cluster::{Cluster, GATEWAY, codes, has, node, pod, route, slice};
use resources::key::Kind;
use sources::Loaded;
use std::time::Duration;
use testkit::api_server::ApiServer;
use testkit::wait;

const SUBSETS: &str = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d, namespace: a}\nspec:\n  host: b\n  \
                       subsets: [{name: v1, labels: {version: v1}}]\n";
const SLICES: &str = "/v1/endpointslices?";
const PODS: &str = "/api/v1/pods?";
const SINGLE: &str = "service-name%3Dc";

/// A cluster whose listing of Pods is held, so that the EndpointSlices are known and the configuration is not complete.
async fn before_pods(server: &ApiServer, further: Duration) -> Cluster {
    server.apply(GATEWAY);
    server.apply(&route("r", "b"));
    server.apply(SUBSETS);
    server.apply(&slice("a", "b", "10.0.0.1"));
    server.apply(&slice("a", "c", "10.0.0.2"));
    server.apply(&pod("b-pod"));
    server.hold(Some(PODS));
    let cluster = Cluster::with(&server.kubeconfig(), |settings| settings.pace.further = further).await;
    wait::until("the listing of Pods", || server.held() == 1);
    cluster
}

/// A Gateway that needs all EndpointSlices.
fn passthrough() -> String {
    GATEWAY.replace("name: g,", "name: p,").replace("SIMPLE, credentialName: site", "AUTO_PASSTHROUGH")
}

fn is_whole(loaded: &Loaded) -> bool {
    has(&loaded.set, Kind::EndpointSlice, "a", "c-1") && has(&loaded.set, Kind::Pod, "a", "b-pod")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_configuration_has_what_single_requests_ask_for() {
    let server = ApiServer::start().unwrap();
    let mut cluster = before_pods(&server, 10 * wait::TIMEOUT).await;
    server.hold(Some(SINGLE));
    server.apply(&route("s", "c"));
    wait::until("the single request", || server.held() == 2);
    server.release();
    wait::until("the watch of Pods", || server.requests(PODS) == 2);
    server.release();
    assert!(is_whole(cluster.complete().await));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_configuration_has_what_further_listings_bring() {
    let server = ApiServer::start().unwrap();
    let mut cluster = before_pods(&server, 10 * wait::TIMEOUT).await;
    server.hold(Some(SLICES));
    server.apply(&passthrough());
    wait::until("the second listing of EndpointSlices", || server.held() == 2);
    server.release();
    wait::until("the watch of Pods", || server.requests(PODS) == 2);
    server.release();
    assert!(is_whole(cluster.complete().await));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_configuration_has_what_single_requests_ask_for_although_a_listing_begins_and_fails() {
    let server = ApiServer::start().unwrap();
    let mut cluster = before_pods(&server, 10 * wait::TIMEOUT).await;
    server.hold(Some(SINGLE));
    server.apply(&route("s", "c"));
    wait::until("the single request", || server.held() == 2);
    server.hold(None);
    server.release();
    // The listing has the first page alone, and on it not what is missing.
    server.limit_pages(1);
    server.refuse(503, Some("continue="));
    server.apply(&passthrough());
    assert!(is_whole(cluster.complete().await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_request_that_fails_or_is_never_answered_does_not_hold_up_the_first_configuration() {
    let never = ApiServer::start().unwrap();
    let mut cluster = before_pods(&never, Duration::from_millis(50)).await;
    never.hold(Some(SINGLE));
    never.apply(&route("s", "c"));
    wait::until("the single request", || never.held() == 2);
    never.release();
    assert!(!is_whole(cluster.complete().await));
    let denied = ApiServer::start().unwrap();
    let mut cluster = before_pods(&denied, 10 * wait::TIMEOUT).await;
    denied.refuse(403, Some(SINGLE));
    denied.apply(&route("s", "c"));
    denied.release();
    assert!(!is_whole(cluster.complete().await));
    cluster.until("the finding", |loaded| codes(loaded) == ["MG0031"]).await;
    denied.refuse(403, None);
    cluster.until("the slices", |loaded| is_whole(loaded) && codes(loaded).is_empty()).await;
}

/// Follows a server whose kinds have all been listed while the file of the mesh settings is missing, and puts the file there.
async fn with_late_mesh(server: &ApiServer, mesh: &str, held: &str) -> Cluster {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mesh.yaml");
    server.apply(GATEWAY);
    let mut cluster = Cluster::with(&server.kubeconfig(), |settings| {
        (settings.mesh, settings.with_nodes) = (Some(file.clone()), true);
    })
    .await;
    wait::until("the last watches", || {
        server.requests("/secrets?&watch") == 1 && server.requests("/endpointslices?&watch") == 1
    });
    // The listings are observed before the finding is.
    server.forbid("/api/v1/configmaps", true);
    let is_found = |loaded: &Loaded| codes(loaded).contains(&"MG0031");
    assert!(!cluster.until("the finding", is_found).await.complete);
    server.hold(Some(held));
    std::fs::write(&file, mesh).unwrap();
    let loaded = cluster.until("the mesh settings", |loaded| loaded.mesh.is_some()).await;
    assert!(!loaded.complete, "what the mesh settings refer to is missing");
    wait::until("what the mesh settings need", || server.held() == 1);
    server.release();
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_configuration_has_what_mesh_settings_refer_to_that_are_read_after_the_listings() {
    let server = ApiServer::start().unwrap();
    server.apply(&slice("b", "authz", "10.0.0.1"));
    let mesh = "extensionProviders:\n- {name: e, envoyExtAuthzHttp: {service: authz.b.svc.cluster.local, port: 80}}\n";
    let mut cluster = with_late_mesh(&server, mesh, "service-name%3Dauthz").await;
    assert!(has(&cluster.complete().await.set, Kind::EndpointSlice, "b", "authz-1"));
    let server = ApiServer::start().unwrap();
    server.apply(&node("r1"));
    let mut cluster = with_late_mesh(&server, "localityLbSetting: {enabled: true}\n", "/api/v1/nodes?").await;
    assert_eq!(cluster.complete().await.set.nodes.size(), 1);
}
