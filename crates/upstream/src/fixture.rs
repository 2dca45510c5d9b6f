//! What the tests of several modules need: a cluster without settings, and a wait for a condition.

use ir::{Balancer, Cluster, ClusterId, ClusterTimeouts, EndpointSource, ObjectKind, Origin, UpstreamProtocol};
use std::time::{Duration, Instant};

/// The longest wait of a test; reached only if something is broken.
pub(crate) const LONG: Duration = Duration::from_secs(10);

/// A cluster of HTTP/1 endpoints for port 80 of a host.
pub(crate) fn cluster(host: &str, endpoints: EndpointSource) -> Cluster {
    Cluster {
        id: ClusterId::outbound(80, "", host),
        host: host.into(),
        origin: Origin { kind: ObjectKind::ServiceEntry, namespace: "d".into(), name: "n".into(), rule: "".into() },
        policy: None,
        endpoints,
        balance: Balancer::RoundRobin.into(),
        protocol: UpstreamProtocol::Http1,
        tls: None,
        timeouts: ClusterTimeouts { connect: LONG, idle: LONG },
        limits: None,
        outlier: None,
        proxy_protocol: None,
        credential: None,
    }
}

/// Waits until `condition` holds, while other tasks run; panics with `what` after [`LONG`].
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LONG, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
