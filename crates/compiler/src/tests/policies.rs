//! Which workloads security policies are for (AP-01, RA-01), and those that are not enforced.

use super::world::{compiled, compiled_with, findings, found};
use crate::{Settings, Workload};

fn policy(kind: &str, namespace: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: {kind}\nmetadata: {{name: p, namespace: {namespace}}}\nspec: {{{spec}}}\n"
    )
}

/// Kinds that are not enforced.
const KINDS: [&str; 1] = ["PeerAuthentication"];
const AUTHORIZATION: &str = "AuthorizationPolicy";

#[test]
fn ap_01_a_policy_for_a_workload_here_is_an_error_that_names_both() {
    for kind in KINDS {
        for (namespace, spec) in [
            ("istio-system", "selector: {matchLabels: {istio: ingressgateway}}"),
            ("istio-system", "selector: {matchLabels: {}}"),
            ("istio-system", ""),
        ] {
            let compiled = compiled(&policy(kind, namespace, spec));
            assert_eq!(findings(&compiled), [format!("MG5010 {kind} {namespace}/p")], "{kind} {spec}");
            let one = compiled.report.iter().next().unwrap();
            assert_eq!(one.severity, resources::diagnostic::Severity::Error);
            assert!(one.message.contains("`ingress` (namespace istio-system)"), "{}", one.message);
        }
    }
}

#[test]
fn ap_01_the_root_namespace_is_for_every_namespace_and_others_for_their_own() {
    let elsewhere = Workload { namespace: "edge".into(), ..Workload::ingress() };
    let settings = Settings { workloads: vec![elsewhere], ..Settings::default() };
    for kind in KINDS {
        let said = |namespace: &str, spec: &str| findings(&compiled_with(&policy(kind, namespace, spec), &settings));
        assert_eq!(said("istio-system", ""), [format!("MG5010 {kind} istio-system/p")]);
        assert_eq!(said("edge", "selector: {matchLabels: {istio: ingressgateway}}"), [format!("MG5010 {kind} edge/p")]);
        assert_eq!(said("default", ""), [format!("MG5011 {kind} default/p")]);
        assert_eq!(said("edge", "selector: {matchLabels: {istio: other}}"), [format!("MG5011 {kind} edge/p")]);
    }
    let mut settings = settings;
    settings.mesh.root_namespace = "root".into();
    let said = |namespace: &str| findings(&compiled_with(&policy(AUTHORIZATION, namespace, ""), &settings));
    assert_eq!(said("root"), [""; 0]);
    assert_eq!(said("istio-system"), ["MG5011 AuthorizationPolicy istio-system/p"]);
}

#[test]
fn ap_01_target_references_name_workloads_of_the_gateway_api() {
    let target = "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: web}]";
    let text = policy("AuthorizationPolicy", "istio-system", target);
    assert_eq!(findings(&compiled(&text)), ["MG5011 AuthorizationPolicy istio-system/p"]);
    let mut workload = Workload::ingress();
    workload.labels.extend([("gateway.networking.k8s.io/gateway-name".into(), "web".into())]);
    let settings = Settings { workloads: vec![workload], ..Settings::default() };
    assert_eq!(findings(&compiled_with(&text, &settings)), [""; 0]);
    let other = text.replace("name: web}", "name: other}");
    assert_eq!(findings(&compiled_with(&other, &settings)), ["MG5011 AuthorizationPolicy istio-system/p"]);
}

#[test]
fn ap_16_what_only_observes_is_good_to_know() {
    assert_eq!(
        findings(&compiled(&policy(AUTHORIZATION, "istio-system", "action: AUDIT"))),
        ["MG5013 AuthorizationPolicy istio-system/p"]
    );
    let dry = policy(AUTHORIZATION, "istio-system, annotations: {istio.io/dry-run: 'true'}", "");
    assert_eq!(findings(&compiled(&dry)), ["MG5013 AuthorizationPolicy istio-system/p"]);
    assert!(found(&compiled(&dry), "MG5013").contains("dry run"));
}

#[test]
fn ra_02_tokens_that_no_policy_requires_are_good_to_know() {
    let authentication = policy("RequestAuthentication", "istio-system", "jwtRules: [{issuer: 'https://a'}]");
    assert_eq!(findings(&compiled(&authentication)), ["MG5017 RequestAuthentication istio-system/p"]);
    let elsewhere = authentication.replace("istio-system", "default");
    assert_eq!(findings(&compiled(&elsewhere)), ["MG5011 RequestAuthentication default/p"]);
    let policies = format!("{authentication}---\n{}", policy("AuthorizationPolicy", "istio-system", "rules: [{}]"));
    assert_eq!(found(&compiled(&policies), "MG5017"), "");
}
