//! The first octets of a connection: a PROXY header (S-112), or a ClientHello, each read until the timer's deadline.

use crate::conn::{Buffer, NoHello, Timer, poll_client_hello};
use crate::reasons::HandshakeFailure;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use wire::hello::Hello;
use wire::proxy_protocol::{self, Header};

/// Reads the PROXY header; `None` if it is missing, invalid or late.
pub(super) async fn read_proxy_header(stream: &mut TcpStream, input: &mut Buffer, timer: &Timer) -> Option<Header> {
    poll_fn(|context| {
        loop {
            match proxy_protocol::parse(input.filled()) {
                Ok(None) => {}
                parsed => return Poll::Ready(parsed.ok().flatten()),
            }
            match poll_read(stream, input, context) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(None),
                Poll::Pending if timer.expired(context) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// Reads until the first message is recognised.
pub(super) async fn read_client_hello(
    stream: &mut TcpStream,
    input: &mut Buffer,
    timer: &Timer,
) -> Result<Hello, HandshakeFailure> {
    let hello =
        poll_fn(|context| poll_client_hello(input, timer, context, |input, context| poll_read(stream, input, context)));
    hello.await.map_err(|none| match none {
        NoHello::Closed => HandshakeFailure::ClosedByClient,
        NoHello::Late => HandshakeFailure::ClientHelloTimeout,
    })
}

/// What a client begins with that does not know of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FirstOctets {
    /// A ClientHello, with its SNI.
    Tls(Option<Box<str>>),
    /// A request in clear text.
    Http,
    /// Other octets, or none: the server is the first to send.
    Other,
}

/// Reads until it is known what the client speaks.
pub(super) async fn read_first(
    stream: &mut TcpStream,
    input: &mut Buffer,
    timer: &Timer,
) -> Result<FirstOctets, HandshakeFailure> {
    match read_client_hello(stream, input, timer).await {
        Ok(Hello::Tls(hello)) => return Ok(FirstOctets::Tls(hello.server_name)),
        Ok(Hello::Plaintext) => {}
        Ok(Hello::Malformed | Hello::Partial) => return Err(HandshakeFailure::MalformedClientHello),
        Err(HandshakeFailure::ClientHelloTimeout) if input.is_empty() => return Ok(FirstOctets::Other),
        Err(cause) => return Err(cause),
    }
    poll_fn(|context| {
        loop {
            match is_request(input.filled()) {
                Some(true) => return Poll::Ready(Ok(FirstOctets::Http)),
                Some(false) => return Poll::Ready(Ok(FirstOctets::Other)),
                None => {}
            }
            match poll_read(stream, input, context) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(Err(HandshakeFailure::ClosedByClient)),
                Poll::Pending if timer.expired(context) => return Poll::Ready(Ok(FirstOctets::Other)),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// Whether octets begin as a request of HTTP does, with a method in capitals and a blank; `None` if there are too few.
fn is_request(octets: &[u8]) -> Option<bool> {
    const LONGEST_METHOD: usize = 20;
    let is_part = |octet: &u8| octet.is_ascii_uppercase() || matches!(octet, b'-' | b'_');
    let method = octets.iter().take_while(|octet| is_part(octet)).count();
    match octets.get(method) {
        _ if method > LONGEST_METHOD => Some(false),
        Some(next) => Some(method > 0 && *next == b' '),
        None => None,
    }
}

/// Reads once; `false` at the end of the stream and on errors.
fn poll_read(stream: &mut TcpStream, input: &mut Buffer, context: &mut Context<'_>) -> Poll<bool> {
    let mut read = ReadBuf::new(input.room());
    let polled = Pin::new(stream).poll_read(context, &mut read);
    let count = read.filled().len();
    input.fill(count);
    polled.map(|result| result.is_ok() && count > 0)
}

#[cfg(test)]
mod tests {
    use super::is_request;

    #[test]
    fn requests_are_told_from_other_octets() {
        for request in ["GET / HTTP/1.1", "M-SEARCH * HTTP/1.1", "PRI * HTTP/2.0"] {
            assert_eq!(is_request(request.as_bytes()), Some(true), "{request}");
        }
        for other in ["SSH-2.0-x", "*1\r\n", "\0\0", "get / HTTP/1.1", " ", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(is_request(other.as_bytes()), Some(false), "{other}");
        }
        assert_eq!((is_request(b""), is_request(b"GET")), (None, None));
    }
}
