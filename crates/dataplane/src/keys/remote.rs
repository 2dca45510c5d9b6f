//! A set of keys that is fetched: at once, then every 20 minutes, sooner after a failure, and soon when a token names a key that it lacks. The
//! last good keys stay through an outage.

use arc_swap::ArcSwapOption;
use ir::policy::RemoteKeys;
use jose::Keys;
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use upstream::{FetchError, FetchRequest, UpstreamStore};

/// Between two fetches, as in Istio.
const REFRESH: Duration = Duration::from_secs(20 * 60);
/// After a first failure; doubled with each further one.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// The longest time after failures.
const AFTER_FAILURES: Duration = Duration::from_secs(60);
/// Between two fetches at the least, however many tokens name keys that are not there: anybody can send such tokens.
const SOONEST: Duration = Duration::from_secs(5);
/// The same after such fetches brought nothing new.
const LATEST_WANTED: Duration = Duration::from_secs(5 * 60);
/// Octets of a set of keys, and of a discovery document.
const MAX_OCTETS: usize = 1 << 20;

/// Keys at one moment. Tokens that were verified by them stay verified for as long as the version is the same.
pub(crate) struct CurrentKeys {
    pub(crate) keys: Arc<Keys>,
    pub(crate) version: u64,
}

/// Versions are different from those of every other set: a token that was verified by the keys of one is not taken for one of another.
static VERSIONS: AtomicU64 = AtomicU64::new(1);

fn next_version() -> u64 {
    VERSIONS.fetch_add(1, Ordering::Relaxed)
}

/// Keys of issuers whose last fetch failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysUnavailable {
    /// Where they are fetched from.
    pub source: RemoteKeys,
    /// Why that failed.
    pub error: String,
    /// Whether keys of an earlier fetch stay in use; else every token is refused.
    pub in_use: bool,
}

/// A set of keys that is fetched.
#[derive(Debug)]
pub(crate) struct RemoteSet {
    pub(crate) source: RemoteKeys,
    keys: ArcSwapOption<Keys>,
    /// Another number for other keys.
    version: AtomicU64,
    /// The text of the keys, by which it is known whether they are others.
    text: Mutex<Vec<u8>>,
    wanted: Arc<Notify>,
    /// Why the last fetch failed.
    failure: Mutex<Option<String>>,
}

impl RemoteSet {
    /// Fetches a set from now on, for as long as it is in use.
    pub(crate) fn start(source: RemoteKeys, upstream: &Arc<UpstreamStore>) -> Arc<Self> {
        let set = Arc::new(Self {
            source,
            keys: ArcSwapOption::empty(),
            version: AtomicU64::new(next_version()),
            text: Mutex::default(),
            wanted: Arc::default(),
            failure: Mutex::default(),
        });
        // The store owns the task, which must not hold the store.
        upstream.spawn(keep_fetching(Arc::downgrade(&set), Arc::downgrade(upstream), Arc::clone(&set.wanted)));
        set
    }

    /// The keys now; `None` if none were fetched so far. A name that they lack makes them be fetched again soon.
    pub(crate) fn current(&self, kid: Option<&str>) -> Option<CurrentKeys> {
        // Before the keys: with an older version, what is verified by newer keys is only verified once more.
        let version = self.version();
        let keys = self.keys.load_full()?;
        if kid.is_some_and(|kid| !keys.has(kid)) {
            self.wanted.notify_one();
        }
        Some(CurrentKeys { keys, version })
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Why the last fetch failed, if it did.
    pub(crate) fn failure(&self) -> Option<KeysUnavailable> {
        let error = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(KeysUnavailable { source: self.source.clone(), error, in_use: self.keys.load().is_some() })
    }

    /// Replaces the keys; whether they are others.
    fn publish(&self, text: Vec<u8>, keys: Keys) -> bool {
        let mut last = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = *last != text;
        if is_new {
            self.keys.store(Some(Arc::new(keys)));
            self.version.store(next_version(), Ordering::Release);
            *last = text;
        }
        is_new
    }

    fn set_failure(&self, failure: Option<String>) {
        let mut last = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != failure
            && let Some(failure) = &failure
        {
            let url = &self.source.url;
            tracing::warn!(%url, %failure, "the keys of an issuer cannot be fetched; the last ones stay in use");
        }
        *last = failure;
    }
}

impl Drop for RemoteSet {
    fn drop(&mut self) {
        // Its task wakes, and ends.
        self.wanted.notify_one();
    }
}

async fn keep_fetching(set: Weak<RemoteSet>, upstream: Weak<UpstreamStore>, wanted: Arc<Notify>) {
    let (mut failures, mut soonest, mut is_wanted) = (0, SOONEST, false);
    loop {
        let (Some(current), Some(store)) = (set.upgrade(), upstream.upgrade()) else { return };
        let begun = Instant::now();
        let fetched = fetch(&store, &current.source).await;
        drop(store);
        match fetched {
            Ok((text, keys)) => {
                failures = 0;
                let is_new = current.publish(text, keys);
                // A wish in vain makes the next one wait longer.
                soonest = if is_wanted && !is_new { (soonest * 2).min(LATEST_WANTED) } else { SOONEST };
                current.set_failure(None);
            }
            Err(failure) => {
                failures += 1;
                current.set_failure(Some(failure));
            }
        }
        // While it waits the task holds no set, so that one that is not used ends it.
        drop(current);
        if failures > 0 {
            tokio::time::sleep_until(begun + pause(failures)).await;
            continue;
        }
        let wish = async {
            wanted.notified().await;
            if set.strong_count() > 0 {
                tokio::time::sleep_until(begun + soonest).await;
            }
        };
        is_wanted = tokio::select! {
            () = tokio::time::sleep_until(begun + REFRESH) => false,
            () = wish => true,
        };
    }
}

/// How long to wait after so many failures in a row.
fn pause(failures: u32) -> Duration {
    AFTER_FAILURE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(AFTER_FAILURES)
}

/// The text of a set, and its keys.
async fn fetch(upstream: &UpstreamStore, source: &RemoteKeys) -> Result<(Vec<u8>, Keys), String> {
    let get = async |url: &str| {
        let fetched: Result<Vec<u8>, FetchError> =
            upstream.fetch(FetchRequest::new(url, source.timeout, MAX_OCTETS)).await;
        fetched.map_err(|error| format!("{url}: {error}"))
    };
    let url = match source.discovery {
        false => source.url.to_string(),
        true => jwks_uri(&get(&source.url).await?).ok_or_else(|| format!("{}: there is no `jwks_uri`", source.url))?,
    };
    let text = get(&url).await?;
    let keys = std::str::from_utf8(&text).map_err(|error| error.to_string());
    let keys = keys.and_then(|text| Keys::parse(text).map_err(|error| error.to_string()));
    let keys = keys.map_err(|error| format!("{url}: {error}"))?;
    Ok((text, keys))
}

/// The URL of the keys in a discovery document.
fn jwks_uri(document: &[u8]) -> Option<String> {
    let document: Value = serde_json::from_slice(document).ok()?;
    Some(document.get("jwks_uri")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests;
