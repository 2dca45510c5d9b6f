//! Connections to endpoints.

mod limiter;
mod pool_key;
mod replay;
mod stream;

pub use limiter::Connection;
pub(crate) use limiter::{Acquire, Acquired, ConnectionLimiter, ConnectionPermit, IdleKey};
pub(crate) use pool_key::{PoolKey, ProxyHeader, TlsTarget};
pub use replay::Replay;
pub use stream::Stream;

use crate::certificate;
use crate::endpoint::{ConnectionLifetime, EndpointState, Opened, SharedIdle};
use crate::tls;
use ir::{EndpointAddress, ProxyProtocolVersion, TcpKeepalive};
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;
use wire::proxy_protocol::{self, Ends, Version};

/// When an address of the other family is tried as well (RFC 8305 §8).
const OTHER_FAMILY: Duration = Duration::from_millis(250);

/// What a connection depends on besides its endpoint: the host of the request, and the client's connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConnectContext<'a> {
    /// The host that the request is forwarded to, without a port: the SNI where TLS uses the request's host (DR-42).
    pub host: Option<&'a str>,
    /// The addresses of the client's connection, for a PROXY header (DR-51); `None` where there is no client.
    pub ends: Option<&'a Ends>,
}

/// Why there is no connection: 503 `UF`. The messages are the access log's reasons.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Connecting took longer than the connect timeout.
    #[error("connection timeout")]
    Timeout,
    /// All connections that the limits allow were busy until the timeout. It is no failure of the endpoint.
    #[error("connection timeout")]
    Busy,
    /// The endpoint refused the connection.
    #[error("delayed connect error: Connection refused")]
    Refused,
    /// There is no route to the endpoint.
    #[error("delayed connect error: {}", words(.0))]
    Unreachable(io::Error),
    /// The process has no file descriptor left. It is no failure of the endpoint.
    #[error("immediate connect error: {}", words(.0))]
    OutOfFiles(io::Error),
    /// The cluster is at its limit of connections or of pending requests (DR-20, DR-21): 503 `UO`.
    #[error("overflow")]
    Overflow,
    /// The TLS handshake failed.
    #[error("TLS_error: {0}")]
    Tls(String),
    /// Another error of the system.
    #[error("delayed connect error: {}", words(.0))]
    Io(io::Error),
}

impl ConnectError {
    /// Whether the error has its cause in this process, not in the endpoint.
    pub fn is_own(&self) -> bool {
        matches!(self, Self::OutOfFiles(_) | Self::Overflow | Self::Busy)
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        match (error.kind(), error.raw_os_error()) {
            (_, Some(ENFILE | EMFILE)) => Self::OutOfFiles(error),
            (ErrorKind::ConnectionRefused, _) => Self::Refused,
            (ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable, _) => Self::Unreachable(error),
            (ErrorKind::TimedOut, _) => Self::Timeout,
            _ => Self::Io(error),
        }
    }
}

/// The system's message without the error number.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Connects to an endpoint within `limit`, with the TLS and the PROXY header of the pool key; or to the other one, if that is connected first.
pub(crate) async fn connect(
    endpoint: &Arc<EndpointState>,
    other: Option<&Arc<EndpointState>>,
    pool_key: Option<PoolKey>,
    limit: Duration,
) -> Result<Connection, ConnectError> {
    let mut used = endpoint;
    let connecting = async {
        let Opening { endpoint, mut stream, opened } = open_either(endpoint, other).await?;
        used = endpoint;
        if let Some(proxy_header) = pool_key.as_ref().and_then(|pool_key| pool_key.proxy_header) {
            write_proxy_header(&mut stream, proxy_header).await?;
        }
        match pool_key.as_ref().and_then(|pool_key| pool_key.tls.as_ref()) {
            None => Ok((stream, opened)),
            Some(tls) => Ok((secure(stream, tls).await?, opened)),
        }
    };
    let connected = tokio::time::timeout(limit, connecting).await.unwrap_or(Err(ConnectError::Timeout));
    if !matches!(connected, Err(ConnectError::Overflow)) {
        used.count_connect(connected.is_ok());
    }
    let (stream, opened) = connected?;
    let (endpoint, lifetime) = (Arc::clone(used), ConnectionLifetime::default());
    let pool_key = pool_key.map(Box::new);
    Ok(Connection { stream, endpoint, reused: false, pool_key, lifetime, permit: None, opened })
}

/// An open socket.
struct Opening<'a> {
    endpoint: &'a Arc<EndpointState>,
    stream: Stream,
    opened: Opened,
}

/// Opens a socket to an endpoint, and to the other one if the first takes long or fails; the one that is open first is used (RFC 8305).
async fn open_either<'a>(
    first: &'a Arc<EndpointState>,
    other: Option<&'a Arc<EndpointState>>,
) -> Result<Opening<'a>, ConnectError> {
    let opening = async |endpoint: &'a Arc<EndpointState>| {
        let opened = endpoint.open().ok_or(ConnectError::Overflow)?;
        let stream = open(&endpoint.address).await?;
        Ok::<_, ConnectError>(Opening { endpoint, stream, opened })
    };
    let Some(other) = other else { return opening(first).await };
    let mut begun = pin!(opening(first));
    match tokio::time::timeout(OTHER_FAMILY, &mut begun).await {
        Ok(Ok(opening)) => return Ok(opening),
        Ok(Err(error)) if error.is_own() => return Err(error),
        Ok(Err(error)) => {
            first.count_connect(false);
            return opening(other).await.map_err(|_| error);
        }
        Err(_) => {}
    }
    let mut beside = pin!(opening(other));
    tokio::select! {
        opened = &mut begun => match opened {
            Ok(opening) => Ok(opening),
            Err(_) => {
                first.count_connect(false);
                beside.await
            }
        },
        opened = &mut beside => match opened {
            Ok(opening) => Ok(opening),
            Err(error) => {
                if !error.is_own() {
                    other.count_connect(false);
                }
                begun.await
            }
        },
    }
}

/// Writes the PROXY header, before anything else.
async fn write_proxy_header(stream: &mut Stream, proxy_header: ProxyHeader) -> io::Result<()> {
    let mut header = Vec::new();
    let version = match proxy_header.version {
        ProxyProtocolVersion::V1 => Version::V1,
        ProxyProtocolVersion::V2 => Version::V2,
    };
    proxy_protocol::write(version, proxy_header.ends.as_ref(), &mut header);
    stream.write_all(&header).await
}

/// Does the TLS handshake.
async fn secure(stream: Stream, tls: &TlsTarget) -> Result<Stream, ConnectError> {
    let Stream::Tcp(stream) = stream else {
        return Err(ConnectError::Tls("TLS over unix sockets is not supported".to_owned()));
    };
    let address = stream.peer_addr().ok().map(|address| address.ip());
    let name = tls::server_name(tls.sni.as_deref(), address);
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(&tls.connector.config));
    match connector.connect(name, Replay::new(stream, &[])).await {
        Ok(stream) => Ok(Stream::Tls(Box::new(TlsStream::Client(stream)))),
        Err(error) => Err(ConnectError::Tls(tls_words(&error))),
    }
}

/// Why a handshake failed. An endpoint that speaks clear text is the most frequent cause (P-12), and rustls' message does not say so.
fn tls_words(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidMessage(_)) => "the endpoint does not speak TLS on this port".to_owned(),
        Some(inner) => certificate::describe(inner),
        None if error.kind() == ErrorKind::UnexpectedEof => "the endpoint closed during the handshake".to_owned(),
        None => words(error),
    }
}

async fn open(address: &EndpointAddress) -> io::Result<Stream> {
    Ok(match address {
        EndpointAddress::Ip(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Stream::Tcp(stream)
        }
        EndpointAddress::Unix(path) => Stream::Unix(UnixStream::connect(path).await?),
    })
}

/// Switches on the TCP keepalive of a connection. Settings that are absent keep the system's values.
pub(crate) fn keep_alive(stream: &Stream, probes: &TcpKeepalive) {
    let Some(stream) = stream.tcp() else { return };
    let mut settings = socket2::TcpKeepalive::new();
    if let Some(time) = probes.time {
        settings = settings.with_time(time);
    }
    if let Some(interval) = probes.interval {
        settings = settings.with_interval(interval);
    }
    if let Some(count) = probes.probes {
        settings = settings.with_retries(count);
    }
    let socket = socket2::SockRef::from(stream);
    let _ = socket.set_keepalive(true);
    let _ = socket.set_tcp_keepalive(&settings);
}

impl Connection {
    /// When the connection expires, where its duration is limited (DR-20 `maxConnectionDuration`).
    pub fn deadline(&self) -> Option<Instant> {
        self.lifetime.deadline()
    }

    /// Moves the connection from this worker's runtime to the endpoint's shared pool. Returns whether it could be moved.
    pub(crate) fn share(self, since: Instant) -> bool {
        let socket = match self.stream {
            Stream::Tcp(stream) => stream.into_std().map(Into::into),
            Stream::Unix(stream) => stream.into_std().map(Into::into),
            // A TLS session cannot leave this thread's runtime.
            Stream::Tls(_) => return false,
        };
        let (lifetime, opened) = (self.lifetime, self.opened);
        socket.map(|socket| self.endpoint.share(SharedIdle { socket, since, lifetime, opened })).is_ok()
    }

    /// An open connection from the endpoint's shared pool, registered with this worker's runtime.
    pub(crate) fn take_shared(endpoint: &Arc<EndpointState>) -> Option<Self> {
        while let Some(shared) = endpoint.take_shared() {
            if !shared.lifetime.allows_request(Instant::now()) || !shared.is_open() {
                continue;
            }
            let stream = match &endpoint.address {
                EndpointAddress::Ip(_) => TcpStream::from_std(shared.socket.into()).map(Stream::Tcp),
                EndpointAddress::Unix(_) => UnixStream::from_std(shared.socket.into()).map(Stream::Unix),
            };
            if let Ok(stream) = stream {
                let (endpoint, lifetime, opened) = (Arc::clone(endpoint), shared.lifetime, shared.opened);
                return Some(Self { stream, endpoint, reused: true, pool_key: None, lifetime, permit: None, opened });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
