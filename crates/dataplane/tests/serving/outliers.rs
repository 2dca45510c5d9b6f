//! Outlier detection: endpoints whose requests fail are ejected for some time (DR-30).

use crate::backend::Backend;
use crate::gateway::{Gateway, Setup, forward, retrying, until};
use ir::{Balance, OutlierDetection};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use testkit::ports::refusing;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const ACTIVE: &str = "envoy_cluster_outlier_detection_ejections_active{";

fn policy() -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx: 3,
        consecutive_gateway_failure: 0,
        consecutive_local_origin_failure: None,
        error_statuses: [].into(),
        interval: Duration::from_secs(3600),
        base_ejection_time: Duration::from_secs(3600),
        max_ejection_time: Duration::from_secs(3600),
        max_ejection_percent: 100,
    }
}

fn setup(endpoints: &[SocketAddr], policy: OutlierDetection) -> Setup {
    let setup = Setup::default().host("*", retrying("c", None, None)).cluster("c", endpoints);
    setup.with_clusters(|cluster| cluster.outlier = Some(Arc::new(policy.clone())))
}

fn answering(status: u16) -> Backend {
    Backend::answering(&format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"))
}

/// Sends requests until this number of endpoints is ejected.
fn eject(gateway: &Gateway, count: f64) {
    let mut client = gateway.client();
    until("an ejection", || {
        client.get("/").answer();
        gateway.metric(ACTIVE) == Some(count)
    });
}

#[test]
fn dr_30_an_endpoint_that_answers_500_is_left_for_another() {
    let (bad, good) = (answering(500), Backend::answering(OK));
    let gateway = Gateway::serving(&setup(&[bad.address, good.address], policy()));
    eject(&gateway, 1.0);
    let before = bad.seen().len();
    let mut client = gateway.client();
    assert!((0..20).all(|_| client.get("/").answer().status == 200));
    assert_eq!(bad.seen().len(), before);
    assert_eq!(gateway.metric("envoy_cluster_outlier_detection_ejections_enforced_total{"), Some(1.0));
}

#[test]
fn dr_30_an_endpoint_is_restored_after_its_ejection_time() {
    let (bad, good) = (answering(500), Backend::answering(OK));
    let short = Duration::from_millis(20);
    let policy = OutlierDetection { interval: short, base_ejection_time: short, max_ejection_time: short, ..policy() };
    let gateway = Gateway::serving(&setup(&[bad.address, good.address], policy));
    let mut client = gateway.client();
    // Ejected, restored, and ejected again.
    until("two ejections", || {
        client.get("/").answer();
        gateway.metric("envoy_cluster_outlier_detection_ejections_enforced_total{") >= Some(2.0)
    });
}

#[test]
fn dr_30_with_none_left_it_is_503_uh_unless_all_are_used_then() {
    let bad = answering(500);
    let gateway = Gateway::serving(&setup(&[bad.address], policy()));
    let mut client = gateway.client();
    until("no endpoint", || client.get("/").answer().status == 503);
    assert_eq!(client.get("/").answer().text(), "no healthy upstream");
    gateway.has_counted(r#"response_code="503",response_flags="UH""#);

    let panicking = setup(&[bad.address], policy()).with_clusters(|cluster| {
        cluster.balance = Arc::new(Balance { panic_threshold: 50, ..Balance::clone(&cluster.balance) });
    });
    let gateway = Gateway::serving(&panicking);
    eject(&gateway, 1.0);
    assert_eq!(gateway.client().get("/").answer().status, 500);
}

#[test]
fn dr_30_connections_that_fail_break_or_take_too_long_count() {
    let nobody = refusing();
    let breaking = Backend::start(|side| {
        side.request();
    });
    let slow = Backend::start(|side| while side.more().is_some() {});
    let good = Backend::answering(OK);
    let split = OutlierDetection { consecutive_5xx: 0, consecutive_local_origin_failure: Some(3), ..policy() };
    // With split errors, an established connection resets the count of local failures, whatever follows.
    for (bad, policy) in [(nobody, split), (nobody, policy()), (breaking.address, policy())] {
        let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[bad, good.address]);
        let setup = setup.with_clusters(|cluster| cluster.outlier = Some(Arc::new(policy.clone())));
        let gateway = Gateway::serving(&setup);
        eject(&gateway, 1.0);
        let mut client = gateway.client();
        assert!((0..10).all(|_| client.get("/").answer().status == 200));
    }
    // The endpoint is the only one, since no endpoint is certain to respond within such a short time.
    let setup = Setup::default().host("*", forward("c", Some(Duration::from_millis(20)))).cluster("c", &[slow.address]);
    let gateway = Gateway::serving(&setup.with_clusters(|cluster| cluster.outlier = Some(Arc::new(policy()))));
    eject(&gateway, 1.0);
}

#[test]
fn dr_30_grpcs_statuses_count_as_those_of_http() {
    let told = |status: u8| {
        Backend::answering(&format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\ngrpc-status: {status}\r\nContent-Length: 0\r\n\r\n"
        ))
    };
    let (internal, not_found) = (told(13), told(5));
    let gateway = Gateway::serving(&setup(&[internal.address, not_found.address], policy()));
    let mut client = gateway.client();
    until("an ejection", || {
        client.send("POST /p.S/M HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n");
        client.answer();
        gateway.metric(ACTIVE) == Some(1.0)
    });
    let before = internal.seen().len();
    client.get("/").answer();
    client.get("/").answer();
    assert_eq!(internal.seen().len(), before);
}

#[test]
fn dr_30_connections_of_bytes_that_fail_count() {
    let nobody = refusing();
    let good = Backend::start(|side| {
        side.send("hello");
    });
    let setup = Setup::default().tcp("c").cluster("c", &[nobody, good.address]);
    let gateway = Gateway::serving(&setup.with_clusters(|cluster| cluster.outlier = Some(Arc::new(policy()))));
    until("an ejection", || {
        assert_eq!(gateway.client().rest(), b"hello");
        gateway.metric(ACTIVE) == Some(1.0)
    });
}
