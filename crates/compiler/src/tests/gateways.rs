//! Which Gateways the workload gets, how they merge, and on which ports (S-01 to S-22, S-40 to S-46).

use super::world::{compiled, compiled_with, findings, hosts, http, listener, listeners, virtual_service};
use crate::{Settings, Workload};
use std::net::{IpAddr, Ipv4Addr};

/// A Gateway with the rest of its spec.
fn gateway(meta: &str, spec: &str) -> String {
    format!("apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{{meta}}}\nspec: {spec}\n---\n")
}

fn server(port: u16, protocol: &str, hosts: &str) -> String {
    format!("{{port: {{number: {port}, name: p{port}, protocol: {protocol}}}, hosts: [{hosts}]}}")
}

fn ingress(servers: &[String]) -> String {
    format!("{{selector: {{istio: ingressgateway}}, servers: [{}]}}", servers.join(", "))
}

fn respond(name: &str, host: &str, gateways: &str) -> String {
    let spec = format!(
        "  hosts: ['{host}']\n  gateways: [{gateways}]\n  http:\n  - directResponse: {{status: 200, body: {{string: {name}}}}}"
    );
    virtual_service(name, &spec)
}

fn service(spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: gw, namespace: istio-system}}\nspec: \
         {{selector: {{istio: ingressgateway}}, ports: [{spec}]}}\n---\n"
    )
}

#[test]
fn s_01_a_selector_is_met_by_the_workloads_labels_in_any_namespace() {
    let mine = gateway("name: a, namespace: team", &ingress(&[server(80, "HTTP", "'*'")]));
    let other = gateway(
        "name: b, namespace: istio-system",
        &format!("{{selector: {{istio: other}}, servers: [{}]}}", server(81, "HTTP", "'*'")),
    );
    let all = gateway("name: c, namespace: team", &format!("{{servers: [{}]}}", server(82, "HTTP", "'*'")));
    let compiled = compiled(&[mine, other, all].concat());
    assert_eq!(listeners(&compiled), ["ingress [::]:80", "ingress [::]:82"]);
    assert_eq!(findings(&compiled), ["MG6001 Gateway istio-system/b"]);
}

#[test]
fn s_10_http_servers_of_one_port_share_a_listener_oldest_first() {
    let young = gateway(
        "name: a, namespace: default, creationTimestamp: '2026-01-02T00:00:00Z'",
        &ingress(&[server(80, "HTTP", "a.test")]),
    );
    let old = gateway(
        "name: b, namespace: default, creationTimestamp: '2026-01-01T00:00:00Z'",
        &ingress(&[server(80, "GRPC", "b.test")]),
    );
    let routes = [respond("a", "a.test", "a"), respond("b", "b.test", "b")].concat();
    let compiled = compiled(&[young, old, routes].concat());
    let servers: Vec<_> = listener(&compiled, 80).servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["Gateway default/b servers[0]", "Gateway default/a servers[0]"]);
    assert_eq!(hosts(&compiled), ["a.test", "b.test"]);
    assert!(findings(&compiled).is_empty());
}

#[test]
fn s_11_the_older_server_keeps_a_port_that_another_protocol_wants() {
    let tcp = gateway("name: a, namespace: default", &ingress(&[server(80, "TCP", "'*'")]));
    let http = gateway("name: b, namespace: default", &ingress(&[server(80, "HTTP", "'*'")]));
    let compiled = compiled(&[http, tcp, respond("x", "x.test", "b")].concat());
    assert!(listeners(&compiled).is_empty());
    assert_eq!(
        findings(&compiled),
        ["MG6016 Gateway default/a", "MG6003 Gateway default/b", "MG7004 VirtualService default/x"]
    );
}

#[test]
fn s_13_different_binds_are_different_listeners() {
    let bound = |bind: &str| {
        format!("{{bind: '{bind}', port: {{number: 80, name: p{}, protocol: HTTP}}, hosts: ['*']}}", bind.len())
    };
    let compiled = compiled(&gateway(
        "name: a, namespace: default",
        &ingress(&[bound("127.0.0.1"), bound("127.0.0.33"), bound("::1")]),
    ));
    assert_eq!(listeners(&compiled), ["ingress 127.0.0.1:80", "ingress 127.0.0.33:80", "ingress [::1]:80"]);
}

#[test]
fn s_18_clear_text_may_join_tls_and_tls_may_not_join_clear_text() {
    let tls = "{port: {number: 80, name: tls, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: c}}";
    let both = |first: &str, second: &str| {
        let gateways = [
            gateway("name: a, namespace: default", &ingress(&[first.to_owned()])),
            gateway("name: b, namespace: default", &ingress(&[second.to_owned()])),
        ];
        compiled(&gateways.concat())
    };
    let plain = server(80, "HTTP", "'*'");
    let joined = both(tls, &plain);
    assert_eq!(listeners(&joined), ["ingress [::]:80"]);
    assert_eq!(findings(&joined), ["MG6011 Gateway default/a"]);
    assert_eq!(findings(&both(&plain, tls)), ["MG6003 Gateway default/b"]);
}

#[test]
fn s_70_a_server_that_sends_to_https_has_its_hosts_do_so_with_and_without_routes() {
    let redirecting = "{port: {number: 80, name: http, protocol: HTTP}, hosts: [team/a.test, '*.b.test'], tls: {httpsRedirect: true}}";
    let gateways = gateway("name: a, namespace: default", &ingress(&[redirecting.to_owned()]));
    let compiled = compiled(&[gateways, respond("x", "x.b.test", "a")].concat());
    let flags: Vec<_> = http(&compiled, 80)
        .hosts
        .values()
        .map(|host| (host.pattern.to_string(), host.routes.len(), host.https_redirect))
        .collect();
    // S-74: without the prefix of the namespace.
    let wanted = [("a.test", 0, true), ("x.b.test", 1, true), ("*.b.test", 0, true)];
    assert_eq!(flags, wanted.map(|(host, routes, flag)| (host.to_owned(), routes, flag)));
    assert_eq!(findings(&compiled), Vec::<String>::new());
}

#[test]
fn s_40_a_service_of_the_gateway_says_which_port_is_bound() {
    let own = gateway("name: a, namespace: default", &ingress(&[server(80, "HTTP", "'*'"), server(81, "HTTP", "'*'")]));
    let translated = compiled(&[own.clone(), service("{port: 80, targetPort: 8080}, {port: 90}")].concat());
    assert_eq!(listeners(&translated), ["ingress [::]:81", "ingress [::]:8080"]);
    assert_eq!(listener(&translated, 8080).server_port, 80);
    let opted_out = service("{port: 80, targetPort: 8080}").replace(
        "namespace: istio-system",
        "namespace: istio-system, labels: {experimental.istio.io/disable-gateway-port-translation: 'true'}",
    );
    assert_eq!(listeners(&compiled(&[own, opted_out].concat())), ["ingress [::]:80", "ingress [::]:81"]);
}

#[test]
fn s_40_a_named_target_port_is_looked_up_in_endpoint_slices() {
    let own = gateway("name: a, namespace: default", &ingress(&[server(80, "HTTP", "'*'")]));
    let named = service("{name: http, port: 80, targetPort: web}");
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: gw-1, namespace: istio-system, \
                 labels: {kubernetes.io/service-name: gw}}\naddressType: IPv4\nports: [{name: http, port: 8080}]\nendpoints: []\n";
    let known = compiled(&[own.as_str(), &named, slice].concat());
    assert_eq!(listeners(&known), ["ingress [::]:8080"]);
    let unknown = compiled(&[own, named].concat());
    assert_eq!(listeners(&unknown), ["ingress [::]:80"]);
    assert_eq!(findings(&unknown), ["MG6007 Gateway default/a"]);
}

#[test]
fn s_44_two_server_ports_with_one_target_port_merge() {
    let own = gateway(
        "name: a, namespace: default",
        &ingress(&[server(80, "HTTP", "a.test"), server(8080, "HTTP", "b.test")]),
    );
    let translated = service("{name: a, port: 80, targetPort: 8080}");
    let routes = [respond("a", "a.test", "a"), respond("b", "b.test", "a")].concat();
    let compiled = compiled(&[own, translated, routes].concat());
    assert_eq!(listeners(&compiled), ["ingress [::]:8080"]);
    assert_eq!(http(&compiled, 8080).hosts.size(), 2);
}

#[test]
fn the_port_map_comes_last() {
    let own = gateway("name: a, namespace: default", &ingress(&[server(80, "HTTP", "'*'")]));
    let settings = Settings { port_map: [(8080, 18080), (80, 10080)].into(), ..Settings::default() };
    let compiled = compiled_with(&[own, service("{port: 80, targetPort: 8080}")].concat(), &settings);
    assert_eq!(listeners(&compiled), ["ingress [::]:18080"]);
}

#[test]
fn workloads_never_merge_and_the_first_keeps_an_address() {
    let everybody = gateway("name: a, namespace: default", &format!("{{servers: [{}]}}", server(80, "HTTP", "'*'")));
    let mut settings = Settings { workloads: vec![Workload::ingress(), Workload::egress()], ..Settings::default() };
    let shared = compiled_with(&everybody, &settings);
    assert_eq!(listeners(&shared), ["ingress [::]:80"]);
    assert_eq!(findings(&shared), ["MG6004 Gateway default/a"]);
    settings.workloads[1].bind = IpAddr::V4(Ipv4Addr::LOCALHOST);
    assert_eq!(listeners(&compiled_with(&everybody, &settings)), ["egress 127.0.0.1:80", "ingress [::]:80"]);
}

#[test]
fn s_46_a_gateway_without_virtual_service_opens_its_port() {
    let compiled = compiled(&gateway("name: a, namespace: default", &ingress(&[server(80, "HTTP", "'*'")])));
    assert_eq!(listeners(&compiled), ["ingress [::]:80"]);
    assert!(hosts(&compiled).is_empty());
}
