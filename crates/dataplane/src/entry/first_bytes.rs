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

/// Reads once; `false` at the end of the stream and on errors.
fn poll_read(stream: &mut TcpStream, input: &mut Buffer, context: &mut Context<'_>) -> Poll<bool> {
    let mut read = ReadBuf::new(input.room());
    let polled = Pin::new(stream).poll_read(context, &mut read);
    let count = read.filled().len();
    input.fill(count);
    polled.map(|result| result.is_ok() && count > 0)
}
