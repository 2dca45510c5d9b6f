use super::*;
use crate::connect::{Stream, connect};
use ir::EndpointAddress;
use tokio::net::{TcpListener, TcpStream};

/// A listener, its endpoint, and the far ends of the connections to it.
struct Backend {
    listener: TcpListener,
    endpoint: Arc<EndpointState>,
    peers: Vec<TcpStream>,
}

impl Backend {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = EndpointAddress::Ip(listener.local_addr().unwrap());
        let endpoint = EndpointState::new(&Arc::default(), address, Duration::from_secs(60));
        Self { listener, endpoint: Arc::new(endpoint), peers: Vec::new() }
    }

    /// Makes its endpoint one of the same store as another's.
    fn share_with(&mut self, other: &Self) {
        let address = self.endpoint.address.clone();
        self.endpoint = Arc::new(EndpointState::new(other.endpoint.all(), address, Duration::from_secs(60)));
    }

    async fn connected(&mut self) -> Connection {
        let connection = connect(&self.endpoint, None, None, Duration::from_secs(5)).await.unwrap();
        self.peers.push(self.listener.accept().await.unwrap().0);
        connection
    }

    /// A pool with so many idle connections.
    async fn pool(&mut self, count: usize, settings: PoolSettings) -> (Pool, Instant) {
        let (mut pool, now) = (Pool::new(settings), Instant::now());
        for _ in 0..count {
            pool.put(self.connected().await, now);
        }
        (pool, now)
    }
}

async fn readable(connection: &Connection) {
    if let Stream::Tcp(stream) = &connection.stream {
        stream.readable().await.unwrap();
    }
}

fn port(connection: &Connection) -> u16 {
    connection.stream.local_address().unwrap().port()
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn an_open_connection_is_given_again() {
    let mut backend = Backend::new().await;
    let (mut pool, _) = backend.pool(1, PoolSettings::default()).await;
    assert!(pool.take_clear(&backend.endpoint).unwrap().reused);
    assert!(pool.take_clear(&backend.endpoint).is_none());
    assert_eq!(pool.counters(), PoolCounters { reused: 1, ..PoolCounters::default() });
}

#[tokio::test]
async fn the_one_used_last_is_given_first() {
    let mut backend = Backend::new().await;
    let (one, other) = (backend.connected().await, backend.connected().await);
    let ports = [port(&one), port(&other)];
    let mut pool = Pool::new(PoolSettings::default());
    pool.put(one, Instant::now());
    pool.put(other, Instant::now());
    assert_eq!(port(&pool.take_clear(&backend.endpoint).unwrap()), ports[1]);
    assert_eq!(port(&pool.take_clear(&backend.endpoint).unwrap()), ports[0]);
}

#[tokio::test]
async fn a_closed_connection_is_never_given() {
    let mut backend = Backend::new().await;
    let connection = backend.connected().await;
    backend.peers.clear();
    readable(&connection).await;
    let mut pool = Pool::new(PoolSettings::default());
    pool.put(connection, Instant::now());
    assert!(pool.take_clear(&backend.endpoint).is_none());
    assert_eq!(pool.counters().stale, 1);
}

#[tokio::test]
async fn a_connection_that_was_idle_is_checked_before_its_reuse() {
    let mut backend = Backend::new().await;
    let (mut pool, now) = backend.pool(1, PoolSettings::default()).await;
    pool.sweep(now);
    // Closed since, and the runtime has had no chance to hear of it.
    backend.peers.clear();
    assert!(pool.take_clear(&backend.endpoint).is_none());
}

#[tokio::test]
async fn a_connection_with_unexpected_bytes_is_not_reused() {
    let mut backend = Backend::new().await;
    let connection = backend.connected().await;
    tokio::io::AsyncWriteExt::write_all(&mut backend.peers[0], b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    readable(&connection).await;
    let mut pool = Pool::new(PoolSettings::default());
    pool.put(connection, Instant::now());
    assert!(pool.take_clear(&backend.endpoint).is_none());
}

#[tokio::test]
async fn a_cold_connection_is_available_to_any_worker() {
    let mut backend = Backend::new().await;
    let (mut one, now) = backend.pool(1, PoolSettings::default()).await;
    let mut other = Pool::new(PoolSettings::default());
    one.sweep(now);
    assert!(other.take_clear(&backend.endpoint).is_none());
    one.sweep(now + SECOND);
    assert!(one.is_empty());
    let connection = other.take_clear(&backend.endpoint).unwrap();
    assert!(connection.reused);
    // It works on the other worker's runtime.
    tokio::io::AsyncWriteExt::write_all(&mut backend.peers[0], b"x").await.unwrap();
    readable(&connection).await;
    assert_eq!(backend.endpoint.idle_slots(), 0);
}

#[tokio::test]
async fn a_cold_unix_connection_is_available_to_any_worker() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let _listener = tokio::net::UnixListener::bind(&path).unwrap();
    let address = EndpointAddress::Unix(path.into());
    let endpoint = Arc::new(EndpointState::new(&Arc::default(), address, 60 * SECOND));
    let (mut one, mut other) = (Pool::new(PoolSettings::default()), Pool::new(PoolSettings::default()));
    let now = Instant::now();
    one.put(connect(&endpoint, None, None, SECOND).await.unwrap(), now);
    one.sweep(now + SECOND);
    assert!(matches!(other.take_clear(&endpoint).unwrap().stream, Stream::Unix(_)));
}

#[tokio::test]
async fn a_stashed_connection_that_its_peer_closed_is_closed_and_never_given() {
    let mut backend = Backend::new().await;
    let (mut pool, now) = backend.pool(2, PoolSettings::default()).await;
    pool.sweep(now + SECOND);
    assert_eq!(backend.endpoint.idle_slots(), 2);
    let last = backend.peers.pop();
    drop(last);
    pool.sweep(now + 3 * SECOND);
    assert_eq!(backend.endpoint.idle_slots(), 1);
    backend.peers.clear();
    assert!(pool.take_clear(&backend.endpoint).is_none());
}

#[tokio::test]
async fn dr_21_a_stashed_connection_is_closed_after_the_idle_time_and_the_endpoint_forgotten() {
    let mut backend = Backend::new().await;
    let (mut pool, now) = backend.pool(3, PoolSettings::default()).await;
    pool.sweep(now + SECOND);
    pool.sweep(now + 59 * SECOND);
    assert_eq!((backend.endpoint.idle_slots(), pool.idle.len()), (3, 1));
    pool.sweep(now + 61 * SECOND);
    assert_eq!((backend.endpoint.idle_slots(), pool.idle.len(), pool.turns.len()), (0, 0, 0));
    assert_eq!(Arc::strong_count(&backend.endpoint), 1);
}

#[tokio::test]
async fn dr_21_a_short_idle_time_holds_before_a_connection_is_cold() {
    let mut backend = Backend::new().await;
    backend.endpoint.set_idle_limit(SECOND / 2);
    let (mut pool, now) = backend.pool(1, PoolSettings::default()).await;
    pool.sweep(now + SECOND / 2);
    assert!(pool.is_empty() && pool.take_clear(&backend.endpoint).is_none());
}

#[tokio::test]
async fn connections_of_a_removed_endpoint_are_closed() {
    let mut backend = Backend::new().await;
    let (mut pool, now) = backend.pool(3, PoolSettings::default()).await;
    let busy = backend.connected().await;
    pool.sweep(now + SECOND);
    let warm = backend.connected().await;
    pool.put(warm, now + SECOND);
    backend.endpoint.retire();
    pool.sweep(now + SECOND);
    pool.put(busy, now);
    assert!(pool.is_empty() && pool.take_clear(&backend.endpoint).is_none());
    assert_eq!((backend.endpoint.idle_slots(), pool.turns.len()), (0, 0));
}

#[tokio::test]
async fn idle_connections_to_an_endpoint_are_bounded_for_all_workers() {
    let mut backend = Backend::new().await;
    let settings = PoolSettings { idle_per_endpoint: 3, ..PoolSettings::default() };
    let (mut one, now) = backend.pool(2, settings).await;
    let (mut other, _) = backend.pool(2, settings).await;
    assert_eq!((one.len(), other.len(), other.counters().surplus), (2, 1, 1));
    // The first worker needs only one of its two places for a while: the second gets it.
    let busy = one.take_clear(&backend.endpoint).unwrap();
    other.put(backend.connected().await, now);
    assert_eq!(other.len(), 1);
    one.sweep(now);
    one.sweep(now);
    other.put(backend.connected().await, now);
    one.put(busy, now);
    assert_eq!((one.len(), other.len(), backend.endpoint.idle_slots()), (1, 2, 3));
}

#[tokio::test]
async fn idle_connections_in_all_are_bounded_and_the_cold_make_room() {
    let (mut one, mut other) = (Backend::new().await, Backend::new().await);
    other.share_with(&one);
    let settings = PoolSettings { idle_in_all: 4, ..PoolSettings::default() };
    let (mut pool, now) = one.pool(5, settings).await;
    assert_eq!((pool.len(), pool.counters().surplus), (4, 1));
    pool.put(other.connected().await, now);
    assert_eq!((pool.len(), pool.counters().surplus, other.endpoint.idle_slots()), (4, 2, 0));
    pool.sweep(now + SECOND);
    pool.sweep(now + 4 * SECOND);
    assert_eq!(one.endpoint.idle_slots(), 4);
    pool.sweep(now + 5 * SECOND);
    assert_eq!(one.endpoint.idle_slots(), 0);
    pool.put(other.connected().await, now);
    assert_eq!(pool.len(), 1);
}

#[tokio::test]
async fn places_end_with_the_pool() {
    let mut backend = Backend::new().await;
    let (pool, _) = backend.pool(4, PoolSettings::default()).await;
    assert_eq!(backend.endpoint.idle_slots(), 4);
    drop(pool);
    assert_eq!(backend.endpoint.idle_slots(), 0);
}

#[tokio::test]
async fn taking_and_putting_leaves_places_alone() {
    let mut backend = Backend::new().await;
    let (mut pool, now) = backend.pool(2, PoolSettings::default()).await;
    for _ in 0..100 {
        let taken = pool.take_clear(&backend.endpoint).unwrap();
        assert_eq!((backend.endpoint.idle_slots(), pool.len()), (2, 1));
        pool.put(taken, now);
        pool.sweep(now);
    }
    assert_eq!((backend.endpoint.idle_slots(), pool.len(), pool.turns.len()), (2, 2, 1));
}
