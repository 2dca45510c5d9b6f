use super::*;
use crate::connect::connect;
use crate::endpoint::EndpointState;
use ir::EndpointAddress;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot::Receiver;

struct Backend {
    listener: TcpListener,
    endpoint: Arc<EndpointState>,
    peers: Vec<TcpStream>,
}

impl Backend {
    async fn new(store: &Arc<crate::endpoint::Endpoints>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = EndpointAddress::Ip(listener.local_addr().unwrap());
        let endpoint = Arc::new(EndpointState::new(store, address, Duration::from_secs(60)));
        Self { listener, endpoint, peers: Vec::new() }
    }

    async fn connected(&mut self, permit: ConnectionPermit) -> Connection {
        let connection = connect(&self.endpoint, None, None, Duration::from_secs(5)).await.unwrap();
        self.peers.push(self.listener.accept().await.unwrap().0);
        Connection { permit: Some(permit), ..connection }
    }

    fn key(&self) -> IdleKey<'static> {
        IdleKey { endpoint: self.endpoint.id, pool_key: None }
    }
}

fn limiter(most: u32) -> Arc<ConnectionLimiter> {
    let limiter = Arc::new(ConnectionLimiter::default());
    limiter.set_limit(Some(most));
    limiter
}

fn permit(limiter: &Arc<ConnectionLimiter>) -> ConnectionPermit {
    match limiter.acquire() {
        Acquire::Permit(permit) => permit,
        Acquire::Wait(_) => panic!("there is none"),
    }
}

fn wait(limiter: &Arc<ConnectionLimiter>) -> Receiver<Acquired> {
    match limiter.acquire() {
        Acquire::Permit(_) => panic!("there is one"),
        Acquire::Wait(receiver) => receiver,
    }
}

fn granted(receiver: &mut Receiver<Acquired>) -> Option<Acquired> {
    receiver.try_recv().ok()
}

#[test]
fn dr_20_permits_go_to_waiters_in_order() {
    let limiter = limiter(2);
    let held = [permit(&limiter), permit(&limiter)];
    let mut waiting = [wait(&limiter), wait(&limiter), wait(&limiter)];
    assert!(waiting.iter_mut().all(|one| granted(one).is_none()));
    let [first, second] = held;
    drop(first);
    let got = granted(&mut waiting[0]);
    assert!(got.is_some() && granted(&mut waiting[1]).is_none());
    // Nobody comes before those who wait.
    assert!(limiter.try_acquire().is_none());
    drop(second);
    drop(got);
    assert!(granted(&mut waiting[1]).is_some() && granted(&mut waiting[2]).is_some());
    assert_eq!(limiter.used(), 0);
}

#[test]
fn dr_20_cancelled_waiters_are_skipped() {
    let limiter = limiter(1);
    let held = permit(&limiter);
    let (given_up, mut waiting) = (wait(&limiter), wait(&limiter));
    drop(given_up);
    drop(held);
    // Granted, and not taken up: it goes on.
    let mut last = wait(&limiter);
    drop(granted(&mut waiting).unwrap());
    let grant = granted(&mut last).unwrap();
    assert_eq!(limiter.used(), 1);
    drop(grant);
    assert_eq!(limiter.used(), 0);
    let held = permit(&limiter);
    (0..10_000).for_each(|_| drop(wait(&limiter)));
    assert!(limiter.state().waiting.len() <= CLEAR_FROM);
    drop(held);
    assert_eq!(limiter.used(), 0);
}

#[test]
fn dr_20_a_changed_limit_applies_to_existing_connections() {
    let limiter = limiter(1);
    let first = permit(&limiter);
    let mut waiting = [wait(&limiter), wait(&limiter)];
    limiter.set_limit(Some(2));
    let second = granted(&mut waiting[0]);
    assert!(second.is_some() && granted(&mut waiting[1]).is_none());
    limiter.set_limit(Some(1));
    drop(first);
    assert!(granted(&mut waiting[1]).is_none());
    drop(second);
    assert!(granted(&mut waiting[1]).is_some());
    limiter.set_limit(None);
    drop([permit(&limiter), permit(&limiter)]);
}

#[test]
fn dr_20_no_place_is_lost_among_threads_that_wait_and_give_up() {
    const MOST: u32 = 3;
    let limiter = limiter(MOST);
    let (held, highest, served) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for thread in 0..8_u32 {
            let (limiter, held, highest, served) = (&limiter, &held, &highest, &served);
            scope.spawn(move || {
                for turn in 0..2000_u32 {
                    let grant = match limiter.acquire() {
                        Acquire::Permit(permit) => Acquired::Permit(permit),
                        // Some give up at once, and some of these were granted meanwhile.
                        Acquire::Wait(receiver) if (turn + thread) % 3 == 0 => {
                            std::thread::yield_now();
                            drop(receiver);
                            continue;
                        }
                        Acquire::Wait(receiver) => receiver.blocking_recv().unwrap(),
                    };
                    highest.fetch_max(held.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    held.fetch_sub(1, Ordering::SeqCst);
                    served.fetch_add(1, Ordering::SeqCst);
                    drop(grant);
                }
            });
        }
    });
    assert!(highest.into_inner() <= MOST && served.into_inner() >= 8 * 2000 / 2);
    assert_eq!((limiter.used(), limiter.state().waiting.iter().filter(|one| !one.is_closed()).count()), (0, 0));
}

#[tokio::test]
async fn dr_20_an_idle_connection_goes_to_a_waiter_or_is_closed_for_one_of_another_endpoint() {
    let store = Arc::default();
    let (mut a, b) = (Backend::new(&store).await, Backend::new(&store).await);
    let limiter = limiter(1);
    let connection = a.connected(permit(&limiter)).await;
    let mut waiting = wait(&limiter);
    limiter.put(connection, Instant::now());
    let connection = granted(&mut waiting).unwrap().open(a.key()).unwrap();
    limiter.put(connection, Instant::now());
    // It is kept, and taken again.
    let connection = limiter.take_idle(a.key()).unwrap();
    assert!(limiter.take_idle(a.key()).is_none());
    let mut waiting = wait(&limiter);
    limiter.put(connection, Instant::now());
    let permit = granted(&mut waiting).unwrap().open(b.key()).unwrap_err().unwrap();
    assert_eq!(limiter.used(), 1);
    drop(permit);
    let connection = a.connected(super::tests::permit(&limiter)).await;
    limiter.put(connection, Instant::now());
    assert!(limiter.take_idle(b.key()).is_none());
    drop(super::tests::permit(&limiter));
    assert!(limiter.take_idle(a.key()).is_none());
    assert_eq!(limiter.used(), 0);
}

#[tokio::test]
async fn dr_20_an_unusable_idle_connection_releases_its_permit() {
    let store = Arc::default();
    let mut a = Backend::new(&store).await;
    let limiter = limiter(3);
    for _ in 0..3 {
        let connection = a.connected(permit(&limiter)).await;
        limiter.put(connection, Instant::now());
    }
    a.peers.pop();
    // The last one is found closed, the one before it is taken.
    let connection = loop {
        match limiter.take_idle(a.key()) {
            Some(connection) if limiter.used() == 2 => break connection,
            Some(connection) => limiter.put(connection, Instant::now()),
            None => panic!("all are closed"),
        }
    };
    limiter.put(connection, Instant::now());
    limiter.close_expired(Instant::now());
    assert_eq!(limiter.used(), 2);
    limiter.close_expired(Instant::now() + Duration::from_secs(61));
    assert_eq!(limiter.used(), 0);
    let connection = a.connected(permit(&limiter)).await;
    a.endpoint.retire();
    limiter.put(connection, Instant::now());
    assert_eq!(limiter.used(), 0);
}

#[tokio::test]
async fn dr_20_a_connection_moves_to_the_thread_that_acquires_it() {
    let mut a = Backend::new(&Arc::default()).await;
    let limiter = limiter(1);
    let connection = a.connected(permit(&limiter)).await;
    limiter.put(connection, Instant::now());
    let (taker, wanted) = (Arc::clone(&limiter), a.key());
    let written = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let mut connection = taker.take_idle(wanted).unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut connection.stream, b"moved").await.unwrap();
        });
    });
    written.join().unwrap();
    let mut read = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut a.peers[0], &mut read).await.unwrap();
    assert_eq!((&*read, limiter.used()), (&b"moved"[..], 0));
}
