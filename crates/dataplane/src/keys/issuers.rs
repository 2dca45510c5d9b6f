//! The issuers whose tokens a listener accepts, and their keys.

use super::remote::{CurrentKeys, KeysUnavailable, RemoteSet};
use ir::policy::{Authentication, KeySource, Provider, RemoteKeys};
use jose::{Failure, Keys};
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use upstream::UpstreamStore;

/// The tokens that a listener accepts, with the keys of each issuer.
#[derive(Debug)]
pub(crate) struct TokenIssuers {
    pub(crate) config: Arc<Authentication>,
    /// One for each provider.
    keys: Vec<KeySet>,
}

/// The keys of one issuer.
#[derive(Debug, Clone)]
enum KeySet {
    Fixed(Arc<Keys>),
    Remote(Arc<RemoteSet>),
    /// Every token is refused.
    None,
}

impl TokenIssuers {
    /// The keys of a provider now, for a token that names a key. A name that the set lacks makes a remote set be fetched again soon.
    pub(crate) fn keys(&self, provider: usize, kid: Option<&str>) -> Result<CurrentKeys, Failure> {
        match self.keys.get(provider) {
            Some(KeySet::Fixed(keys)) => Ok(CurrentKeys { keys: Arc::clone(keys), version: 0 }),
            Some(KeySet::Remote(set)) => set.current(kid).ok_or(Failure::FetchFailed),
            Some(KeySet::None) | None => Err(Failure::NoKeys),
        }
    }

    /// The version of the keys of a provider.
    pub(crate) fn version(&self, provider: usize) -> u64 {
        match self.keys.get(provider) {
            Some(KeySet::Remote(set)) => set.version(),
            Some(KeySet::Fixed(_) | KeySet::None) | None => 0,
        }
    }
}

/// Sets of keys by their source, so that what many listeners use is fetched once, and an unchanged source keeps its keys.
#[derive(Debug)]
pub(crate) struct KeySets {
    upstream: Arc<UpstreamStore>,
    remote: HashMap<RemoteKeys, Weak<RemoteSet>>,
    fixed: HashMap<Arc<str>, Weak<Keys>>,
}

impl KeySets {
    /// No sets yet; those that are fetched will be in tasks of the store.
    pub(crate) fn new(upstream: Arc<UpstreamStore>) -> Self {
        Self { upstream, remote: HashMap::new(), fixed: HashMap::new() }
    }

    /// Sets in use whose last fetch failed, sorted by their URL.
    pub(crate) fn unavailable(&self) -> Vec<KeysUnavailable> {
        let sets = self.remote.values().filter_map(Weak::upgrade);
        let mut all: Vec<KeysUnavailable> = sets.filter_map(|set| set.failure()).collect();
        all.sort_by(|one, other| one.source.url.cmp(&other.source.url));
        all
    }

    /// The issuers of a configuration. Sets that are no longer in use are removed.
    pub(crate) fn issuers(&mut self, config: &Arc<Authentication>) -> Arc<TokenIssuers> {
        self.remote.retain(|_, set| set.strong_count() > 0);
        self.fixed.retain(|_, keys| keys.strong_count() > 0);
        let keys = config.providers.iter().map(|provider| self.keys(provider)).collect();
        Arc::new(TokenIssuers { config: Arc::clone(config), keys })
    }

    fn keys(&mut self, provider: &Provider) -> KeySet {
        match &provider.keys {
            KeySource::None => KeySet::None,
            KeySource::Inline(text) => {
                if let Some(keys) = self.fixed.get(text).and_then(Weak::upgrade) {
                    return KeySet::Fixed(keys);
                }
                // Validation refuses a text that does not parse; without keys every token is refused.
                let Ok(keys) = Keys::parse(text).map(Arc::new) else { return KeySet::None };
                self.fixed.insert(Arc::clone(text), Arc::downgrade(&keys));
                KeySet::Fixed(keys)
            }
            KeySource::Remote(source) => {
                if let Some(set) = self.remote.get(source).and_then(Weak::upgrade) {
                    return KeySet::Remote(set);
                }
                let set = RemoteSet::start(source.clone(), &self.upstream);
                self.remote.insert(source.clone(), Arc::downgrade(&set));
                KeySet::Remote(set)
            }
        }
    }
}
