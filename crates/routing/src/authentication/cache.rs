//! Tokens that were verified lately, so that a signature is verified once for many requests. Bounded in number and octets; what was not used for
//! a while goes. Each worker has one.

use super::verified::Verified;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use ir::policy::Provider;
use std::sync::Arc;

/// Tokens of a generation; there are two.
const TOKENS: usize = 4096;
/// Octets of the tokens of a generation.
const OCTETS: usize = 4 << 20;

/// Verified tokens. What is full becomes the elder generation; a token of the elder that is used becomes one of the younger.
#[derive(Debug, Default)]
pub struct TokenCache {
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
    /// A token that was verified for a provider by keys of this version.
    pub fn get(&mut self, token: &str, provider: &Arc<Provider>, version: u64) -> Option<Arc<Verified>> {
        let is_same = |entry: &Entry| Arc::ptr_eq(&entry.provider, provider) && entry.version == version;
        if let Some(entry) = self.younger.tokens.get(token) {
            return is_same(entry).then(|| Arc::clone(&entry.verified));
        }
        let (token, entry) = self.elder.tokens.remove_entry(token)?;
        self.elder.octets -= token.len();
        let verified = is_same(&entry).then(|| Arc::clone(&entry.verified))?;
        self.insert(token, entry);
        Some(verified)
    }

    /// Keeps a token that was verified for a provider by keys of this version.
    pub fn put(&mut self, token: &str, verified: &Arc<Verified>, provider: &Arc<Provider>, version: u64) {
        let entry = Entry { verified: Arc::clone(verified), provider: Arc::clone(provider), version };
        self.insert(token.into(), entry);
    }

    fn insert(&mut self, token: Box<str>, entry: Entry) {
        let octets = token.len();
        if self.younger.tokens.len() >= TOKENS || self.younger.octets + octets > OCTETS {
            self.elder = std::mem::take(&mut self.younger);
        }
        if self.younger.tokens.insert(token, entry).is_none() {
            self.younger.octets += octets;
        }
    }
}
