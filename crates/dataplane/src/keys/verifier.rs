//! Verifies tokens by the current keys of their issuers, with the cache of the worker.

use super::issuers::TokenIssuers;
use ir::policy::Provider;
use jose::Failure;
use routing::authentication::{TokenCache, Verified, Verify};
use std::sync::Arc;

/// Verifies tokens for the issuers of a listener, at one moment.
pub(crate) struct CachedVerifier<'a> {
    pub(crate) issuers: &'a TokenIssuers,
    pub(crate) cache: &'a mut TokenCache,
    /// In seconds since the epoch.
    pub(crate) now: u64,
}

impl Verify for CachedVerifier<'_> {
    fn verify(&mut self, provider: &Arc<Provider>, token: &str) -> Result<Arc<Verified>, Failure> {
        let place = self.issuers.config.providers.iter().position(|one| Arc::ptr_eq(one, provider));
        let place = place.ok_or(Failure::NoKeys)?;
        if let Some(verified) = self.cache.get(token, provider, self.issuers.version(place)) {
            verified.check_time(self.now)?;
            return Ok(verified);
        }
        let mut version = None;
        let verified = Verified::verify(provider, token, self.now, |kid| {
            let current = self.issuers.keys(place, kid)?;
            version = Some(current.version);
            Ok(current.keys)
        })?;
        let verified = Arc::new(verified);
        if let Some(version) = version {
            self.cache.put(token, &verified, provider, version);
        }
        Ok(verified)
    }
}
