use super::*;
use crate::collector::{Collector, Loaded};
use std::time::Duration;
use testkit::api_server::ApiServer;
use testkit::wait::TIMEOUT;

const GATEWAY: &str = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: istio-system}\nspec:\n  \
     servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]\n";

/// Reports until what is collected meets a condition.
async fn until(
    source: &mut KubernetesSource,
    collector: &mut Collector,
    what: &str,
    condition: impl Fn(&Loaded) -> bool,
) {
    let search = async {
        while !condition(&collector.take()) {
            let batch = source.next(collector.set().clone()).await;
            collector.apply(batch.expect("the source goes on"));
        }
    };
    assert!(tokio::time::timeout(TIMEOUT, search).await.is_ok(), "waited too long: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_of_files_that_fails_is_reported_and_tried_again_and_loses_no_event() {
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    let folder = tempfile::tempdir().unwrap();
    let (kubeconfig, mesh) = (folder.path().join("config"), folder.path().join("mesh.yaml"));
    std::fs::write(&kubeconfig, server.kubeconfig()).unwrap();
    std::fs::write(&mesh, "rootNamespace: one\n").unwrap();
    let settings = KubernetesSettings {
        access: Access { kubeconfig: Some(kubeconfig), context: None },
        namespace: "istio-system".into(),
        mesh: Some(mesh.clone()),
        certificates: None,
        with_nodes: false,
        state: None,
        // Findings are reported with the batch that they come up in: however long the batches take, no retry can come first.
        pace: Pace { first: Duration::ZERO, ..Pace::default() },
        write: None,
    };
    let mut source = KubernetesSource::new(settings).await.unwrap();
    let mut collector = Collector::default();
    // The first reading of all, and one that comes with objects.
    source.keeper.files.fail();
    until(&mut source, &mut collector, "the configuration", |loaded| loaded.complete).await;
    assert_eq!(&*collector.take().mesh.unwrap().text, "rootNamespace: one\n");
    source.keeper.files.fail();
    source.keeper.files.request();
    server.apply(&GATEWAY.replace("name: g,", "name: h,"));
    let is_found = |loaded: &Loaded| loaded.diagnostics.iter().any(|one| one.message.contains("a test's failure"));
    until(&mut source, &mut collector, "the finding", is_found).await;
    until(&mut source, &mut collector, "the object", |loaded| loaded.set.gateways.size() == 2).await;
    until(&mut source, &mut collector, "no finding", |loaded| loaded.diagnostics.is_empty()).await;
}
