//! What forward proxies allow, and the clusters that they go to.

use super::world::{compiled, compiled_with, http};
use crate::{Compiled, Settings};
use ir::OriginalDestination;
use resources::read::read_mesh_config;
use std::path::Path;
use std::sync::Arc;

fn proxy(hosts: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: out, namespace: default}}\nspec:\n  \
         selector: {{istio: ingressgateway}}\n  servers:\n  - port: {{number: 3128, name: proxy, protocol: HTTP_PROXY}}\n    \
         hosts: [{hosts}]\n---\n"
    )
}

fn entry(namespace: &str, name: &str, host: &str, port: &str) -> String {
    let resolution = if host.contains('*') { "NONE" } else { "DNS" };
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec:\n  hosts: ['{host}']\n  location: MESH_EXTERNAL\n  resolution: {resolution}\n  ports: [{{{port}}}]\n---\n"
    )
}

/// The clusters of the ports by host.
fn allowed(compiled: &Compiled) -> Vec<String> {
    let table = http(compiled, 3128);
    let hosts = table.forward.as_ref().unwrap().hosts.iter();
    hosts.flat_map(|host| host.ports.iter().map(|port| format!("{} {}", host.host, port.cluster))).collect()
}

const TLS: &str = "number: 443, name: tls, protocol: TLS";

#[test]
fn allow_any_opens_only_a_server_with_the_host_that_stands_for_all() {
    let (mesh, _) = read_mesh_config(&Arc::from(Path::new("mesh.yaml")), "outboundTrafficPolicy: {mode: ALLOW_ANY}");
    let settings = Settings { mesh, ..Settings::default() };
    for (hosts, expected) in
        [("'*'", true), ("'*/*'", true), ("'*.a.test'", false), ("'team-a/*'", false), ("a.test, '*'", true)]
    {
        let table = http(&compiled_with(&proxy(hosts), &settings), 3128);
        assert_eq!(table.forward.as_ref().unwrap().others.is_some(), expected, "{hosts}");
    }
}

#[test]
fn the_tls_of_a_destination_rule_holds_for_a_port_with_its_protocol_in_the_name() {
    let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r, namespace: default}\n\
                spec:\n  host: a.test\n  trafficPolicy: {tls: {mode: SIMPLE, sni: a.test}}\n---\n";
    for (port, expected) in [
        ("number: 80, name: http", true),
        ("number: 80, name: http-web", true),
        ("number: 80, name: web, protocol: HTTP", true),
        ("number: 80, name: tls-web", false),
    ] {
        let compiled = compiled(&[&proxy("'*'"), &entry("default", "a", "a.test", port), rule].concat());
        let clusters: Vec<bool> = compiled.snapshot.clusters.values().map(|cluster| cluster.tls.is_some()).collect();
        assert_eq!(clusters, [expected], "{port}");
    }
}

#[test]
fn the_entry_of_the_namespace_that_the_server_names_is_the_one_that_is_reached() {
    let entries = [
        entry("team-b", "other", "a.test", "number: 443, name: tls, protocol: TLS, targetPort: 1"),
        entry("team-c", "mine", "a.test", "number: 443, name: tls, protocol: TLS, targetPort: 2"),
    ]
    .concat();
    let compiled = compiled(&(proxy("team-c/a.test") + &entries));
    assert_eq!(allowed(&compiled), ["a.test forward|443|team-c/mine|a.test"]);
    let origins: Vec<&str> = compiled.snapshot.clusters.values().map(|cluster| &*cluster.origin.namespace).collect();
    assert_eq!(origins, ["team-c"]);
}

#[test]
fn no_port_of_a_wildcard_falls_through_to_a_more_specific_host() {
    let wild = entry("default", "wild", "*.a.test", "number: 22, name: tcp, protocol: TCP");
    let entries = entry("default", "api", "api.a.test", TLS) + &wild;
    let exact = compiled(&(proxy("api.a.test") + &entries));
    assert_eq!(allowed(&exact), ["api.a.test forward|443|default/api|api.a.test"]);
    // Without an entry of its own, the wildcard narrowed by the server holds.
    let alone = compiled(&(proxy("api.a.test") + &wild));
    assert_eq!(allowed(&alone), ["api.a.test forward|22|default/wild|*.a.test"]);
}

#[test]
fn e_44_a_source_of_destinations_that_is_not_clear_keeps_the_port_closed() {
    let source = |annotation: &str, tls: &str, mesh: &str| {
        let (mesh, _) = read_mesh_config(&Arc::from(Path::new("mesh.yaml")), mesh);
        let annotated =
            format!("namespace: default, annotations: {{moongate.dev/original-destination: {annotation}}}}}");
        let gateway = proxy("'*'").replacen("namespace: default}", &annotated, 1);
        let gateway = gateway.replacen("hosts: ['*']", &format!("hosts: ['*']{tls}"), 1);
        let compiled = compiled_with(&gateway, &Settings { mesh, ..Settings::default() });
        let listener = compiled.snapshot.listeners.values().next().map(|listener| listener.original_destination);
        (listener, compiled.report.iter().map(|found| found.code).collect::<Vec<_>>())
    };
    let header = "defaultConfig: {gatewayTopology: {proxyProtocol: {}}}";
    let fine = |source| (Some(Some(source)), vec![]);
    assert_eq!(source("REDIRECT", "", ""), fine(OriginalDestination::Redirect));
    assert_eq!(source("TPROXY", "", ""), fine(OriginalDestination::Tproxy));
    assert_eq!(source("PROXY_PROTOCOL", "", header), fine(OriginalDestination::ProxyProtocol));
    let tls = "\n    tls: {mode: SIMPLE, credentialName: a}";
    for (annotation, tls, mesh) in
        [("PROXY_PROTOCOL", "", ""), ("redirect", "", ""), ("''", "", ""), ("TPROXY", tls, header)]
    {
        let (listener, codes) = source(annotation, tls, mesh);
        assert!(listener.is_none() && codes.contains(&"MG6025"), "{annotation}: {codes:?}");
    }
}
