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

    async fn connected(&mut self, place: Place) -> Connection {
        let connection = connect(&self.endpoint, None, Duration::from_secs(5)).await.unwrap();
        self.peers.push(self.listener.accept().await.unwrap().0);
        Connection { place: Some(place), ..connection }
    }

    fn wanted(&self) -> Wanted<'static> {
        Wanted { endpoint: self.endpoint.id, purpose: None }
    }
}

fn places(most: u32) -> Arc<Places> {
    let places = Arc::new(Places::default());
    places.set_most(Some(most));
    places
}

fn place(places: &Arc<Places>) -> Place {
    match places.claim() {
        Claim::Place(place) => place,
        Claim::Wait(_) => panic!("there is none"),
    }
}

fn wait(places: &Arc<Places>) -> Receiver<Grant> {
    match places.claim() {
        Claim::Place(_) => panic!("there is one"),
        Claim::Wait(receiver) => receiver,
    }
}

fn granted(receiver: &mut Receiver<Grant>) -> Option<Grant> {
    receiver.try_recv().ok()
}

#[test]
fn dr_20_places_go_to_those_who_wait_in_their_order() {
    let places = places(2);
    let held = [place(&places), place(&places)];
    let mut waiting = [wait(&places), wait(&places), wait(&places)];
    assert!(waiting.iter_mut().all(|one| granted(one).is_none()));
    let [first, second] = held;
    drop(first);
    let got = granted(&mut waiting[0]);
    assert!(got.is_some() && granted(&mut waiting[1]).is_none());
    // Nobody comes before those who wait.
    assert!(places.claim_now().is_none());
    drop(second);
    drop(got);
    assert!(granted(&mut waiting[1]).is_some() && granted(&mut waiting[2]).is_some());
    assert_eq!(places.used(), 0);
}

#[test]
fn dr_20_who_gives_up_waiting_is_passed_over() {
    let places = places(1);
    let held = place(&places);
    let (given_up, mut waiting) = (wait(&places), wait(&places));
    drop(given_up);
    drop(held);
    // Granted, and not taken up: it goes on.
    let mut last = wait(&places);
    drop(granted(&mut waiting).unwrap());
    let grant = granted(&mut last).unwrap();
    assert_eq!(places.used(), 1);
    drop(grant);
    assert_eq!(places.used(), 0);
    let held = place(&places);
    (0..10_000).for_each(|_| drop(wait(&places)));
    assert!(places.state().waiting.len() <= CLEAR_FROM);
    drop(held);
    assert_eq!(places.used(), 0);
}

#[test]
fn dr_20_a_limit_that_changes_holds_for_what_is_there() {
    let places = places(1);
    let first = place(&places);
    let mut waiting = [wait(&places), wait(&places)];
    places.set_most(Some(2));
    let second = granted(&mut waiting[0]);
    assert!(second.is_some() && granted(&mut waiting[1]).is_none());
    places.set_most(Some(1));
    drop(first);
    assert!(granted(&mut waiting[1]).is_none());
    drop(second);
    assert!(granted(&mut waiting[1]).is_some());
    places.set_most(None);
    drop([place(&places), place(&places)]);
}

#[test]
fn dr_20_no_place_is_lost_among_threads_that_wait_and_give_up() {
    const MOST: u32 = 3;
    let places = places(MOST);
    let (held, highest, served) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for thread in 0..8_u32 {
            let (places, held, highest, served) = (&places, &held, &highest, &served);
            scope.spawn(move || {
                for turn in 0..2000_u32 {
                    let grant = match places.claim() {
                        Claim::Place(place) => Grant::Place(place),
                        // Some give up at once, and some of these were granted meanwhile.
                        Claim::Wait(receiver) if (turn + thread) % 3 == 0 => {
                            std::thread::yield_now();
                            drop(receiver);
                            continue;
                        }
                        Claim::Wait(receiver) => receiver.blocking_recv().unwrap(),
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
    assert_eq!((places.used(), places.state().waiting.iter().filter(|one| !one.is_closed()).count()), (0, 0));
}

#[tokio::test]
async fn dr_20_an_idle_connection_goes_to_who_waits_and_is_closed_for_one_who_wants_another_endpoint() {
    let store = Arc::default();
    let (mut a, b) = (Backend::new(&store).await, Backend::new(&store).await);
    let places = places(1);
    let connection = a.connected(place(&places)).await;
    let mut waiting = wait(&places);
    places.put(connection, Instant::now());
    let connection = granted(&mut waiting).unwrap().open(a.wanted()).unwrap();
    places.put(connection, Instant::now());
    // It is kept, and taken again.
    let connection = places.take_idle(a.wanted()).unwrap();
    assert!(places.take_idle(a.wanted()).is_none());
    let mut waiting = wait(&places);
    places.put(connection, Instant::now());
    let place = granted(&mut waiting).unwrap().open(b.wanted()).unwrap_err().unwrap();
    assert_eq!(places.used(), 1);
    drop(place);
    let connection = a.connected(super::tests::place(&places)).await;
    places.put(connection, Instant::now());
    assert!(places.take_idle(b.wanted()).is_none());
    drop(super::tests::place(&places));
    assert!(places.take_idle(a.wanted()).is_none());
    assert_eq!(places.used(), 0);
}

#[tokio::test]
async fn dr_20_an_idle_connection_that_is_closed_old_or_gone_gives_its_place_back() {
    let store = Arc::default();
    let mut a = Backend::new(&store).await;
    let places = places(3);
    for _ in 0..3 {
        let connection = a.connected(place(&places)).await;
        places.put(connection, Instant::now());
    }
    a.peers.pop();
    // The last one is found closed, the one before it is taken.
    let connection = loop {
        match places.take_idle(a.wanted()) {
            Some(connection) if places.used() == 2 => break connection,
            Some(connection) => places.put(connection, Instant::now()),
            None => panic!("all are closed"),
        }
    };
    places.put(connection, Instant::now());
    places.tend(Instant::now());
    assert_eq!(places.used(), 2);
    places.tend(Instant::now() + Duration::from_secs(61));
    assert_eq!(places.used(), 0);
    let connection = a.connected(place(&places)).await;
    a.endpoint.retire();
    places.put(connection, Instant::now());
    assert_eq!(places.used(), 0);
}

#[tokio::test]
async fn dr_20_a_connection_moves_to_the_thread_that_takes_it() {
    let mut a = Backend::new(&Arc::default()).await;
    let places = places(1);
    let connection = a.connected(place(&places)).await;
    places.put(connection, Instant::now());
    let (taker, wanted) = (Arc::clone(&places), a.wanted());
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
    assert_eq!((&*read, places.used()), (&b"moved"[..], 0));
}
