//! RequestAuthentication, by row.

use super::*;
use crate::set::AnyObject;
use crate::spec::security::RequestAuthentication;

const JWKS: &str =
    r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// Findings of one rule, whose fields are written from `jwtRules[0]` on.
#[track_caller]
fn rule(rule: &str, wanted: &[&str]) {
    let spec = format!("jwtRules:\n- {}", rule.trim().replace('\n', "\n  "));
    assert_eq!(found("RequestAuthentication", &spec), below("spec.jwtRules[0]", wanted), "{rule}");
}

#[test]
fn ra_01_a_rule_has_an_issuer_and_no_empty_texts() {
    rule(&format!("issuer: https://one.test\njwks: '{JWKS}'"), &[]);
    rule(&format!("jwks: '{JWKS}'"), &["E MG5014 issuer"]);
    let with = |more: &str| format!("issuer: https://one.test\njwks: '{JWKS}'\n{more}");
    rule(&with("audiences: [a, '']"), &["E MG5014 audiences[1]"]);
    rule(&with("fromParams: ['']\nfromCookies: [a, '']"), &["E MG5014 fromParams[0]", "E MG5014 fromCookies[1]"]);
    rule(&with("spaceDelimitedClaims: ['']"), &["E MG5014 spaceDelimitedClaims[0]"]);
    rule(
        &with("fromHeaders: [{name: x-a, prefix: 'T '}, {name: ''}, {name: 'a b'}, {name: ':path'}]"),
        &["E MG5016 fromHeaders[1].name", "E MG5016 fromHeaders[2].name", "E MG5016 fromHeaders[3].name"],
    );
}

#[test]
fn ra_04_outputs_are_headers_that_nothing_else_needs() {
    let with = |more: &str| format!("issuer: https://one.test\njwks: '{JWKS}'\n{more}");
    rule(&with("outputPayloadToHeader: X-Payload\noutputClaimToHeaders: [{header: x-a, claim: a.b}]"), &[]);
    for bad in ["host", "Content-Length", "transfer-encoding", "a b", ":path", "\"a\\r\\nb\""] {
        rule(&with(&format!("outputPayloadToHeader: {bad}")), &["E MG5016 outputPayloadToHeader"]);
        let outputs = format!("outputClaimToHeaders: [{{header: {bad}, claim: a}}]");
        rule(&with(&outputs), &["E MG5016 outputClaimToHeaders[0].header"]);
    }
    rule(
        &with("outputClaimToHeaders: [{claim: a}, {header: x-a}]"),
        &["E MG5016 outputClaimToHeaders[0].header", "E MG5014 outputClaimToHeaders[1].claim"],
    );
}

#[test]
fn ra_05_keys_are_written_or_fetched() {
    let keys = |keys: &str, wanted: &[&str]| rule(&format!("issuer: https://one.test\n{keys}"), wanted);
    keys("", &[]);
    keys("jwksUri: http://keys.test:8080/a?b", &[]);
    keys(&format!("jwksUri: https://keys.test\njwks: '{JWKS}'"), &["E MG5015 jwks"]);
    for bad in [
        "keys.test",
        "ftp://keys.test",
        "https://",
        "https://u@keys.test/",
        "https://a:0/",
        "file:///a",
        "https://a/ b",
    ] {
        keys(&format!("jwksUri: '{bad}'"), &["E MG5015 jwksUri"]);
    }
    for bad in ["x", "{}", "[]", r#"{"keys": []}"#, r#"{"keys": [{"kty": "oct", "k": "AAAA"}]}"#] {
        keys(&format!("jwks: '{bad}'"), &["E MG5015 jwks"]);
    }
    let mixed = JWKS.replace("[{", r#"[{"kty": "oct", "k": "AAAA"}, {"#);
    keys(&format!("jwks: '{mixed}'"), &["W MG5015 jwks"]);
    // Without keys they are discovered at the issuer, which has to be a URL then.
    rule("issuer: accounts.test", &["W MG5015 issuer"]);
}

#[test]
fn ra_05_a_broken_object_is_guarded_by_one_that_accepts_no_token() {
    let guard = |spec: &str| -> Option<RequestAuthentication> {
        let spec = spec.replace('\n', "\n  ");
        let text = format!(
            "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: o, namespace: apps}}\nspec:\n  {spec}\n"
        );
        let file: Arc<Path> = Arc::from(Path::new("in.yaml"));
        let mut rejected = documents(&text).flat_map(|document| read(&file, document).rejected);
        match rejected.next()?.guard? {
            AnyObject::RequestAuthentication(object) => Some(object.spec.clone()),
            _ => None,
        }
    };
    assert_eq!(guard("jwtRules: [{issuer: a, jwksUri: 'http://a'}]"), None);
    let broken = guard("selector: {matchLabels: {a: b}}\njwtRules: [{issuer: a, jwks: x, fromParams: [t]}]").unwrap();
    assert!(broken.is_guard && broken.selector.is_some());
    assert_eq!(&*broken.jwt_rules[0].from_params[0], "t");
    assert_eq!(guard("jwtRules: everything").unwrap().jwt_rules.len(), 1);
    let both = guard("selector: {matchLabels: {a: b}}\ntargetRefs: [{kind: Gateway, name: g}]").unwrap();
    assert!(both.selector.is_none() && both.target_refs.is_empty());
}
