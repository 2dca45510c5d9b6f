//! The client of an exchange: an HTTP/1 connection, or one HTTP/2 stream.

mod charges;
mod duplex;
mod respond;
mod stream;

use super::read::read;
use super::receive::{Piece, ReceiveError};
use super::reset::{self, ClientReset, ResetCode};
use super::streams::{Receiver, Sender};
use crate::conn::Buffer;
use ::upstream::{Outgoing, Stream};
use h2::server::SendResponse;
use routing::ClientFraming;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, ready};
pub(crate) use stream::ClientAccounts;
use stream::H2Downstream;
use wire::h1::{BodyReader, HeadLimits, Version};

/// The client of an exchange.
#[derive(Debug)]
pub(crate) struct Downstream {
    protocol: Protocol,
    /// Set where the client did not send the request.
    implied: Option<ImpliedTunnel>,
}

/// A request for a tunnel that the client did not send: it sees no response to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ImpliedTunnel {
    /// Whether the client speaks TLS, and can be told by an alert.
    pub(crate) is_tls: bool,
}

#[derive(Debug)]
enum Protocol {
    H1(Stream),
    H2(Box<H2Downstream>),
}

use Protocol::{H1, H2};

impl Downstream {
    /// A connection in HTTP/1, or one whose version is not known yet.
    pub(crate) fn connection(stream: Stream) -> Self {
        Self { protocol: H1(stream), implied: None }
    }

    /// A connection whose client did not send the request for the tunnel that it gets.
    pub(crate) fn implied_tunnel(stream: Stream, implied: ImpliedTunnel) -> Self {
        Self { protocol: H1(stream), implied: Some(implied) }
    }

    /// Set if the client did not send the request, and sees no response.
    pub(crate) fn implied(&self) -> Option<ImpliedTunnel> {
        self.implied
    }

    /// A stream of a connection in HTTP/2.
    pub(crate) fn stream(receiver: Receiver, respond: SendResponse<Outgoing>, accounts: ClientAccounts) -> Self {
        let stream = H2Downstream { receiver, respond, accounts, sender: Sender::default() };
        Self { protocol: H2(Box::new(stream)), implied: None }
    }

    /// The connection, if the exchange has it for itself.
    pub(crate) fn as_connection(&mut self) -> Option<&mut Stream> {
        match &mut self.protocol {
            H1(stream) => Some(stream),
            H2(_) => None,
        }
    }

    /// The connection, if the exchange has it for itself.
    pub(crate) fn into_connection(self) -> Option<Stream> {
        match self.protocol {
            H1(stream) => Some(stream),
            H2(_) => None,
        }
    }

    /// Whether the exchange is one of many on its connection.
    pub(crate) fn is_multiplexed(&self) -> bool {
        matches!(self.protocol, H2(_))
    }

    /// The protocol as clients name it; `version` is that of the head of a request in HTTP/1.
    pub(crate) fn protocol(&self, version: Version) -> &'static str {
        match (&self.protocol, version) {
            (H1(_), Version::Http10) => "HTTP/1.0",
            (H1(_), Version::Http11) => "HTTP/1.1",
            (H2(_), _) => "HTTP/2",
        }
    }

    /// How the client learns where a body ends; `http10` says that its requests are in HTTP/1.0.
    pub(crate) fn framing(&self, http10: bool) -> ClientFraming {
        match (&self.protocol, http10) {
            (H1(_), false) => ClientFraming::Chunks,
            (H1(_), true) => ClientFraming::Close,
            (H2(_), _) => ClientFraming::Frames,
        }
    }

    /// Waits for a future, unless the client resets its connection or stream before. A half-close is not a reset, and unread input does
    /// not hide a reset.
    pub(crate) async fn until_reset<T>(&mut self, wait: impl Future<Output = T>) -> Result<T, ClientReset> {
        match &mut self.protocol {
            H1(stream) => reset::until_reset(stream, wait).await,
            H2(stream) => {
                let mut wait = pin!(wait);
                poll_fn(|context| match wait.as_mut().poll(context) {
                    Poll::Ready(done) => Poll::Ready(Ok(done)),
                    Poll::Pending => stream.poll_reset(context).map(|()| Err(ClientReset)),
                })
                .await
            }
        }
    }

    /// Checks for a reset by a client that waits for its response. Ready after a half-close or further input, which hide a later reset from this
    /// check.
    pub(crate) fn poll_reset(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientReset>> {
        match &mut self.protocol {
            H1(stream) => reset::poll_client(stream, context).map_err(|_| ClientReset),
            H2(stream) => stream.poll_reset(context).map(|()| Err(ClientReset)),
        }
    }

    /// Checks for a reset by a client whose octets are not read, if the exchange has its connection for itself. A reset does not wake the task.
    pub(crate) fn check_reset(&self) -> Result<(), ClientReset> {
        match &self.protocol {
            H1(stream) if reset::has_reset(stream) => Err(ClientReset),
            H1(_) | H2(_) => Ok(()),
        }
    }

    /// Receives the next piece of a request's body, which `body` decodes where it comes in octets. The caller polls only when it has room.
    pub(crate) fn poll_data(
        &mut self,
        body: &mut BodyReader,
        input: &mut Buffer,
        limits: &HeadLimits,
        context: &mut Context<'_>,
    ) -> Poll<Result<Piece, ReceiveError>> {
        match &mut self.protocol {
            H1(stream) => loop {
                if let Some(piece) = Piece::decode(body, input).map_err(|_| ReceiveError::Malformed)? {
                    return Poll::Ready(Ok(piece));
                }
                if input.is_full() {
                    input.grow();
                }
                match ready!(read(stream, input, context)) {
                    Ok(count) if count > 0 => {}
                    _ => return Poll::Ready(Err(ReceiveError::Closed)),
                }
                // A body that fills the buffer gets a larger buffer.
                if input.is_full() {
                    input.grow();
                }
            },
            H2(stream) => {
                let piece = ready!(stream.poll_data(limits, context))?;
                if piece.is_last {
                    *body = BodyReader::Done;
                }
                Poll::Ready(Ok(piece))
            }
        }
    }

    /// Resets a stream; in HTTP/1 the close of the connection does.
    pub(crate) fn reset(&mut self, code: ResetCode) {
        if let H2(stream) = &mut self.protocol {
            stream.reset(code);
        }
    }

    /// The sending half of a stream, by whose window a body is read.
    pub(super) fn window(&mut self) -> Option<&mut Sender> {
        match &mut self.protocol {
            H1(_) => None,
            H2(stream) => Some(&mut stream.sender),
        }
    }
}
