//! RequestAuthentication (RA-01 to RA-05).

use super::head_text;
use super::security::{check_targets, has_two_selections};
use crate::code;
use crate::diagnostic::Findings;
use crate::key::{Key, Kind};
use crate::spec::Spec;
use crate::spec::scalar::Text;
use crate::spec::security::{JwtRule, RequestAuthentication};
use jose::Keys;
use text::{Authority, HeaderName};

/// Headers that carry a message, or that the gateway writes itself: no claim is written into them.
const RESERVED: &[&str] = &[
    "host",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-proto",
];

impl Spec for RequestAuthentication {
    const KIND: Kind = Kind::RequestAuthentication;

    fn validate(&self, _key: &Key, findings: &mut Findings) {
        findings.at("spec", |findings| {
            check_targets(self, findings);
            for (at, rule) in self.jwt_rules.iter().enumerate() {
                findings.at(format_args!("jwtRules[{at}]"), |findings| check_rule(rule, findings));
            }
        });
    }

    /// With errors, no token is valid (RA-05).
    fn guard(mut self) -> Option<Self> {
        if has_two_selections(&self) {
            // Which of the two is meant is not known: every workload of the namespace is covered.
            (self.selector, self.target_ref, self.target_refs) = (None, None, Vec::new());
        }
        if self.jwt_rules.is_empty() {
            self.jwt_rules.push(JwtRule::default());
        }
        Some(Self { is_guard: true, ..self })
    }
}

fn check_rule(rule: &JwtRule, findings: &mut Findings) {
    if rule.issuer.is_empty() {
        findings.error("issuer", code::JWT_RULE, "the issuer is missing", "write the `iss` of the tokens");
    }
    check_none_empty(&rule.audiences, "audiences", findings);
    check_keys(rule, findings);
    for (at, header) in rule.from_headers.iter().enumerate() {
        let name = HeaderName::parse(&header.name);
        head_text::check(name, &format!("fromHeaders[{at}].name"), code::JWT_HEADER, findings);
    }
    check_none_empty(&rule.from_params, "fromParams", findings);
    check_none_empty(&rule.from_cookies, "fromCookies", findings);
    check_none_empty(&rule.space_delimited_claims, "spaceDelimitedClaims", findings);
    if !rule.output_payload_to_header.is_empty() {
        check_output(&rule.output_payload_to_header, "outputPayloadToHeader", findings);
    }
    for (at, output) in rule.output_claim_to_headers.iter().enumerate() {
        findings.at(format_args!("outputClaimToHeaders[{at}]"), |findings| {
            check_output(&output.header, "header", findings);
            if output.claim.is_empty() {
                findings.error("claim", code::JWT_RULE, "the claim is missing", "write its name, such as `sub`");
            }
        });
    }
}

fn check_none_empty(texts: &[Text], field: &str, findings: &mut Findings) {
    for at in texts.iter().enumerate().filter(|(_, text)| text.is_empty()).map(|(at, _)| at) {
        findings.error(&format!("{field}[{at}]"), code::JWT_RULE, "the text is empty", "remove it");
    }
}

fn check_output(name: &str, field: &str, findings: &mut Findings) {
    head_text::check(HeaderName::parse(name), field, code::JWT_HEADER, findings);
    if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
        let help = "use a header of your own, such as `x-jwt-payload`";
        findings.error(field, code::JWT_HEADER, format!("`{name}` cannot hold a claim"), help);
    }
}

fn check_keys(rule: &JwtRule, findings: &mut Findings) {
    if !rule.jwks.is_empty() && !rule.jwks_uri.is_empty() {
        let message = "there are both `jwks` and `jwksUri`";
        findings.error("jwks", code::JWT_KEYS, message, "keep one of them");
    }
    if !rule.jwks.is_empty() {
        match Keys::parse(&rule.jwks) {
            Ok(keys) => {
                for reason in keys.unusable() {
                    let help = "tokens that only this key verifies are refused";
                    findings.warning("jwks", code::JWT_KEYS, format!("a key cannot be used: {reason}"), help);
                }
            }
            Err(error) => {
                let help = "write a JSON Web Key Set: {\"keys\": [...]}";
                findings.error("jwks", code::JWT_KEYS, format!("the key set cannot be used: {error}"), help);
            }
        }
    }
    if !rule.jwks_uri.is_empty()
        && let Err(reason) = check_url(&rule.jwks_uri)
    {
        let help = "write `https://host/path`";
        findings.error("jwksUri", code::JWT_KEYS, format!("the URL cannot be fetched: {reason}"), help);
    }
    let is_discovered = rule.jwks.is_empty() && rule.jwks_uri.is_empty() && !rule.issuer.is_empty();
    if is_discovered && let Err(reason) = check_url(&rule.issuer) {
        let message = format!(
            "there are no keys, and the issuer is not a URL to discover them at ({reason}), so that every token is refused"
        );
        findings.warning("issuer", code::JWT_KEYS, message, "add `jwks` or `jwksUri`");
    }
}

/// Whether a text is an absolute URL of HTTP.
fn check_url(url: &str) -> Result<(), &'static str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let rest = rest.ok_or("the scheme is neither `http` nor `https`")?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if rest.contains('#') || !url.bytes().all(|octet| octet.is_ascii_graphic()) {
        return Err("it has a fragment or a character that a URL may not have");
    }
    if authority.contains('@') {
        return Err("it has a user");
    }
    match Authority::parse(authority) {
        Ok(_) if !authority.is_empty() => Ok(()),
        _ => Err("the host or port is not valid"),
    }
}
