//! The token of one client of an authorization server. It is fetched when a request first needs it, and anew when most of its time is over, while
//! requests use the one before. There is one request to the server at a time, and after a failure none for a while.

use super::oauth::{self, Issued};
use arc_swap::ArcSwapOption;
use ir::OAuthClient;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use text::FieldValue;
use tokio::sync::watch;
use tokio::time::{Duration, Instant};
use upstream::{FetchRequest, Upstream};

/// How long the authorization server may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Octets of a response.
const MAX_OCTETS: usize = 256 << 10;
/// After a first failure; doubled with each further one.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// The longest time after failures.
const AFTER_FAILURES: Duration = Duration::from_secs(60);
/// A token is not used for this long before its end: a request takes time to arrive.
const MARGIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct TokenSource {
    client: Arc<OAuthClient>,
    token: ArcSwapOption<Token>,
    fetching: Mutex<Fetching>,
    /// Changes with the end of each request to the server.
    ended: watch::Sender<()>,
}

#[derive(Debug)]
struct Token {
    value: FieldValue<'static>,
    /// When the next one is fetched.
    renew: Instant,
    /// Until when it is used.
    until: Instant,
}

#[derive(Debug, Default)]
struct Fetching {
    is_under_way: bool,
    failures: u32,
    /// Why the last request to the server failed, and when the next one may be sent.
    failure: Option<(Arc<str>, Instant)>,
}

impl TokenSource {
    pub(super) fn new(client: Arc<OAuthClient>) -> Arc<Self> {
        Arc::new(Self {
            client,
            token: ArcSwapOption::empty(),
            fetching: Mutex::default(),
            ended: watch::Sender::new(()),
        })
    }

    /// The token, or why there is none now. One that is missing, or ends soon, is fetched.
    pub(super) fn current(self: &Arc<Self>, upstream: &Arc<Upstream>) -> Result<FieldValue<'static>, Arc<str>> {
        let (token, now) = (self.token.load_full(), Instant::now());
        if token.as_ref().is_some_and(|token| now < token.renew) {
            return Ok(token.map_or_else(|| "".into(), |token| token.value.clone()));
        }
        let begun = self.fetch(upstream);
        match token {
            Some(token) if now < token.until => Ok(token.value.clone()),
            Some(_) | None => Err(begun.err().unwrap_or_else(|| "the token is being fetched".into())),
        }
    }

    /// Waits until there is a token, or a request to the server has failed.
    pub(super) async fn wait(self: &Arc<Self>, upstream: &Arc<Upstream>) -> Result<(), Arc<str>> {
        // Before anything is begun, so that its end is seen.
        let mut ended = self.ended.subscribe();
        loop {
            if self.token.load().as_ref().is_some_and(|token| Instant::now() < token.until) {
                return Ok(());
            }
            self.fetch(upstream)?;
            if ended.changed().await.is_err() {
                return Err("the gateway ends".into());
            }
        }
    }

    /// Begins a request to the server, unless there is one; an error if one has failed lately.
    fn fetch(self: &Arc<Self>, upstream: &Arc<Upstream>) -> Result<(), Arc<str>> {
        let mut fetching = self.fetching();
        if fetching.is_under_way {
            return Ok(());
        }
        if let Some((why, next)) = &fetching.failure
            && Instant::now() < *next
        {
            return Err(Arc::clone(why));
        }
        fetching.is_under_way = true;
        drop(fetching);
        // The store owns the task, which must not hold the store.
        upstream.spawn(fetch(Arc::clone(self), Arc::downgrade(upstream)));
        Ok(())
    }

    fn finish(&self, issued: Result<Issued, String>) {
        let (mut fetching, now) = (self.fetching(), Instant::now());
        fetching.is_under_way = false;
        match issued {
            Ok(Issued { value, lifetime }) => {
                (fetching.failures, fetching.failure) = (0, None);
                let until = now + lifetime.saturating_sub(MARGIN.min(lifetime / 10));
                self.token.store(Some(Arc::new(Token { value, renew: now + lifetime * 4 / 5, until })));
            }
            Err(why) => {
                if fetching.failures == 0 {
                    let url = &self.client.token_url;
                    tracing::warn!(%url, failure = %why, "a token for requests to destinations cannot be fetched");
                }
                fetching.failures = fetching.failures.saturating_add(1);
                let pause = AFTER_FAILURE.saturating_mul(1 << (fetching.failures - 1).min(16)).min(AFTER_FAILURES);
                fetching.failure = Some((format!("{}: {why}", self.client.token_url).into(), now + pause));
            }
        }
        drop(fetching);
        self.ended.send_replace(());
    }

    fn fetching(&self) -> MutexGuard<'_, Fetching> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn fetch(source: Arc<TokenSource>, upstream: Weak<Upstream>) {
    let Some(store) = upstream.upgrade() else { return };
    let request = oauth::request(&source.client);
    let asked = FetchRequest {
        form: Some(&request.body),
        authorization: request.authorization.as_deref(),
        ..FetchRequest::new(&source.client.token_url, TIMEOUT, MAX_OCTETS)
    };
    let fetched = store.fetch(asked).await.map_err(|error| error.to_string());
    source.finish(fetched.and_then(|document| oauth::response(&document).map_err(str::to_owned)));
}

#[cfg(test)]
mod tests;
