//! Connections to endpoints.

mod stream;

pub use stream::Stream;

use crate::endpoint::{EndpointState, Stashed};
use ir::EndpointAddress;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpStream, UnixStream};

/// A connection to an endpoint. What is read from it belongs to the exchange that reads, never to the connection.
#[derive(Debug)]
pub struct Connection {
    /// The stream.
    pub stream: Stream,
    /// The endpoint.
    pub endpoint: Arc<EndpointState>,
    /// Whether a request was answered on it before.
    pub reused: bool,
}

/// Why there is no connection: 503 `UF`. The words are those of the access log's reason.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It took too long.
    #[error("connection timeout")]
    Timeout,
    /// Nobody listens there.
    #[error("delayed connect error: Connection refused")]
    Refused,
    /// There is no way to it.
    #[error("delayed connect error: {}", words(.0))]
    Unreachable(io::Error),
    /// This process may open no more files: its own lack, not the endpoint's.
    #[error("immediate connect error: {}", words(.0))]
    OutOfFiles(io::Error),
    /// The system said no for another reason.
    #[error("delayed connect error: {}", words(.0))]
    Io(io::Error),
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

/// Makes a connection to an endpoint within `limit`.
pub async fn connect(endpoint: &Arc<EndpointState>, limit: Duration) -> Result<Connection, ConnectError> {
    let connected = match tokio::time::timeout(limit, open(&endpoint.address)).await {
        Ok(connected) => connected.map_err(ConnectError::from),
        Err(_) => Err(ConnectError::Timeout),
    };
    endpoint.count_connect(connected.is_ok());
    Ok(Connection { stream: connected?, endpoint: Arc::clone(endpoint), reused: false })
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

impl Connection {
    /// Leaves the connection for any worker, taken off this one's runtime. Whether it could be.
    pub(crate) fn stash(self, since: Instant) -> bool {
        let socket = match self.stream {
            Stream::Tcp(stream) => stream.into_std().map(Into::into),
            Stream::Unix(stream) => stream.into_std().map(Into::into),
        };
        socket.map(|socket| self.endpoint.stash(Stashed { socket, since })).is_ok()
    }

    /// A connection that some worker left and that is still open, for this worker's runtime.
    pub(crate) fn unstash(endpoint: &Arc<EndpointState>) -> Option<Self> {
        while let Some(stashed) = endpoint.unstash() {
            if !stashed.is_open() {
                continue;
            }
            let stream = match &endpoint.address {
                EndpointAddress::Ip(_) => TcpStream::from_std(stashed.socket.into()).map(Stream::Tcp),
                EndpointAddress::Unix(_) => UnixStream::from_std(stashed.socket.into()).map(Stream::Unix),
            };
            if let Ok(stream) = stream {
                return Some(Self { stream, endpoint: Arc::clone(endpoint), reused: true });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
