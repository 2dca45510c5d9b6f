//! Destinations by the answers of a name server that the tests set.

use super::*;
use crate::balance::PickContext;
use crate::dns::tests::server::NameServer;
use crate::dns::{DnsBounds, build_resolver};
use crate::fixture::{self, LONG};
use ir::IpRange;
use tokio::runtime::Handle;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// What finds destinations, by one name server.
struct World {
    server: NameServer,
    dns: Arc<Dns>,
    tasks: Arc<Tasks>,
    endpoints: Arc<Endpoints>,
    destinations: Destinations,
}

impl World {
    async fn new() -> Self {
        let server = NameServer::new().await;
        let tasks = Arc::new(Tasks::new(Handle::current()));
        let dns = Dns::new(Arc::clone(&tasks), build_resolver(&[server.address]), DnsBounds::default());
        Self { server, dns: Arc::new(dns), tasks, endpoints: Arc::default(), destinations: Destinations::default() }
    }

    async fn find(
        &self,
        template: &ClusterState,
        name: &str,
        port: u16,
    ) -> Result<Arc<ClusterState>, DestinationError> {
        let finder = Finder { dns: &self.dns, tasks: &self.tasks, endpoints: &self.endpoints, client: CLIENT };
        let destination = wire::destination::Destination::parse(name.as_bytes()).unwrap();
        let found = self.destinations.find(finder, template, destination.host, port, LONG).await;
        found.map(|found| found.cluster)
    }
}

fn template(host: &str, port: Option<u16>, allowed: &[&str]) -> ClusterState {
    let allowed: Vec<IpRange> = allowed.iter().map(|range| range.parse().unwrap()).collect();
    let endpoints = EndpointSource::Dynamic(DynamicEndpoints { port, allowed: allowed.into() });
    let cluster = Cluster { id: ClusterId::forward(443, ("a", "b"), host), ..fixture::cluster(host, endpoints) };
    ClusterState::new(Arc::new(cluster), &Arc::default(), None)
}

fn addresses(state: &ClusterState) -> Vec<String> {
    state.endpoints().unwrap().iter().map(|endpoint| endpoint.address.to_string()).collect()
}

#[tokio::test]
async fn se_09_a_name_is_resolved_once_and_its_addresses_are_the_endpoints() {
    let world = World::new().await;
    world.server.change(|zone| zone.ttl = 300);
    world.server.set("en.wiki.test", Some(&[[198, 41, 0, 4], [198, 41, 0, 5]]));
    let template = template("*.wiki.test", None, &[]);
    let first = world.find(&template, "en.wiki.test", 443).await.unwrap();
    assert_eq!(addresses(&first), ["198.41.0.4:443", "198.41.0.5:443"]);
    assert!(!first.is_dynamic() && first.pick(&mut || 0, PickContext::default()).is_ok());
    let asked = world.server.asked("en.wiki.test");
    // An answer that changes between two lookups is not seen while the first one holds.
    world.server.set("en.wiki.test", Some(&[[127, 0, 0, 1]]));
    let again = world.find(&template, "en.wiki.test", 443).await.unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    assert_eq!(world.server.asked("en.wiki.test"), asked);
}

#[tokio::test]
async fn names_of_others_and_search_domains_are_not_looked_up() {
    let world = World::new().await;
    let template = template("*.wiki.test", None, &[]);
    for name in ["wiki.test", "evil.test", "en.wiki.test.evil.test", "198.41.0.4", "localhost"] {
        let found = world.find(&template, name, 443).await;
        assert!(matches!(found, Err(DestinationError::NotCovered(..))), "{name}: {found:?}");
    }
    let unknown = world.find(&template, "no.wiki.test", 443).await;
    assert!(matches!(unknown, Err(DestinationError::Unresolved(..))), "{unknown:?}");
    world.server.change(|zone| assert_eq!(zone.asked.keys().collect::<Vec<_>>(), ["no.wiki.test"]));
}

#[tokio::test]
async fn addresses_that_are_not_of_the_internet_are_not_endpoints() {
    let world = World::new().await;
    let any = template("*", None, &["10.1.0.0/16"]);
    for (at, address) in
        [[127, 0, 0, 1], [10, 0, 0, 1], [169, 254, 169, 254], [100, 64, 0, 1], [0, 0, 0, 0], [224, 0, 0, 1]]
            .into_iter()
            .enumerate()
    {
        let name = format!("n{at}.test");
        world.server.set(&name, Some(&[address]));
        let found = world.find(&any, &name, 443).await;
        assert!(matches!(found, Err(DestinationError::Blocked(..))), "{name}: {found:?}");
    }
    // Of an answer with both, only what is allowed is connected to.
    world.server.set("mixed.test", Some(&[[127, 0, 0, 1], [198, 41, 0, 4], [10, 1, 2, 3], [10, 2, 2, 3]]));
    world.server.change(|zone| zone.ttl = 77);
    let finder = Finder { dns: &world.dns, tasks: &world.tasks, endpoints: &world.endpoints, client: CLIENT };
    let mixed = DestinationHost::Name("mixed.test");
    let Found { cluster: mixed, resolution } = world.destinations.find(finder, &any, mixed, 8443, LONG).await.unwrap();
    let resolution = resolution.unwrap();
    let classes: Vec<_> = resolution.addresses.iter().map(|(_, class)| class.map(|class| class.to_string())).collect();
    assert_eq!(classes, [Some("loopback".to_owned()), None, None, Some("private".to_owned())]);
    assert!(resolution.ttl <= Duration::from_secs(77) && resolution.ttl > Duration::from_secs(60), "{resolution:?}");
    assert_eq!(addresses(&mixed), ["198.41.0.4:8443", "10.1.2.3:8443"]);
    for (literal, allowed) in
        [("198.41.0.4", true), ("10.1.2.3", true), ("10.2.2.3", false), ("169.254.169.254", false), ("[::1]", false)]
    {
        assert_eq!(world.find(&any, literal, 80).await.is_ok(), allowed, "{literal}");
    }
}

#[tokio::test]
async fn the_port_and_the_answer_of_the_configuration_count() {
    let world = World::new().await;
    world.server.set("a.wiki.test", Some(&[[198, 41, 0, 4]]));
    world.server.change(|zone| zone.ttl = 300);
    let before = template("*.wiki.test", Some(8443), &[]);
    let state = world.find(&before, "A.wiki.test", 443).await.unwrap();
    assert_eq!(addresses(&state), ["198.41.0.4:8443"]);
    // Another configuration of the cluster: made anew, and endpoints with the same address stay.
    let after = template("*.wiki.test", Some(8443), &["10.0.0.0/8"]);
    let next = world.find(&after, "A.wiki.test", 443).await.unwrap();
    let endpoint = |state: &ClusterState| Arc::clone(state.endpoints().unwrap().iter().next().unwrap());
    assert!(!Arc::ptr_eq(&state, &next) && Arc::ptr_eq(&endpoint(&state), &endpoint(&next)));
}

#[tokio::test]
async fn dr_20_limits_hold_for_each_name_of_a_wildcard_by_itself() {
    let world = World::new().await;
    world.server.set("a.wiki.test", Some(&[[198, 41, 0, 4]]));
    world.server.set("b.wiki.test", Some(&[[198, 41, 0, 4]]));
    let plain = template("*.wiki.test", None, &[]);
    let limited = |most| {
        let limits = ir::PoolLimits { max_requests: Some(most), ..ir::PoolLimits::default() };
        let cluster = Cluster { limits: Some(limits.into()), ..(*plain.config).clone() };
        ClusterState::new(Arc::new(cluster), &Arc::default(), None)
    };
    let one = limited(1);
    let a = world.find(&one, "a.wiki.test", 443).await.unwrap();
    let b = world.find(&one, "b.wiki.test", 443).await.unwrap();
    let held = a.begin_request();
    assert!(held.is_some() && a.begin_request().is_none());
    let of_b = b.begin_request();
    assert!(of_b.is_some() && b.begin_request().is_none());
    // What is under way counts for the next configuration.
    let a = world.find(&limited(2), "a.wiki.test", 443).await.unwrap();
    let second = a.begin_request();
    assert!(second.is_some() && a.begin_request().is_none());
}

#[tokio::test]
async fn names_with_the_same_address_have_endpoints_of_their_own_and_the_oldest_are_forgotten() {
    let world = World::new().await;
    let any = template("*", None, &[]);
    let first = world.find(&any, "198.41.0.4", 1).await.unwrap();
    let endpoint = Arc::clone(first.endpoints().unwrap().iter().next().unwrap());
    world.server.set("a.test", Some(&[[198, 41, 0, 4]]));
    let other = world.find(&any, "a.test", 1).await.unwrap();
    assert_ne!(other.endpoints().unwrap().iter().next().unwrap().id, endpoint.id);
    for port in 2..=u16::try_from(MOST).unwrap() {
        world.find(&any, "198.41.0.4", port).await.unwrap();
    }
    assert!(world.destinations.count() <= MOST && endpoint.is_gone());
}

#[tokio::test]
async fn a_name_server_that_does_not_answer_is_waited_for_up_to_the_limit() {
    let world = World::new().await;
    world.server.change(|zone| zone.holds = true);
    let any = template("*", None, &[]);
    let finder = Finder { dns: &world.dns, tasks: &world.tasks, endpoints: &world.endpoints, client: CLIENT };
    let limit = Duration::from_millis(20);
    let found = world.destinations.find(finder, &any, DestinationHost::Name("a.test"), 80, limit).await;
    assert_eq!(found.err(), Some(DestinationError::Timeout("a.test".into(), limit)));
}

/// One client cannot keep others from their names, whatever it asks for.
#[tokio::test]
async fn a_client_with_many_names_that_are_not_answered_does_not_keep_others_from_theirs() {
    let world = Arc::new(World::new().await);
    world.server.set("a.test", Some(&[[198, 41, 0, 4]]));
    world.server.change(|zone| zone.holds = true);
    let any = Arc::new(template("*", None, &[]));
    let asking: Vec<_> = (0..100)
        .map(|number| {
            let (world, any) = (Arc::clone(&world), Arc::clone(&any));
            tokio::spawn(async move { world.find(&any, &format!("n{number}.test"), 443).await.err() })
        })
        .collect();
    fixture::until("the client's queries", || world.server.held().len() >= DnsBounds::default().of_clients).await;
    world.server.change(|zone| zone.holds = false);
    let other = Finder {
        dns: &world.dns,
        tasks: &world.tasks,
        endpoints: &world.endpoints,
        client: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)),
    };
    let asked = world.destinations.find(other, &any, DestinationHost::Name("a.test"), 443, LONG).await;
    assert_eq!(addresses(&asked.unwrap().cluster), ["198.41.0.4:443"]);
    asking.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn names_without_an_address_are_forgotten_before_destinations_that_are_in_use() {
    let world = World::new().await;
    let any = template("*", None, &[]);
    let first = world.find(&any, "198.41.0.4", 1).await.unwrap();
    let endpoint = Arc::clone(first.endpoints().unwrap().iter().next().unwrap());
    for number in 0..=MOST {
        world.destinations.known(Key {
            cluster: any.config.id.clone(),
            host: format!("n{number}.test").into(),
            port: 1,
        });
    }
    assert!(world.destinations.count() <= MOST && !endpoint.is_gone());
    let again = world.find(&any, "198.41.0.4", 1).await.unwrap();
    assert!(Arc::ptr_eq(&first, &again));
}
