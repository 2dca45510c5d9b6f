//! SE-01 to SE-15.

use super::holds;

const HTTP: &str = "ports: [{number: 80, name: http, protocol: HTTP}]";

#[track_caller]
fn entry(rest: &str, wanted: &[&str]) {
    holds("ServiceEntry", &format!("hosts: [a.test]\n{rest}"), wanted);
}

#[test]
fn se_01_hosts_are_names_and_wildcards() {
    for good in ["a.test", "a", "*.a.test"] {
        holds("ServiceEntry", &format!("hosts: ['{good}']\n{HTTP}"), &[]);
    }
    for bad in ["*", "a b", "a.*.test", "10.0.0.1"] {
        holds("ServiceEntry", &format!("hosts: ['{bad}']\n{HTTP}"), &["E MG4001 spec.hosts[0]"]);
    }
    holds("ServiceEntry", "hosts: ['*a.test']", &["W MG4001 spec.hosts[0]"]);
    holds("ServiceEntry", HTTP, &["E MG4001 spec.hosts"]);
}

#[test]
fn se_02_networks_need_no_name() {
    entry("addresses: [1.2.3.4, '2001:db8::', 10.0.0.0/8]", &[]);
    entry("addresses: [1.2.3.4/99, a.test]", &["E MG4005 spec.addresses[0]", "E MG4005 spec.addresses[1]"]);
    entry("addresses: [10.0.0.0/8]\nresolution: STATIC", &[]);
    entry("addresses: [10.0.0.0/8]\nresolution: DNS", &["E MG4005 spec.addresses[0]"]);
}

#[test]
fn se_03_ports_have_numbers_and_names_of_their_own() {
    let at = |field: &str| format!("E MG4002 spec.ports[0].{field}");
    entry("ports: [{number: 1, name: a}, {number: 2, name: b, protocol: tcp}]", &[]);
    entry("ports: [{number: 0, name: a}]", &[&at("number")]);
    entry("ports: [{number: 99999, name: a}]", &[&at("number")]);
    entry("ports: [{number: 1}]", &[&at("name")]);
    entry("ports: [{number: 1, name: 'a b'}]", &[&at("name")]);
    entry("ports: [{number: 1, name: a, protocol: SMTP}]", &[&at("protocol")]);
    entry("ports: [{number: 1, name: a, targetPort: 99999}]\nresolution: STATIC", &[&at("targetPort")]);
    entry("ports: [{number: 1, name: a}, {number: 2, name: a}]", &["E MG4002 spec.ports[1].name"]);
    entry("ports: [{number: 1, name: a}, {number: 1, name: b}]", &["E MG4002 spec.ports[1].number"]);
    entry("ports: [{number: 1, name: a, targetPort: 2}]", &["W MG4002 spec.ports[0].targetPort"]);
}

#[test]
fn se_05_none_has_no_endpoints() {
    entry("endpoints: [{address: 1.2.3.4}]", &["E MG4003 spec.endpoints"]);
}

#[test]
fn se_06_static_endpoints_are_addresses() {
    entry(&format!("{HTTP}\nresolution: STATIC\nendpoints: [{{address: 1.2.3.4, ports: {{http: 8080}}}}]"), &[]);
    entry(&format!("{HTTP}\nresolution: STATIC\nendpoints: [{{address: unix:///run/a}}]"), &[]);
    entry("resolution: STATIC\nendpoints: [{address: b.test}]", &["E MG4004 spec.endpoints[0].address"]);
    entry("resolution: STATIC\nendpoints: [{}]", &["E MG4004 spec.endpoints[0].address"]);
    entry("resolution: STATIC\nendpoints: [{network: net}]", &["W MG4004 spec.endpoints[0].address"]);
}

#[test]
fn se_07_dns_resolves_names() {
    entry("resolution: DNS", &[]);
    entry("resolution: DNS\nendpoints: [{address: b.test}, {address: my_service}, {address: 1.2.3.4}]", &[]);
    entry("resolution: DNS\nendpoints: [{address: unix:///a}]", &["E MG4004 spec.endpoints[0].address"]);
    holds("ServiceEntry", "hosts: ['*.a.test']\nresolution: DNS", &["E MG4003 spec.resolution"]);
    holds("ServiceEntry", "hosts: ['*.a.test']\nresolution: DNS\nendpoints: [{address: b.test}]", &[]);
}

#[test]
fn se_08_round_robin_has_one_endpoint() {
    entry("resolution: DNS_ROUND_ROBIN\nendpoints: [{address: b.test}]", &[]);
    let two = "resolution: DNS_ROUND_ROBIN\nendpoints: [{address: b.test}, {address: c.test}]";
    entry(two, &["E MG4003 spec.endpoints"]);
}

#[test]
fn se_09_dynamic_dns_is_for_wildcards() {
    let wildcard = |rest: &str| format!("hosts: ['*.a.test']\nresolution: DYNAMIC_DNS\n{rest}");
    holds("ServiceEntry", &wildcard(HTTP), &[]);
    entry("resolution: DYNAMIC_DNS", &["E MG4003 spec.resolution"]);
    holds("ServiceEntry", &wildcard("endpoints: [{address: b.test}]"), &["E MG4003 spec.endpoints"]);
    holds("ServiceEntry", &wildcard("addresses: [1.2.3.4]"), &["E MG4003 spec.addresses"]);
    let tcp = "ports: [{number: 1, name: a, protocol: TCP}]";
    holds("ServiceEntry", &wildcard(tcp), &["E MG4003 spec.ports[0].protocol"]);
}

#[test]
fn se_10_ports_of_endpoints_are_those_of_the_entry() {
    let endpoint = |rest: &str| format!("{HTTP}\nresolution: STATIC\nendpoints: [{{{rest}}}]");
    entry(&endpoint("address: 1.2.3.4, ports: {other: 1}"), &["E MG4004 spec.endpoints[0].ports.other"]);
    entry(&endpoint("address: 1.2.3.4, ports: {http: 0}"), &["E MG4004 spec.endpoints[0].ports.http"]);
    entry(&endpoint("address: 1.2.3.4, labels: {a: '*'}"), &["E MG4004 spec.endpoints[0].labels"]);
    entry(&endpoint("address: unix:///run/"), &["E MG4004 spec.endpoints[0].address"]);
    entry(&endpoint("address: unix:///run/a, ports: {http: 1}"), &["E MG4004 spec.endpoints[0].ports"]);
    entry("resolution: STATIC\nendpoints: [{address: unix:///run/a}]", &["E MG4004 spec.endpoints[0].address"]);
}

#[test]
fn se_11_a_selector_stands_in_place_of_endpoints() {
    entry("resolution: STATIC\nworkloadSelector: {labels: {a: b}}", &[]);
    let both = "resolution: STATIC\nworkloadSelector: {labels: {a: b}}\nendpoints: [{address: 1.2.3.4}]";
    entry(both, &["E MG4003 spec.endpoints"]);
    entry("resolution: STATIC\nworkloadSelector: {}", &["W MG4006 spec.workloadSelector"]);
    entry("resolution: STATIC\nworkloadSelector: {labels: {a: '*'}}", &["E MG4006 spec.workloadSelector.labels"]);
    entry("resolution: DNS\nworkloadSelector: {labels: {a: b}}", &["W MG4003 spec.workloadSelector"]);
}

#[test]
fn se_15_several_hosts_need_a_protocol_that_names_them() {
    let several = |protocol: &str, resolution: &str| {
        format!(
            "hosts: [a.test, b.test]\nresolution: {resolution}\nports: [{{number: 1, name: a, protocol: {protocol}}}]"
        )
    };
    for good in ["HTTP", "TLS", "HTTPS", "GRPC"] {
        holds("ServiceEntry", &several(good, "DNS"), &[]);
    }
    holds("ServiceEntry", &several("TCP", "NONE"), &[]);
    holds("ServiceEntry", &several("TCP", "DNS"), &["E MG4002 spec.ports[0].protocol"]);
    holds("ServiceEntry", &several("''", "STATIC"), &["E MG4002 spec.ports[0].protocol"]);
}
