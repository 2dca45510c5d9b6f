//! RequestAuthentication: the rules of an object as providers, and those of a workload in their order (RA-01 to RA-05).

use ir::policy::{Authentication, ClaimHeader, KeySource, Provider, RemoteKeys, TokenHeader};
use ir::{HeaderName, ObjectKind, Origin};
use resources::set::Object;
use resources::spec::metadata::CreationTime;
use resources::spec::scalar::Text;
use resources::spec::security::{ClaimToHeader, JwtRule, RequestAuthentication};
use std::sync::Arc;
use std::time::Duration;

/// How long keys are waited for (RA-05).
const KEYS_TIMEOUT: Duration = Duration::from_secs(5);
/// Where an issuer describes itself (OpenID Connect Discovery §4).
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// The providers of one object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AuthenticationRules {
    created: Option<CreationTime>,
    providers: Vec<Arc<Provider>>,
}

/// The rules of an object as providers. Those of one with errors have no keys, so that no token is valid.
pub(crate) fn authentication_rules(object: &Object<RequestAuthentication>) -> AuthenticationRules {
    let spec = &object.spec;
    let of_rule = |(at, rule): (usize, &JwtRule)| {
        let origin = Origin {
            kind: ObjectKind::RequestAuthentication,
            namespace: Arc::clone(&object.key.namespace),
            name: Arc::clone(&object.key.name),
            rule: format!("jwtRules[{at}]").into(),
        };
        let keys = if spec.is_guard { KeySource::None } else { keys(rule) };
        Arc::new(provider(rule, origin, keys))
    };
    let providers = spec.jwt_rules.iter().enumerate().map(of_rule).collect();
    AuthenticationRules { created: object.meta.created, providers }
}

/// What a workload accepts by the rules of several objects, which are given in the order of their keys. Sorted by issuer; rules of one issuer
/// by the age of their objects, and by place.
pub(crate) fn authentication_of<'a>(
    objects: impl Iterator<Item = &'a Arc<AuthenticationRules>>,
) -> Option<Authentication> {
    let mut objects: Vec<_> = objects.collect();
    objects.sort_by_key(|object| object.created);
    let mut providers: Vec<_> = objects.into_iter().flat_map(|object| object.providers.iter().cloned()).collect();
    providers.sort_by(|a, b| a.issuer.cmp(&b.issuer));
    (!providers.is_empty()).then_some(Authentication { providers })
}

fn provider(rule: &JwtRule, origin: Origin, keys: KeySource) -> Provider {
    let mut from_headers: Vec<TokenHeader> = rule
        .from_headers
        .iter()
        .filter_map(|header| {
            Some(TokenHeader { name: HeaderName::parse(&header.name).ok()?, prefix: (*header.prefix).into() })
        })
        .collect();
    let mut from_params = texts(&rule.from_params);
    let mut from_cookies = texts(&rule.from_cookies);
    if rule.from_headers.is_empty() && rule.from_params.is_empty() && rule.from_cookies.is_empty() {
        from_headers
            .extend(HeaderName::parse("authorization").ok().map(|name| TokenHeader { name, prefix: "Bearer ".into() }));
        from_params.push("access_token".into());
    }
    from_headers.sort();
    from_headers.dedup();
    for locations in [&mut from_params, &mut from_cookies] {
        locations.sort();
        locations.dedup();
    }
    let claim_header = |output: &ClaimToHeader| {
        let name = HeaderName::parse(&output.header).ok()?;
        Some(ClaimHeader { name, claim: output.claim.split('.').map(Into::into).collect() })
    };
    Provider {
        origin,
        issuer: (*rule.issuer).into(),
        audiences: texts(&rule.audiences),
        keys,
        from_headers,
        from_params,
        from_cookies,
        forward_original_token: rule.forward_original_token,
        payload_header: HeaderName::parse(&rule.output_payload_to_header).ok(),
        claim_headers: rule.output_claim_to_headers.iter().filter_map(claim_header).collect(),
        space_delimited_claims: texts(&rule.space_delimited_claims),
    }
}

fn texts(texts: &[Text]) -> Vec<Arc<str>> {
    texts.iter().map(|text| Arc::from(&**text)).collect()
}

fn keys(rule: &JwtRule) -> KeySource {
    if !rule.jwks.is_empty() {
        return KeySource::Inline((*rule.jwks).into());
    }
    let timeout = rule.timeout.and_then(|timeout| timeout.get()).filter(|timeout| !timeout.is_zero());
    let timeout = timeout.unwrap_or(KEYS_TIMEOUT);
    let is_url = |text: &str| text.starts_with("https://") || text.starts_with("http://");
    if !rule.jwks_uri.is_empty() {
        return KeySource::Remote(RemoteKeys { url: (*rule.jwks_uri).into(), discovery: false, timeout });
    }
    if !is_url(&rule.issuer) {
        return KeySource::None;
    }
    let url = format!("{}{DISCOVERY}", rule.issuer.trim_end_matches('/'));
    KeySource::Remote(RemoteKeys { url: url.into(), discovery: true, timeout })
}
