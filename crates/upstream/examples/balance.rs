//! What it costs to choose an endpoint: `cargo run --release -p upstream --example balance`.
//!
//! Among 1,000 endpoints, for each balancer: the median of several rounds, in nanoseconds for one choice with all that a request does for
//! it (the cluster's list, the hash of a key of 16 bytes, the count of requests under way); `spread` is from the least to the greatest
//! round. Then how long the first request waits for a table, and what clusters cost that nobody uses.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on stops")]

use ir::{
    Balance, Balancer, Cluster, ClusterId, ClusterTimeouts, ConsistentHash, Delta, Endpoint, EndpointAddress,
    EndpointSource, HashTable, Localities, Locality, ObjectKind, Origin, Snapshot, UpstreamProtocol, Warmup,
};
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use upstream::{ClusterState, NoEndpoint, PickContext, Settings, UpstreamStore, xxhash64};

const ROUNDS: usize = 11;
const CHOICES: usize = 400_000;
const ENDPOINTS: u16 = 1_000;
const AT_REST: usize = 10_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("{:<52}{:>8}{:>16}", "", "ns", "spread");
    let ring = |minimum_size| hashed(HashTable::Ring { minimum_size });
    let maglev = |size| hashed(HashTable::Maglev { size });
    for (name, balance) in [
        ("LEAST_REQUEST", Balancer::LeastRequest.into()),
        ("ROUND_ROBIN", Balancer::RoundRobin.into()),
        ("RANDOM", Balancer::Random.into()),
        ("LEAST_REQUEST, warming up", warming(Balancer::LeastRequest)),
        ("ROUND_ROBIN, warming up", warming(Balancer::RoundRobin)),
        ("LEAST_REQUEST, failover, 10 localities", failover(Balancer::LeastRequest)),
        ("ROUND_ROBIN, failover, 10 localities", failover(Balancer::RoundRobin)),
        ("ring of 1,024 and more", ring(1024)),
        ("ring of 1,024 and more, failover, 10 localities", failover(ring(1024).balancer)),
        ("ring of 1,000,000", ring(1_000_000)),
        ("ring of 8,388,608", ring(8 * 1024 * 1024)),
        ("Maglev of 65,537", maglev(65_537)),
        ("Maglev of 4,999,999", maglev(4_999_999)),
    ] {
        measure(name, balance).await;
    }
    at_rest();
}

async fn measure(name: &str, balance: Balance) {
    let state = &states([cluster(0, balance.into())])[0];
    let mut random = numbers();
    let begun = Instant::now();
    if matches!(state.pick(&mut random, PickContext::default()), Err(NoEndpoint::TableNotReady)) {
        state.wait_for_table().await;
    }
    let first = begun.elapsed();
    let keys: Vec<[u8; 16]> =
        (0..4096).map(|_| (u128::from(random()) << 64 | u128::from(random())).to_le_bytes()).collect();
    let hashes = state.config.balance.hash().is_some();
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            for number in 0..CHOICES {
                let hash = hashes.then(|| xxhash64(&keys[number % keys.len()], 0));
                black_box(state.pick(&mut random, PickContext { hash, ..PickContext::default() }).unwrap());
            }
            begun.elapsed().as_nanos() as f64 / CHOICES as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    let spread = format!("{:.0} to {:.0}", rounds[0], rounds[ROUNDS - 1]);
    println!("{name:<52}{:>8.0}{spread:>16}   the first choice took {first:.1?}", rounds[ROUNDS / 2]);
}

/// The memory of clusters that nobody uses, each with the table that is the default of its kind.
fn at_rest() {
    let tables = [HashTable::Ring { minimum_size: 1024 }, HashTable::Maglev { size: 65_537 }];
    let clusters: Vec<_> =
        (0..AT_REST).map(|number| cluster(number, hashed(tables[number % 2]).into())).map(Arc::new).collect();
    let before = resident();
    let states = states_of(&clusters);
    println!("{AT_REST} clusters with tables, none used: {} KiB", resident().saturating_sub(before));
    drop(states);
}

fn hashed(table: HashTable) -> Balance {
    Balancer::ConsistentHash(Arc::new(ConsistentHash { key: None, table })).into()
}

fn warming(balancer: Balancer) -> Balance {
    let warmup = Warmup { duration: Duration::from_secs(3600), minimum_percent: 10.0, aggression: 1.0 };
    Balance { warmup: Some(warmup), ..balancer.into() }
}

fn failover(balancer: Balancer) -> Balance {
    Balance { localities: Localities::Failover, ..balancer.into() }
}

fn cluster(number: usize, balance: Arc<Balance>) -> Cluster {
    let places: Vec<Locality> = (0..10).map(|place| Locality(format!("region/zone/{place}").into())).collect();
    let endpoint = |port: u16| Endpoint {
        address: EndpointAddress::Ip(SocketAddr::from(([10, 0, 0, 1], port + 1))),
        weight: 1,
        locality: Some(places[usize::from(port % 10)].clone()),
        priority: 0,
    };
    let count = if number == 0 { ENDPOINTS } else { 2 };
    let host = format!("host-{number}.example.com");
    Cluster {
        id: ClusterId::outbound(80, "", &host),
        host: host.as_str().into(),
        origin: Origin { kind: ObjectKind::Service, namespace: "d".into(), name: "a".into(), rule: "".into() },
        policy: None,
        endpoints: EndpointSource::Static((0..count).map(endpoint).collect()),
        balance,
        protocol: UpstreamProtocol::Http1,
        tls: None,
        timeouts: ClusterTimeouts { connect: Duration::from_secs(1), idle: Duration::from_secs(1) },
        limits: None,
        outlier: None,
        proxy_protocol: None,
        credential: None,
    }
}

fn states(clusters: [Cluster; 1]) -> Vec<Arc<ClusterState>> {
    states_of(&clusters.map(Arc::new)).1
}

fn states_of(clusters: &[Arc<Cluster>]) -> (Arc<UpstreamStore>, Vec<Arc<ClusterState>>) {
    let upstream = UpstreamStore::new(&Settings::default(), tokio::runtime::Handle::current());
    let mut snapshot = Snapshot::default();
    for cluster in clusters {
        snapshot.clusters.insert_mut(cluster.id.clone(), Arc::clone(cluster));
    }
    upstream.apply(&snapshot, &Delta { changes: None });
    let states = clusters.iter().map(|cluster| upstream.cluster(upstream.slot(&cluster.id)).unwrap()).collect();
    (upstream, states)
}

/// SplitMix64, as workers have it.
fn numbers() -> impl FnMut() -> u64 {
    let mut state = 7_u64;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// In KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
