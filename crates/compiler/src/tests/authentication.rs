//! RequestAuthentications as what workloads accept (RA-01 to RA-05).

use super::world::{compiled, compiled_with, gateway, listener, objects, set};
use crate::{Compiled, Memo, Settings, Workload, compile};
use ir::policy::{Authentication, KeySource, Provider};
use resources::set::Change;
use std::sync::Arc;

const JWKS: &str =
    r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fn policy(name: &str, metadata: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: {name}, namespace: istio-system{metadata}}}\nspec: {{{spec}}}\n---\n"
    )
}

fn rule(issuer: &str, more: &str) -> String {
    format!("{{issuer: {issuer}, jwks: '{JWKS}'{more}}}")
}

fn of_gateway(policies: &str) -> Compiled {
    compiled(&format!("{}{policies}", gateway("g", "'*'")))
}

fn authentication(compiled: &Compiled) -> Option<Arc<Authentication>> {
    listener(compiled, 80).policies.authentication.clone()
}

fn only(rule: &str) -> Arc<Provider> {
    let found = authentication(&of_gateway(&policy("p", "", &format!("jwtRules: [{rule}]")))).expect("there is a rule");
    assert_eq!(found.providers.len(), 1);
    Arc::clone(&found.providers[0])
}

#[test]
fn ra_01_rules_of_all_objects_for_a_workload_are_sorted_by_issuer() {
    assert!(authentication(&of_gateway("")).is_none());
    assert!(authentication(&of_gateway(&policy("p", "", ""))).is_none());
    let compiled = of_gateway(
        &[
            policy(
                "new",
                ", creationTimestamp: '2026-01-02T00:00:00Z'",
                &format!("jwtRules: [{}, {}]", rule("b", ""), rule("a", "")),
            ),
            policy(
                "old",
                ", creationTimestamp: '2026-01-01T00:00:00Z'",
                &format!("jwtRules: [{}]", rule("b", ", audiences: [x]")),
            ),
            policy(
                "other",
                "",
                &format!("selector: {{matchLabels: {{istio: other}}}}, jwtRules: [{}]", rule("zero", "")),
            ),
        ]
        .concat(),
    );
    let found = authentication(&compiled).unwrap();
    let origins: Vec<String> = found.providers.iter().map(|provider| provider.origin.to_string()).collect();
    assert_eq!(
        origins,
        ["new jwtRules[1]", "old jwtRules[0]", "new jwtRules[0]"]
            .map(|rule| format!("RequestAuthentication istio-system/{rule}"))
    );
}

#[test]
fn ra_01_an_object_is_for_the_workloads_of_its_namespace_or_for_all_of_them() {
    let elsewhere = Workload { namespace: "edge".into(), ..Workload::ingress() };
    let settings = Settings { workloads: vec![elsewhere], ..Settings::default() };
    let with = |namespace: &str| {
        let policy = policy("p", "", &format!("jwtRules: [{}]", rule("a", ""))).replace("istio-system", namespace);
        let compiled = compiled_with(&format!("{}{policy}", gateway("g", "'*'")), &settings);
        authentication(&compiled).is_some()
    };
    assert!(with("istio-system") && with("edge") && !with("default"));
}

#[test]
fn ra_03_tokens_are_in_their_usual_places_unless_places_are_named() {
    let places = |more: &str| {
        let found = only(&rule("a", more));
        let headers: Vec<String> =
            found.from_headers.iter().map(|header| format!("{}={}", header.name, header.prefix)).collect();
        format!("{headers:?} {:?} {:?}", found.from_params, found.from_cookies)
    };
    assert_eq!(places(""), r#"["authorization=Bearer "] ["access_token"] []"#);
    assert_eq!(places(", fromParams: [b, a, b]"), r#"[] ["a", "b"] []"#);
    assert_eq!(places(", fromCookies: [s]"), r#"[] [] ["s"]"#);
    assert_eq!(places(", fromHeaders: [{name: X-B}, {name: X-A, prefix: 'T '}]"), r#"["x-a=T ", "x-b="] [] []"#);
}

#[test]
fn ra_04_outputs_are_taken_over() {
    let more = ", forwardOriginalToken: true, outputPayloadToHeader: X-P, outputClaimToHeaders: [{header: X-C, claim: a.b}], spaceDelimitedClaims: [roles]";
    let found = only(&rule("a", more));
    assert!(found.forward_original_token);
    assert_eq!(found.output_headers().map(ToString::to_string).collect::<Vec<_>>(), ["x-p", "x-c"]);
    assert_eq!(found.claim_headers[0].claim, ["a".into(), "b".into()]);
    assert_eq!(found.space_delimited_claims, ["roles".into()]);
}

#[test]
fn ra_05_keys_are_those_of_the_rule_or_fetched() {
    let remote = |rule: &str| match &only(rule).keys {
        KeySource::Remote(keys) => format!("{} {} {:?}", keys.url, keys.discovery, keys.timeout),
        other => format!("{other:?}"),
    };
    assert!(matches!(&only(&rule("a", "")).keys, KeySource::Inline(text) if **text == *JWKS));
    assert_eq!(remote("{issuer: a, jwksUri: 'https://k/x'}"), "https://k/x false 5s");
    assert_eq!(remote("{issuer: a, jwksUri: 'https://k/x', timeout: 1s}"), "https://k/x false 1s");
    assert_eq!(remote("{issuer: 'https://i/'}"), "https://i/.well-known/openid-configuration true 5s");
    assert_eq!(remote("{issuer: a}"), "None");
}

#[test]
fn ra_01_an_edit_and_a_deletion_reach_the_listeners() {
    let one = policy("p", "", &format!("jwtRules: [{}]", rule("a", "")));
    let first = set(&format!("{}{one}", gateway("g", "'*'")));
    let (mut memo, settings) = (Memo::default(), Settings::default());
    let before = compile(&first, &settings, &mut memo);
    assert_eq!(&*authentication(&before).unwrap().providers[0].issuer, "a");
    let edited = one.replace("issuer: a", "issuer: b");
    let second = first.with(objects(&edited).into_iter().map(Change::Put));
    let after = compile(&second, &settings, &mut memo);
    assert_eq!(&*authentication(&after).unwrap().providers[0].issuer, "b");
    assert_eq!((after.work.policies, after.work.hosts, after.work.clusters), (1, 0, 0));
    let gone = second.with(objects(&edited).into_iter().map(|object| Change::Delete(object.object_ref())));
    assert!(authentication(&compile(&gone, &settings, &mut memo)).is_none());
}
