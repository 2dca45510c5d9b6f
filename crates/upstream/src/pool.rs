//! A worker's idle connections, by endpoint. They never leave the worker but through the stash of their endpoint, where those
//! go that nobody used for a while and any worker may take them.

use crate::connect::{Connection, Stream};
use crate::endpoint::{EndpointState, Stashed};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bounds of a pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolSettings {
    /// Idle connections per endpoint and worker.
    pub idle_per_endpoint: usize,
    /// After this time without use a connection goes to the stash.
    pub cold_after: Duration,
    /// After this time without use a connection in the stash is closed.
    pub idle_limit: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self { idle_per_endpoint: 512, cold_after: Duration::from_secs(1), idle_limit: Duration::from_secs(3600) }
    }
}

/// A worker's idle connections.
#[derive(Debug)]
pub struct Pool {
    idle: HashMap<u64, Idle, RandomState>,
    settings: PoolSettings,
}

#[derive(Debug)]
struct Idle {
    endpoint: Arc<EndpointState>,
    /// The last one was used last.
    connections: Vec<(Connection, Instant)>,
}

impl Pool {
    /// An empty pool.
    pub fn new(settings: PoolSettings) -> Self {
        Self { idle: HashMap::default(), settings }
    }

    /// An idle connection to an endpoint that is still open, the one used last.
    pub fn take(&mut self, endpoint: &Arc<EndpointState>) -> Option<Connection> {
        if let Some(idle) = self.idle.get_mut(&endpoint.id) {
            while let Some((connection, _)) = idle.connections.pop() {
                if connection.stream.is_silent() {
                    return Some(connection);
                }
            }
        }
        while let Some(stashed) = endpoint.unstash() {
            let Ok(stream) = tokio::net::TcpStream::from_std(stashed.stream) else { continue };
            let stream = Stream::Tcp(stream);
            if is_open(&stream) {
                return Some(Connection { stream, endpoint: Arc::clone(endpoint), reused: true });
            }
        }
        None
    }

    /// Keeps a connection whose answer is complete. It is closed when there are enough, or its endpoint is gone.
    pub fn put(&mut self, mut connection: Connection, now: Instant) {
        if connection.endpoint.is_gone() {
            return;
        }
        connection.reused = true;
        let endpoint = &connection.endpoint;
        let idle = self
            .idle
            .entry(endpoint.id)
            .or_insert_with(|| Idle { endpoint: Arc::clone(endpoint), connections: Vec::new() });
        if idle.connections.len() < self.settings.idle_per_endpoint {
            idle.connections.push((connection, now));
        }
    }

    /// Stashes what is cold, closes what is closed or gone, forgets endpoints without connections.
    pub fn sweep(&mut self, now: Instant) {
        let cold = now.checked_sub(self.settings.cold_after).unwrap_or(now);
        let limit = now.checked_sub(self.settings.idle_limit);
        self.idle.retain(|_, idle| {
            if idle.endpoint.is_gone() {
                return false;
            }
            let first_warm =
                idle.connections.iter().position(|(_, since)| *since > cold).unwrap_or(idle.connections.len());
            for (connection, since) in idle.connections.drain(..first_warm) {
                if let Stream::Tcp(stream) = connection.stream
                    && let Ok(stream) = stream.into_std()
                {
                    idle.endpoint.stash(Stashed { stream, since });
                }
            }
            if let Some(limit) = limit {
                idle.endpoint.prune(limit);
            }
            !idle.connections.is_empty()
        });
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.idle.values().map(|idle| idle.connections.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// For a stream that the runtime has only just got to know, and so would hold to be readable: asks the system.
fn is_open(stream: &Stream) -> bool {
    match stream {
        Stream::Tcp(tcp) => {
            let mut byte = [std::mem::MaybeUninit::uninit()];
            let peeked = socket2::SockRef::from(tcp).peek(&mut byte);
            matches!(peeked, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
        }
        Stream::Unix(_) => stream.is_silent(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::connect;
    use ir::EndpointAddress;
    use tokio::net::TcpListener;

    async fn connected() -> (TcpListener, Arc<EndpointState>, Connection, tokio::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Arc::new(EndpointState::new(EndpointAddress::Ip(listener.local_addr().unwrap())));
        let connection = connect(&endpoint, Duration::from_secs(5)).await.unwrap();
        let (peer, _) = listener.accept().await.unwrap();
        (listener, endpoint, connection, peer)
    }

    #[tokio::test]
    async fn an_open_connection_is_given_again() {
        let (_listener, endpoint, connection, _peer) = connected().await;
        let mut pool = Pool::new(PoolSettings::default());
        pool.put(connection, Instant::now());
        assert!(pool.take(&endpoint).unwrap().reused);
        assert!(pool.take(&endpoint).is_none());
    }

    #[tokio::test]
    async fn a_closed_connection_is_never_given() {
        let (_listener, endpoint, connection, peer) = connected().await;
        let mut pool = Pool::new(PoolSettings::default());
        drop(peer);
        if let Stream::Tcp(stream) = &connection.stream {
            stream.readable().await.unwrap();
        }
        pool.put(connection, Instant::now());
        assert!(pool.take(&endpoint).is_none());
    }

    #[tokio::test]
    async fn a_connection_with_bytes_that_nobody_asked_for_is_never_given() {
        let (_listener, endpoint, connection, mut peer) = connected().await;
        tokio::io::AsyncWriteExt::write_all(&mut peer, b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        if let Stream::Tcp(stream) = &connection.stream {
            stream.readable().await.unwrap();
        }
        let mut pool = Pool::new(PoolSettings::default());
        pool.put(connection, Instant::now());
        assert!(pool.take(&endpoint).is_none());
    }

    #[tokio::test]
    async fn a_cold_connection_goes_to_any_worker() {
        let (_listener, endpoint, connection, _peer) = connected().await;
        let settings = PoolSettings { cold_after: Duration::ZERO, ..PoolSettings::default() };
        let (mut one, mut other) = (Pool::new(settings), Pool::new(settings));
        one.put(connection, Instant::now());
        one.sweep(Instant::now());
        assert!(one.is_empty());
        assert!(other.take(&endpoint).unwrap().reused);
    }

    #[tokio::test]
    async fn connections_of_an_endpoint_that_is_gone_are_closed() {
        let (_listener, endpoint, connection, _peer) = connected().await;
        let mut pool = Pool::new(PoolSettings::default());
        pool.put(connection, Instant::now());
        endpoint.retire();
        pool.sweep(Instant::now());
        assert!(pool.is_empty());
    }
}
