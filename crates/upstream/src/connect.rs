//! Connections to endpoints.

mod places;
mod replay;
mod stream;

pub(crate) use places::{Claim, Grant, Place, Places, Wanted};
pub use replay::Replay;
pub use stream::Stream;

use crate::certificate;
use crate::endpoint::{EndpointState, Opened, Stashed, Terms};
use crate::tls::{self, Connector};
use ir::{EndpointAddress, ProxyProtocolVersion, TcpKeepalive};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;
use wire::proxy_protocol::{self, Ends, Version};

/// A connection to an endpoint. What is read from it belongs to the exchange that reads, never to the connection.
#[derive(Debug)]
pub struct Connection {
    /// The stream.
    pub stream: Stream,
    /// The endpoint.
    pub endpoint: Arc<EndpointState>,
    /// Whether a request was answered on it before.
    pub reused: bool,
    /// What it was made for, where that is not anything.
    pub(crate) purpose: Option<Box<Purpose>>,
    /// What was agreed for it.
    pub(crate) terms: Terms,
    /// Its place, where the number of connections is limited.
    pub(crate) place: Option<Place>,
    /// Its place among those of the process.
    pub(crate) opened: Opened,
}

/// For whom something is sent, as far as connections differ by that.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sender<'a> {
    /// What the request is sent on to, without a port: TLS may ask for it (DR-42).
    pub host: Option<&'a str>,
    /// The client's connection, of which endpoints may be told (DR-51); `None` where it is nobody's.
    pub ends: Option<&'a Ends>,
}

/// What a connection was made for: nothing else may go on it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Purpose {
    /// How TLS is spoken, if it is.
    pub(crate) secured: Option<Secured>,
    /// What the endpoint was told, if it was.
    pub(crate) told: Option<Told>,
}

impl Purpose {
    /// Whether it is for one client alone.
    pub(crate) fn is_of_one(&self) -> bool {
        self.told.is_some()
    }
}

/// What an endpoint is told of whose a connection is (DR-51).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) version: ProxyProtocolVersion,
    pub(crate) ends: Option<Ends>,
}

/// How TLS is spoken on a connection: by which settings, and which name was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Secured {
    pub(crate) connector: Arc<Connector>,
    pub(crate) sni: Option<Arc<str>>,
}

impl PartialEq for Secured {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.connector, &other.connector) && self.sni == other.sni
    }
}

/// Why there is no connection: 503 `UF`. The words are those of the access log's reason.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It took too long.
    #[error("connection timeout")]
    Timeout,
    /// There are as many connections as there may be, and none took the request in time: it says nothing of the endpoint.
    #[error("connection timeout")]
    Busy,
    /// Nobody listens there.
    #[error("delayed connect error: Connection refused")]
    Refused,
    /// There is no way to it.
    #[error("delayed connect error: {}", words(.0))]
    Unreachable(io::Error),
    /// This process may open no more files: its own lack, not the endpoint's.
    #[error("immediate connect error: {}", words(.0))]
    OutOfFiles(io::Error),
    /// The cluster has as many connections, or requests that wait for one, as it may have (DR-20, DR-21): 503 `UO`.
    #[error("overflow")]
    Overflow,
    /// TLS could not be agreed on.
    #[error("TLS_error: {0}")]
    Tls(String),
    /// The system said no for another reason.
    #[error("delayed connect error: {}", words(.0))]
    Io(io::Error),
}

impl ConnectError {
    /// Whether it says nothing of the endpoint.
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

/// The system's words without its number.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Makes a connection to an endpoint within `limit`, for the purpose that there is.
pub(crate) async fn connect(
    endpoint: &Arc<EndpointState>,
    purpose: Option<Purpose>,
    limit: Duration,
) -> Result<Connection, ConnectError> {
    let opened = endpoint.open().ok_or(ConnectError::Overflow)?;
    let connecting = async {
        let mut stream = open(&endpoint.address).await?;
        if let Some(told) = purpose.as_ref().and_then(|purpose| purpose.told) {
            tell(&mut stream, told).await?;
        }
        match purpose.as_ref().and_then(|purpose| purpose.secured.as_ref()) {
            None => Ok(stream),
            Some(secured) => secure(stream, secured).await,
        }
    };
    let connected = tokio::time::timeout(limit, connecting).await.unwrap_or(Err(ConnectError::Timeout));
    endpoint.count_connect(connected.is_ok());
    let (endpoint, terms) = (Arc::clone(endpoint), Terms::default());
    let purpose = purpose.map(Box::new);
    Ok(Connection { stream: connected?, endpoint, reused: false, purpose, terms, place: None, opened })
}

/// Says whose the connection is, before anything else.
async fn tell(stream: &mut Stream, told: Told) -> io::Result<()> {
    let mut header = Vec::new();
    let version = match told.version {
        ProxyProtocolVersion::V1 => Version::V1,
        ProxyProtocolVersion::V2 => Version::V2,
    };
    proxy_protocol::write(version, told.ends.as_ref(), &mut header);
    stream.write_all(&header).await
}

/// Agrees on TLS.
async fn secure(stream: Stream, secured: &Secured) -> Result<Stream, ConnectError> {
    let Stream::Tcp(stream) = stream else {
        return Err(ConnectError::Tls("TLS is not spoken over unix sockets".to_owned()));
    };
    let address = stream.peer_addr().ok().map(|address| address.ip());
    let name = tls::server_name(secured.sni.as_deref(), address);
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(&secured.connector.config));
    match connector.connect(name, Replay::new(stream, &[])).await {
        Ok(stream) => Ok(Stream::Tls(Box::new(TlsStream::Client(stream)))),
        Err(error) => Err(ConnectError::Tls(tls_words(&error))),
    }
}

/// What went wrong in a handshake. Clear text where TLS is expected is the fault that is made most (P-12), and not what it looks like.
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

/// Has the system find out whether the peer of a silent connection is still there. What it does not know of is left as it is.
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
    /// Until when it may be used, where its life is limited (DR-20 `maxConnectionDuration`).
    pub fn ends(&self) -> Option<Instant> {
        self.terms.ends()
    }

    /// Leaves the connection for any worker, taken off this one's runtime. Whether it could be.
    pub(crate) fn stash(self, since: Instant) -> bool {
        let socket = match self.stream {
            Stream::Tcp(stream) => stream.into_std().map(Into::into),
            Stream::Unix(stream) => stream.into_std().map(Into::into),
            // Its session cannot leave this thread's runtime.
            Stream::Tls(_) => return false,
        };
        let (terms, opened) = (self.terms, self.opened);
        socket.map(|socket| self.endpoint.stash(Stashed { socket, since, terms, opened })).is_ok()
    }

    /// A connection that some worker left and that is still open, for this worker's runtime.
    pub(crate) fn unstash(endpoint: &Arc<EndpointState>) -> Option<Self> {
        while let Some(stashed) = endpoint.unstash() {
            if !stashed.terms.hold(Instant::now()) || !stashed.is_open() {
                continue;
            }
            let stream = match &endpoint.address {
                EndpointAddress::Ip(_) => TcpStream::from_std(stashed.socket.into()).map(Stream::Tcp),
                EndpointAddress::Unix(_) => UnixStream::from_std(stashed.socket.into()).map(Stream::Unix),
            };
            if let Ok(stream) = stream {
                let (endpoint, terms, opened) = (Arc::clone(endpoint), stashed.terms, stashed.opened);
                return Some(Self { stream, endpoint, reused: true, purpose: None, terms, place: None, opened });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
