//! AP-01 to AP-16.

use super::{below, found, holds};
use crate::key::Key;
use crate::read::{documents, read};
use crate::set::AnyObject;
use crate::spec::security::{AuthorizationAction, AuthorizationPolicy};
use std::path::Path;
use std::sync::Arc;

/// A policy with one rule, as flow YAML without its braces.
#[track_caller]
fn rule(text: &str, wanted: &[&str]) {
    let spec = format!("action: ALLOW\nrules: [{{{text}}}]");
    assert_eq!(found("AuthorizationPolicy", &spec), below("spec.rules[0]", wanted), "{text}");
}

#[track_caller]
fn source(text: &str, wanted: &[&str]) {
    let wanted: Vec<String> = below("from[0].source", wanted);
    rule(&format!("from: [{{source: {{{text}}}}}]"), &wanted.iter().map(String::as_str).collect::<Vec<_>>());
}

#[track_caller]
fn operation(text: &str, wanted: &[&str]) {
    let wanted: Vec<String> = below("to[0].operation", wanted);
    rule(&format!("to: [{{operation: {{{text}}}}}]"), &wanted.iter().map(String::as_str).collect::<Vec<_>>());
}

#[track_caller]
fn when(text: &str, wanted: &[&str]) {
    let wanted: Vec<String> = below("when[0]", wanted);
    rule(&format!("when: [{{{text}}}]"), &wanted.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn ap_01_a_policy_selects_in_one_way() {
    let both = "selector: {matchLabels: {a: b}}\ntargetRefs: [{kind: Gateway, name: g}]";
    holds("AuthorizationPolicy", both, &["E MG5012 spec.selector"]);
}

#[test]
fn ap_05_sources_and_operations_say_something() {
    rule("", &[]);
    rule("from: [{}]", &["E MG5020 from[0]"]);
    rule("to: [{}]", &["E MG5020 to[0]"]);
    source("", &["E MG5020"]);
    operation("", &["E MG5020"]);
    when("key: source.ip", &["E MG5020"]);
}

#[test]
fn ap_06_values_are_not_empty_and_templates_are_valid() {
    for field in ["hosts", "notHosts", "methods", "notMethods", "paths", "notPaths"] {
        operation(&format!("{field}: [a, '']"), &[&format!("E MG5021 {field}[1]")]);
    }
    for good in ["/a", "*", "*/a", "/a/*", "/a/{*}/b", "/{**}", "/{*}/{**}", "/x/{**}/y", "/x/{*}/"] {
        operation(&format!("paths: ['{good}']"), &[]);
    }
    for bad in ["/a/{b}", "/{**}/{*}", "/a{*}", "{*}", "/{*}/*", "/{*}//b", "/a}"] {
        operation(&format!("notPaths: ['{bad}']"), &["E MG5021 notPaths[0]"]);
    }
}

#[test]
fn ap_07_ap_08_addresses_and_ports_are_valid() {
    for field in ["ipBlocks", "notIpBlocks", "remoteIpBlocks", "notRemoteIpBlocks"] {
        source(&format!("{field}: [10.0.0.1, 10.0.0.0/8, '::1', 'fc00::/7']"), &[]);
        source(&format!("{field}: [10.0.0.0/33]"), &[&format!("E MG5021 {field}[0]")]);
    }
    for bad in ["10.0.0", "10.0.0.0/", "10.0.0.0/x", "a", "''", "10.0.0.0/+8"] {
        source(&format!("ipBlocks: [{bad}]"), &["E MG5021 ipBlocks[0]"]);
    }
    operation("ports: ['80', '0', '65535']", &[]);
    for bad in ["65536", "-1", "+80", "http", ""] {
        operation(&format!("notPorts: ['{bad}']"), &["E MG5021 notPorts[0]"]);
    }
}

#[test]
fn ap_09_service_accounts_have_no_wildcards() {
    source("serviceAccounts: [a, b/c]", &[]);
    for bad in ["'*'", "a/b/c", "/a", "a/", "''"] {
        source(&format!("serviceAccounts: [{bad}]"), &["E MG5021 serviceAccounts[0]"]);
    }
    source("serviceAccounts: [a], namespaces: [b]", &["E MG5020 serviceAccounts"]);
    let many: Vec<String> = (0..17).map(|number| format!("a{number}")).collect();
    source(&format!("notServiceAccounts: [{}]", many.join(", ")), &["E MG5021 notServiceAccounts"]);
}

#[test]
fn ap_10_keys_are_known_and_their_values_valid() {
    for key in ["request.headers[x]", "request.auth.claims[a][b]", "connection.sni", "experimental.envoy.filters.a[b]"]
    {
        when(&format!("key: '{key}', values: [a], notValues: ['b*']"), &[]);
        when(&format!("key: '{key}', values: ['']"), &["E MG5021 values[0]"]);
    }
    for key in ["source.ip", "remote.ip", "destination.ip"] {
        when(&format!("key: {key}, values: [10.0.0.0/8]"), &[]);
        when(&format!("key: {key}, notValues: [ten]"), &["E MG5021 notValues[0]"]);
    }
    when("key: destination.port, values: [http]", &["E MG5021 values[0]"]);
    when("key: source.serviceAccount, values: ['*']", &["E MG5021 values[0]"]);
    for key in ["", "request.header[x]", "request.headers[]", "destination.labels[a]", "destination.namespace"] {
        when(&format!("key: '{key}', values: [a]"), &["E MG5022 key"]);
    }
}

#[test]
fn ap_13_ap_15_custom_has_a_provider_and_no_identities() {
    let policy = |text: &str, wanted: &[&str]| holds("AuthorizationPolicy", text, wanted);
    policy("action: CUSTOM\nprovider: {name: p}\nrules: [{}]", &[]);
    policy("action: CUSTOM\nrules: [{}]", &["E MG5023 spec.provider"]);
    policy("action: DENY\nprovider: {name: p}\nrules: [{}]", &["E MG5023 spec.provider"]);
    policy("action: DENY", &["W MG5023 spec.rules"]);
    let custom = |rule: &str, wanted: &str| {
        policy(&format!("action: CUSTOM\nprovider: {{name: p}}\nrules: [{rule}]"), &[wanted])
    };
    custom("{from: [{source: {namespaces: [a]}}]}", "E MG5023 spec.rules[0].from[0].source.namespaces");
    custom("{from: [{source: {requestPrincipals: [a]}}]}", "E MG5023 spec.rules[0].from[0].source.requestPrincipals");
    custom("{when: [{key: 'request.auth.claims[a]', values: [a]}]}", "E MG5023 spec.rules[0].when[0].key");
}

/// What counts in place of a policy with errors.
fn guard(spec: &str) -> Option<AuthorizationPolicy> {
    let text = format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p, namespace: edge}}\nspec:\n  {}\n",
        spec.replace('\n', "\n  ")
    );
    let file = Arc::from(Path::new("a.yaml"));
    let mut rejected = documents(&text).flat_map(|document| read(&file, document).rejected);
    let rejected = rejected.next().expect("the policy has errors");
    assert_eq!(rejected.object.key, Key::new("edge", "p"));
    rejected.guard.map(|guard| match guard {
        AnyObject::AuthorizationPolicy(object) => object.spec.clone(),
        other => panic!("{other:?}"),
    })
}

#[test]
fn a_policy_with_errors_closes_what_it_covers() {
    let bad = "rules: [{from: [{source: {ipBlocks: [x]}}]}, {}]";
    let allow = guard(bad).unwrap();
    assert_eq!((allow.action, allow.rules.len()), (Some(AuthorizationAction::Allow), 0));
    for action in ["DENY", "CUSTOM"] {
        let deny = guard(&format!("action: {action}\nselector: {{matchLabels: {{a: b}}}}\n{bad}")).unwrap();
        assert_eq!((deny.action, deny.rules), (Some(AuthorizationAction::Deny), vec![Default::default()]));
        assert!(deny.selector.is_some() && deny.provider.is_none());
    }
    assert_eq!(guard(&format!("action: AUDIT\n{bad}")), None);
    // What cannot be read of the action or the rules allows nothing.
    let unknown = guard("action: PERMIT\nrules: [{}]").unwrap();
    assert_eq!((unknown.action, unknown.rules.len()), (Some(AuthorizationAction::Allow), 0));
    assert_eq!(guard("rules: everything").unwrap().rules.len(), 0);
    let both = guard("selector: {matchLabels: {a: b}}\ntargetRefs: [{kind: Gateway, name: g}]\nrules: [{}]").unwrap();
    assert!(both.selector.is_none() && both.target_refs.is_empty());
}
