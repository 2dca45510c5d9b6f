//! What is not gone although it cannot be read, and what is.

use super::cluster::{Cluster, GATEWAY, GATEWAYS, SECRETS, VIRTUAL_SERVICES, codes, has, route};
use resources::key::Kind;
use sources::Loaded;
use testkit::api_server::ApiServer;
use testkit::wait::TIMEOUT;

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
async fn a_listing_that_the_server_does_not_understand_is_a_finding() {
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    server.refuse(400, Some(GATEWAYS));
    let mut cluster = Cluster::follow(&server).await;
    let loaded = cluster.until("the finding", |loaded| codes(loaded) == ["MG0030"]).await;
    assert!(
        loaded.diagnostics[0].message.ends_with("400 /apis/networking.istio.io/v1/gateways is refused"),
        "{loaded:?}"
    );
    server.refuse(400, None);
    cluster.complete().await;
    cluster.until("no finding", |loaded| loaded.diagnostics.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_objects_are_asked_for_where_a_page_is_too_large() {
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    let large = "x".repeat(50_000);
    for number in 0..400 {
        server.put(serde_json::json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("n{number}"), "annotations": {"a": large}},
        }));
    }
    let mut cluster = Cluster::follow(&server).await;
    assert_eq!(cluster.complete().await.set.namespaces.size(), 400);
    let of_size = |size: usize| server.requests(&format!("/namespaces?&limit={size}"));
    assert_eq!((of_size(500), of_size(250)), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_watch_is_not_asked_for_listings_in_a_loop() {
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    server.refuse(400, Some("/gateways?&watch"));
    let mut cluster = Cluster::with(&server.kubeconfig(), |settings| {
        (settings.pace.first, settings.pace.longest) = (10 * TIMEOUT, 10 * TIMEOUT);
    })
    .await;
    cluster.complete().await;
    testkit::wait::until("the watch", || server.requests("/gateways?&watch") == 1);
    for number in 1..=20 {
        server.apply(&route(&format!("r{number}"), "b"));
        cluster.until("the route", |loaded| loaded.set.virtual_services.size() == number).await;
    }
    assert_eq!(server.requests(&format!("{GATEWAYS}?&limit")), 1);
    cluster.reload.request();
    testkit::wait::until("the listing that is asked for", || server.requests(&format!("{GATEWAYS}?&limit")) == 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_can_be_listed_and_not_watched_is_a_finding_until_it_is_watched() {
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    server.refuse(410, Some("/gateways?&watch"));
    let mut cluster = Cluster::follow(&server).await;
    let is_found = |loaded: &Loaded| loaded.complete && codes(loaded) == ["MG0030"];
    let loaded = cluster.until("the finding", is_found).await;
    assert!(
        loaded.diagnostics[0].message.ends_with("it refuses each watch of /apis/networking.istio.io/v1/gateways"),
        "{:?}",
        loaded.diagnostics
    );
    // A listing brings what is new, and solves nothing.
    for number in 1..=3 {
        server.apply(&GATEWAY.replace("name: g,", &format!("name: h{number},")));
        let loaded = cluster.until("the Gateway", |loaded| loaded.set.gateways.size() == number + 1).await;
        assert_eq!(codes(loaded), ["MG0030"]);
    }
    server.refuse(410, None);
    cluster.until("no finding", |loaded| loaded.diagnostics.is_empty()).await;
    let listings = server.requests(&format!("{GATEWAYS}?&limit"));
    server.apply(&GATEWAY.replace("name: g,", "name: i,"));
    cluster.until("the last Gateway", |loaded| loaded.set.gateways.size() == 5).await;
    assert_eq!(server.requests(&format!("{GATEWAYS}?&limit")), listings);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_is_not_allowed_is_a_finding_that_listings_do_not_solve() {
    for status in [403, 503] {
        let server = ApiServer::start().unwrap();
        server.apply(GATEWAY);
        server.refuse(status, Some("/gateways?&watch"));
        let mut cluster = Cluster::follow(&server).await;
        let is_refused =
            |loaded: &Loaded| loaded.diagnostics.iter().any(|one| one.message.contains("refuses each watch"));
        cluster.until("the finding", is_refused).await;
        server.apply(&GATEWAY.replace("name: g,", "name: h,"));
        let loaded = cluster.until("the Gateway", |loaded| loaded.set.gateways.size() == 2).await;
        assert!(!loaded.diagnostics.is_empty(), "{status}");
        server.refuse(status, None);
        cluster.until("no finding", |loaded| loaded.diagnostics.is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_never_reaches_its_last_page_is_a_finding() {
    let server = ApiServer::start().unwrap();
    server.apply(GATEWAY);
    server.apply(&GATEWAY.replace("name: g,", "name: h,"));
    server.limit_pages(1);
    server.refuse(410, Some("continue="));
    let mut cluster = Cluster::follow(&server).await;
    let is_found =
        |loaded: &Loaded| loaded.diagnostics.iter().any(|one| one.message.contains("expire before their last page"));
    cluster.until("the finding", is_found).await;
    server.refuse(410, None);
    let is_whole =
        |loaded: &Loaded| loaded.complete && loaded.set.gateways.size() == 2 && loaded.diagnostics.is_empty();
    cluster.until("both", is_whole).await;
}
