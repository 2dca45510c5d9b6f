use super::*;
use crate::balance::PickContext;
use crate::endpoint::{EndpointState, Outcome};
use crate::fixture;
use crate::store::{Settings, UpstreamStore};
use ir::{Cluster, ClusterId, Delta, Endpoint, EndpointAddress, EndpointSource, OutlierDetection, Snapshot};
use std::net::SocketAddr;
use std::time::Duration;

fn policy(percent: u32) -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx: 2,
        consecutive_gateway_failure: 0,
        consecutive_local_origin_failure: None,
        error_statuses: [].into(),
        interval: Duration::from_secs(10),
        base_ejection_time: Duration::from_secs(30),
        max_ejection_time: Duration::from_secs(300),
        max_ejection_percent: percent,
    }
}

/// A store with one cluster.
struct Fixture(Arc<UpstreamStore>, ClusterId);

impl Fixture {
    fn new(endpoints: u16, outlier: Option<OutlierDetection>) -> Self {
        let upstream = UpstreamStore::new(&Settings::default(), tokio::runtime::Handle::current());
        let fixture = Self(upstream, ClusterId::outbound(80, "", "a.test"));
        fixture.apply(1..=endpoints, outlier);
        fixture
    }

    fn apply(&self, ports: impl Iterator<Item = u16>, outlier: Option<OutlierDetection>) {
        let endpoint = |port| Endpoint {
            address: EndpointAddress::Ip(SocketAddr::from(([127, 0, 0, 1], port))),
            weight: 1,
            locality: None,
            priority: 0,
        };
        let endpoints = EndpointSource::Static(ports.map(endpoint).collect());
        let cluster = Cluster { outlier: outlier.map(Arc::new), ..fixture::cluster("a.test", endpoints) };
        let clusters = [(self.1.clone(), Arc::new(cluster))].into_iter().collect();
        self.0.apply(&Snapshot { clusters, ..Snapshot::default() }, &Delta::default());
    }

    fn state(&self) -> Arc<ClusterState> {
        self.0.cluster(self.0.slot(&self.1)).unwrap()
    }

    fn endpoint(&self, at: usize) -> Arc<EndpointState> {
        Arc::clone(self.state().endpoints().unwrap().iter().nth(at).unwrap())
    }

    /// Two failures in a row, and what the control side makes of them.
    async fn fail(&self, at: usize) {
        for _ in 0..2 {
            let state = self.state();
            if state.report(&self.endpoint(at), Outcome::Answered(500)) {
                self.0.watch(&state);
            }
        }
        // Time stands still: all that can be done is done.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    /// How many different endpoints are chosen.
    fn used(&self) -> usize {
        let state = self.state();
        let mut ids: Vec<_> =
            (0..64).filter_map(|_| Some(state.pick(&mut || 0, PickContext::default()).ok()?.endpoint.id)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    }

    fn counts(&self) -> (u64, u64, u64) {
        let counts = self.state().ejections().unwrap();
        (counts.active, counts.total, counts.overflow)
    }

    fn is_running(&self) -> bool {
        self.state().outlier_detector().unwrap().is_running()
    }
}

#[tokio::test(start_paused = true)]
async fn dr_30_a_failing_endpoint_is_ejected_for_its_time_and_restored() {
    let fixture = Fixture::new(4, Some(policy(50)));
    assert_eq!((fixture.used(), fixture.is_running()), (4, false));
    fixture.fail(0).await;
    assert_eq!((fixture.used(), fixture.counts(), fixture.is_running()), (3, (1, 1, 0), true));
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(fixture.used(), 3);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((fixture.used(), fixture.counts()), (4, (0, 1, 0)));
    // Its next time would be longer for as long as it is looked after.
    fixture.fail(0).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(fixture.used(), 3);
    // Looked at once in an interval.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!((fixture.used(), fixture.counts()), (4, (0, 2, 0)));
    // One interval for each time that it was out.
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert!(fixture.is_running());
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!fixture.is_running());
    fixture.fail(0).await;
    assert_eq!((fixture.used(), fixture.is_running()), (3, true));
}

#[tokio::test(start_paused = true)]
async fn dr_30_ejections_are_limited_by_the_percentage_even_the_first() {
    let fixture = Fixture::new(4, Some(policy(50)));
    for at in [0, 1, 2] {
        fixture.fail(at).await;
    }
    assert_eq!((fixture.used(), fixture.counts()), (2, (2, 2, 1)));
    let few = Fixture::new(4, Some(policy(10)));
    few.fail(0).await;
    few.fail(0).await;
    assert_eq!((few.used(), few.counts()), (4, (0, 0, 2)));
    assert!(!few.is_running());
    let all = Fixture::new(2, Some(policy(100)));
    all.fail(0).await;
    all.fail(1).await;
    assert_eq!(all.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn dr_30_a_kept_endpoint_keeps_its_state_and_a_removed_one_loses_it() {
    let fixture = Fixture::new(4, Some(policy(100)));
    fixture.fail(0).await;
    let before = fixture.state();
    fixture.apply(1..=5, Some(policy(50)));
    assert_eq!((fixture.used(), fixture.counts()), (4, (1, 1, 0)));
    // Requests that began before tell the state of now.
    let other = Arc::clone(before.endpoints().unwrap().iter().nth(1).unwrap());
    for _ in 0..2 {
        before.report(&other, Outcome::Answered(503));
    }
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!((fixture.used(), fixture.counts()), (3, (2, 2, 0)));
    fixture.apply(2..=5, Some(policy(50)));
    assert_eq!((fixture.used(), fixture.counts()), (3, (1, 2, 0)));
    // Nobody would take them back.
    fixture.apply(2..=5, None);
    assert_eq!((fixture.used(), fixture.state().ejections()), (4, None));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(fixture.used(), 4);
}

#[tokio::test(start_paused = true)]
async fn dr_30_an_endpoint_that_fails_already_is_ejected_when_fewer_failures_are_enough() {
    let fixture = Fixture::new(2, Some(OutlierDetection { consecutive_5xx: 100, ..policy(50) }));
    fixture.fail(0).await;
    fixture.fail(0).await;
    fixture.apply(1..=2, Some(policy(50)));
    assert_eq!(fixture.used(), 2);
    fixture.fail(0).await;
    assert_eq!((fixture.used(), fixture.counts()), (1, (1, 1, 0)));
}

#[tokio::test(start_paused = true)]
async fn dr_30_a_cluster_without_a_policy_counts_nothing() {
    let fixture = Fixture::new(2, None);
    let (state, endpoint) = (fixture.state(), fixture.endpoint(0));
    assert!((0..100).all(|_| !state.report(&endpoint, Outcome::Answered(500))));
    assert_eq!((fixture.used(), state.ejections()), (2, None));
}
