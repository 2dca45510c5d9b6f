//! Tokens that a worker has verified, so that a signature is verified once for many requests. Bounded in number and octets; what was not used
//! for a while goes.

use super::issuers::TokenIssuers;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use ir::policy::Provider;
use jose::Failure;
use routing::authentication::{Verified, Verify};
use std::sync::Arc;

/// Tokens of a generation; there are two.
const TOKENS: usize = 4096;
/// Octets of the tokens of a generation.
const OCTETS: usize = 4 << 20;

/// Verified tokens of one worker. What is full becomes the elder generation; a token of the elder that is used becomes one of the younger.
#[derive(Debug, Default)]
pub(crate) struct TokenCache {
    younger: Generation,
    elder: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    tokens: HashMap<Box<str>, Entry, RandomState>,
    octets: usize,
}

#[derive(Debug)]
struct Entry {
    verified: Arc<Verified>,
    /// The rule that it was verified for, with its keys if they are written there.
    provider: Arc<Provider>,
    /// The version of its keys if they are fetched.
    version: u64,
}

impl TokenCache {
    fn get(&mut self, token: &str, provider: &Arc<Provider>, version: u64) -> Option<Arc<Verified>> {
        let is_same = |entry: &Entry| Arc::ptr_eq(&entry.provider, provider) && entry.version == version;
        if let Some(entry) = self.younger.tokens.get(token) {
            return is_same(entry).then(|| Arc::clone(&entry.verified));
        }
        let (token, entry) = self.elder.tokens.remove_entry(token)?;
        self.elder.octets -= token.len();
        let verified = is_same(&entry).then(|| Arc::clone(&entry.verified))?;
        self.put(token, entry);
        Some(verified)
    }

    fn put(&mut self, token: Box<str>, entry: Entry) {
        let octets = token.len();
        if self.younger.tokens.len() >= TOKENS || self.younger.octets + octets > OCTETS {
            self.elder = std::mem::take(&mut self.younger);
        }
        if self.younger.tokens.insert(token, entry).is_none() {
            self.younger.octets += octets;
        }
    }
}

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
            let entry = Entry { verified: Arc::clone(&verified), provider: Arc::clone(provider), version };
            self.cache.put(token.into(), entry);
        }
        Ok(verified)
    }
}
