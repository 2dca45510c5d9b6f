//! Sets of keys from a server that changes its mind, in paused time.

use super::*;
use std::sync::atomic::AtomicUsize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use upstream::{Blocked, Settings};

fn jwks(kid: &str) -> String {
    format!(
        r#"{{"keys": [{{"kty": "OKP", "crv": "Ed25519", "kid": "{kid}", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}]}}"#
    )
}

/// An issuer whose keys can be replaced, and who counts requests for them.
struct Issuer {
    port: u16,
    body: Arc<Mutex<Option<String>>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn start(body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let issuer = Self { port, body: Arc::new(Mutex::new(Some(body.to_owned()))), asked: Arc::default() };
        let (body, asked) = (Arc::clone(&issuer.body), Arc::clone(&issuer.asked));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    assert!(stream.read_buf(&mut request).await.unwrap() > 0);
                }
                let discovery = request.starts_with(b"GET /.well-known/");
                if !discovery {
                    asked.fetch_add(1, Ordering::SeqCst);
                }
                let body = body.lock().unwrap().clone();
                let body =
                    if discovery { Some(format!(r#"{{"jwks_uri": "http://127.0.0.1:{port}/keys"}}"#)) } else { body };
                let answer = match body {
                    Some(body) => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
                    None => "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_owned(),
                };
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        issuer
    }

    fn answer(&self, body: Option<String>) {
        *self.body.lock().unwrap() = body;
    }

    fn set(&self, upstream: &Arc<UpstreamStore>, discovery: bool) -> Arc<RemoteSet> {
        let path = if discovery { "/.well-known/openid-configuration" } else { "/keys" };
        let url = format!("http://127.0.0.1:{}{path}", self.port).into();
        RemoteSet::start(RemoteKeys { url, discovery, timeout: Duration::from_secs(600) }, upstream)
    }
}

fn upstream() -> Arc<UpstreamStore> {
    UpstreamStore::new(&Settings { blocked: Blocked::of([]), ..Settings::default() }, Handle::current())
}

/// Waits until the set has a key of this name.
async fn has(set: &RemoteSet, kid: &str) {
    while !set.keys.load().as_ref().is_some_and(|keys| keys.has(kid)) {
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn ra_05_keys_are_fetched_at_once_and_every_twenty_minutes() {
    let (issuer, upstream) = (Issuer::start(&jwks("a")).await, upstream());
    for discovery in [false, true] {
        issuer.answer(Some(jwks("a")));
        let set = issuer.set(&upstream, discovery);
        assert!(set.current(None).is_none());
        has(&set, "a").await;
        let (version, begun) = (set.version(), Instant::now());
        issuer.answer(Some(jwks("b")));
        has(&set, "b").await;
        assert!(begun.elapsed() >= REFRESH - Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_ne!(set.version(), version);
    }
}

#[tokio::test(start_paused = true)]
async fn ra_05_the_last_good_keys_stay_through_an_outage() {
    let (issuer, upstream) = (Issuer::start(&jwks("a")).await, upstream());
    let set = issuer.set(&upstream, false);
    has(&set, "a").await;
    let version = set.version();
    for bad in [None, Some("{}".to_owned()), Some("<html>".to_owned())] {
        issuer.answer(bad);
        while set.failure().is_none() {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        assert!(set.failure().unwrap().in_use && set.keys.load().as_ref().unwrap().has("a"));
        issuer.answer(Some(jwks("a")));
        while set.failure().is_some() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    assert_eq!(set.version(), version, "the same keys are no others");
}

#[tokio::test(start_paused = true)]
async fn ra_05_an_unknown_name_makes_keys_be_fetched_soon_and_seldom() {
    let (issuer, upstream) = (Issuer::start(&jwks("a")).await, upstream());
    let set = issuer.set(&upstream, false);
    has(&set, "a").await;
    issuer.answer(Some(jwks("b")));
    let begun = Instant::now();
    assert!(set.current(Some("b")).is_some_and(|current| !current.keys.has("b")));
    has(&set, "b").await;
    assert!(begun.elapsed() <= SOONEST * 2, "{:?}", begun.elapsed());
    // Unknown names cause few fetches.
    let asked = issuer.asked.load(Ordering::SeqCst);
    let until = Instant::now() + Duration::from_secs(15 * 60);
    while Instant::now() < until {
        set.current(Some("unknown"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let more = issuer.asked.load(Ordering::SeqCst) - asked;
    assert!((3..=10).contains(&more), "{more}");
}

#[tokio::test(start_paused = true)]
async fn a_set_that_nobody_uses_is_not_fetched() {
    let (issuer, upstream) = (Issuer::start(&jwks("a")).await, upstream());
    let set = issuer.set(&upstream, false);
    has(&set, "a").await;
    drop(set);
    tokio::time::sleep(REFRESH * 10).await;
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
}
