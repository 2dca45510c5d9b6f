//! A verified token: what is left of it for requests.

use super::output::{self, Output};
use crate::claims::Claims;
use ir::policy::Provider;
use jose::{Failure, Keys, Token};
use std::ops::Deref;

/// A token that was verified for a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// Its claims.
    pub claims: Claims,
    /// The header lines for the backend.
    pub outputs: Vec<Output>,
    not_before: u64,
    expires: Option<u64>,
}

impl Verified {
    /// Verifies a token at a time in seconds since the epoch, in Envoy's order: form, issuer, times, audience, signature. `keys` is asked for
    /// the keys of the provider, with the `kid` of the token, if all before the signature is right.
    pub fn verify<K: Deref<Target = Keys>>(
        provider: &Provider,
        text: &str,
        now: u64,
        keys: impl FnOnce(Option<&str>) -> Result<K, Failure>,
    ) -> Result<Self, Failure> {
        let token = Token::parse(text)?;
        if token.issuer() != &*provider.issuer {
            return Err(Failure::UnknownIssuer);
        }
        token.check_time(now)?;
        token.check_audience(provider.audiences.iter().map(AsRef::as_ref))?;
        keys(token.kid())?.verify(&token)?;
        let outputs = output::of(provider, &token);
        let (not_before, expires) = (token.not_before(), token.expires());
        let claims = Claims::new(token.into_payload(), &provider.space_delimited_claims);
        Ok(Self { claims, outputs, not_before, expires })
    }

    /// Whether it is still valid at a time in seconds since the epoch.
    pub fn check_time(&self, now: u64) -> Result<(), Failure> {
        jose::check_time(self.not_before, self.expires, now)
    }
}
