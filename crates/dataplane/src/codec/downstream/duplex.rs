//! A client as a side of a tunnel: octets in both directions.

use super::Downstream;
use super::Protocol::{H1, H2};
use crate::conn::Duplex;
use std::io;
use std::task::{Context, Poll};
use tokio::net::TcpStream;

impl Duplex for Downstream {
    fn poll_read(&mut self, context: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut self.protocol {
            H1(stream) => stream.poll_read(context, room),
            H2(stream) => stream.receiver.poll_read(context, room),
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.protocol {
            H1(stream) => stream.poll_write(context, bytes),
            H2(stream) => stream.sender.poll_send(bytes, false, context),
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.protocol {
            H1(stream) => stream.poll_flush(context),
            H2(_) => Poll::Ready(Ok(())),
        }
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        match &mut self.protocol {
            H1(stream) => stream.shutdown_write(),
            H2(stream) => stream.sender.end(None),
        }
    }

    fn abort(&mut self) {
        match &mut self.protocol {
            H1(stream) => stream.abort(),
            // A stream that is dropped before its end is reset.
            H2(_) => {}
        }
    }

    fn as_tcp(&self) -> Option<&TcpStream> {
        match &self.protocol {
            H1(stream) => stream.as_tcp(),
            H2(_) => None,
        }
    }

    fn is_stream(&self) -> bool {
        self.is_multiplexed()
    }
}
