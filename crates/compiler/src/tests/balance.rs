//! How endpoints are chosen, and what it matters where they are (DR-10 to DR-14).

use super::world::{compiled_with, findings, gateway, virtual_service};
use crate::{Compiled, Settings};
use ir::{Balance, Balancer, Cluster, EndpointSource, HashKey, HashTable, Localities, Locality};
use resources::spec::destination_rule::LocalityBalancer;
use std::sync::Arc;
use std::time::Duration;

const ENTRY: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: b, namespace: default, annotations: {ANNOTATION}}
spec:
  hosts: [b.test]
  resolution: RESOLUTION
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints:
  - {address: 127.0.0.1, locality: r1/a/x, labels: {app: one, tier: web}}
  - {address: 127.0.0.2, locality: r1/a/y, labels: {app: two, tier: web}}
  - {address: 127.0.0.3, locality: r1/b, weight: 3}
  - {address: 127.0.0.4, locality: r2/a}
  - {address: 127.0.0.5, locality: r3/a}
  - {address: 127.0.0.6}
---
";

/// A gateway at r1/a/x, unless said otherwise, and what is said of its one destination.
struct Fixture {
    entry: String,
    policy: String,
    settings: Settings,
}

impl Fixture {
    fn new(policy: &str) -> Self {
        let mut settings = Settings::default();
        settings.workloads[0].locality = Some(Locality("r1/a/x".into()));
        let entry = ENTRY.replace("ANNOTATION", "").replace("RESOLUTION", "STATIC");
        Self { entry, policy: policy.to_owned(), settings }
    }

    fn compiled(&self) -> Compiled {
        let spec = "  hosts: [a.test]\n  gateways: [gw]\n  http:\n  - route: [{destination: {host: b.test}}]";
        let rule = format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: own, namespace: default}}\n\
             spec: {{host: b.test, trafficPolicy: {{{}}}}}\n---\n",
            self.policy
        );
        let yaml = [gateway("gw", "'*'"), virtual_service("one", spec), self.entry.clone(), rule].concat();
        compiled_with(&yaml, &self.settings)
    }

    fn cluster(&self) -> Arc<Cluster> {
        Arc::clone(self.compiled().snapshot.clusters.values().next().unwrap())
    }

    fn balance(&self) -> Balance {
        Balance::clone(&self.cluster().balance)
    }

    /// The priorities of the endpoints, in the order of their addresses; none where they do not matter.
    fn priorities(&self) -> Option<Vec<u32>> {
        let cluster = self.cluster();
        let priorities = match &cluster.endpoints {
            EndpointSource::Static(all) => all.iter().map(|endpoint| endpoint.priority).collect(),
            EndpointSource::Dns { names, .. } => names.iter().map(|name| name.priority).collect(),
            EndpointSource::Dynamic(_) | EndpointSource::Never(_) | EndpointSource::Withheld(..) => Vec::new(),
        };
        (cluster.balance.localities == Localities::Failover).then_some(priorities)
    }

    /// The localities with a share, as `locality=share`.
    fn shares(&self) -> Vec<String> {
        let Localities::Distribute(shares) = self.balance().localities else { return Vec::new() };
        let name = |locality: &Option<Locality>| locality.as_ref().map_or("-".to_owned(), |one| one.0.to_string());
        shares.iter().map(|(locality, share)| format!("{}={share}", name(locality))).collect()
    }
}

fn hash(policy: &str) -> (Option<HashKey>, HashTable) {
    match Fixture::new(&format!("loadBalancer: {{consistentHash: {{{policy}}}}}")).balance().balancer {
        Balancer::ConsistentHash(hash) => (hash.key.clone(), hash.table),
        other => panic!("{other:?}"),
    }
}

#[test]
fn dr_11_keys_and_tables_are_those_that_are_written() {
    let ring = HashTable::Ring { minimum_size: 1024 };
    assert_eq!(hash("httpHeaderName: X-User"), (Some(HashKey::Header("x-user".into())), ring));
    assert_eq!(hash("httpQueryParameterName: User"), (Some(HashKey::QueryParameter("User".into())), ring));
    assert_eq!(hash("useSourceIp: true, minimumRingSize: 5").1, HashTable::Ring { minimum_size: 5 });
    assert_eq!(hash("useSourceIp: true, ringHash: {minimumRingSize: 7}").1, HashTable::Ring { minimum_size: 7 });
    assert_eq!(hash("useSourceIp: true, ringHash: {}").1, ring);
    assert_eq!(hash("useSourceIp: true, maglev: {tableSize: 101}").1, HashTable::Maglev { size: 101 });
    assert_eq!(hash("useSourceIp: false").0, None);
    let cookie = |ttl: &str| match hash(&format!("httpCookie: {{name: c, path: /p{ttl}}}")).0 {
        Some(HashKey::Cookie(cookie)) => (cookie.path.to_string(), cookie.ttl),
        other => panic!("{other:?}"),
    };
    assert_eq!(cookie(""), ("/p".to_owned(), None));
    assert_eq!(cookie(", ttl: 0s"), ("/p".to_owned(), Some(Duration::ZERO)));
    assert_eq!(cookie(", ttl: 1h"), ("/p".to_owned(), Some(Duration::from_secs(3600))));
}

#[test]
fn dr_12_a_warm_up_is_for_balancers_by_weight() {
    let warmup = |policy: &str| Fixture::new(&format!("loadBalancer: {{{policy}}}")).balance().warmup;
    let parts = |policy: &str| warmup(policy).map(|one| (one.duration.as_secs(), one.minimum_percent, one.aggression));
    assert_eq!(parts("warmup: {duration: 60s}"), Some((60, 10.0, 1.0)));
    assert_eq!(parts("simple: ROUND_ROBIN, warmupDurationSecs: 30s"), Some((30, 10.0, 1.0)));
    assert_eq!(parts("warmup: {duration: 60s, minimumPercent: 0, aggression: 2}"), Some((60, 0.0, 2.0)));
    assert_eq!(parts("simple: RANDOM, warmup: {duration: 60s}"), None);
    assert_eq!(parts("consistentHash: {useSourceIp: true}, warmup: {duration: 60s}"), None);
}

#[test]
fn dr_10_least_conn_is_least_request_and_passthrough_is_reported() {
    let of = |simple: &str| Fixture::new(&format!("loadBalancer: {{simple: {simple}}}"));
    assert_eq!(of("LEAST_CONN").balance(), Balance::from(Balancer::LeastRequest));
    assert_eq!(findings(&of("LEAST_CONN").compiled()), [""; 0]);
    assert_eq!(findings(&of("PASSTHROUGH").compiled()), ["MG8009 DestinationRule default/own"]);
}

#[test]
fn dr_13_without_outlier_detection_there_is_no_failover() {
    let failover = "loadBalancer: {localityLbSetting: {enabled: true}}";
    assert_eq!(Fixture::new(failover).priorities(), None);
    let both = format!("{failover}, outlierDetection: {{}}");
    assert_eq!(Fixture::new(&both).priorities(), Some(vec![0, 1, 2, 3, 3, 3]));
    // The mesh's default is on.
    assert_eq!(Fixture::new("outlierDetection: {}").priorities(), Some(vec![0, 1, 2, 3, 3, 3]));
}

#[test]
fn dr_13_the_rule_wins_over_the_service_and_the_service_over_the_mesh() {
    let close = |policy: &str| {
        let mut world = Fixture::new(policy);
        world.entry = world.entry.replace("{}", "{networking.istio.io/traffic-distribution: PreferClose}");
        world
    };
    // Of all four labels, of all but the subzone, of all but the zone, and of another region.
    let mut world = close("loadBalancer: {simple: RANDOM}");
    assert_eq!(world.priorities(), Some(vec![0, 1, 2, 3, 3, 3]));
    world.settings.mesh.locality_lb_setting = Some(Box::new(off()));
    assert_eq!(world.priorities(), Some(vec![0, 1, 2, 3, 3, 3]));
    assert_eq!(close("loadBalancer: {localityLbSetting: {enabled: false}}").priorities(), None);
    let mut world = Fixture::new("outlierDetection: {}");
    world.settings.mesh.locality_lb_setting = Some(Box::new(off()));
    assert_eq!(world.priorities(), None);
    world.policy = "outlierDetection: {}, loadBalancer: {localityLbSetting: {enabled: true}}".to_owned();
    assert_eq!(world.priorities(), Some(vec![0, 1, 2, 3, 3, 3]));
}

fn off() -> LocalityBalancer {
    LocalityBalancer { enabled: Some(false), ..LocalityBalancer::default() }
}

#[test]
fn dr_13_a_region_fails_over_to_the_one_that_is_named() {
    let policy = "outlierDetection: {}, loadBalancer: {localityLbSetting: {failover: [{from: r1, to: r3}]}}";
    let mut world = Fixture::new(policy);
    assert_eq!(world.priorities(), Some(vec![0, 1, 2, 4, 3, 4]));
    world.settings.workloads[0].locality = Some(Locality("r2".into()));
    // No failover is configured for r2. Priorities have no gaps.
    assert_eq!(world.priorities(), Some(vec![1, 1, 1, 0, 1, 1]));
}

#[test]
fn dr_13_labels_rank_endpoints() {
    let by = |labels: &str| {
        let setting = format!("localityLbSetting: {{failoverPriority: [{labels}]}}");
        Fixture::new(&format!("outlierDetection: {{}}, loadBalancer: {{{setting}}}"))
    };
    assert_eq!(by("topology.kubernetes.io/region").priorities(), Some(vec![0, 0, 0, 1, 1, 1]));
    let zones = "topology.kubernetes.io/region, topology.kubernetes.io/zone, topology.istio.io/subzone";
    assert_eq!(by(zones).priorities(), Some(vec![0, 1, 2, 3, 3, 3]));
    assert_eq!(by("'topology.kubernetes.io/region=r2'").priorities(), Some(vec![1, 1, 1, 0, 1, 1]));
    assert_eq!(by("'tier=web', 'app=two'").priorities(), Some(vec![1, 0, 2, 2, 2, 2]));
    // The gateway's own labels count without a locality, too.
    let mut world = by("app");
    world.settings.workloads[0].locality = None;
    world.settings.workloads[0].labels = [("app", "one"), ("istio", "ingressgateway")]
        .map(|(name, value)| (name.into(), value.into()))
        .into_iter()
        .collect();
    assert_eq!(world.priorities(), Some(vec![0, 1, 1, 1, 1, 1]));
}

#[test]
fn dr_13_shares_go_to_the_localities_that_are_named() {
    let to = |to: &str| {
        let setting =
            format!("localityLbSetting: {{distribute: [{{from: r9, to: {{r9: 100}}}}, {{from: r1/*, to: {{{to}}}}}]}}");
        Fixture::new(&format!("loadBalancer: {{{setting}}}"))
    };
    assert_eq!(to("r1/a/x: 80, r2: 20").shares(), ["r1/a/x=80", "r2/a=20"]);
    // 80 divided by weights 1, 1 and 3.
    assert_eq!(to("r1/*: 80, 'r3/*': 20").shares(), ["r1/a/x=16", "r1/a/y=16", "r1/b=48", "r3/a=20"]);
    assert_eq!(to("'*': 100").shares().len(), 6);
    assert_eq!(to("r1/b: 100").priorities(), None);
    let mut elsewhere = to("r1: 100");
    elsewhere.settings.workloads[0].locality = Some(Locality("r5".into()));
    assert_eq!(elsewhere.balance().localities, Localities::Ignored);
}

#[test]
fn dr_14_an_unknown_locality_is_told_and_changes_nothing() {
    let mut world =
        Fixture::new("outlierDetection: {}, loadBalancer: {localityLbSetting: {failover: [{from: r1, to: r3}]}}");
    let told = |world: &Fixture| findings(&world.compiled()).contains(&"MG8014 DestinationRule default/own".to_owned());
    assert!(!told(&world));
    world.settings.workloads[0].locality = None;
    assert!(told(&world));
    assert_eq!(world.priorities(), None);
}

#[test]
fn dr_13_names_have_localities_as_addresses_do() {
    let mut world = Fixture::new("outlierDetection: {}");
    world.entry = world.entry.replace("STATIC", "DNS").replace("127.0.0.6", "six.test");
    assert_eq!(world.priorities(), Some(vec![0, 1, 2, 3, 3, 3]));
}

#[test]
fn dr_13_zones_of_slices_are_of_the_gateways_region_by_their_names() {
    let mut world =
        Fixture::new("outlierDetection: {}, loadBalancer: {localityLbSetting: {failover: [{from: eu-1, to: us-2}]}}");
    world.settings.workloads[0].locality = Some(Locality("eu-1/eu-1a".into()));
    world.entry = "apiVersion: v1\nkind: Service\nmetadata: {name: b, namespace: default}\n\
                   spec: {ports: [{name: http, port: 80}]}\n---\n\
                   apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
                   metadata: {name: b-1, namespace: default, labels: {kubernetes.io/service-name: b}}\n\
                   addressType: IPv4\nports: [{name: http, port: 8080}]\nendpoints:\n\
                   - {addresses: [10.0.0.1], zone: eu-1a}\n- {addresses: [10.0.0.2], zone: eu-1b}\n\
                   - {addresses: [10.0.0.3], zone: us-2c}\n- {addresses: [10.0.0.4], zone: ap-1a}\n---\n"
        .to_owned();
    let compiled = {
        let spec = "  hosts: [a.test]\n  gateways: [gw]\n  http:\n  - route: [{destination: {host: b}}]";
        let rule =
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: own, namespace: default}\n";
        let rule = format!("{rule}spec: {{host: b, trafficPolicy: {{{}}}}}\n---\n", world.policy);
        compiled_with(
            &[gateway("gw", "'*'"), virtual_service("one", spec), world.entry, rule].concat(),
            &world.settings,
        )
    };
    let cluster = compiled.snapshot.clusters.values().next().unwrap();
    let EndpointSource::Static(endpoints) = &cluster.endpoints else { panic!("{cluster:?}") };
    let seen: Vec<_> = endpoints.iter().map(|one| (&*one.locality.as_ref().unwrap().0, one.priority)).collect();
    assert_eq!(seen, [("eu-1/eu-1a", 0), ("eu-1/eu-1b", 1), ("/us-2c", 2), ("/ap-1a", 3)]);
}
