//! VS-01 to VS-03 and VS-60 to VS-65.

use super::holds;

const RULE: &str = "http:\n- route:\n  - destination: {host: b}";

fn hosts(list: &str) -> String {
    format!("hosts: {list}\ngateways: [g]\n{RULE}")
}

#[test]
fn vs_01_hosts_are_names_addresses_and_wildcards() {
    for good in ["a", "a.test", "*", "*.a.test", "*-a.test", "10.0.0.1", "'[::1]'"] {
        holds("VirtualService", &hosts(&format!("['{}']", good.trim_matches('\''))), &[]);
    }
    for bad in ["a.*.test", "a b", "a.test/x", "http://a.test", "a.test:80", "a_b.test", "a.1"] {
        holds("VirtualService", &hosts(&format!("['{bad}']")), &["E MG2002 spec.hosts[0]"]);
    }
}

#[test]
fn vs_01_hosts_of_one_object_do_not_overlap() {
    holds("VirtualService", &hosts("[a.test, b.test]"), &[]);
    for bad in ["[a.test, a.test]", "['*.test', a.test]", "[a.test, '*']", "['*.a.test', '*.test']"] {
        holds("VirtualService", &hosts(bad), &["E MG2004 spec.hosts[1]"]);
    }
}

#[test]
fn vs_01_the_mesh_has_no_wildcard_for_all() {
    holds("VirtualService", &format!("hosts: ['*']\n{RULE}"), &["E MG2003 spec.hosts[0]"]);
    holds("VirtualService", &format!("hosts: ['*']\ngateways: [g, mesh]\n{RULE}"), &["E MG2003 spec.hosts[0]"]);
    holds("VirtualService", &hosts("['*']"), &[]);
}

#[test]
fn vs_01_rules_are_needed() {
    holds("VirtualService", "hosts: [a.test]\ngateways: [g]", &["E MG2005 spec"]);
}

#[test]
fn vs_02_gateways_are_named() {
    let gateways = |list: &str| format!("hosts: [a.test]\ngateways: {list}\n{RULE}");
    for good in ["[g]", "[ns/g]", "[./g]", "[mesh]", "[g, mesh]"] {
        holds("VirtualService", &gateways(good), &[]);
    }
    for bad in ["['']", "[ns/]", "[/g]", "[a/b/c]", "['*']", "[n_s/g]"] {
        holds("VirtualService", &gateways(bad), &["E MG2020 spec.gateways[0]"]);
    }
    holds("VirtualService", &gateways("[g.ns.svc.cluster.local]"), &["W MG2020 spec.gateways[0]"]);
}

#[test]
fn vs_48_a_delegate_has_http_rules_alone() {
    holds("VirtualService", RULE, &[]);
    holds("VirtualService", &format!("gateways: [g]\n{RULE}"), &["E MG2001 spec.hosts"]);
    let tcp = format!("{RULE}\ntcp:\n- route:\n  - destination: {{host: b}}");
    holds("VirtualService", &tcp, &["E MG2019 spec.tcp"]);
    let again = "http:\n- delegate: {name: x}";
    holds("VirtualService", again, &["E MG2019 spec.http[0].delegate"]);
    holds("VirtualService", &format!("hosts: [a.test]\n{again}"), &[]);
    holds(
        "VirtualService",
        "hosts: [a.test]\nhttp:\n- delegate: {namespace: x}",
        &["E MG2019 spec.http[0].delegate.name"],
    );
}

fn tls(one: &str) -> String {
    format!(
        "hosts: ['*.a.test', b.test]\ngateways: [g]\ntls:\n- match:\n  - {one}\n  route:\n  - destination: {{host: b}}"
    )
}

#[test]
fn vs_60_names_of_tls_are_within_the_hosts() {
    for good in ["[x.a.test]", "['*.a.test']", "['*.x.a.test']", "[b.test]"] {
        holds("VirtualService", &tls(&format!("sniHosts: {good}")), &[]);
    }
    for bad in ["[c.test]", "['*']", "['*.b.test']", "[a b]"] {
        holds("VirtualService", &tls(&format!("sniHosts: {bad}")), &["E MG2024 spec.tls[0].match[0].sniHosts[0]"]);
    }
    holds("VirtualService", &tls("port: 443"), &["E MG2024 spec.tls[0].match[0].sniHosts"]);
    holds("VirtualService", &tls("sniHosts: [10.0.0.1]"), &["W MG2024 spec.tls[0].match[0].sniHosts[0]"]);
    holds(
        "VirtualService",
        "hosts: [a.test]\ntls:\n- route:\n  - destination: {host: b}",
        &["E MG2024 spec.tls[0].match"],
    );
}

#[test]
fn vs_60_the_internal_form_is_a_name_too() {
    let host = "outbound_.80_._.a.test";
    let spec = format!(
        "hosts: [{host}]\ngateways: [g]\ntls:\n- match:\n  - sniHosts: [{host}]\n  route:\n  - destination: {{host: b}}"
    );
    holds("VirtualService", &spec, &[]);
}

#[test]
fn vs_61_conditions_are_well_formed() {
    let one = "{sniHosts: [b.test], destinationSubnets: [10.0.0.0/33], port: 70000, sourceLabels: {a: 'b c'}, gateways: ['*'], sourceNamespace: 'a b'}";
    let at = |field: &str| format!("E MG2024 spec.tls[0].match[0].{field}");
    let wanted = [
        at("destinationSubnets[0]"),
        at("port"),
        at("sourceLabels"),
        "E MG2020 spec.tls[0].match[0].gateways[0]".to_owned(),
        at("sourceNamespace"),
    ];
    holds("VirtualService", &tls(one), &wanted.each_ref().map(String::as_str));
    holds("VirtualService", &tls("{sniHosts: [b.test], destinationSubnets: [10.0.0.0/8], port: 0}"), &[]);
}

#[test]
fn vs_64_tcp_rules_have_destinations() {
    holds("VirtualService", "hosts: [a.test]\ntcp:\n- match:\n  - port: 1", &["E MG2024 spec.tcp[0].route"]);
    let two = "hosts: [a.test]\ntcp:\n- route:\n  - destination: {host: b}\n- route:\n  - destination: {host: c}";
    holds("VirtualService", two, &["W MG2021 spec.tcp[1]"]);
}

#[test]
fn vs_63_the_same_match_twice_is_never_reached() {
    let rule = "- match: [{sniHosts: [b.test]}]\n  route:\n  - destination: {host: b}";
    holds("VirtualService", &format!("hosts: [b.test]\ntls:\n{rule}\n{rule}"), &["W MG2021 spec.tls[1]"]);
}

#[test]
fn vs_65_weights_are_as_those_of_http() {
    let tcp = |one: i32, other: i32| {
        format!(
            "hosts: [a.test]\ntcp:\n- route:\n  - {{destination: {{host: b}}, weight: {one}}}\n  - {{destination: {{host: c}}, weight: {other}}}"
        )
    };
    holds("VirtualService", &tcp(1, 0), &[]);
    holds("VirtualService", &tcp(0, 0), &["E MG2007 spec.tcp[0].route"]);
    holds("VirtualService", &tcp(-1, 5), &["E MG2007 spec.tcp[0].route[0].weight"]);
}

/// RFC 4343: names of DNS are the same in every case.
#[test]
fn vs_01_hosts_are_compared_without_case_and_shown_as_they_are_written() {
    let sni = |host: &str, sni: &str| {
        format!(
            "hosts: ['{host}']\ngateways: [g]\ntls:\n- match: [{{port: 443, sniHosts: ['{sni}']}}]\n  route: [{{destination: {{host: b}}}}]"
        )
    };
    holds("VirtualService", &sni("A.test", "a.TEST"), &[]);
    holds("VirtualService", &sni("*.A.test", "x.a.TEST"), &[]);
    holds("VirtualService", &hosts("[a.test, A.TEST]"), &["E MG2004 spec.hosts[1]"]);
    let found = super::diagnostics("VirtualService", "o", &sni("A.test", "B.test"));
    assert!(found[0].message.contains("`B.test`"), "{found:?}");
}
