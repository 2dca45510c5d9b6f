//! Credentials that the gateway adds to requests on the way out. Those that are written in the configuration are there at once; tokens of
//! authorization servers are fetched off the data path, and used until shortly before their end.

mod oauth;
mod token;

use crate::metrics::TokenCounts;
use hashbrown::HashMap;
use ir::{CredentialValue, OAuthClient, RequestCredential};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use text::{FieldValue, HeaderName};
use token::TokenSource;
use tokio::time::{Duration, Instant, timeout};
use upstream::{ClusterState, UpstreamStore};
use wire::edit::{Edits, FieldEdit};
use wire::view::Fields;

/// How long a request waits for a token.
const WAIT: Duration = Duration::from_secs(10);
/// How long a failure counts after the last request that wanted the token.
const RECENT: Duration = Duration::from_secs(300);
/// How long a token is kept without being used.
const UNUSED: Duration = Duration::from_secs(3600);

/// Why a request cannot have its credential. The text has no part of the credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct CredentialUnavailable(Arc<str>);

/// All tokens of the process, by the client that they were issued to.
#[derive(Debug)]
pub(crate) struct Credentials {
    upstream: Arc<UpstreamStore>,
    sources: Mutex<HashMap<Arc<OAuthClient>, Used, foldhash::quality::RandomState>>,
    rejected: AtomicU64,
}

#[derive(Debug)]
struct Used {
    source: Arc<TokenSource>,
    last: Instant,
}

impl Credentials {
    /// No tokens yet; those that are wanted will be fetched in tasks of the store.
    pub(crate) fn new(upstream: Arc<UpstreamStore>) -> Arc<Self> {
        Arc::new(Self { upstream, sources: Mutex::default(), rejected: AtomicU64::new(0) })
    }

    /// Whether requests to a cluster need not wait for their credential. A token that ends soon is fetched anew meanwhile.
    pub(crate) fn is_ready(&self, cluster: &ClusterState) -> bool {
        match cluster.config.credential.as_deref().map(|credential| &credential.value) {
            None | Some(CredentialValue::Fixed(_)) => true,
            Some(CredentialValue::Token(client)) => self.source(client).is_ready(&self.upstream),
        }
    }

    /// Waits for the credential of requests to a cluster.
    pub(crate) async fn wait(&self, cluster: &ClusterState) -> Result<(), CredentialUnavailable> {
        let Some(CredentialValue::Token(client)) = cluster.config.credential.as_ref().map(|one| &one.value) else {
            return Ok(());
        };
        let source = self.source(client);
        let waiting = timeout(WAIT, source.wait(&self.upstream)).await;
        waiting
            .unwrap_or_else(|_| Err("the authorization server did not answer in time".into()))
            .map_err(CredentialUnavailable)
    }

    /// Notes that a destination has answered a request 401, which was sent at `sent` or later: its token is fetched anew before its time.
    pub(crate) fn reject(&self, cluster: &ClusterState, sent: std::time::Instant) {
        let Some(CredentialValue::Token(client)) = cluster.config.credential.as_ref().map(|one| &one.value) else {
            return;
        };
        if self.source(client).reject(&self.upstream, Instant::from_std(sent)) {
            tracing::info!(cluster = %cluster.config.id, url = %client.token_url, "a destination has rejected the token of requests");
            self.rejected.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many tokens of authorization servers could not be fetched when that was last tried, and how many were rejected by destinations.
    pub(crate) fn counts(&self) -> TokenCounts {
        let (sources, now) = (self.sources.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        // Not those that the configuration has no more.
        let recent = sources.values().filter(|used| now.duration_since(used.last) < RECENT);
        let unavailable = recent.filter(|used| used.source.has_failed()).count() as u64;
        TokenCounts { unavailable, rejected: self.rejected.load(Ordering::Relaxed) }
    }

    /// Writes a head with the credential of requests to a cluster, in place of what servers may read as it: edits behind all others, which nothing
    /// sees but what writes the head. `received` are the header lines of the client.
    pub(crate) fn inject<T>(
        &self,
        cluster: &ClusterState,
        received: Fields<'_>,
        edits: &Edits<'_>,
        write: impl FnOnce(&Edits<'_>) -> T,
    ) -> Result<T, CredentialUnavailable> {
        let Some(credential) = cluster.config.credential.as_deref() else { return Ok(write(edits)) };
        let value = self.value(credential)?;
        let aliases = aliases(credential, received, edits);
        // The list is made anew, because it borrows from the credential as well.
        let mut injected = Edits {
            target: edits.target.clone(),
            authority: edits.authority,
            fields: edits.fields.iter().map(by_ref).collect(),
        };
        aliases.iter().for_each(|alias| injected.remove(alias));
        injected.set(&credential.header, value);
        Ok(write(&injected))
    }

    /// The value now, without waiting.
    pub(crate) fn value<'a>(&self, credential: &'a RequestCredential) -> Result<FieldValue<'a>, CredentialUnavailable> {
        match &credential.value {
            CredentialValue::Fixed(value) => Ok((&value.0).into()),
            CredentialValue::Token(client) => {
                let source = self.source(client);
                source.current(&self.upstream).map_err(CredentialUnavailable)
            }
        }
    }

    fn source(&self, client: &Arc<OAuthClient>) -> Arc<TokenSource> {
        let now = Instant::now();
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = sources.get_mut(client) {
            used.last = now;
            return Arc::clone(&used.source);
        }
        sources.retain(|_, used| now.duration_since(used.last) < UNUSED);
        let source = TokenSource::new(Arc::clone(client));
        sources.insert(Arc::clone(client), Used { source: Arc::clone(&source), last: now });
        source
    }
}

/// The names of header lines that servers may read as that of a credential.
fn aliases(credential: &RequestCredential, received: Fields<'_>, edits: &Edits<'_>) -> Vec<HeaderName> {
    let names = received.iter().map(|(name, _)| name).chain(edits.fields.iter().map(|edit| edit.name().as_bytes()));
    let read = names.filter(|name| credential.is_read_as(name)).filter_map(|name| std::str::from_utf8(name).ok());
    // With the letters of a header's name each of them is one.
    read.filter_map(|name| HeaderName::parse(name).ok()).collect()
}

fn by_ref<'a>(edit: &'a FieldEdit<'_>) -> FieldEdit<'a> {
    match edit {
        FieldEdit::Remove(name) => FieldEdit::Remove(*name),
        FieldEdit::Set(name, value) => FieldEdit::Set(*name, value.by_ref()),
        FieldEdit::Append(name, value) => FieldEdit::Append(*name, value.by_ref()),
    }
}
