//! Bytes that go through the tunnel of their destination's policy (DR-50).

use super::rules::rule;
use super::world::{compiled, findings, objects, virtual_service};
use crate::{Compiled, Memo, Settings, compile};
use ir::{Service, TcpRoute, TunnelMethod};
use resources::set::{Change, ResourceSet};
use std::sync::Arc;

const GATEWAY: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 9000, name: tcp, protocol: TCP}, hosts: ['*']}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: proxy, namespace: default}
spec:
  hosts: [proxy.test]
  resolution: STATIC
  ports: [{number: 3128, name: tcp, protocol: TCP}]
  endpoints: [{address: 127.0.0.1, labels: {app: proxy}}]
---
";
const TARGET: &str = "tunnel: {targetHost: a.test, targetPort: 443}";
const OTHER: &str = "tunnel: {protocol: POST, targetHost: '2001:db8::1', targetPort: 80}";

/// A `tcp` rule with these destinations, and a DestinationRule with these fields.
fn with(destinations: &str, policy: &str) -> Compiled {
    let spec = format!("  hosts: ['*']\n  gateways: [gw]\n  tcp:\n  - route: [{destinations}]");
    let rule = rule("name: own, namespace: default", &format!("host: proxy.test, {policy}"));
    compiled(&[GATEWAY.to_owned(), virtual_service("one", &spec), rule].concat())
}

fn route(compiled: &Compiled) -> Arc<TcpRoute> {
    let listener = compiled.snapshot.listeners.values().next().unwrap();
    let Some(Service::Tcp(route)) = &listener.plain else { panic!("{listener:?}") };
    Arc::clone(route)
}

fn tunnel(compiled: &Compiled) -> Option<(TunnelMethod, String)> {
    route(compiled).tunnel.as_ref().map(|tunnel| (tunnel.method, tunnel.authority.to_string()))
}

#[test]
fn dr_50_the_only_destination_of_a_rule_has_its_tunnel() {
    let compiled = with("{destination: {host: proxy.test}}", &format!("trafficPolicy: {{{TARGET}}}"));
    assert_eq!(tunnel(&compiled), Some((TunnelMethod::Connect, "a.test:443".to_owned())));
    assert!(findings(&compiled).is_empty());
    let compiled = with("{destination: {host: proxy.test}}", &format!("trafficPolicy: {{{OTHER}}}"));
    assert_eq!(tunnel(&compiled), Some((TunnelMethod::Post, "[2001:db8::1]:80".to_owned())));
    assert!(tunnel(&with("{destination: {host: proxy.test}}", "trafficPolicy: {tls: {mode: DISABLE}}")).is_none());
}

#[test]
fn dr_07_a_subset_has_its_own_tunnel_and_settings_of_a_port_take_none_away() {
    let subsets =
        "subsets: [{name: own, trafficPolicy: {OTHER}}, {name: plain, trafficPolicy: {tls: {mode: DISABLE}}}]";
    let subsets = subsets.replace("OTHER", OTHER);
    let port = "portLevelSettings: [{port: {number: 3128}, tls: {mode: DISABLE}}]";
    let policy = format!("trafficPolicy: {{{TARGET}, {port}}}, {subsets}");
    let of =
        |subset: &str| tunnel(&with(&format!("{{destination: {{host: proxy.test{subset}}}}}"), &policy)).unwrap().1;
    assert_eq!([of(""), of(", subset: own"), of(", subset: plain")], ["a.test:443", "[2001:db8::1]:80", "a.test:443"]);
}

#[test]
fn dr_50_a_rule_with_several_destinations_uses_no_tunnel_and_says_so() {
    let two = "{destination: {host: proxy.test}, weight: 1}, {destination: {host: proxy.test, subset: v1}, weight: 1}";
    let compiled = with(two, &format!("trafficPolicy: {{{TARGET}}}, subsets: [{{name: v1, labels: {{app: proxy}}}}]"));
    assert_eq!(tunnel(&compiled), None);
    assert_eq!(findings(&compiled), ["MG7022 VirtualService default/one", "MG7022 VirtualService default/one"]);
}

/// A `tcp` rule with one destination, before and after its DestinationRule changes.
fn follows(before: &str, after: &str) -> Arc<TcpRoute> {
    let spec = "  hosts: ['*']\n  gateways: [gw]\n  tcp:\n  - route: [{destination: {host: proxy.test, subset: v1}}]";
    let own = |policy: &str| rule("name: own, namespace: default", &format!("host: proxy.test, {policy}"));
    let puts = |text: &str| objects(text).into_iter().map(Change::Put).collect::<Vec<_>>();
    let (settings, mut memo) = (Settings::default(), Memo::default());
    let set =
        ResourceSet::default().with(puts(&[GATEWAY.to_owned(), virtual_service("one", spec), own(before)].concat()));
    compile(&set, &settings, &mut memo);
    let set = set.with(puts(&own(after)));
    let stepped = compile(&set, &settings, &mut memo);
    assert_eq!(stepped.snapshot, compile(&set, &settings, &mut Memo::default()).snapshot);
    route(&stepped)
}

#[test]
fn dr_50_vs_66_a_rule_follows_the_tunnel_and_the_idle_time_of_its_destination() {
    let subset = "subsets: [{name: v1, labels: {app: proxy}}]";
    let with = |policy: &str| format!("trafficPolicy: {{{policy}}}, {subset}");
    let tunnel = |route: Arc<TcpRoute>| route.tunnel.as_ref().map(|tunnel| tunnel.authority.to_string());
    let ends = |route: Arc<TcpRoute>| route.idle_timeout.map(|time| time.as_secs());
    assert_eq!(tunnel(follows(&with(TARGET), &with(OTHER))).unwrap(), "[2001:db8::1]:80");
    assert_eq!(tunnel(follows(&with(TARGET), &with("tls: {mode: DISABLE}"))), None);
    let port = |number: u16| {
        with(&format!(
            "portLevelSettings: [{{port: {{number: {number}}}, connectionPool: {{tcp: {{idleTimeout: 7s}}}}}}]"
        ))
    };
    assert_eq!(ends(follows(&port(3129), &port(3128))), Some(7));
    let never = with("connectionPool: {tcp: {idleTimeout: 0s}}");
    assert_eq!(ends(follows(&with("tls: {mode: DISABLE}"), &never)), None, "it never ends for being idle");
    // The pool of a subset replaces the whole pool of the rule.
    let whole = "trafficPolicy: {connectionPool: {tcp: {idleTimeout: 7s}}}";
    let of_subset =
        |policy: &str| format!("{whole}, subsets: [{{name: v1, labels: {{app: proxy}}, trafficPolicy: {{{policy}}}}}]");
    let pool = "connectionPool: {http: {maxRetries: 3}}";
    assert_eq!(ends(follows(&of_subset("tls: {mode: DISABLE}"), &of_subset(pool))), Some(3600));
}

#[test]
fn dr_50_what_auto_passthrough_lets_in_uses_no_tunnel() {
    let auto = GATEWAY
        .replace(
            "name: tcp, protocol: TCP}, hosts: ['*']",
            "name: tls, protocol: TLS}, hosts: ['*'], tls: {mode: AUTO_PASSTHROUGH}",
        )
        .replace("resolution: STATIC", "resolution: STATIC\n  location: MESH_INTERNAL");
    let rule = rule("name: own, namespace: default", &format!("host: proxy.test, trafficPolicy: {{{TARGET}}}"));
    let compiled = compiled(&[auto, rule].concat());
    let listener = compiled.snapshot.listeners.values().next().unwrap();
    let tunnels: Vec<_> = listener
        .tls
        .iter()
        .filter_map(|server| match &server.service {
            Service::Tcp(route) => Some(route.tunnel.clone()),
            Service::Http(_) => None,
        })
        .collect();
    assert_eq!(tunnels, [None]);
}
