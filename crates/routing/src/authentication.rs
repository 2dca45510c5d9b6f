//! Which tokens of a request count, and what becomes of its head (RA-02 to RA-04): the decision of Envoy's `jwt_authn` filter under the
//! requirements that Istio writes for it. Pure: keys, the cache and the clock are behind [`Verify`].

mod cache;
mod locations;
mod output;
mod verified;

pub use cache::TokenCache;
pub use output::Output;
pub use verified::Verified;

use crate::claims::Claims;
use crate::route::LocalAnswer;
use ir::HeaderName;
use ir::policy::{Authentication, Provider};
use jose::Failure;
use locations::{Found, Location};
use std::sync::{Arc, LazyLock};
use text::FieldValue;
use wire::edit::Edits;
use wire::view::RequestView;

/// Tokens of a request that are looked at for one issuer; with more the request is refused, since each costs a verification.
const MAX_TOKENS: usize = 16;

/// Verifies one token for a provider.
pub trait Verify {
    /// The verified token, or why it is none.
    fn verify(&mut self, provider: &Arc<Provider>, token: &str) -> Result<Arc<Verified>, Failure>;
}

/// A request that passes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Authenticated {
    /// The claims of the token that counts.
    pub claims: Claims,
    /// How the head changes before anything else sees it.
    pub changes: HeadChanges,
}

/// Changes of a head: first all removals, then the additions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeadChanges {
    /// Headers of which every line is removed: a client's own copies of what the gateway writes, and tokens that are not sent on.
    pub remove: Vec<HeaderName>,
    /// Query parameters that are removed, as the text that their names are compared with once decoded.
    pub remove_params: Vec<Arc<str>>,
    /// Lines that are added.
    pub append: Vec<Output>,
}

impl HeadChanges {
    /// Whether the head stays as it is.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.remove_params.is_empty() && self.append.is_empty()
    }

    /// Whether the head of this request stays as it is.
    pub fn leaves(&self, view: &RequestView<'_>) -> bool {
        let has = |name: &HeaderName| view.fields.get(name.as_str()).is_some();
        self.remove_params.is_empty() && self.append.is_empty() && !self.remove.iter().any(has)
    }

    /// The changes as edits of header lines, and the new query of a head with this target, if it is another one: `None` for none.
    pub fn of_head(&self, target: &[u8]) -> (Edits<'_>, Option<Option<Vec<u8>>>) {
        let mut edits = Edits::default();
        self.remove.iter().for_each(|name| edits.remove(name));
        self.append.iter().for_each(|line| edits.append(&line.name, line.value.by_ref()));
        let at = target.iter().position(|octet| *octet == b'?').filter(|_| !self.remove_params.is_empty());
        let query = at.and_then(|at| target.get(at + 1..)).map(|query| self.query(query));
        (edits, query.map(|query| Some(query).filter(|query| !query.is_empty())))
    }

    /// The query without the parameters that are removed; the others stay as they were sent.
    fn query(&self, query: &[u8]) -> Vec<u8> {
        locations::without_params(query, &self.remove_params)
    }
}

/// Authenticates a request. A request without tokens passes without claims; one with a token that does not verify is refused (RA-02), unless
/// another issuer's token verifies: with several issuers, the first of them whose tokens all verify decides (RA-01).
///
/// A CORS preflight request has no credentials: it passes without claims, as in Istio.
pub fn authenticate(
    config: &Authentication,
    view: &RequestView<'_>,
    verify: &mut dyn Verify,
) -> Result<Authenticated, Failure> {
    let mut changes = HeadChanges { remove: config.output_headers().cloned().collect(), ..HeadChanges::default() };
    if is_preflight(view) {
        return Ok(Authenticated { claims: Claims::default(), changes });
    }
    let mut failures = Vec::with_capacity(config.providers.len());
    for provider in &config.providers {
        match verify_all(provider, config, view, verify) {
            Ok(accepted) => {
                for (found, verified) in &accepted {
                    changes.append.extend(verified.outputs.iter().cloned());
                    if !provider.forward_original_token {
                        match &found.location {
                            Location::Header(name) => changes.remove.push((*name).clone()),
                            Location::Param(name) => changes.remove_params.push(Arc::clone(name)),
                            // Envoy leaves cookies.
                            Location::Cookie => {}
                        }
                    }
                }
                let claims = accepted.last().map(|(_, verified)| verified.claims.clone()).unwrap_or_default();
                return Ok(Authenticated { claims, changes });
            }
            Err(failure) => failures.push(failure),
        }
    }
    match refusal(&failures) {
        None => Ok(Authenticated { claims: Claims::default(), changes }),
        Some(failure) => Err(failure),
    }
}

/// Verifies every token of a request for a provider, from the last location to the first. All of them have to be valid: a backend may take
/// any of them for the one that was verified.
fn verify_all<'a>(
    provider: &'a Arc<Provider>,
    config: &Authentication,
    view: &RequestView<'a>,
    verify: &mut dyn Verify,
) -> Result<Vec<(Found<'a>, Arc<Verified>)>, Failure> {
    // Output headers are removed before tokens are looked for.
    let is_output = |name: &HeaderName| config.output_headers().any(|output| output == name);
    let tokens = locations::find(provider, view, is_output);
    if tokens.is_empty() {
        return Err(Failure::Missing);
    }
    if tokens.len() > MAX_TOKENS {
        return Err(Failure::MultipleTokens);
    }
    let verified = |found: Found<'a>| verify.verify(provider, &found.token).map(|verified| (found, verified));
    tokens.into_iter().rev().map(verified).collect()
}

/// The failure that a request is refused with; `None` if no provider found a token.
///
/// With one provider this is its failure. With several, Envoy judges any of [P1, P2, …, all of [P1 or none, P2 or none, …]]: of the failures
/// the last counts that is neither a missing token nor an unknown issuer, and the first failure of the whole list stands behind them.
fn refusal(failures: &[Failure]) -> Option<Failure> {
    let first = failures.iter().copied().find(|failure| *failure != Failure::Missing)?;
    if failures.len() == 1 {
        return Some(first);
    }
    let mut last = Failure::Missing;
    for failure in failures.iter().copied().chain([first]) {
        if !matches!(failure, Failure::Missing | Failure::UnknownIssuer) || last == Failure::Missing {
            last = failure;
        }
    }
    Some(last)
}

fn is_preflight(view: &RequestView<'_>) -> bool {
    let has = |name| view.fields.get(name).is_some_and(|value| !value.is_empty());
    view.method == b"OPTIONS" && has("origin") && has("access-control-request-method")
}

/// The response to a request with a token that is not valid (RA-02): as Envoy's, also in its detail for logs.
pub fn refused(view: &RequestView<'_>, failure: Failure) -> LocalAnswer {
    static DETAILS: LazyLock<Vec<(Failure, String)>> = LazyLock::new(|| {
        let detail = |failure: Failure| format!("jwt_authn_access_denied{{{}}}", failure.text().replace(' ', "_"));
        Failure::ALL.iter().map(|failure| (*failure, detail(*failure))).collect()
    });
    let detail = DETAILS.iter().find(|(known, _)| *known == failure).map_or("", |(_, detail)| detail.as_str());
    let status = if failure.is_forbidden() { 403 } else { 401 };
    let fields = vec![("www-authenticate", FieldValue::cleaned(challenge(view, failure)))];
    LocalAnswer {
        status,
        location: None,
        body: failure.text().as_bytes().into(),
        fields,
        detail,
        is_denial: true,
        rule: None,
    }
}

/// The value of `WWW-Authenticate` for a failure: the URI without a query, which may hold a token, as the realm.
fn challenge(view: &RequestView<'_>, failure: Failure) -> Vec<u8> {
    let mut challenge = b"Bearer realm=\"".to_vec();
    let path = view.path.get(..MAX_REALM_PATH).unwrap_or(view.path);
    let uri = [view.scheme.as_bytes(), b"://", view.authority, path].concat();
    // A quote or backslash would end the text.
    challenge.extend(uri.into_iter().map(|octet| if matches!(octet, b'"' | b'\\') { b'_' } else { octet }));
    challenge.push(b'"');
    if failure != Failure::Missing {
        challenge.extend_from_slice(b", error=\"invalid_token\"");
    }
    challenge
}

/// Octets of the path in a challenge.
const MAX_REALM_PATH: usize = 256;

#[cfg(test)]
mod tests;
