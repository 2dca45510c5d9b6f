//! Where VirtualServices bind, and in which order their routes come (S-30 to S-64, VS-01 to VS-04, VS-18 to VS-20).

use super::world::{compiled, compiled_with, findings, gateway, host, hosts, virtual_service};
use crate::{Compiled, Settings};
use ir::Action;

/// A rule that answers with its name.
fn rule(name: &str, rest: &str) -> String {
    let rest = if rest.is_empty() { String::new() } else { format!(", {rest}") };
    format!("\n  - {{name: {name}, directResponse: {{status: 200, body: {{string: {name}}}}}{rest}}}")
}

fn bound(name: &str, hosts: &str, rules: &[String]) -> String {
    virtual_service(name, &format!("  hosts: [{hosts}]\n  gateways: [gw]\n  http:{}", rules.concat()))
}

/// The names of a host's routes in their order.
fn order(compiled: &Compiled, name: &str) -> Vec<String> {
    let routes = &host(compiled, name).routes;
    assert!(routes.iter().all(|route| matches!(route.action, Action::Respond(_))));
    routes.iter().map(|route| route.name.to_string()).collect()
}

fn created(yaml: &str, at: &str) -> String {
    yaml.replace("namespace: default}", &format!("namespace: default, creationTimestamp: '2026-01-01T00:{at}:00Z'}}"))
}

#[test]
fn s_30_a_gateways_namespace_prefix_keeps_others_out() {
    let one = bound("one", "a.test", &[rule("one", "")]);
    let kept_out = compiled(&[gateway("gw", "apps/a.test"), one.clone()].concat());
    assert!(hosts(&kept_out).is_empty());
    assert_eq!(findings(&kept_out), ["MG7007 VirtualService default/one"]);
    assert_eq!(hosts(&compiled(&[gateway("gw", "./a.test"), one].concat())), ["a.test"]);
}

#[test]
fn s_31_the_narrower_host_of_each_pair_is_the_one_that_is_served() {
    let compiled = compiled(
        &[
            gateway("gw", "'*.a.test', b.test"),
            bound("one", "x.a.test, c.test", &[rule("one", "")]),
            bound("all", "'*'", &[rule("all", "")]),
        ]
        .concat(),
    );
    assert_eq!(hosts(&compiled), ["b.test", "x.a.test", "*.a.test"]);
    assert_eq!(order(&compiled, "x.a.test"), ["one"], "S-34: nothing falls through to the wildcard");
    assert_eq!(findings(&compiled), ["MG7017 VirtualService default/one"], "c.test is in no server");
}

#[test]
fn s_33_hosts_are_lower_case() {
    let compiled = compiled(&[gateway("gw", "'*'"), bound("one", "A.Test", &[rule("one", "")])].concat());
    assert_eq!(hosts(&compiled), ["a.test"]);
}

#[test]
fn s_50_a_gateway_that_does_not_exist_is_named_with_the_nearest_one() {
    let elsewhere = gateway("gw", "'*'").replace("namespace: default", "namespace: web");
    let compiled = compiled(&[elsewhere, bound("one", "a.test", &[rule("one", "")])].concat());
    assert_eq!(findings(&compiled), ["MG7002 VirtualService default/one"]);
    assert_eq!(compiled.report.iter().next().unwrap().help.as_deref(), Some("nearest: web/gw"));
}

#[test]
fn s_51_export_to_is_judged_at_the_gateways_namespace_and_so_is_its_default() {
    let one = bound("one", "a.test", &[rule("one", "")]);
    let private = one.replace("  http:", "  exportTo: ['.']\n  http:");
    let hidden = compiled(&[gateway("gw", "'*'"), private].concat());
    assert!(hosts(&hidden).is_empty());
    assert_eq!(findings(&hidden), ["MG7005 VirtualService default/one"]);
    let mut settings = Settings::default();
    settings.mesh.default_virtual_service_export_to = vec![".".into()];
    assert!(hosts(&compiled_with(&[gateway("gw", "'*'"), one].concat(), &settings)).is_empty());
}

#[test]
fn s_53_a_virtual_service_without_a_rule_for_the_gateway_routes_nothing() {
    let other = rule("one", "match: [{port: 8080}, {gateways: [other]}, {sourceLabels: {app: x}}]");
    let compiled = compiled(&[gateway("gw", "'*'"), bound("one", "a.test", &[other])].concat());
    assert!(hosts(&compiled).is_empty());
    assert_eq!(findings(&compiled), ["MG7008 VirtualService default/one"]);
}

#[test]
fn vs_18_to_20_prune_entries_for_other_ports_gateways_and_clients() {
    let entries = "match: [{name: port, port: 80}, {name: other, port: 81}, {name: gateway, gateways: [gw], sourceLabels: {a: b}, \
                   uri: {exact: /g}}, {name: labels, sourceLabels: {istio: ingressgateway}, uri: {exact: /l}}]";
    let narrow = entries.replace("{name: port, port: 80}", "{name: port, port: 80, uri: {exact: /p}}");
    let compiled = compiled(&[gateway("gw", "'*'"), bound("one", "a.test", &[rule("r", &narrow)])].concat());
    assert_eq!(order(&compiled, "a.test"), ["r.port", "r.gateway", "r.labels"]);
}

#[test]
fn s_60_rules_keep_their_order_and_end_at_the_first_that_takes_everything() {
    let rules = [
        rule("long", "match: [{uri: {prefix: /a/b}}]"),
        rule("short", "match: [{uri: {prefix: /a}}, {name: method, method: {exact: GET}}]"),
        rule("all", ""),
        rule("never", "match: [{uri: {exact: /n}}]"),
    ];
    let compiled = compiled(&[gateway("gw", "'*'"), bound("one", "a.test", &rules)].concat());
    assert_eq!(order(&compiled, "a.test"), ["long", "short", "short.method", "all"]);
}

#[test]
fn s_61_virtual_services_on_one_host_come_oldest_first() {
    let young = created(&bound("a", "a.test", &[rule("young", "match: [{uri: {prefix: /a}}]")]), "02");
    let old = created(&bound("b", "a.test", &[rule("old", "match: [{uri: {prefix: /b}}]")]), "01");
    let compiled = compiled(&[gateway("gw", "'*'"), young, old].concat());
    assert_eq!(order(&compiled, "a.test"), ["old", "young"]);
}

#[test]
fn vs_04_private_comes_before_exported_before_public() {
    let named = |name: &str, export: &str, at: &str| {
        let rules = [rule(name, &format!("match: [{{uri: {{prefix: /{name}}}}}]"))];
        let one = bound(name, "a.test", &rules)
            .replace("gateways: [gw]", &format!("gateways: [default/gw]\n  exportTo: ['{export}']"));
        created(&one, at)
    };
    let private = named("private", ".", "03").replace("namespace: default", "namespace: istio-system");
    let exported = named("exported", "istio-system", "02");
    let compiled = compiled(&[gateway("gw", "'*'"), named("public", "*", "01"), exported, private].concat());
    assert_eq!(order(&compiled, "a.test"), ["private", "exported", "public"]);
}

#[test]
fn s_62_only_what_takes_everything_moves_to_the_end() {
    let first = bound("a", "a.test", &[rule("all", "match: [{uri: {prefix: /}}]")]);
    let rules = [
        rule("regex", "match: [{uri: {regex: '.*'}, headers: {x: {exact: one}}}]"),
        rule("prefix", "match: [{uri: {prefix: /x}}]"),
    ];
    let second = bound("b", "a.test", &rules);
    let compiled = compiled(&[gateway("gw", "'*'"), first, second].concat());
    assert_eq!(order(&compiled, "a.test"), ["regex", "prefix", "all"]);
}

#[test]
fn s_61_servers_come_before_the_age_of_virtual_services() {
    let old = created(&gateway("old", "a.test"), "01");
    let young = created(&gateway("young", "'*.test'"), "02");
    let of = |name: &str, gateway: &str, at: &str| {
        let rules = [rule(name, &format!("match: [{{uri: {{prefix: /{name}}}}}]"))];
        created(&bound(name, "a.test", &rules).replace("[gw]", &format!("[{gateway}]")), at)
    };
    let compiled = compiled(&[old, young, of("first", "young", "03"), of("second", "old", "04")].concat());
    assert_eq!(order(&compiled, "a.test"), ["second", "first"]);
}

/// A VirtualService that delegates what is below `/d`, and the routes and findings that it has with this delegate.
fn delegating(delegate: &str) -> (Vec<String>, Vec<String>) {
    let root = "  hosts: [a.test]\n  gateways: [gw]\n  http:\n  - name: root\n    match: [{uri: {prefix: /d}}]\n    \
                delegate: {name: leaf, namespace: apps}\n  - {name: rest, directResponse: {status: 200}}";
    let delegate = virtual_service("leaf", delegate).replace("namespace: default", "namespace: apps");
    let compiled = compiled(&[gateway("gw", "'*'"), virtual_service("one", root), delegate].concat());
    let routes = host(&compiled, "a.test").routes.clone();
    (routes.iter().map(|route| format!("{} {}", route.name, route.origin.rule)).collect(), findings(&compiled))
}

#[test]
fn vs_48_rules_of_a_delegate_stand_where_it_is_named() {
    let leaf = "  http:\n  - {name: x, match: [{uri: {prefix: /d/x}}], directResponse: {status: 201}}\n  \
                - {directResponse: {status: 202}}";
    let (routes, said) = delegating(leaf);
    let x = "root-x http[0].delegate apps/leaf http[0].match[0]";
    assert_eq!(routes, [x, "root http[0].delegate apps/leaf http[1].match[0]", "rest http[1]"]);
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn vs_48_what_does_not_fit_or_is_not_seen_is_left_out_and_reported() {
    let conflict = "  http:\n  - {match: [{uri: {prefix: /e}}], directResponse: {status: 201}}\n  \
                    - {name: z, directResponse: {status: 202}}";
    let (routes, said) = delegating(conflict);
    assert_eq!(routes, ["root-z http[0].delegate apps/leaf http[1].match[0]", "rest http[1]"]);
    assert_eq!(said, ["MG7019 VirtualService default/one"]);
    let hidden = "  exportTo: ['.']\n  http: [{directResponse: {status: 201}}]";
    assert_eq!(
        delegating(hidden),
        (vec!["rest http[1]".to_owned()], vec!["MG7015 VirtualService default/one".to_owned()])
    );
    let rooted = "  hosts: [b.test]\n  gateways: [default/gw]\n  http: [{directResponse: {status: 201}}]";
    assert_eq!(delegating(rooted).1, ["MG7015 VirtualService default/one"]);
}

#[test]
fn vs_48_a_delegate_that_nobody_names_is_reported() {
    let leaf = virtual_service("leaf", "  http: [{directResponse: {status: 200}}]");
    assert_eq!(findings(&compiled(&[gateway("gw", "'*'"), leaf].concat())), ["MG7020 VirtualService default/leaf"]);
}

#[test]
fn s_54_names_in_a_delegate_are_of_its_own_namespace() {
    let root = "  hosts: [a.test]\n  gateways: [gw]\n  http: [{delegate: {name: leaf, namespace: apps}}]";
    let leaf = virtual_service("leaf", "  http: [{route: [{destination: {host: svc, port: {number: 80}}}]}]");
    let leaf = leaf.replace("namespace: default", "namespace: apps");
    let compiled = compiled(&[gateway("gw", "'*'"), virtual_service("one", root), leaf].concat());
    assert_eq!(super::world::routes(&compiled, "a.test"), ["!outbound|80||svc.apps.svc.cluster.local"]);
}

#[test]
fn e_20_a_first_hop_without_a_second_is_reported_until_a_server_has_the_host() {
    let to_gateway = "{host: istio-ingressgateway.istio-system.svc.cluster.local, port: {number: 80}}";
    let hop = |hosts: &str, block: &str| {
        let rule = format!("  {block}:\n  - route: [{{destination: {to_gateway}}}]");
        virtual_service("hop", &format!("  hosts: [{hosts}]\n{rule}"))
    };
    let codes = |hosts: &str, block: &str| {
        findings(&compiled(&[gateway("gw", "'*.a.test', b.test"), hop(hosts, block)].concat()))
    };
    let (explained, lost) = ("MG7024 VirtualService default/hop", "MG7025 VirtualService default/hop");
    assert_eq!(codes("x.a.test", "http"), [explained]);
    assert_eq!(codes("'*.a.test', b.test", "http"), [explained]);
    assert_eq!(codes("x.a.test, c.test", "http"), [explained, lost]);
    // Bytes come in by the port.
    assert_eq!(codes("c.test", "tcp"), [explained]);
    let elsewhere = hop("c.test", "http").replace("istio-ingressgateway", "other");
    assert_eq!(
        findings(&compiled(&[gateway("gw", "b.test"), elsewhere].concat())),
        ["MG7001 VirtualService default/hop"]
    );
}
