//! AuthorizationPolicies as rules of workloads (AP-01 to AP-16).

use super::world::{compiled, compiled_with, found, gateway, listener, objects, set};
use crate::{Compiled, Memo, Settings, Work, Workload, compile};
use ir::policy::{ActionRules, AuthorizationRule, Demand, IdentityMatch, RuleList};
use resources::set::Change;
use std::sync::Arc;

fn policy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: istio-system}}\nspec: {{{spec}}}\n---\n"
    )
}

fn of_gateway(policies: &str) -> Compiled {
    compiled(&format!("{}{policies}", gateway("g", "'*'")))
}

fn rules(compiled: &Compiled) -> (ActionRules, ActionRules) {
    let authorization = listener(compiled, 80).policies.authorization.clone().expect("there are policies");
    (authorization.requests.clone(), authorization.connections.clone())
}

fn names(rules: &Option<RuleList>) -> Vec<String> {
    rules.as_ref().expect("there are such policies").iter().map(|rule| rule.name.to_string()).collect()
}

fn only(rules: &Option<RuleList>) -> Arc<AuthorizationRule> {
    let rules = rules.as_ref().expect("there are such policies");
    assert_eq!(rules.len(), 1);
    Arc::clone(&rules[0])
}

#[test]
fn ap_02_rules_of_a_workload_are_put_together_by_action_and_sorted_by_name() {
    assert!(listener(&of_gateway(""), 80).policies.authorization.is_none());
    let many: Vec<&str> = vec!["{}"; 11];
    let compiled = of_gateway(
        &[
            policy("z", "action: DENY, rules: [{}, {}]"),
            policy("a", &format!("action: DENY, rules: [{}]", many.join(", "))),
            policy("allow", "rules: [{}]"),
            policy("audit", "action: AUDIT, rules: [{}]"),
        ]
        .concat(),
    );
    let (requests, connections) = rules(&compiled);
    let denied = names(&requests.deny);
    let name = |policy: &str, rule: usize| format!("ns[istio-system]-policy[{policy}]-rule[{rule}]");
    // As Envoy sorts them.
    assert_eq!(denied[..4], [name("a", 0), name("a", 10), name("a", 1), name("a", 2)]);
    assert_eq!(denied[11..], [name("z", 0), name("z", 1)]);
    assert_eq!(names(&requests.allow), [name("allow", 0)]);
    assert_eq!(names(&requests.audit), [name("audit", 0)]);
    assert!(requests.dry_run_deny.is_none() && requests.dry_run_allow.is_none());
    assert_eq!(requests, connections);
}

#[test]
fn ap_04_an_allow_without_rules_is_there_and_allows_nothing() {
    let (requests, connections) = rules(&of_gateway(&policy("p", "")));
    assert_eq!((names(&requests.allow).len(), names(&connections.allow).len()), (0, 0));
}

#[test]
fn ap_11_conditions_on_http_are_not_for_connections() {
    let both = "[{to: [{operation: {paths: [/a], ports: ['80']}}]}, {from: [{source: {ipBlocks: [10.0.0.1]}}]}]";
    let (requests, connections) = rules(&of_gateway(&policy("p", &format!("rules: {both}"))));
    assert_eq!((names(&requests.allow).len(), names(&connections.allow).len()), (2, 1));
    let (requests, connections) = rules(&of_gateway(&policy("p", &format!("action: DENY, rules: {both}"))));
    assert_eq!((names(&requests.deny).len(), names(&connections.deny).len()), (2, 2));
    let first = &connections.deny.as_ref().unwrap()[0];
    let fields: Vec<&str> = first.conditions().map(|condition| &*condition.field).collect();
    assert_eq!(fields, ["rules[0].to[0].operation.ports"]);
}

#[test]
fn ap_16_dry_runs_are_kept_apart() {
    for (annotation, is_dry) in [("'true'", true), ("'1'", true), ("'false'", false), ("'yes'", false)] {
        let text = policy("p", "action: DENY, rules: [{}]")
            .replace("istio-system}", &format!("istio-system, annotations: {{istio.io/dry-run: {annotation}}}}}"));
        let (requests, _) = rules(&of_gateway(&text));
        assert_eq!((requests.dry_run_deny.is_some(), requests.deny.is_some()), (is_dry, !is_dry), "{annotation}");
    }
}

#[test]
fn ap_05_every_field_is_a_condition_with_its_path() {
    let rule = only(&rules(&of_gateway(&policy("p", "rules: [{from: [{source: {notPrincipals: [a], requestPrincipals: [b], notNamespaces: [c], ipBlocks: [10.0.0.1], notRemoteIpBlocks: [10.0.0.2]}}, {source: {serviceAccounts: [d]}}], to: [{operation: {hosts: [e], notPorts: ['80'], methods: [GET], notPaths: [/f]}}], when: [{key: source.ip, values: [10.0.0.3], notValues: [10.0.0.4]}]}]"))).0.allow);
    let fields: Vec<String> = rule
        .conditions()
        .map(|condition| format!("{}{}", if condition.negated { "!" } else { "" }, condition.field))
        .collect();
    assert_eq!(
        fields,
        [
            "!rules[0].from[0].source.notPrincipals",
            "rules[0].from[0].source.requestPrincipals",
            "!rules[0].from[0].source.notNamespaces",
            "!rules[0].from[0].source.notRemoteIpBlocks",
            "rules[0].from[0].source.ipBlocks",
            "rules[0].from[1].source.serviceAccounts",
            "rules[0].to[0].operation.hosts",
            "rules[0].to[0].operation.methods",
            "!rules[0].to[0].operation.notPaths",
            "!rules[0].to[0].operation.notPorts",
            "rules[0].when[0].values",
            "!rules[0].when[0].notValues",
        ]
    );
    assert_eq!(rule.origin.to_string(), "AuthorizationPolicy istio-system/p rules[0]");
}

#[test]
fn ap_06_templates_are_wide_where_a_match_denies() {
    for (action, field, is_wide) in
        [("ALLOW", "paths", false), ("ALLOW", "notPaths", true), ("DENY", "paths", true), ("DENY", "notPaths", false)]
    {
        let spec = format!("action: {action}, rules: [{{to: [{{operation: {{{field}: ['/a/{{*}}']}}}}]}}]");
        let (requests, _) = rules(&of_gateway(&policy("p", &spec)));
        let rule = only(if action == "ALLOW" { &requests.allow } else { &requests.deny });
        let Demand::Path(values) = &rule.to[0][0].demand else { panic!("{rule:?}") };
        assert_eq!(values[0].is_match(b"/a/|"), is_wide, "{action} {field}");
    }
}

#[test]
fn ap_09_identities_are_of_the_mesh() {
    let mut settings = Settings::default();
    settings.mesh.trust_domain = "td".into();
    let text = policy(
        "p",
        "rules: [{when: [{key: source.principal, values: [cluster.local/ns/a/sa/b, x/*, '*', '*/sa/b', '*.x']}, {key: source.serviceAccount, values: [c]}, {key: source.namespace, values: ['n', 'm*']}]}]",
    );
    let compiled = compiled_with(&format!("{}{text}", gateway("g", "'*'")), &settings);
    let rule = only(&rules(&compiled).0.allow);
    let identities = |at: usize| match &rule.when[at].demand {
        Demand::Identity(values) => values.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        identities(0)[..4],
        [
            IdentityMatch::Exact("spiffe://td/ns/a/sa/b".into()),
            IdentityMatch::Prefix("spiffe://x/".into()),
            IdentityMatch::Any,
            IdentityMatch::Suffix("/sa/b".into()),
        ]
    );
    // What follows a star is a pattern in Istio.
    assert!(identities(0)[4].is_match("spiffe://a/yx"));
    assert_eq!(identities(1), [IdentityMatch::ServiceAccount { namespace: "istio-system".into(), name: "c".into() }]);
    assert_eq!(identities(2)[0], IdentityMatch::Namespace("n".into()));
    assert!(
        identities(2)[1].is_match("spiffe://td/ns/mm/sa/x") && !identities(2)[1].is_match("spiffe://td/ns/nm/sa/x")
    );
}

#[test]
fn a_changed_policy_changes_the_listeners_of_its_workloads_alone() {
    let settings = Settings { workloads: vec![Workload::ingress(), Workload::egress()], ..Settings::default() };
    let egress = gateway("e", "'*'").replace("ingressgateway", "egressgateway").replace("number: 80", "number: 81");
    let ingress = "selector: {matchLabels: {istio: ingressgateway}}";
    let all = [gateway("g", "'*'"), egress, policy("p", ingress), policy("q", "action: DENY, rules: [{}]")];
    let first = set(&all.concat());
    let mut memo = Memo::default();
    let before = compile(&first, &settings, &mut memo);
    assert_eq!(before.work.policies, 2);
    let edited = objects(&policy("p", &format!("{ingress}, rules: [{{}}]"))).into_iter().map(Change::Put);
    let second = first.with(edited);
    let after = compile(&second, &settings, &mut memo);
    assert_eq!(after.work, Work { policies: 1, ..Work::default() });
    let changed = after.delta.changes.clone().unwrap();
    let ports: Vec<u16> = changed.listeners.iter().map(|id| id.address.port()).collect();
    assert_eq!((ports, changed.tables.len(), changed.hosts.len()), (vec![80], 0, 0));
    // The other policy's rules are the same values.
    let deny = |compiled: &Compiled| only(&rules(compiled).0.deny);
    assert!(Arc::ptr_eq(&deny(&before), &deny(&after)));
    let gone = second.with(objects(&policy("p", "")).into_iter().map(|object| Change::Delete(object.object_ref())));
    assert!(rules(&compile(&gone, &settings, &mut memo)).0.allow.is_none());
}

#[test]
fn ap_06_hosts_and_paths_that_are_easily_evaded_are_reported() {
    let of = |spec: &str, code: &str| found(&of_gateway(&policy("p", spec)), code).lines().count();
    let hosts = |action: &str, field: &str, values: &str| {
        of(&format!("action: {action}, rules: [{{to: [{{operation: {{{field}: {values}}}}}]}}]"), "MG5030")
    };
    assert_eq!(hosts("DENY", "hosts", "[a.test, '*.b.test', 'c:80']"), 2);
    assert_eq!(hosts("ALLOW", "notHosts", "[a.test]"), 1);
    assert_eq!(hosts("DENY", "hosts", "[a.test, 'A.test:*']"), 0);
    assert_eq!(hosts("DENY", "hosts", "[a.test, 'a.*']"), 0);
    assert_eq!(hosts("ALLOW", "hosts", "[a.test]") + hosts("DENY", "notHosts", "[a.test]"), 0);
    let paths = |action: &str, field: &str, values: &str| {
        of(&format!("action: {action}, rules: [{{to: [{{operation: {{{field}: {values}}}}}]}}]"), "MG5031")
    };
    assert_eq!(paths("DENY", "paths", "[/admin, /a/, /b*]"), 1);
    assert_eq!(paths("ALLOW", "notPaths", "[/admin]"), 1);
    for covered in ["[/admin, /admin/*]", "[/admin, /admin/]", "[/admin, '/admin/{**}']", "[/admin, '*']"] {
        assert_eq!(paths("DENY", "paths", covered), 0, "{covered}");
    }
    assert_eq!(
        of("action: DENY, rules: [{when: [{key: 'experimental.envoy.filters.a[b]', values: [c]}]}]", "MG5032"),
        1
    );
}

#[test]
fn ap_11_rules_of_http_are_reported_where_there_are_tcp_servers() {
    let text = policy("p", "rules: [{to: [{operation: {paths: [/a]}}]}, {to: [{operation: {ports: ['80']}}]}]");
    assert_eq!(found(&of_gateway(&text), "MG5033"), "");
    let tcp = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: t, namespace: default}\nspec: {selector: {istio: ingressgateway}, servers: [{port: {number: 9000, name: tcp, protocol: TCP}, hosts: ['*']}]}\n---\n\
               apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: t, namespace: default}\nspec: {hosts: ['*'], gateways: [t], tcp: [{route: [{destination: {host: a.test}}]}]}\n---\n";
    let settings = Settings::default();
    let mut memo = Memo::default();
    let without = set(&format!("{}{text}", gateway("g", "'*'")));
    assert_eq!(found(&compile(&without, &settings, &mut memo), "MG5033"), "");
    let with = without.with(objects(tcp).into_iter().map(Change::Put));
    let said = found(&compile(&with, &settings, &mut memo), "MG5033");
    assert!(said.starts_with("spec.rules[0]: ") && said.lines().count() == 1, "{said}");
}

/// A field with a name in it: how a policy has it, and how a request or its certificate has it.
type Named = (&'static str, fn(&str) -> String, fn(&str) -> String);

const NAMED: [Named; 5] = [
    ("from: [{source: {principals", |name| format!("td/ns/n/sa/{name}"), |name| format!("spiffe://td/ns/n/sa/{name}")),
    ("from: [{source: {principals", |name| format!("td/ns/{name}/*"), |name| format!("spiffe://td/ns/{name}/sa/x")),
    ("from: [{source: {namespaces", str::to_owned, |name| format!("spiffe://td/ns/{name}/sa/x")),
    ("from: [{source: {namespaces", |name| format!("{name}*"), |name| format!("spiffe://td/ns/{name}c/sa/x")),
    ("to: [{operation: {hosts", |name| format!("{name}*"), |name| format!("{name}.test")),
];

/// Whether the only condition of a policy matches a text; `None` if the policy is refused, and denies everything.
fn condition_matches(compiled: &Compiled, text: &str) -> Option<bool> {
    let rule = only(&rules(compiled).0.deny);
    let condition = rule.conditions().next()?;
    Some(match &condition.demand {
        Demand::Identity(values) => values.iter().any(|value| value.is_match(text)),
        Demand::Host(values) => values.iter().any(|value| value.is_match_in_any_case(text.as_bytes())),
        other => panic!("{other:?}"),
    })
}

#[test]
fn ap_06_ap_09_characters_of_patterns_in_names_stand_for_themselves() {
    let characters = ".+?^$|()[]{}\\-_~!@%:#";
    let mut judged = 0;
    for character in characters.chars().take(20) {
        for (field, configured, seen) in NAMED {
            let value = configured(&format!("a{character}b"));
            let text = policy("p", &format!("action: DENY, rules: [{{{field}: [{value:?}]}}}}]}}]"));
            let compiled = of_gateway(&text);
            let found = |middle: &str| condition_matches(&compiled, &seen(&format!("a{middle}b")));
            assert!(found(&character.to_string()) != Some(false), "{value} does not match itself");
            for other in ["x", "", "aa", "b", "axb", "\u{e9}"] {
                assert!(found(other) != Some(true), "{value} matches a{other}b");
            }
            judged += 1;
        }
    }
    assert_eq!(judged, 100);
}
