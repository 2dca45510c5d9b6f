//! Single requests for what something begins to refer to, beside the watch of the kind.

use super::cluster::{Cluster, GATEWAY, has, route, slice};
use resources::key::Kind;
use sources::Loaded;
use testkit::api_server::ApiServer;
use testkit::wait;

const OF_B: &str = "service-name%3Db";

fn addresses(loaded: &Loaded) -> Vec<String> {
    let slices = loaded.set.endpoint_slices.values();
    slices.map(|one| one.spec.endpoints[0].addresses[0].to_string()).collect()
}

/// Applies a further VirtualService, and waits until it is seen: the VirtualServices of before have been dealt with, since a kind has one watch.
/// Objects of other kinds may arrive later, such as the EndpointSlice, whose event changes nothing of what comes out.
async fn mark(server: &ApiServer, cluster: &mut Cluster, name: &str) {
    server.apply(&route(name, "elsewhere"));
    cluster.until("the mark", |loaded| has(&loaded.set, Kind::VirtualService, "a", name)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_answer_of_a_single_request_does_not_win_over_a_newer_one() {
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    server.apply(&slice("a", "b", "10.0.0.1"));
    let mut cluster = Cluster::follow(&server).await;
    cluster.complete().await;
    server.hold(Some(OF_B));
    server.apply(&route("r", "b"));
    wait::until("the first request", || server.held() == 1);
    server.apply(&route("r", "elsewhere"));
    server.apply(&slice("a", "b", "10.0.0.2"));
    mark(&server, &mut cluster, "one").await;
    server.apply(&route("r", "b"));
    wait::until("the second request", || server.held() == 2);
    server.release();
    mark(&server, &mut cluster, "two").await;
    server.release();
    cluster.until("the present address", |loaded| addresses(loaded) == ["10.0.0.2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_pages_of_an_answer_are_read() {
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    for number in 1..=5 {
        server.apply(&slice("a", "b", &format!("10.0.0.{number}")).replace("name: b-1", &format!("name: b-{number}")));
    }
    let mut cluster = Cluster::follow(&server).await;
    cluster.complete().await;
    server.limit_pages(2);
    server.apply(&route("r", "b"));
    cluster.until("all slices", |loaded| addresses(loaded).len() == 5).await;
    assert_eq!(server.requests(OF_B), 3, "page by page");
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_objects_are_asked_for_where_an_answer_is_too_large() {
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    let large = "x".repeat(50_000);
    for number in 0..400 {
        server.put(serde_json::json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": [],
            "metadata": {
                "name": format!("b-{number}"), "namespace": "a", "labels": {"kubernetes.io/service-name": "b"},
                "annotations": {"a": large},
            },
        }));
    }
    let mut cluster = Cluster::follow(&server).await;
    cluster.complete().await;
    server.apply(&route("r", "b"));
    cluster.until("all slices", |loaded| loaded.set.endpoint_slices.size() == 400).await;
    let of_size = |size: usize| server.requests(&format!("{OF_B}&limit={size}"));
    assert_eq!((of_size(500), of_size(250), server.requests(OF_B)), (1, 2, 3));
}
