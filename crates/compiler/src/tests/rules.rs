//! DestinationRules: which one applies, and its settings (DR-01 to DR-07, DR-10, DR-20, DR-40).

use super::world::{compiled_with, endpoints, entry, findings, gateway, routes, virtual_service};
use crate::{Compiled, Settings};
use ir::{Balancer, Cluster};
use std::sync::Arc;
use std::time::Duration;

pub(super) fn rule(meta: &str, spec: &str) -> String {
    format!("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{{meta}}}\nspec: {{{spec}}}\n---\n")
}

/// Routes to b.test, with these rules; `subset` may be empty.
pub(super) fn with(subset: &str, rules: &[String]) -> Compiled {
    with_settings(subset, rules, &Settings::default())
}

pub(super) fn with_settings(subset: &str, rules: &[String], settings: &Settings) -> Compiled {
    let subset = if subset.is_empty() { String::new() } else { format!(", subset: {subset}") };
    let spec =
        format!("  hosts: [a.test]\n  gateways: [gw]\n  http:\n  - route: [{{destination: {{host: b.test{subset}}}}}]");
    let backends = entry("b.test", &[9001, 9002]);
    compiled_with(&[gateway("gw", "'*'"), virtual_service("one", &spec), backends, rules.concat()].concat(), settings)
}

pub(super) fn cluster(compiled: &Compiled) -> Arc<Cluster> {
    Arc::clone(compiled.snapshot.clusters.values().next().unwrap())
}

fn policy(compiled: &Compiled) -> Option<String> {
    cluster(compiled).policy.as_ref().map(ToString::to_string)
}

const ROUND: &str = "trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}";
const RANDOM: &str = "trafficPolicy: {loadBalancer: {simple: RANDOM}}";

#[test]
fn dr_01_the_most_specific_host_wins() {
    let all = rule("name: all, namespace: default", &format!("host: '*', {RANDOM}"));
    let wide = rule("name: wide, namespace: default", &format!("host: '*.test', {RANDOM}"));
    let exact = rule("name: exact, namespace: default", &format!("host: b.test, {ROUND}"));
    let holds = |rules: &[String]| policy(&with("", rules));
    assert_eq!(holds(&[all.clone(), wide.clone(), exact]).as_deref(), Some("DestinationRule default/exact"));
    assert_eq!(holds(&[all.clone(), wide]).as_deref(), Some("DestinationRule default/wide"));
    assert_eq!(holds(&[all]).as_deref(), Some("DestinationRule default/all"));
}

#[test]
fn dr_02_private_rules_of_the_gateways_namespace_then_the_services_then_the_roots() {
    let private = rule("name: private, namespace: istio-system", &format!("host: '*.test', exportTo: ['.'], {ROUND}"));
    let service = rule("name: service, namespace: default", &format!("host: b.test, {ROUND}"));
    let root = rule("name: root, namespace: istio-system", &format!("host: b.test, {ROUND}"));
    let elsewhere = rule("name: elsewhere, namespace: apps", &format!("host: b.test, {ROUND}"));
    let holds = |rules: &[&String]| policy(&with("", &rules.iter().map(|rule| (*rule).clone()).collect::<Vec<_>>()));
    assert_eq!(holds(&[&root, &service, &private]).as_deref(), Some("DestinationRule istio-system/private"));
    assert_eq!(holds(&[&root, &service]).as_deref(), Some("DestinationRule default/service"));
    assert_eq!(holds(&[&root, &elsewhere]).as_deref(), Some("DestinationRule istio-system/root"));
    assert_eq!(holds(&[&elsewhere]), None);
}

#[test]
fn dr_03_a_rule_that_is_not_exported_does_not_hold_at_the_gateway() {
    let private = rule("name: own, namespace: default", &format!("host: b.test, exportTo: ['.'], {ROUND}"));
    assert_eq!(policy(&with("", &[private])), None);
}

#[test]
fn dr_04_rules_of_one_host_put_their_subsets_together_and_the_oldest_defines() {
    let at = |name: &str, minute: u32| {
        format!("name: {name}, namespace: default, creationTimestamp: '2026-01-01T00:0{minute}:00Z'")
    };
    let old = rule(&at("old", 1), "host: b.test, subsets: [{name: v1, labels: {version: v1}}]");
    let young = rule(
        &at("a-young", 2),
        &format!("host: b.test, {ROUND}, subsets: [{{name: v1, labels: {{}}}}, {{name: v2, labels: {{version: v2}}}}]"),
    );
    let first = with("v1", &[young.clone(), old.clone()]);
    assert_eq!(endpoints(&first, "outbound|80|v1|b.test"), ["127.0.0.1:9001"]);
    assert_eq!(findings(&first), ["MG8011 DestinationRule default/a-young"]);
    let second = with("v2", &[young, old]);
    assert_eq!(endpoints(&second, "outbound|80|v2|b.test"), ["127.0.0.1:9002"]);
    assert_eq!(cluster(&second).balance.balancer, Balancer::RoundRobin);
}

#[test]
fn dr_05_a_rule_with_a_selector_holds_for_the_workloads_that_it_selects() {
    let selecting = |label: &str| {
        let selector = format!("workloadSelector: {{matchLabels: {{istio: {label}}}}}");
        rule("name: own, namespace: istio-system", &format!("host: b.test, {ROUND}, {selector}"))
    };
    assert!(policy(&with("", &[selecting("ingressgateway")])).is_some());
    assert!(policy(&with("", &[selecting("egressgateway")])).is_none());
}

#[test]
fn dr_06_a_subset_takes_the_endpoints_with_its_labels_and_an_unknown_one_fails() {
    let subsets = rule(
        "name: own, namespace: default",
        "host: b.test, subsets: [{name: v2, labels: {version: v2}}, {name: all}, {name: none, labels: {version: x}}]",
    );
    let found = |subset: &str| {
        endpoints(&with(subset, std::slice::from_ref(&subsets)), &format!("outbound|80|{subset}|b.test"))
    };
    assert_eq!(found("v2"), ["127.0.0.1:9002"]);
    assert_eq!(found("all").len(), 2);
    assert!(found("none").is_empty());
    let unknown = with("v3", std::slice::from_ref(&subsets));
    assert_eq!(routes(&unknown, "a.test"), ["!outbound|80|v3|b.test"]);
    assert_eq!(findings(&unknown), ["MG8004 VirtualService default/one"]);
}

#[test]
fn dr_07_subsets_override_by_block_and_ports_replace_everything() {
    let connect = |seconds: u32| format!("connectionPool: {{tcp: {{connectTimeout: {seconds}s}}}}");
    let own = |port: &str| {
        rule(
            "name: own, namespace: default",
            &format!(
                "host: b.test, trafficPolicy: {{loadBalancer: {{simple: RANDOM}}, {}{port}}}, subsets: [{{name: v1, trafficPolicy: \
                 {{loadBalancer: {{simple: ROUND_ROBIN}}}}}}]",
                connect(3)
            ),
        )
    };
    let subset = cluster(&with("v1", &[own("")]));
    assert_eq!(
        (subset.balance.balancer.clone(), subset.timeouts.connect),
        (Balancer::RoundRobin, Duration::from_secs(3))
    );
    let port = format!(", portLevelSettings: [{{port: {{number: 80}}, {}}}]", connect(4));
    let replaced = cluster(&with("", &[own(&port)]));
    assert_eq!(
        (replaced.balance.balancer.clone(), replaced.timeouts.connect),
        (Balancer::LeastRequest, Duration::from_secs(4))
    );
}

#[test]
fn dr_10_and_dr_20_defaults() {
    let plain = cluster(&with("", &[]));
    assert_eq!((&plain.balance.balancer, plain.timeouts.connect), (&Balancer::LeastRequest, Duration::from_secs(10)));
}

#[test]
fn dr_40_what_is_to_be_encrypted_is_not_sent_in_clear_text() {
    let tls = |settings: &str| {
        with(
            "",
            &[rule("name: own, namespace: default", &format!("host: b.test, trafficPolicy: {{tls: {{{settings}}}}}"))],
        )
    };
    let simple = tls("mode: SIMPLE");
    let of = simple.snapshot.clusters.values().next().unwrap().tls.clone().unwrap();
    // DR-41 to DR-43: the system's authorities, the host of the request, and its name in the certificate.
    assert_eq!((&of.sni, &of.verify), (&ir::Sni::Host, &ir::Verify::Authorities { trust: None, by_sni: true }));
    assert!(findings(&simple).is_empty());
    // DR-44: if the configured TLS is not available, nothing is sent in clear text, or to another endpoint.
    for settings in ["mode: SIMPLE, credentialName: gone", "mode: MUTUAL, clientCertificate: /a, privateKey: /b"] {
        let compiled = tls(settings);
        assert_eq!(endpoints(&compiled, "outbound|80||b.test"), ["no TLS"]);
        assert_eq!(findings(&compiled), ["MG6011 DestinationRule default/own"]);
    }
    assert!(tls("mode: DISABLE").snapshot.clusters.values().all(|cluster| cluster.tls.is_none()));
}

#[test]
fn dr_06_policies_that_do_not_act_yet_are_each_said_once() {
    let own = rule(
        "name: own, namespace: default",
        "host: b.test, trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}}, subsets: [{name: v1, trafficPolicy: \
         {loadBalancer: {simple: PASSTHROUGH}}}]",
    );
    assert_eq!(findings(&with("", &[own])), ["MG8009 DestinationRule default/own"]);
}
