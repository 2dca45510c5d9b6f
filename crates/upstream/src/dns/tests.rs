pub(crate) mod server;

use super::*;
use crate::balance::PickContext;
use crate::cluster::NoEndpoint;
use crate::endpoint::EndpointState;
use crate::fixture::{self, LONG};
use ir::Cluster;
use server::NameServer;
use std::net::SocketAddr;
use tokio::time::timeout;

/// Short times.
const QUICK: DnsBounds = DnsBounds {
    first_queries: 4,
    later_queries: 4,
    of_clients: 4,
    soonest: Duration::from_millis(5),
    latest: Duration::from_secs(60),
    after_failure: Duration::from_millis(5),
    after_failures: Duration::from_millis(20),
};

fn dns(servers: &[SocketAddr], bounds: DnsBounds) -> Dns {
    Dns::new(Arc::new(Tasks::new(tokio::runtime::Handle::current())), build_resolver(servers), bounds)
}

fn cluster(names: &[(&str, u16)], first_only: bool) -> Arc<ClusterState> {
    let name = |(name, port): &(&str, u16)| DnsName {
        name: (*name).into(),
        port: *port,
        weight: 1,
        locality: None,
        priority: 0,
    };
    let cluster = fixture::cluster("h", EndpointSource::Dns { names: names.iter().map(name).collect(), first_only });
    Arc::new(ClusterState::new(Arc::new(cluster), &Arc::default(), None))
}

fn addresses_of(state: &ClusterState) -> Vec<String> {
    state.endpoints().map(|list| list.iter().map(|endpoint| endpoint.address.to_string()).collect()).unwrap_or_default()
}

fn endpoint(state: &ClusterState, number: usize) -> Arc<EndpointState> {
    Arc::clone(state.endpoints().unwrap().iter().nth(number).unwrap())
}

/// Uses the cluster until something holds.
async fn until(state: &ClusterState, what: impl Fn() -> bool) {
    let met = || {
        let is_met = what();
        let _ = state.pick(&mut || 0, PickContext::default());
        is_met
    };
    fixture::until("what DNS brings about", met).await;
}

#[tokio::test]
async fn se_07_answers_are_followed_and_endpoints_keep_their_identity() {
    let server = NameServer::new().await;
    server.set("a.example.com", Some(&[[127, 0, 0, 2], [127, 0, 0, 1]]));
    let (dns, state) = (dns(&[server.address], QUICK), cluster(&[("a.example.com.", 80)], false));
    assert_eq!(state.pick(&mut || 0, PickContext::default()).unwrap_err(), NoEndpoint::Unresolved);
    dns.begin(&state);
    state.wait_resolved(LONG).await;
    assert_eq!(addresses_of(&state), ["127.0.0.1:80", "127.0.0.2:80"]);
    let (first, second) = (endpoint(&state, 0), endpoint(&state, 1));
    server.set("a.example.com", Some(&[[127, 0, 0, 3], [127, 0, 0, 2]]));
    until(&state, || addresses_of(&state) == ["127.0.0.2:80", "127.0.0.3:80"]).await;
    assert!(Arc::ptr_eq(&second, &endpoint(&state, 0)));
    assert!(first.is_gone() && !second.is_gone());
}

#[tokio::test]
async fn se_07_the_last_good_answer_holds_when_the_server_fails() {
    let server = NameServer::new().await;
    server.set("a.example.com", Some(&[[127, 0, 0, 1]]));
    server.set("b.example.com", Some(&[[127, 0, 0, 2]]));
    let state = cluster(&[("a.example.com.", 80), ("b.example.com.", 80)], false);
    let dns = dns(&[server.address], QUICK);
    dns.begin(&state);
    state.wait_resolved(LONG).await;
    // One of two fails, then both.
    server.set("a.example.com", None);
    server.set("b.example.com", Some(&[[127, 0, 0, 3]]));
    until(&state, || addresses_of(&state) == ["127.0.0.1:80", "127.0.0.3:80"]).await;
    server.change(|zone| zone.names.clear());
    let asked = server.asked("b.example.com");
    until(&state, || server.asked("b.example.com") > asked + 4).await;
    assert_eq!(addresses_of(&state), ["127.0.0.1:80", "127.0.0.3:80"]);
}

#[tokio::test]
async fn se_07_the_last_good_answer_of_each_name_outlives_a_change_of_settings() {
    let server = NameServer::new().await;
    server.set("a.example.com", Some(&[[127, 0, 0, 1]]));
    server.set("b.example.com", Some(&[[127, 0, 0, 2]]));
    let (dns, state) =
        (dns(&[server.address], QUICK), cluster(&[("a.example.com.", 80), ("b.example.com.", 81)], false));
    dns.begin(&state);
    state.wait_resolved(LONG).await;
    server.set("a.example.com", None);
    server.set("b.example.com", Some(&[[127, 0, 0, 3]]));
    let mut changed = Cluster::clone(&state.config);
    changed.timeouts.idle = Duration::from_secs(7);
    let next = Arc::new(ClusterState::new(Arc::new(changed), &Arc::default(), Some(&state)));
    dns.begin(&next);
    until(&next, || addresses_of(&next).contains(&"127.0.0.3:81".to_owned())).await;
    assert_eq!(addresses_of(&next), ["127.0.0.1:80", "127.0.0.3:81"]);
}

#[tokio::test]
async fn a_name_that_does_not_exist_leaves_a_cluster_without_endpoints_until_it_does() {
    let server = NameServer::new().await;
    let state = cluster(&[("a.example.com.", 80)], false);
    let dns = dns(&[server.address], QUICK);
    dns.begin(&state);
    state.wait_resolved(LONG).await;
    assert_eq!(state.pick(&mut || 0, PickContext::default()).unwrap_err(), NoEndpoint::Empty);
    server.set("a.example.com", Some(&[[127, 0, 0, 1]]));
    until(&state, || addresses_of(&state) == ["127.0.0.1:80"]).await;
}

#[tokio::test]
async fn se_08_only_the_first_address_is_used() {
    let server = NameServer::new().await;
    server.set("a.example.com", Some(&[[127, 0, 0, 2], [127, 0, 0, 1]]));
    let state = cluster(&[("a.example.com.", 80)], true);
    let dns = dns(&[server.address], QUICK);
    dns.begin(&state);
    state.wait_resolved(LONG).await;
    assert_eq!(addresses_of(&state).len(), 1);
}

#[tokio::test]
async fn addresses_in_place_of_names_are_known_at_once() {
    let state = cluster(&[("127.0.0.1", 80), ("::1", 81)], false);
    assert_eq!(addresses_of(&state), ["127.0.0.1:80", "[::1]:81"]);
    assert!(state.pick(&mut || 0, PickContext::default()).is_ok() && state.begin_resolving().is_none());
}

#[tokio::test]
async fn localhost_is_one_endpoint_and_is_not_queried() {
    let server = NameServer::new().await;
    let state = cluster(&[("localhost", 80)], false);
    let dns = dns(&[server.address], QUICK);
    dns.begin(&state);
    state.wait_resolved(LONG).await;
    assert_eq!(addresses_of(&state), ["127.0.0.1:80"]);
    assert_eq!(server.asked("localhost"), 0);
}

#[tokio::test]
async fn names_without_an_answer_are_listed_until_there_is_one() {
    let server = NameServer::new().await;
    server.set("gone.example.com", None);
    let state = cluster(&[("gone.example.com.", 80)], false);
    let dns = dns(&[server.address], QUICK);
    assert_eq!(dns.unresolved(), []);
    dns.begin(&state);
    state.wait_resolved(LONG).await;
    let list = dns.unresolved();
    assert_eq!((list.len(), dns.count_unresolved()), (1, 1), "{list:?}");
    assert_eq!((&list[0].cluster, &*list[0].name, list[0].in_use), (&state.config.id, "gone.example.com.", false));
    assert!(!list[0].error.is_empty());
    server.set("gone.example.com", Some(&[[127, 0, 0, 9]]));
    until(&state, || addresses_of(&state) == ["127.0.0.9:80"]).await;
    assert_eq!(dns.unresolved(), []);
    // An answer stays in use after later failures.
    server.set("gone.example.com", None);
    until(&state, || dns.unresolved().iter().any(|unresolved| unresolved.in_use)).await;
    assert_eq!(addresses_of(&state), ["127.0.0.9:80"]);
    // The failures of a cluster are removed with the cluster.
    drop(state);
    fixture::until("its failures are removed", || dns.unresolved().is_empty()).await;
}

#[test]
fn localhost_resolves_to_one_family() {
    let parse = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
    assert_eq!(one_loopback(parse(&["::1", "127.0.0.1"])), parse(&["127.0.0.1"]));
    for kept in [&["::1"][..], &["2001:db8::1", "192.0.2.1"], &["2001:db8::1", "127.0.0.1"]] {
        assert_eq!(one_loopback(parse(kept)), parse(kept));
    }
}

#[tokio::test]
async fn a_thousand_clusters_do_not_ask_at_once() {
    let server = NameServer::new().await;
    server.change(|zone| zone.holds = true);
    let states: Vec<_> = (0..1000)
        .map(|number| {
            let name = format!("n{number}.example.com");
            server.set(&name, Some(&[[127, 0, 0, 1]]));
            cluster(&[(&format!("{name}."), 80)], false)
        })
        .collect();
    let dns = dns(&[server.address], QUICK);
    states.iter().for_each(|state| dns.begin(state));
    until(&states[0], || server.held().len() == QUICK.first_queries).await;
    // All tasks have run by now, and no further name was queried.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.held().len(), QUICK.first_queries);
    server.release().await;
    for state in &states {
        state.wait_resolved(LONG).await;
        assert_eq!(addresses_of(state), ["127.0.0.1:80"]);
    }
}

#[tokio::test]
async fn a_request_waits_for_the_first_resolution_up_to_its_limit() {
    let server = NameServer::new().await;
    server.change(|zone| zone.holds = true);
    let state = cluster(&[("a.example.com.", 80)], false);
    let dns = dns(&[server.address], QUICK);
    dns.begin(&state);
    timeout(LONG, state.wait_resolved(Duration::from_millis(1))).await.unwrap();
    assert_eq!(state.pick(&mut || 0, PickContext::default()).unwrap_err(), NoEndpoint::Unresolved);
}

#[tokio::test]
async fn names_of_a_removed_cluster_are_not_queried() {
    let server = NameServer::new().await;
    server.set("a.example.com", Some(&[[127, 0, 0, 1]]));
    let (dns, state) = (dns(&[server.address], QUICK), cluster(&[("a.example.com.", 80)], false));
    dns.begin(&state);
    state.wait_resolved(LONG).await;
    let gone = cluster(&[("127.0.0.1", 80)], false);
    drop(state);
    until(&gone, || Arc::strong_count(&dns.queries) == 1).await;
}

#[tokio::test(start_paused = true)]
async fn unused_names_are_not_queried_until_they_are_used() {
    let (time, longest) = (Duration::from_secs(5), Duration::from_secs(300));
    let names = NameResolution::default();
    let begun = tokio::time::Instant::now();
    names.rest(time, longest).await;
    assert_eq!(begun.elapsed(), longest);
    // The name was used meanwhile, so it is queried once when its time ends.
    names.touch();
    names.rest(time, longest).await;
    assert_eq!(begun.elapsed(), longest + time);
    names.rest(time, longest).await;
    assert_eq!(begun.elapsed(), longest + time + longest);
    // The name is used after its time has ended, so it is queried at once.
    let (rested, ()) = tokio::join!(names.rest(time, longest), async {
        tokio::time::sleep(3 * time).await;
        names.touch();
    });
    let () = rested;
    assert_eq!(begun.elapsed(), longest + time + longest + 3 * time);
}

#[test]
fn failed_queries_back_off() {
    let bounds = DnsBounds::default();
    let pauses: Vec<_> = [1, 2, 3, 4, 5, 99].iter().map(|failures| bounds.pause(*failures).as_secs()).collect();
    assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
}

#[tokio::test]
async fn a_resolver_needs_no_name_server() {
    let resolver = super::resolver::without_servers().unwrap();
    assert!(resolver.lookup_ip("localhost").await.is_ok());
}
