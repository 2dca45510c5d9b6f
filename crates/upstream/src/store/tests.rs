use super::*;
use crate::balance::{EndpointList, PickContext};
use crate::cluster::NoEndpoint;
use crate::dns::tests::server::NameServer;
use crate::endpoint::{EndpointState, Outcome};
use crate::fixture;
use ir::{Balancer, Changes, DnsName, Endpoint, EndpointAddress, EndpointSource, OutlierDetection};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

fn cluster(name: &str, endpoints: EndpointSource) -> Arc<Cluster> {
    Arc::new(Cluster { balance: Balancer::LeastRequest.into(), ..fixture::cluster(name, endpoints) })
}

fn fixed(ports: &[u16]) -> EndpointSource {
    let endpoint = |port: &u16| Endpoint {
        address: EndpointAddress::Ip(SocketAddr::from(([127, 0, 0, 1], *port))),
        weight: 1,
        locality: None,
        priority: 0,
    };
    EndpointSource::Static(ports.iter().map(endpoint).collect())
}

fn snapshot(clusters: &[Arc<Cluster>]) -> Snapshot {
    let mut out = Snapshot::default();
    for cluster in clusters {
        out.clusters.insert_mut(cluster.id.clone(), Arc::clone(cluster));
    }
    out
}

fn everything() -> Delta {
    Delta { changes: None }
}

#[tokio::test]
async fn a_slot_stays_and_endpoints_keep_their_identity() {
    let upstream = UpstreamStore::new(&Settings::default(), tokio::runtime::Handle::current());
    let one = cluster("a", fixed(&[1, 2]));
    upstream.apply(&snapshot(std::slice::from_ref(&one)), &everything());
    let slot = upstream.slot(&one.id);
    let before = upstream.cluster(slot).unwrap().endpoints().unwrap();
    let two = cluster("a", fixed(&[2, 3]));
    let delta = Delta { changes: Some(Changes { clusters: vec![two.id.clone()], ..Changes::default() }) };
    upstream.apply(&snapshot(&[two]), &delta);
    assert_eq!(upstream.slot(&one.id), slot);
    let after = upstream.cluster(slot).unwrap().endpoints().unwrap();
    let ids = |list: &EndpointList| list.iter().map(|e| (e.address.to_string(), e.id)).collect::<Vec<_>>();
    assert_eq!(ids(&before)[1], ids(&after)[0]);
    assert!(before.iter().next().unwrap().is_gone() && !after.iter().next().unwrap().is_gone());
    upstream.apply(&Snapshot::default(), &everything());
    assert!(upstream.cluster(slot).is_none() && after.iter().all(|endpoint| endpoint.is_gone()));
}

#[tokio::test]
async fn a_cluster_without_endpoints_reports_it() {
    let upstream = UpstreamStore::new(&Settings::default(), tokio::runtime::Handle::current());
    let clusters = [cluster("empty", fixed(&[])), cluster("never", EndpointSource::Never("because".into()))];
    upstream.apply(&snapshot(&clusters), &everything());
    let pick = |at: usize| {
        upstream.cluster(upstream.slot(&clusters[at].id)).unwrap().pick(&mut || 0, PickContext::default()).unwrap_err()
    };
    assert_eq!(pick(0), NoEndpoint::Empty);
    assert_eq!(pick(1), NoEndpoint::Never("because".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn se_07_names_are_resolved_on_first_use_and_outlive_a_change_of_settings() {
    let server = NameServer::new().await;
    server.change(|zone| zone.ttl = 60);
    server.set("backend.example.com", Some(&[[127, 0, 0, 9]]));
    let settings = Settings { name_servers: vec![server.address], ..Settings::default() };
    let upstream = UpstreamStore::new(&settings, tokio::runtime::Handle::current());
    let names = [
        DnsName { name: "backend.example.com.".into(), port: 81, weight: 1, locality: None, priority: 0 },
        DnsName { name: "127.0.0.7".into(), port: 82, weight: 1, locality: None, priority: 0 },
    ];
    let one = cluster("dns", EndpointSource::Dns { names: names.into(), first_only: false });
    upstream.apply(&snapshot(std::slice::from_ref(&one)), &everything());
    let state = upstream.cluster(upstream.slot(&one.id)).unwrap();
    assert_eq!(state.pick(&mut || 0, PickContext::default()).unwrap_err(), NoEndpoint::Unresolved);
    assert_eq!(server.asked("backend.example.com"), 0);
    upstream.begin_resolving(&state);
    state.wait_resolved(Duration::from_secs(10)).await;
    let list = state.endpoints().unwrap();
    let addresses: Vec<_> = list.iter().map(|endpoint| endpoint.address.to_string()).collect();
    assert_eq!(addresses, ["127.0.0.7:82", "127.0.0.9:81"]);

    let mut two = Arc::unwrap_or_clone(one);
    two.timeouts.idle = Duration::from_secs(7);
    let two = Arc::new(two);
    upstream.apply(&snapshot(std::slice::from_ref(&two)), &everything());
    let next = upstream.cluster(upstream.slot(&two.id)).unwrap();
    assert!(!Arc::ptr_eq(&state, &next));
    let kept = next.endpoints().unwrap();
    assert!(kept.iter().zip(list.iter()).all(|(kept, before)| Arc::ptr_eq(kept, before) && !kept.is_gone()));
    assert!(kept.iter().all(|endpoint| endpoint.idle_limit() == Duration::from_secs(7)));

    // The settings of a name change, a name is added, a name is removed, and the name server does not answer.
    server.change(|zone| zone.names.clear());
    let mut three = Arc::unwrap_or_clone(two);
    let names = [
        DnsName { name: "other.example.com.".into(), port: 81, weight: 1, locality: None, priority: 0 },
        DnsName { name: "backend.example.com.".into(), port: 81, weight: 3, locality: None, priority: 1 },
    ];
    three.endpoints = EndpointSource::Dns { names: names.into(), first_only: false };
    upstream.apply(&snapshot(&[Arc::new(three.clone())]), &everything());
    let last = upstream.cluster(upstream.slot(&three.id)).unwrap().endpoints().unwrap();
    let stays = |number: usize| Arc::clone(list.iter().nth(number).unwrap());
    assert!(last.len() == 1 && Arc::ptr_eq(last.iter().next().unwrap(), &stays(1)));
    assert!(stays(0).is_gone() && !stays(1).is_gone());
    assert_eq!((last.members()[0].weight, last.members()[0].priority), (3, 1));
}

#[test]
fn a_cluster_at_rest_is_small() {
    // 100,000 clusters must fit into a few megabytes: a state, its counts, an entry of a chunk, and the slot of its id.
    assert!(size_of::<ClusterState>() <= 64, "{}", size_of::<ClusterState>());
    assert!(size_of::<Option<Arc<ClusterState>>>() + size_of::<(ClusterId, u32)>() <= 32);
}

#[tokio::test]
async fn a_change_copies_the_chunk_of_its_cluster_only() {
    let upstream = UpstreamStore::new(&Settings::default(), tokio::runtime::Handle::current());
    let mut all: Vec<_> = (0..3 * CHUNK).map(|number| cluster(&format!("c{number:04}"), fixed(&[1]))).collect();
    upstream.apply(&snapshot(&all), &everything());
    let before = upstream.chunks.load_full();
    all[0] = cluster("c0000", fixed(&[2]));
    let delta = Delta { changes: Some(Changes { clusters: vec![all[0].id.clone()], ..Changes::default() }) };
    upstream.apply(&snapshot(&all), &delta);
    let after = upstream.chunks.load_full();
    let same: Vec<_> = before.iter().zip(after.iter()).map(|(one, other)| Arc::ptr_eq(one, other)).collect();
    assert_eq!(same, [false, true, true]);
}

#[tokio::test]
async fn an_old_state_still_serves_and_keeps_nothing() {
    let upstream = UpstreamStore::new(&Settings::default(), tokio::runtime::Handle::current());
    let one = cluster("a", fixed(&[1]));
    upstream.apply(&snapshot(std::slice::from_ref(&one)), &everything());
    // A request holds the state from before the change, and uses it for the first time afterwards.
    let held = upstream.cluster(upstream.slot(&one.id)).unwrap();
    upstream.apply(&snapshot(&[cluster("a", fixed(&[2]))]), &everything());
    let endpoint = held.pick(&mut || 0, PickContext::default()).unwrap().endpoint;
    assert!(endpoint.is_gone());
    let current = upstream.cluster(upstream.slot(&one.id)).unwrap();
    let endpoint = current.pick(&mut || 0, PickContext::default()).unwrap().endpoint;
    assert!(!endpoint.is_gone());
}

/// SplitMix64: the same sequence in every run.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

type Seen = BTreeMap<String, Arc<EndpointState>>;

/// Checks the endpoints of a cluster after a change against those before the change.
fn check_state(state: &ClusterState, ports: &BTreeSet<u16>, before: &Seen) -> Seen {
    let seen: Seen = state.endpoints().unwrap().iter().map(|one| (one.address.to_string(), Arc::clone(one))).collect();
    assert!(seen.keys().eq(ports.iter().map(|port| format!("127.0.0.1:{port}")).collect::<BTreeSet<_>>().iter()));
    assert!(seen.values().all(|endpoint| !endpoint.is_gone()));
    for (address, endpoint) in before {
        match seen.get(address) {
            Some(now) => assert!(Arc::ptr_eq(now, endpoint)),
            None => assert!(endpoint.is_gone()),
        }
    }
    seen
}

#[tokio::test]
async fn churn_keeps_slots_and_endpoints_that_stay_and_marks_those_that_go() {
    for seed in 0..20 {
        let upstream = UpstreamStore::new(&Settings::default(), tokio::runtime::Handle::current());
        let (mut state, mut have, mut seen) = (seed, BTreeMap::new(), BTreeMap::<String, Seen>::new());
        let mut slots = BTreeMap::new();
        for _ in 0..100 {
            let mut changed = Vec::new();
            for _ in 0..random(&mut state) % 4 + 1 {
                let name = format!("c{}", random(&mut state) % 12);
                if random(&mut state).is_multiple_of(4) {
                    have.remove(&name);
                } else {
                    let ports: BTreeSet<_> =
                        (0..random(&mut state) % 8).map(|_| random(&mut state) as u16 % 10 + 1).collect();
                    have.insert(name.clone(), ports);
                }
                changed.push(ClusterId::outbound(80, "", &name));
            }
            let clusters: Vec<_> = have
                .iter()
                .map(|(name, ports)| cluster(name, fixed(&ports.iter().copied().collect::<Vec<_>>())))
                .collect();
            let changes =
                random(&mut state).is_multiple_of(2).then(|| Changes { clusters: changed, ..Changes::default() });
            upstream.apply(&snapshot(&clusters), &Delta { changes });
            for number in 0..12 {
                let name = format!("c{number}");
                let slot = upstream.slot(&ClusterId::outbound(80, "", &name));
                assert_eq!(*slots.entry(name.clone()).or_insert(slot), slot);
                let now = upstream.cluster(slot);
                assert_eq!(now.is_some(), have.contains_key(&name));
                let before = seen.remove(&name).unwrap_or_default();
                match now {
                    None => assert!(before.values().all(|endpoint| endpoint.is_gone())),
                    // Some clusters are not used, like most clusters of a large configuration.
                    Some(_) if before.is_empty() && random(&mut state).is_multiple_of(2) => {}
                    Some(now) => drop(seen.insert(name.clone(), check_state(&now, &have[&name], &before))),
                }
            }
        }
    }
}

#[tokio::test]
async fn dr_30_an_ejected_endpoint_is_not_picked_until_it_is_restored() {
    let upstream = UpstreamStore::new(&Settings::default(), tokio::runtime::Handle::current());
    let one = cluster("a", fixed(&[1, 2]));
    upstream.apply(&snapshot(std::slice::from_ref(&one)), &everything());
    let state = upstream.cluster(upstream.slot(&one.id)).unwrap();
    let mut numbers = (0_u64..).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32);
    let mut chosen = || -> BTreeSet<String> {
        let mut pick = || {
            state
                .pick(&mut || numbers.next().unwrap(), PickContext::default())
                .map(|picked| picked.endpoint.address.to_string())
        };
        (0..100).filter_map(|_| pick().ok()).collect()
    };
    assert_eq!(chosen().len(), 2);
    let all: Vec<_> = state.endpoints().unwrap().iter().map(Arc::clone).collect();
    all[0].set_ejected(true);
    state.rebalance();
    assert_eq!(chosen(), BTreeSet::from([all[1].address.to_string()]));
    assert_eq!(state.endpoints().unwrap().len(), 2);
    all[1].set_ejected(true);
    state.rebalance();
    assert_eq!(chosen(), BTreeSet::new());
    all[0].set_ejected(false);
    state.rebalance();
    assert_eq!(chosen(), BTreeSet::from([all[0].address.to_string()]));
}

#[tokio::test]
async fn health_checks_and_name_resolution_end_with_the_store() {
    let settings = Settings { name_servers: vec![SocketAddr::from(([127, 0, 0, 1], 1))], ..Settings::default() };
    let upstream = UpstreamStore::new(&settings, tokio::runtime::Handle::current());
    let policy = OutlierDetection {
        consecutive_5xx: 1,
        consecutive_gateway_failure: 0,
        consecutive_local_origin_failure: None,
        error_statuses: [].into(),
        interval: Duration::from_secs(3600),
        base_ejection_time: Duration::from_secs(3600),
        max_ejection_time: Duration::from_secs(3600),
        max_ejection_percent: 100,
    };
    let checked = Arc::new(Cluster { outlier: Some(Arc::new(policy)), ..(*cluster("a", fixed(&[1]))).clone() });
    let name = DnsName { name: "a.invalid.".into(), port: 80, weight: 1, locality: None, priority: 0 };
    let named = cluster("b", EndpointSource::Dns { names: [name].into(), first_only: false });
    upstream.apply(&snapshot(&[Arc::clone(&checked), Arc::clone(&named)]), &everything());
    let (checked, named) = (upstream.slot(&checked.id), upstream.slot(&named.id));
    let (checked, named) = (upstream.cluster(checked).unwrap(), upstream.cluster(named).unwrap());
    let endpoint = Arc::clone(checked.endpoints().unwrap().iter().next().unwrap());
    assert!(checked.report(&endpoint, Outcome::Answered(500)));
    upstream.watch(&checked);
    upstream.begin_resolving(&named);
    // Both tasks run. One waits for an hour, the other for a name server.
    fixture::until("the endpoint is ejected", || endpoint.is_ejected()).await;
    let (alive, tasks) = (tokio::runtime::Handle::current().metrics(), Arc::downgrade(&upstream.tasks));
    assert!(alive.num_alive_tasks() >= 2);
    drop(upstream);
    assert!(tasks.upgrade().is_none(), "no task keeps its owner alive");
    fixture::until("both tasks have ended", || alive.num_alive_tasks() == 0).await;
    // The tasks did not end because their clusters were removed.
    drop((checked, named));
}
