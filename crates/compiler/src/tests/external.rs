//! AP-13, AP-14: the services of policies with the action `CUSTOM`.

use super::world::{compiled_with, entry, findings, found, gateway, objects, set, virtual_service};
use crate::{Compiled, Memo, Settings, compile};
use ir::policy::{CheckBody, CheckProtocol, ExternalAuthorization, ExternalCheck, Policies};
use resources::read::read_mesh_config;
use resources::set::Change;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const PROVIDERS: &str = "
extensionProviders:
- name: grpc
  envoyExtAuthzGrpc: {service: authz.test, port: 80}
- name: http
  envoyExtAuthzHttp:
    service: default/authz.test
    port: 80
    timeout: 250ms
    pathPrefix: /check
    failOpen: true
    statusOnError: '503'
    clearRouteCache: true
    includeHeadersInCheck: [old]
    includeAdditionalHeadersInCheck: {X-From: gateway}
    headersToUpstreamOnAllow: [x-user*]
- name: body
  envoyExtAuthzGrpc: {service: authz.test, port: 80, includeRequestBodyInCheck: {maxRequestBytes: 10}}
- name: port
  envoyExtAuthzGrpc: {service: authz.test, port: 81}
- name: host
  envoyExtAuthzGrpc: {service: other.test, port: 80}
- name: namespace
  envoyExtAuthzGrpc: {service: other/authz.test, port: 80}
- name: spans
  zipkin: {service: zipkin.test, port: 1}
";

fn settings() -> Settings {
    let (mesh, found) = read_mesh_config(&Arc::from(Path::new("mesh.yaml")), PROVIDERS);
    assert_eq!(found, []);
    Settings { mesh, ..Settings::default() }
}

fn policy(name: &str, provider: &str, rules: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: istio-system}}\n\
         spec: {{action: CUSTOM, provider: {{name: {provider}}}, rules: [{rules}]}}\n---\n"
    )
}

fn world(policies: &str) -> String {
    let routes =
        virtual_service("r", "  hosts: [a.test]\n  gateways: [g]\n  http: [{directResponse: {status: 200}}]\n");
    [gateway("g", "a.test"), routes, entry("authz.test", &[9000]), policies.to_owned()].concat()
}

fn policies(compiled: &Compiled) -> Policies {
    compiled.snapshot.listeners.values().next().unwrap().policies.clone()
}

fn external(compiled: &Compiled) -> ExternalAuthorization {
    (*policies(compiled).ext_authz.unwrap()).clone()
}

fn check(compiled: &Compiled) -> ExternalCheck {
    match external(compiled) {
        ExternalAuthorization::Check(check) => *check,
        ExternalAuthorization::DenyAll => panic!("{:?}", findings(compiled)),
    }
}

#[test]
fn ap_13_the_provider_is_resolved_to_a_cluster_of_the_snapshot() {
    let one = compiled_with(&world(&policy("p", "grpc", "{to: [{operation: {paths: [/a]}}]}")), &settings());
    let checked = check(&one);
    assert_eq!(checked.cluster.as_str(), "outbound|80||authz.test");
    assert!(one.snapshot.clusters.contains_key(&checked.cluster));
    assert_eq!((checked.protocol, checked.timeout), (CheckProtocol::Grpc, Duration::from_secs(1)));
    assert_eq!((checked.fail_open, checked.status_on_error, checked.clear_route_cache), (false, 403, false));
    let rules: Vec<&str> = checked.rules.iter().map(|rule| &*rule.name).collect();
    assert_eq!(rules, ["ns[istio-system]-policy[p]-rule[0]"]);
    // Without a policy the service has no cluster.
    let none = compiled_with(&world(""), &settings());
    assert_eq!((policies(&none).ext_authz, none.snapshot.clusters.size()), (None, 0));
}

#[test]
fn ap_13_the_options_of_the_http_form() {
    let checked = check(&compiled_with(&world(&policy("p", "http", "{}")), &settings()));
    assert_eq!((checked.fail_open, checked.status_on_error, checked.clear_route_cache), (true, 503, true));
    assert_eq!(checked.timeout, Duration::from_millis(250));
    let CheckProtocol::Http(http) = checked.protocol else { panic!() };
    assert_eq!(http.path_prefix.unwrap().as_str(), "/check");
    let names = |patterns: &[ir::policy::NamePattern]| patterns.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        (names(&http.request_headers), names(&http.to_upstream_on_allow)),
        (vec!["old".into()], vec!["x-user*".into()])
    );
    assert_eq!(http.additional_headers.len(), 1);
}

#[test]
fn ap_13_a_provider_that_cannot_be_asked_denies_everything_and_says_why() {
    for (provider, said) in [
        ("nobody", "there is no provider `nobody`"),
        ("spans", "`zipkin`, which does not authorize"),
        ("port", "`authz.test` has no port 81"),
        ("host", "no Service or ServiceEntry that the workload sees is `other.test`"),
        ("namespace", "no Service or ServiceEntry that the workload sees is `other/authz.test`"),
    ] {
        let compiled = compiled_with(&world(&policy("p", provider, "{}")), &settings());
        assert_eq!(external(&compiled), ExternalAuthorization::DenyAll, "{provider}");
        let message = found(&compiled, "MG5040");
        assert!(message.contains(said) && message.contains("all requests"), "{message}");
        assert_eq!(compiled.snapshot.clusters.size(), 0);
    }
}

#[test]
fn ap_14_several_providers_for_a_workload_deny_everything() {
    let both = policy("p", "grpc", "{}") + &policy("q", "http", "{}");
    let compiled = compiled_with(&world(&both), &settings());
    assert_eq!(external(&compiled), ExternalAuthorization::DenyAll);
    assert!(found(&compiled, "MG5041").contains("`grpc` and `http`"));
    assert_eq!(findings(&compiled).iter().filter(|one| one.starts_with("MG5041")).count(), 2);
    // Two policies with one provider are checked by the rules of both.
    let twice = policy("p", "grpc", "{}") + &policy("q", "grpc", "{}");
    assert_eq!(check(&compiled_with(&world(&twice), &settings())).rules.len(), 2);
}

#[test]
fn ap_13_ap_11_a_grpc_service_is_asked_about_connections_and_one_in_http_is_not() {
    let connections = |provider: &str| {
        let text = world(&policy("p", provider, "{to: [{operation: {ports: ['80'], paths: [/a]}}]}"));
        check(&compiled_with(&text, &settings())).connections
    };
    let rules = connections("grpc").unwrap();
    // Conditions on HTTP are left out, so that more connections are checked.
    assert_eq!(rules.iter().map(|rule| rule.conditions().count()).collect::<Vec<_>>(), [1]);
    assert_eq!(connections("http"), None);
}

#[test]
fn ap_13_how_much_of_a_body_is_checked() {
    let body = check(&compiled_with(&world(&policy("p", "body", "{}")), &settings())).body;
    assert_eq!(body, Some(CheckBody { octets: 10, partial: false, raw: false }));
}

#[test]
fn ap_13_a_grpc_service_on_a_port_without_http_2_is_reported_until_a_rule_upgrades_it() {
    let upgrade = |host: &str, policy: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: up, namespace: istio-system}}\n\
             spec: {{host: {host}, trafficPolicy: {{connectionPool: {{http: {{h2UpgradePolicy: {policy}}}}}}}}}\n---\n"
        )
    };
    let reported = |compiled: &Compiled| findings(compiled).iter().any(|one| one.starts_with("MG5044"));
    let (mut memo, settings) = (Memo::default(), settings());
    let text = world(&policy("p", "grpc", "{}"));
    let before = set(&(text.clone() + &upgrade("authz.test", "DO_NOT_UPGRADE")));
    assert!(reported(&compile(&before, &settings, &mut memo)));
    let upgraded = before.with(objects(&upgrade("authz.test", "UPGRADE")).into_iter().map(Change::Put));
    assert!(!reported(&compile(&upgraded, &settings, &mut memo)));
    assert!(reported(&compile(&before, &settings, &mut memo)));
    assert!(!reported(&compiled_with(&world(&policy("p", "http", "{}")), &settings)));
    let named = text.replace(
        &entry("authz.test", &[9000]),
        &entry("authz.test", &[9000]).replace("protocol: HTTP", "protocol: GRPC"),
    );
    assert!(!reported(&compiled_with(&named, &settings)));
}

/// The service is added and removed while the policy stays.
#[test]
fn ap_13_a_service_that_comes_or_goes_changes_the_check_and_the_findings() {
    let (mut memo, settings) = (Memo::default(), settings());
    let service = entry("authz.test", &[9000]);
    let before = set(&world(&policy("p", "grpc", "{}")).replace(&service, ""));
    let none = compile(&before, &settings, &mut memo);
    assert_eq!(external(&none), ExternalAuthorization::DenyAll);
    assert!(findings(&none).iter().any(|one| one.starts_with("MG5040")));
    let with = before.with(objects(&service).into_iter().map(Change::Put));
    let some = compile(&with, &settings, &mut memo);
    assert!(some.snapshot.clusters.contains_key(&check(&some).cluster));
    assert!(!findings(&some).iter().any(|one| one.starts_with("MG5040")));
    let keys = objects(&service).into_iter().map(|object| Change::Delete(object.object_ref()));
    let gone = compile(&with.with(keys), &settings, &mut memo);
    assert_eq!((external(&gone), gone.snapshot.clusters.size()), (ExternalAuthorization::DenyAll, 0));
    assert!(findings(&gone).iter().any(|one| one.starts_with("MG5040")));
}
