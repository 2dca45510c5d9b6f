//! Connections to endpoints.

use crate::endpoint::EndpointState;
use ir::EndpointAddress;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};

/// A stream to an endpoint.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
}

/// A connection to an endpoint.
#[derive(Debug)]
pub struct Connection {
    /// The stream.
    pub stream: Stream,
    /// The endpoint.
    pub endpoint: Arc<EndpointState>,
    /// Whether a request was answered on it before.
    pub reused: bool,
}

/// Why there is no connection: 503 `UF`.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It took too long.
    #[error("connection timeout")]
    Timeout,
    /// The system said no.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Stream {
    /// Reads what is there.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Unix(stream) => stream.try_read(buffer),
        }
    }

    /// Writes what there is room for.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
        }
    }

    /// Writes what there is room for, out of several parts.
    pub fn try_write_vectored(&self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(parts),
            Self::Unix(stream) => stream.try_write_vectored(parts),
        }
    }

    /// Whether there may be something to read.
    pub fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(context),
            Self::Unix(stream) => stream.poll_read_ready(context),
        }
    }

    /// Whether there may be room to write.
    pub fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(context),
            Self::Unix(stream) => stream.poll_write_ready(context),
        }
    }

    /// Tells the peer that no more will be written.
    pub fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write),
            Self::Unix(stream) => socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write),
        }
    }

    /// Whether nothing came and the peer has not closed: an idle connection is to be silent. A byte that nobody asked for would be
    /// taken for the start of the next answer.
    pub fn is_silent(&self) -> bool {
        let mut byte = [0];
        matches!(self.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Makes a connection to an endpoint within `limit`.
pub async fn connect(endpoint: &Arc<EndpointState>, limit: Duration) -> Result<Connection, ConnectError> {
    let connecting = async {
        Ok::<Stream, io::Error>(match &endpoint.address {
            EndpointAddress::Ip(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            EndpointAddress::Unix(path) => Stream::Unix(UnixStream::connect(path).await?),
        })
    };
    let stream = tokio::time::timeout(limit, connecting).await.map_err(|_| ConnectError::Timeout)??;
    Ok(Connection { stream, endpoint: Arc::clone(endpoint), reused: false })
}
