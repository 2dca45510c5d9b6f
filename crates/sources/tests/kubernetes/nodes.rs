//! Nodes: read where it matters where endpoints are, and no more of them than that.

use super::cluster::{Cluster, GATEWAY, codes, node};
use sources::Loaded;
use testkit::api_server::ApiServer;
use testkit::wait::TIMEOUT;

const NODES: &str = "/api/v1/nodes";
const LISTINGS: &str = "/api/v1/nodes?&limit";
const RULES: &str = "/apis/networking.istio.io/v1/destinationrules";

const RULE: &str = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d, namespace: a}\nspec:\n  host: b\n  \
                    trafficPolicy: {outlierDetection: {}}\n";

async fn follow(server: &ApiServer) -> Cluster {
    Cluster::with(&server.kubeconfig(), |settings| settings.with_nodes = true).await
}

fn labels(loaded: &Loaded) -> Vec<String> {
    let nodes = loaded.set.nodes.values();
    nodes.flat_map(|node| node.meta.labels.iter().map(|(name, value)| format!("{name}={value}"))).collect()
}

fn of_region(region: &str) -> [String; 2] {
    [format!("topology.kubernetes.io/region={region}"), "topology.kubernetes.io/zone=z".to_owned()]
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_read_where_it_matters_where_endpoints_are() {
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    server.apply(&node("r1"));
    let mut cluster = follow(&server).await;
    assert_eq!(cluster.complete().await.set.nodes.size(), 0);
    server.apply(RULE);
    let loaded = cluster.until("the Node", |loaded| loaded.set.nodes.size() == 1).await;
    assert_eq!(server.requests(LISTINGS), 1, "before, nothing goes by the place of endpoints");
    assert_eq!(labels(loaded), of_region("r1"));
    assert!(loaded.set.nodes.values().all(|node| node.meta.annotations.is_empty()));
    server.apply(&node("r2"));
    cluster.until("the other region", |loaded| labels(loaded) == of_region("r2")).await;
    server.delete(RULES, "a", "d");
    cluster.until("no Nodes", |loaded| loaded.set.nodes.size() == 0).await;
}

/// Whoever may write a rule could have all of them read, and everything compiled, time after time otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_kept_for_a_while_when_nothing_refers_to_them_any_more() {
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    server.apply(RULE);
    server.apply(&node("r1"));
    let mut cluster = Cluster::with(&server.kubeconfig(), |settings| {
        (settings.with_nodes, settings.pace.unused) = (true, 10 * TIMEOUT);
    })
    .await;
    assert_eq!(cluster.complete().await.set.nodes.size(), 1);
    for number in 0..3 {
        server.delete(RULES, "a", "d");
        cluster.until("no rule", |loaded| loaded.set.destination_rules.size() == 0).await;
        // What the Nodes are is known all the same.
        let region = format!("r{number}-other");
        server.apply(&node(&region));
        cluster.until("the other region", |loaded| labels(loaded) == of_region(&region)).await;
        server.apply(RULE);
        let loaded = cluster.until("the rule", |loaded| loaded.set.destination_rules.size() == 1).await;
        assert_eq!(loaded.set.nodes.size(), 1);
    }
    assert_eq!(server.requests(LISTINGS), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_part_of_the_first_configuration_and_no_condition_of_it() {
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    server.apply(RULE);
    server.apply(&node("r1"));
    assert_eq!(labels(follow(&server).await.complete().await), of_region("r1"));
    let mut cluster = Cluster::follow(&server).await;
    assert_eq!(cluster.complete().await.set.nodes.size(), 0, "the gateway does not know where it is itself");
    // Without the right to read them, zones of endpoints are known all the same.
    server.forbid(NODES, true);
    let mut cluster = follow(&server).await;
    cluster.complete().await;
    let loaded = cluster.until("the finding", |loaded| codes(loaded) == ["MG0031"]).await;
    assert!(loaded.diagnostics[0].message.contains("nodes"), "{:?}", loaded.diagnostics);
    server.forbid(NODES, false);
    cluster.until("the Node", |loaded| loaded.set.nodes.size() == 1 && loaded.diagnostics.is_empty()).await;
}
