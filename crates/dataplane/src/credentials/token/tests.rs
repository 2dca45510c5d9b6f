//! Tokens from a server whose answers change, in paused time.

use super::*;
use ir::{ClientAuthentication, Hidden};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use upstream::{Blocked, Settings};

/// An authorization server, which counts the requests for tokens and numbers the tokens.
struct Server {
    client: Arc<OAuthClient>,
    asked: Arc<AtomicUsize>,
    is_down: Arc<Mutex<bool>>,
    /// One for each answer that it may give.
    turns: Arc<Semaphore>,
}

impl Server {
    async fn start(lifetime: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let token_url = format!("http://{}/token", listener.local_addr().unwrap()).into();
        let client = Arc::new(OAuthClient {
            token_url,
            id: "gateway".into(),
            secret: Hidden("s3cr3t".into()),
            authentication: ClientAuthentication::Post,
            parameters: Arc::default(),
        });
        let server =
            Self { client, asked: Arc::default(), is_down: Arc::default(), turns: Arc::new(Semaphore::new(1000)) };
        let (asked, is_down, turns) =
            (Arc::clone(&server.asked), Arc::clone(&server.is_down), Arc::clone(&server.turns));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"client_secret=s3cr3t") {
                    assert!(stream.read_buf(&mut request).await.unwrap() > 0);
                }
                let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
                turns.acquire().await.unwrap().forget();
                let body = format!(r#"{{"access_token": "t{number}", "expires_in": {lifetime}}}"#);
                let status = if *is_down.lock().unwrap() { "401 Unauthorized" } else { "200 OK" };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        server
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn upstream() -> Arc<Upstream> {
    Upstream::new(&Settings { blocked: Blocked::of([]), ..Settings::default() }, Handle::current())
}

fn now(source: &Arc<TokenSource>, upstream: &Arc<Upstream>) -> Result<String, String> {
    let value = source.current(upstream).map(|value| String::from_utf8(value.to_vec()).unwrap());
    value.map_err(|error| error.to_string())
}

#[tokio::test(start_paused = true)]
async fn however_many_requests_wait_the_token_is_fetched_once() {
    let (server, upstream) = (Server::start(100).await, upstream());
    let source = TokenSource::new(Arc::clone(&server.client));
    let waiting = (0..50).map(|_| {
        let (source, upstream) = (Arc::clone(&source), Arc::clone(&upstream));
        tokio::spawn(async move { source.wait(&upstream).await })
    });
    for waiting in waiting.collect::<Vec<_>>() {
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }
    assert_eq!((server.asked(), now(&source, &upstream)), (1, Ok("Bearer t1".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_fetched_anew_before_its_end_while_the_old_one_is_used() {
    let (server, upstream) = (Server::start(100).await, upstream());
    let source = TokenSource::new(Arc::clone(&server.client));
    source.wait(&upstream).await.unwrap();
    tokio::time::advance(Duration::from_secs(79)).await;
    assert_eq!((now(&source, &upstream), server.asked()), (Ok("Bearer t1".to_owned()), 1));
    // The server takes its time.
    server.turns.forget_permits(1000);
    tokio::time::advance(Duration::from_secs(2)).await;
    for _ in 0..10 {
        assert_eq!(now(&source, &upstream), Ok("Bearer t1".to_owned()));
    }
    while server.asked() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(now(&source, &upstream), Ok("Bearer t1".to_owned()));
    let mut ended = source.ended.subscribe();
    server.turns.add_permits(1);
    ended.changed().await.unwrap();
    assert_eq!((now(&source, &upstream), server.asked()), (Ok("Bearer t2".to_owned()), 2));
}

#[tokio::test(start_paused = true)]
async fn without_a_token_the_reason_is_given_and_the_server_is_left_alone_for_a_while() {
    let (server, upstream) = (Server::start(100).await, upstream());
    let source = TokenSource::new(Arc::clone(&server.client));
    *server.is_down.lock().unwrap() = true;
    let why = format!("{}: the status is 401", server.client.token_url);
    for _ in 0..10 {
        assert_eq!(source.wait(&upstream).await, Err(why.as_str().into()));
        assert_eq!(now(&source, &upstream), Err(why.clone()));
    }
    assert_eq!(server.asked(), 1);
    *server.is_down.lock().unwrap() = false;
    tokio::time::advance(Duration::from_millis(1001)).await;
    assert_eq!(source.wait(&upstream).await, Ok(()));
    assert_eq!((now(&source, &upstream), server.asked()), (Ok("Bearer t2".to_owned()), 2));
    // After its end a token is used no more, whatever the server does.
    *server.is_down.lock().unwrap() = true;
    tokio::time::advance(Duration::from_secs(91)).await;
    assert_eq!(source.wait(&upstream).await, Err(why.as_str().into()));
    assert_eq!(now(&source, &upstream), Err(why));
}

/// Rejects the token of a request that is sent now.
fn reject(source: &Arc<TokenSource>, upstream: &Arc<Upstream>) -> bool {
    source.reject(upstream, Instant::now())
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_fetched_anew_once_and_requests_wait_for_that() {
    let (server, upstream) = (Server::start(3600).await, upstream());
    let source = TokenSource::new(Arc::clone(&server.client));
    let before = Instant::now();
    tokio::time::advance(Duration::from_secs(1)).await;
    source.wait(&upstream).await.unwrap();
    // A request that was sent before the token was issued had another one.
    assert!(!source.reject(&upstream, before) && source.is_ready(&upstream));
    assert!(reject(&source, &upstream));
    for _ in 0..10 {
        assert!(!reject(&source, &upstream), "a token counts once");
        assert!(!source.is_ready(&upstream));
    }
    // A retry on its way is sent with what there is.
    assert_eq!(now(&source, &upstream), Ok("Bearer t1".to_owned()));
    assert_eq!(source.wait(&upstream).await, Ok(()));
    assert_eq!((now(&source, &upstream), server.asked()), (Ok("Bearer t2".to_owned()), 2));
    // The destination rejects each of them: the server is asked every 30 s, and nothing waits meanwhile.
    assert!(reject(&source, &upstream) && source.is_ready(&upstream));
    tokio::time::advance(Duration::from_secs(29)).await;
    assert!(!reject(&source, &upstream) && source.is_ready(&upstream));
    assert_eq!((now(&source, &upstream), server.asked()), (Ok("Bearer t2".to_owned()), 2));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_used_on_while_there_is_no_other() {
    let (server, upstream) = (Server::start(3600).await, upstream());
    let source = TokenSource::new(Arc::clone(&server.client));
    source.wait(&upstream).await.unwrap();
    *server.is_down.lock().unwrap() = true;
    assert!(reject(&source, &upstream) && !source.is_ready(&upstream));
    assert_eq!(source.wait(&upstream).await, Ok(()));
    assert!(source.is_ready(&upstream) && source.has_failed());
    assert_eq!((now(&source, &upstream), server.asked()), (Ok("Bearer t1".to_owned()), 2));
}

#[tokio::test(start_paused = true)]
async fn requests_wait_briefly_for_a_server_that_does_not_answer_about_a_rejected_token() {
    let (server, upstream) = (Server::start(3600).await, upstream());
    let source = TokenSource::new(Arc::clone(&server.client));
    source.wait(&upstream).await.unwrap();
    server.turns.forget_permits(1000);
    let begun = Instant::now();
    assert!(reject(&source, &upstream) && !source.is_ready(&upstream));
    assert_eq!(source.wait(&upstream).await, Ok(()));
    assert_eq!((begun.elapsed(), now(&source, &upstream)), (REPLACEMENT, Ok("Bearer t1".to_owned())));
    assert!(source.is_ready(&upstream), "those behind do not wait");
    let mut ended = source.ended.subscribe();
    server.turns.add_permits(1);
    ended.changed().await.unwrap();
    assert_eq!(now(&source, &upstream), Ok("Bearer t2".to_owned()));
}
