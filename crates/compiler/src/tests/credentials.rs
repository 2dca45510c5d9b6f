//! What requests get on the way out, and the public keys that endpoints may have: annotations of DestinationRules.

use super::world::{compiled, entry, found, gateway, virtual_service};
use crate::Compiled;
use ir::{Cluster, CredentialValue, EndpointSource, Lacking};
use std::sync::Arc;

fn secret(values: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: api, namespace: istio-system}}\nstringData: {{{values}}}\n---\n"
    )
}

fn rule(namespace: &str, annotations: &str, policy: &str) -> String {
    // A policy has to say something.
    let policy = if policy.is_empty() { "connectionPool: {tcp: {maxConnections: 9}}" } else { policy };
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: r, namespace: {namespace}, annotations: {{{annotations}}}}}\n\
         spec: {{host: a.test, trafficPolicy: {{{policy}}}}}\n---\n"
    )
}

fn world(further: &[&str]) -> Compiled {
    let routes = virtual_service(
        "v",
        "  hosts: ['*']\n  gateways: [g]\n  http: [{route: [{destination: {host: a.test, port: {number: 80}}}]}]",
    );
    compiled(&[&gateway("g", "'*'"), &routes, &entry("a.test", &[9001]), &*further.concat()].concat())
}

fn cluster(compiled: &Compiled) -> Arc<Cluster> {
    Arc::clone(compiled.snapshot.clusters.values().next().unwrap())
}

const NAMED: &str = "moongate.dev/credential: api";
const SIMPLE: &str = "tls: {mode: SIMPLE}";

/// The header and its value, or why nothing is sent.
fn credential(values: &str) -> Result<String, String> {
    let compiled = world(&[&secret(values), &rule("istio-system", NAMED, SIMPLE)]);
    let cluster = cluster(&compiled);
    match (&cluster.credential, &cluster.endpoints) {
        (Some(credential), EndpointSource::Static(_)) => {
            assert_eq!(found(&compiled, "MG8022"), "");
            Ok(match &credential.value {
                CredentialValue::Fixed(value) => format!("{}: {}", credential.header, value.0),
                CredentialValue::Token(client) => format!("{} {} {:?}", client.token_url, client.id, client.parameters),
            })
        }
        (None, EndpointSource::Withheld(Lacking::Credential, why)) => {
            assert!(found(&compiled, "MG8022").starts_with("metadata.annotations: "), "{values}");
            Err(why.to_string())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_secret_has_a_header_a_user_a_token_or_a_client_of_an_authorization_server() {
    assert_eq!(credential("token: t1"), Ok("authorization: Bearer t1".to_owned()));
    assert_eq!(credential("username: u, password: 'p:q'"), Ok("authorization: Basic dTpwOnE=".to_owned()));
    assert_eq!(credential("header: X-Api-Key, value: \"k\\n\""), Ok("x-api-key: k".to_owned()));
    let client = "token-url: 'https://issuer.test/token', client-id: me, client-secret: s";
    assert_eq!(credential(client), Ok("https://issuer.test/token me []".to_owned()));
    assert_eq!(
        credential(&format!("{client}, scope: a b, client-authentication: post")),
        Ok("https://issuer.test/token me [(\"scope\", \"a b\")]".to_owned())
    );
}

#[test]
fn what_is_no_credential_is_reported_without_its_values_and_nothing_is_sent() {
    for (values, why) in [
        ("", "it is empty"),
        ("token: ''", "`token` is empty"),
        ("token: \"a\\nhush\"", "`token` has a character that a header cannot have"),
        ("password: hush", "its keys are password"),
        ("username: 'a:b', password: hush", "`username` has a colon"),
        ("token: hush, header: x", "its keys are header, token"),
        ("header: Host, value: hush", "`header` names `host`, which belongs to the connection or to the message"),
        ("header: 'a b', value: hush", "`header`: "),
        ("token-url: 'https://a/', client-id: a", "there is no `client-secret`"),
        ("token-url: 'ftp://a/', client-id: a, client-secret: hush", "`token-url` is not a URL of HTTP"),
        ("token-url: 'https://a/', client-id: a, client-secret: hush, scopes: x", "it has the unknown key `scopes`"),
    ] {
        let said = credential(values).unwrap_err();
        assert!(said.starts_with(&format!("the credential of Secret `api` cannot be used: {why}")), "{values}: {said}");
        assert!(!said.contains("hush"), "{said}");
    }
    let missing = world(&[&rule("istio-system", NAMED, SIMPLE)]);
    assert!(matches!(cluster(&missing).endpoints, EndpointSource::Withheld(Lacking::Credential, _)));
    assert_eq!(found(&missing, "MG6011").lines().count(), 1, "{:?}", missing.report);
}

/// Who may write a rule elsewhere must not choose who receives a Secret of the gateway.
#[test]
fn rules_of_other_namespaces_name_no_secret_of_the_gateway() {
    let compiled = world(&[&secret("token: t1"), &rule("default", NAMED, SIMPLE)]);
    assert!(matches!(cluster(&compiled).endpoints, EndpointSource::Withheld(Lacking::Credential, _)));
    assert!(found(&compiled, "MG8022").contains("only rules of namespace istio-system"), "{:?}", compiled.report);
}

#[test]
fn a_credential_in_clear_text_or_for_whoever_answers_is_a_warning() {
    let said = |policy: &str| found(&world(&[&secret("token: t1"), &rule("istio-system", NAMED, policy)]), "MG8023");
    assert_eq!(said(SIMPLE), "");
    assert!(said("").contains("is sent in clear text"));
    assert!(said("tls: {mode: SIMPLE, insecureSkipVerify: true}").contains("an endpoint that is not verified"));
}

#[test]
fn public_keys_are_demanded_of_endpoints_with_tls_and_nothing_is_sent_to_others() {
    let pins = |pins: &str, policy: &str| {
        let annotation = format!("moongate.dev/verify-certificate-spki: '{pins}'");
        let compiled = world(&[&rule("default", &annotation, policy)]);
        let cluster = cluster(&compiled);
        let pins = cluster.tls.as_ref().map_or(Vec::new(), |tls| tls.key_pins.clone());
        (pins, matches!(cluster.endpoints, EndpointSource::Withheld(Lacking::Tls, _)), found(&compiled, "MG6014"))
    };
    let (one, other) =
        ("sha256/AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", "sha256/AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=");
    assert_eq!(pins(&format!("{one}, {other}"), SIMPLE), (vec![[1; 32], [2; 32]], false, String::new()));
    for bad in ["", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", "sha256/AA==", "sha1/AA=="] {
        let (keys, withheld, said) = pins(bad, SIMPLE);
        assert_eq!((keys, withheld), (vec![[0; 32]], false), "{bad}");
        assert!(said.contains(&format!("`{bad}` is not `sha256/`")), "{said}");
    }
    for policy in ["", "tls: {mode: DISABLE}"] {
        assert_eq!(pins(one, policy), (Vec::new(), true, String::new()), "{policy}");
    }
    let compiled = world(&[&rule("default", &format!("moongate.dev/verify-certificate-spki: '{one}'"), "")]);
    assert!(found(&compiled, "MG8024").contains("give the rule `trafficPolicy.tls`"), "{:?}", compiled.report);
}
