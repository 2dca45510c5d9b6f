//! What a relay and a splice move octets between: connections, and streams on them.

use std::io;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use upstream::Stream;

/// One end of a relay: a connection, or a stream on one.
pub(crate) trait Duplex {
    fn poll_read(&mut self, context: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>>;
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
    /// Flushes buffered octets.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Shuts down writing.
    fn shutdown_write(&mut self) -> io::Result<()>;
    /// Makes the drop of this end a reset, in place of a regular end. What is not sent yet is discarded.
    fn abort(&mut self);
    /// The TCP connection, if the octets are its own, without TLS or framing.
    fn as_tcp(&self) -> Option<&TcpStream>;
    /// Whether it is one of many streams of a connection.
    fn is_stream(&self) -> bool {
        false
    }
}

impl Duplex for Stream {
    fn poll_read(&mut self, context: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        Stream::poll_read(self, context, room)
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Stream::poll_write(self, context, bytes)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_flush(self, context)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Stream::shutdown_write(self)
    }

    fn abort(&mut self) {
        if let Some(stream) = self.tcp() {
            // If it fails, the connection ends with FIN, or has failed before.
            let _ = stream.set_zero_linger();
        }
    }

    fn as_tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Unix(_) | Self::Tls(_) => None,
        }
    }
}
