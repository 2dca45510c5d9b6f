use super::*;
use crate::cluster::NoEndpoint;
use ir::{
    Balance, Changes, ClusterTimeouts, DnsName, Endpoint, EndpointAddress, EndpointSource, ObjectKind, Origin,
    UpstreamProtocol,
};
use std::time::Duration;

fn cluster(name: &str, endpoints: EndpointSource) -> Arc<Cluster> {
    Arc::new(Cluster {
        id: ClusterId::outbound(80, "", name),
        host: name.into(),
        origin: Origin { kind: ObjectKind::Service, namespace: "d".into(), name: name.into(), rule: "".into() },
        policy: None,
        endpoints,
        balance: Balance::LeastRequest,
        protocol: UpstreamProtocol::Http1,
        timeouts: ClusterTimeouts { connect: Duration::from_secs(1), idle: Duration::from_secs(1) },
    })
}

fn fixed(ports: &[u16]) -> EndpointSource {
    let endpoint = |port: &u16| Endpoint {
        address: EndpointAddress::Ip(SocketAddr::from(([127, 0, 0, 1], *port))),
        weight: 1,
        locality: None,
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
    let upstream = Upstream::new(&Settings::default(), tokio::runtime::Handle::current());
    let one = cluster("a", fixed(&[1, 2]));
    upstream.apply(&snapshot(std::slice::from_ref(&one)), &everything());
    let slot = upstream.slot(&one.id);
    let before = upstream.cluster(slot).unwrap().endpoints().unwrap();
    let two = cluster("a", fixed(&[2, 3]));
    let delta = Delta { changes: Some(Changes { clusters: vec![two.id.clone()], ..Changes::default() }) };
    upstream.apply(&snapshot(&[two]), &delta);
    assert_eq!(upstream.slot(&one.id), slot);
    let after = upstream.cluster(slot).unwrap().endpoints().unwrap();
    let ids =
        |list: &crate::balance::EndpointList| list.iter().map(|e| (e.address.to_string(), e.id)).collect::<Vec<_>>();
    assert_eq!(ids(&before)[1], ids(&after)[0]);
    assert!(before.iter().next().unwrap().is_gone() && !after.iter().next().unwrap().is_gone());
    upstream.apply(&Snapshot::default(), &everything());
    assert!(upstream.cluster(slot).is_none() && after.iter().all(|endpoint| endpoint.is_gone()));
}

#[tokio::test]
async fn a_cluster_without_endpoints_says_so() {
    let upstream = Upstream::new(&Settings::default(), tokio::runtime::Handle::current());
    let clusters = [cluster("empty", fixed(&[])), cluster("never", EndpointSource::Never("because".into()))];
    upstream.apply(&snapshot(&clusters), &everything());
    let pick =
        |at: usize| upstream.cluster(upstream.slot(&clusters[at].id)).unwrap().pick(&mut || 0, None).unwrap_err();
    assert_eq!(pick(0), NoEndpoint::Empty);
    assert_eq!(pick(1), NoEndpoint::Never("because".into()));
}

/// Answers every query for an A record with 127.0.0.9 and a TTL of 60 s, and others with nothing.
async fn name_server() -> SocketAddr {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query).await {
            let question_end = 12 + query[12..length].iter().position(|b| *b == 0).unwrap() + 5;
            let is_a = query[question_end - 3] == 1;
            let mut answer = query[..question_end].to_vec();
            answer[2..4].copy_from_slice(&[0x81, 0x80]);
            answer[6..12].copy_from_slice(&[0, u8::from(is_a), 0, 0, 0, 0]);
            if is_a {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 9]);
            }
            let _ = socket.send_to(&answer, from).await;
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn se_07_names_are_resolved_on_first_use() {
    let settings = Settings { name_servers: vec![name_server().await] };
    let upstream = Upstream::new(&settings, tokio::runtime::Handle::current());
    let names = [
        DnsName { name: "backend.example.com.".into(), port: 81, weight: 1 },
        DnsName { name: "127.0.0.7".into(), port: 82, weight: 1 },
    ];
    let one = cluster("dns", EndpointSource::Dns { names: names.into(), first_only: false });
    upstream.apply(&snapshot(std::slice::from_ref(&one)), &everything());
    let state = upstream.cluster(upstream.slot(&one.id)).unwrap();
    assert_eq!(state.pick(&mut || 0, None).unwrap_err(), NoEndpoint::Unresolved);
    upstream.begin_resolving(&state);
    state.wait_resolved(Duration::from_secs(10)).await;
    let list = state.endpoints().unwrap();
    let addresses: Vec<_> = list.iter().map(|endpoint| endpoint.address.to_string()).collect();
    assert_eq!(addresses, ["127.0.0.7:82", "127.0.0.9:81"]);
}
