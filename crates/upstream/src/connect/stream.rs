//! The stream of a connection: TCP, a unix socket, or TLS.

use super::Replay;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

/// A stream to an endpoint, or to a client.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
    /// TLS over TCP, of either side.
    Tls(Box<TlsStream<Replay>>),
}

impl Stream {
    /// Reads available bytes, up to the size of the buffer.
    pub fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        // Through `AsyncRead`: after a read that does not fill the buffer, the runtime knows that the socket is empty, which saves the system
        // call of the next read.
        let mut read = ReadBuf::new(buffer);
        Pin::new(self).poll_read(context, &mut read).map_ok(|()| read.filled().len())
    }

    /// Writes as many bytes as possible. With TLS they may be buffered until [`Self::poll_flush`].
    pub fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(self), context, bytes)
    }

    /// Writes as many bytes as possible from several parts.
    pub fn poll_write_vectored(
        &mut self,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write_vectored(Pin::new(self), context, parts)
    }

    /// Sends buffered bytes.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(context),
        }
    }

    /// Whether there may be bytes to read; does not read them.
    pub fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(context),
            Self::Unix(stream) => stream.poll_read_ready(context),
            // Bytes that are already decrypted are not in the socket any more.
            Self::Tls(stream) if !session(stream).wants_read() => Poll::Ready(Ok(())),
            Self::Tls(stream) => stream.get_ref().0.stream().poll_read_ready(context),
        }
    }

    /// The TCP stream below, if there is one.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Unix(_) => None,
            Self::Tls(stream) => Some(stream.get_ref().0.stream()),
        }
    }

    /// The local address, if there is one.
    pub fn local_address(&self) -> Option<std::net::SocketAddr> {
        self.tcp()?.local_addr().ok()
    }

    /// Shuts down the writing side.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => socket2::SockRef::from(&*stream).shutdown(std::net::Shutdown::Write),
            Self::Unix(stream) => socket2::SockRef::from(&*stream).shutdown(std::net::Shutdown::Write),
            Self::Tls(stream) => {
                // The alert is lost if it cannot be written now, as for a close without waiting.
                match Pin::new(&mut **stream).poll_shutdown(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(result) => result,
                    Poll::Pending => {
                        socket2::SockRef::from(stream.get_ref().0.stream()).shutdown(std::net::Shutdown::Write)
                    }
                }
            }
        }
    }

    /// Whether the peer has sent nothing and has not closed, as an idle connection has to be: an unexpected byte would be read as the start of the
    /// next response. Records of TLS itself, such as tickets, do not count.
    pub fn is_silent(&mut self) -> bool {
        let mut byte = [0];
        let read = match self {
            // Without the registration of a waker.
            Self::Tcp(stream) => stream.try_read(&mut byte),
            Self::Unix(stream) => stream.try_read(&mut byte),
            Self::Tls(_) => return self.poll_read(&mut Context::from_waker(Waker::noop()), &mut byte).is_pending(),
        };
        matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The same, but always checks the socket: the runtime may not know yet about bytes that have just arrived.
    pub(crate) fn is_silent_for_sure(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        let peeked = match self {
            Self::Tcp(stream) => socket2::SockRef::from(stream).peek(&mut byte),
            Self::Unix(stream) => socket2::SockRef::from(stream).peek(&mut byte),
            Self::Tls(stream) => socket2::SockRef::from(stream.get_ref().0.stream()).peek(&mut byte),
        };
        matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

fn session(stream: &TlsStream<Replay>) -> &rustls::CommonState {
    match stream {
        TlsStream::Client(stream) => stream.get_ref().1,
        TlsStream::Server(stream) => stream.get_ref().1,
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_flush(self.get_mut(), context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(context),
        }
    }
}
