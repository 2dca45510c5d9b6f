//! Tokens from a server whose answers change, in paused time: nothing but timers and tasks, so that time passes only when all of them wait.

use super::*;
use ir::{ClientAuthentication, Hidden};
use std::sync::atomic::{AtomicU32, AtomicUsize};
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::advance;

/// An authorization server, which counts the requests for tokens and numbers the tokens.
struct Server {
    /// Seconds for which a token is valid.
    lifetime: AtomicU32,
    asked: AtomicUsize,
    is_down: AtomicBool,
    /// One for each answer that it may give.
    turns: Semaphore,
}

impl Issuer for Server {
    fn request(self: &Arc<Self>, source: Arc<TokenSource>) {
        let server = Arc::clone(self);
        tokio::spawn(async move {
            let number = server.asked.fetch_add(1, Ordering::SeqCst) + 1;
            server.turns.acquire().await.unwrap().forget();
            let lifetime = Duration::from_secs(server.lifetime.load(Ordering::SeqCst).into());
            source.finish(if server.is_down.load(Ordering::SeqCst) {
                Err("the status is 401".to_owned())
            } else {
                Ok(Issued { value: FieldValue::checked(format!("Bearer t{number}").into_bytes()).unwrap(), lifetime })
            });
        });
    }
}

/// A server whose tokens are valid for `lifetime` seconds, and what fetches them.
fn start(lifetime: u32) -> (Arc<Server>, Arc<TokenSource>) {
    let server = Server {
        lifetime: lifetime.into(),
        asked: AtomicUsize::default(),
        is_down: AtomicBool::default(),
        turns: Semaphore::new(1000),
    };
    let client = OAuthClient {
        token_url: "https://issuer.test/token".into(),
        id: "gateway".into(),
        secret: Hidden("s3cr3t".into()),
        authentication: ClientAuthentication::Post,
        parameters: Arc::default(),
    };
    (Arc::new(server), TokenSource::new(Arc::new(client)))
}

impl Server {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }
}

/// The token now, without waiting.
fn now(source: &Arc<TokenSource>, server: &Arc<Server>) -> Result<String, String> {
    let value = source.current(server).map(|value| String::from_utf8(value.to_vec()).unwrap());
    value.map_err(|error| error.to_string())
}

/// Rejects the token of a request that is sent now.
fn reject(source: &Arc<TokenSource>, server: &Arc<Server>) -> bool {
    source.reject(server, Instant::now())
}

/// Lets the server answer what it was asked.
async fn answered(server: &Server, asked: usize, source: &TokenSource) {
    while server.asked() < asked || source.fetching().is_under_way {
        yield_now().await;
    }
}

const WHY: &str = "https://issuer.test/token: the status is 401";

#[tokio::test(start_paused = true)]
async fn however_many_requests_wait_the_token_is_fetched_once() {
    let (server, source) = start(100);
    let waiting = (0..50).map(|_| {
        let (source, server) = (Arc::clone(&source), Arc::clone(&server));
        tokio::spawn(async move { source.wait(&server).await })
    });
    for waiting in waiting.collect::<Vec<_>>() {
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }
    assert_eq!((server.asked(), now(&source, &server)), (1, Ok("Bearer t1".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_fetched_anew_before_its_end_while_the_old_one_is_used() {
    let (server, source) = start(100);
    source.wait(&server).await.unwrap();
    advance(Duration::from_secs(79)).await;
    assert_eq!((now(&source, &server), server.asked()), (Ok("Bearer t1".to_owned()), 1));
    // The server takes its time.
    server.turns.forget_permits(1000);
    advance(Duration::from_secs(2)).await;
    for _ in 0..10 {
        assert_eq!(now(&source, &server), Ok("Bearer t1".to_owned()));
    }
    while server.asked() < 2 {
        yield_now().await;
    }
    assert_eq!(now(&source, &server), Ok("Bearer t1".to_owned()));
    server.turns.add_permits(1);
    answered(&server, 2, &source).await;
    assert_eq!((now(&source, &server), server.asked()), (Ok("Bearer t2".to_owned()), 2));
}

#[tokio::test(start_paused = true)]
async fn without_a_token_the_reason_is_given_and_the_server_is_left_alone_for_a_while() {
    let (server, source) = start(100);
    server.set_down(true);
    for _ in 0..10 {
        assert_eq!(source.wait(&server).await, Err(WHY.into()));
        assert_eq!(now(&source, &server), Err(WHY.to_owned()));
    }
    assert_eq!(server.asked(), 1);
    server.set_down(false);
    advance(Duration::from_millis(1001)).await;
    assert_eq!(source.wait(&server).await, Ok(()));
    assert_eq!((now(&source, &server), server.asked()), (Ok("Bearer t2".to_owned()), 2));
    // After its end a token is used no more, whatever the server does.
    server.set_down(true);
    advance(Duration::from_secs(91)).await;
    assert_eq!(source.wait(&server).await, Err(WHY.into()));
    assert_eq!(now(&source, &server), Err(WHY.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_fetched_anew_and_requests_wait_for_that() {
    let (server, source) = start(3600);
    let before = Instant::now();
    advance(Duration::from_secs(1)).await;
    source.wait(&server).await.unwrap();
    // A request that was sent before the token was issued had another one.
    assert!(!source.reject(&server, before) && source.is_ready(&server));
    assert!(reject(&source, &server));
    for _ in 0..10 {
        assert!(!reject(&source, &server), "a token counts once");
        assert!(!source.is_ready(&server));
    }
    // A retry on its way is sent with what there is.
    assert_eq!(now(&source, &server), Ok("Bearer t1".to_owned()));
    assert_eq!(source.wait(&server).await, Ok(()));
    assert_eq!((now(&source, &server), server.asked()), (Ok("Bearer t2".to_owned()), 2));
}

#[tokio::test(start_paused = true)]
async fn tokens_that_are_rejected_again_and_again_are_fetched_every_30_s() {
    let (server, source) = start(3600);
    source.wait(&server).await.unwrap();
    assert!(reject(&source, &server));
    answered(&server, 2, &source).await;
    // The server gives out what the destination rejects.
    assert!(reject(&source, &server) && source.is_ready(&server), "the second token counts");
    for asked in 2..6 {
        advance(Duration::from_millis(29_999)).await;
        reject(&source, &server);
        assert!(source.is_ready(&server), "nothing waits meanwhile");
        assert_eq!((now(&source, &server), server.asked()), (Ok(format!("Bearer t{asked}")), asked));
        advance(Duration::from_millis(1)).await;
        assert!(!reject(&source, &server), "a token counts once");
        assert!(!source.is_ready(&server));
        assert_eq!(source.wait(&server).await, Ok(()));
        assert_eq!((now(&source, &server), server.asked()), (Ok(format!("Bearer t{}", asked + 1)), asked + 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejection_after_the_pause_of_a_failure_has_the_token_fetched() {
    let (server, source) = start(100);
    source.wait(&server).await.unwrap();
    server.set_down(true);
    advance(Duration::from_secs(80)).await;
    assert_eq!(now(&source, &server), Ok("Bearer t1".to_owned()));
    answered(&server, 2, &source).await;
    server.set_down(false);
    // The server is left alone, and this takes no part in the time between rejections.
    assert!(reject(&source, &server) && source.is_ready(&server));
    advance(AFTER_FAILURE).await;
    assert!(!reject(&source, &server) && !source.is_ready(&server));
    assert_eq!(source.wait(&server).await, Ok(()));
    assert_eq!((now(&source, &server), server.asked()), (Ok("Bearer t3".to_owned()), 3));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_used_on_while_there_is_no_other() {
    let (server, source) = start(3600);
    source.wait(&server).await.unwrap();
    server.set_down(true);
    assert!(reject(&source, &server) && !source.is_ready(&server));
    assert_eq!(source.wait(&server).await, Ok(()));
    assert!(source.is_ready(&server) && source.has_failed());
    assert_eq!((now(&source, &server), server.asked()), (Ok("Bearer t1".to_owned()), 2));
    // The server is back, and the token is still rejected.
    server.set_down(false);
    advance(BETWEEN_REJECTIONS).await;
    assert!(!reject(&source, &server) && !source.is_ready(&server));
    assert_eq!(source.wait(&server).await, Ok(()));
    assert_eq!((now(&source, &server), server.asked()), (Ok("Bearer t3".to_owned()), 3));
}

#[tokio::test(start_paused = true)]
async fn requests_wait_briefly_for_a_server_that_does_not_answer_about_a_rejected_token() {
    let (server, source) = start(3600);
    source.wait(&server).await.unwrap();
    server.turns.forget_permits(1000);
    let begun = Instant::now();
    assert!(reject(&source, &server) && !source.is_ready(&server));
    assert_eq!(source.wait(&server).await, Ok(()));
    assert_eq!((begun.elapsed(), now(&source, &server)), (REPLACEMENT, Ok("Bearer t1".to_owned())));
    assert!(source.is_ready(&server), "those behind do not wait");
    server.turns.add_permits(1);
    answered(&server, 2, &source).await;
    assert_eq!(now(&source, &server), Ok("Bearer t2".to_owned()));
}
