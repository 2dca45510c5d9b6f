//! The token of one client of an authorization server. It is fetched when a request first needs it, and anew when most of its time is over, while
//! requests use the one before. There is one request to the server at a time, and after a failure none for a while. A token that a destination
//! rejects is fetched anew early, and the next requests wait for that.

use super::oauth::{self, Issued};
use arc_swap::ArcSwapOption;
use ir::OAuthClient;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use text::FieldValue;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, timeout};
use upstream::{FetchRequest, UpstreamStore};

/// How long the authorization server may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Octets of a response.
const MAX_OCTETS: usize = 256 << 10;
/// After a first failure; doubled with each further one.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// The longest time after failures.
const AFTER_FAILURES: Duration = Duration::from_secs(60);
/// The shortest time between fetches because of rejections. Whatever clients do to be answered 401, the server is not asked more often.
const BETWEEN_REJECTIONS: Duration = Duration::from_secs(30);
/// How long a request waits for the token that takes the place of a rejected one; then it is sent with that one, which may still be valid for other requests.
const REPLACEMENT: Duration = Duration::from_secs(2);
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
    issued: Instant,
    /// Whether a destination has rejected it, which counts once.
    is_rejected: AtomicBool,
    /// Whether it is fetched anew because a destination has rejected it, and requests wait for that.
    is_being_replaced: AtomicBool,
}

#[derive(Debug, Default)]
struct Fetching {
    is_under_way: bool,
    failures: u32,
    /// Why the last request to the server failed, and when the next one may be sent.
    failure: Option<(Arc<str>, Instant)>,
    /// When the last fetch because of a rejection began.
    after_rejection: Option<Instant>,
}

/// What asks authorization servers for tokens.
pub(super) trait Issuer {
    /// Begins a request for a token, and passes its result to `TokenSource::finish`.
    fn request(self: &Arc<Self>, source: Arc<TokenSource>);
}

impl Issuer for UpstreamStore {
    fn request(self: &Arc<Self>, source: Arc<TokenSource>) {
        // The store owns the task, which must not hold the store.
        self.spawn(fetch(source, Arc::downgrade(self)));
    }
}

impl Fetching {
    /// Notes that a request to the server begins, and returns `true`; `false` if one is under way. An error if one has failed lately.
    fn begin(&mut self, now: Instant) -> Result<bool, Arc<str>> {
        if self.is_under_way {
            return Ok(false);
        }
        if let Some((why, next)) = &self.failure
            && now < *next
        {
            return Err(Arc::clone(why));
        }
        self.is_under_way = true;
        Ok(true)
    }
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

    /// Whether requests need not wait. A token that ends soon is fetched meanwhile.
    pub(super) fn is_ready(self: &Arc<Self>, issuer: &Arc<impl Issuer>) -> bool {
        let is_being_replaced =
            self.token.load().as_ref().is_some_and(|token| token.is_being_replaced.load(Ordering::Relaxed));
        !is_being_replaced && self.current(issuer).is_ok()
    }

    /// Whether the last request to the server has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.fetching().failure.is_some()
    }

    /// Notes that a destination has rejected the token that a request was sent with at `sent` or later. The token is fetched anew, unless that was done
    /// lately, or cannot be done now; a later rejection may then do it. Returns whether it is the first rejection of the token, which is counted once.
    pub(super) fn reject(self: &Arc<Self>, issuer: &Arc<impl Issuer>, sent: Instant) -> bool {
        // Held while the token is looked at, so that no other one takes its place meanwhile.
        let mut fetching = self.fetching();
        let token = self.token.load_full();
        // A later token may not be the one that was rejected.
        let Some(token) = token.filter(|token| token.issued <= sent) else { return false };
        let is_first = !token.is_rejected.swap(true, Ordering::Relaxed);
        let now = Instant::now();
        let is_late = fetching.after_rejection.is_none_or(|last| now.duration_since(last) >= BETWEEN_REJECTIONS);
        if is_late && matches!(fetching.begin(now), Ok(true)) {
            fetching.after_rejection = Some(now);
            // Before the fetch begins, whose end takes it back.
            token.is_being_replaced.store(true, Ordering::Relaxed);
            drop(fetching);
            issuer.request(Arc::clone(self));
        }
        is_first
    }

    /// The token, or why there is none now. One that is missing, or ends soon, is fetched.
    pub(super) fn current(self: &Arc<Self>, issuer: &Arc<impl Issuer>) -> Result<FieldValue<'static>, Arc<str>> {
        let (token, now) = (self.token.load_full(), Instant::now());
        if token.as_ref().is_some_and(|token| now < token.renew) {
            return Ok(token.map_or_else(|| "".into(), |token| token.value.clone()));
        }
        let begun = self.fetch(issuer);
        match token {
            Some(token) if now < token.until => Ok(token.value.clone()),
            Some(_) | None => Err(begun.err().unwrap_or_else(|| "the token is being fetched".into())),
        }
    }

    /// Waits until there is a token, or a request to the server has failed.
    pub(super) async fn wait(self: &Arc<Self>, issuer: &Arc<impl Issuer>) -> Result<(), Arc<str>> {
        // Before anything is begun, so that its end is seen.
        let mut ended = self.ended.subscribe();
        loop {
            if let Some(token) = self.token.load_full().filter(|token| Instant::now() < token.until) {
                if token.is_being_replaced.load(Ordering::Relaxed)
                    && timeout(REPLACEMENT, ended.changed()).await.is_err()
                {
                    // Those behind do not wait as well.
                    token.is_being_replaced.store(false, Ordering::Relaxed);
                }
                return Ok(());
            }
            self.fetch(issuer)?;
            if ended.changed().await.is_err() {
                return Err("the gateway ends".into());
            }
        }
    }

    /// Begins a request to the server, unless there is one; an error if one has failed lately.
    fn fetch(self: &Arc<Self>, issuer: &Arc<impl Issuer>) -> Result<(), Arc<str>> {
        let begins = self.fetching().begin(Instant::now())?;
        if begins {
            issuer.request(Arc::clone(self));
        }
        Ok(())
    }

    /// Notes the end of a request to the server.
    fn finish(&self, issued: Result<Issued, String>) {
        let (mut fetching, now) = (self.fetching(), Instant::now());
        fetching.is_under_way = false;
        match issued {
            Ok(Issued { value, lifetime }) => {
                if fetching.failures > 0 {
                    tracing::info!(url = %self.client.token_url, "tokens for requests to destinations can be fetched again");
                }
                (fetching.failures, fetching.failure) = (0, None);
                let until = now + lifetime.saturating_sub(MARGIN.min(lifetime / 10));
                let (is_rejected, is_being_replaced) = <(AtomicBool, AtomicBool)>::default();
                let renew = now + lifetime * 4 / 5;
                self.token.store(Some(Arc::new(Token {
                    value,
                    renew,
                    until,
                    issued: now,
                    is_rejected,
                    is_being_replaced,
                })));
            }
            Err(why) => {
                if fetching.failures == 0 {
                    let url = &self.client.token_url;
                    tracing::warn!(%url, failure = %why, "a token for requests to destinations cannot be fetched");
                }
                fetching.failures = fetching.failures.saturating_add(1);
                let pause = AFTER_FAILURE.saturating_mul(1 << (fetching.failures - 1).min(16)).min(AFTER_FAILURES);
                if let Some(token) = &*self.token.load() {
                    token.is_being_replaced.store(false, Ordering::Relaxed);
                }
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

async fn fetch(source: Arc<TokenSource>, upstream: Weak<UpstreamStore>) {
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
