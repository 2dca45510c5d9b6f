//! An HTTP/2 stream of a client, and what it is charged to.

use crate::codec::chunks;
use crate::codec::receive::{Piece, ReceiveError};
use crate::codec::reset::{ClientReset, ResetCode};
use crate::codec::streams::{Receiver, Sender, StreamPiece};
use crate::conn::Account;
use ::upstream::Outgoing;
use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use wire::h1::HeadLimits;
use wire::h2::FlatError;

/// An HTTP/2 stream of a client.
#[derive(Debug)]
pub(super) struct H2Downstream {
    pub(super) receiver: Receiver,
    pub(super) respond: SendResponse<Outgoing>,
    pub(super) accounts: ClientAccounts,
    /// Set once the head was sent.
    pub(super) sender: Sender,
}

/// What the streams of a client's connection are charged to.
#[derive(Debug, Clone)]
pub(crate) struct ClientAccounts {
    /// Heads and replay buffers.
    pub(crate) heads: Rc<Account>,
    /// Responses that wait for the client.
    pub(crate) responses: Rc<Account>,
    /// What backends have sent ahead of the client.
    pub(crate) ahead: Rc<Account>,
    /// Bodies of requests that wait for a decision.
    pub(crate) bodies: Rc<Account>,
}

impl H2Downstream {
    /// Receives the next piece of the body.
    pub(super) fn poll_data(
        &mut self,
        limits: &HeadLimits,
        context: &mut Context<'_>,
    ) -> Poll<Result<Piece, ReceiveError>> {
        let piece = match ready!(self.receiver.poll_piece(context)) {
            Ok(StreamPiece::Data(data)) => Piece::of_frame(data),
            Ok(StreamPiece::End(_)) if self.receiver.has_malformed_trailers() => {
                return Poll::Ready(Err(ReceiveError::MalformedTrailers));
            }
            Ok(StreamPiece::End(trailers)) => {
                Piece::of_end(chunks::checked_trailers(trailers, limits).map_err(|error| match error {
                    FlatError::Malformed => ReceiveError::MalformedTrailers,
                    _ => ReceiveError::Malformed,
                })?)
            }
            Err(_) => return Poll::Ready(Err(ReceiveError::Closed)),
        };
        Poll::Ready(Ok(piece))
    }

    /// Sends the head of the response; `ended` if no body follows.
    pub(super) fn send_head(&mut self, head: Response<()>, ended: bool) -> Result<(), ClientReset> {
        let stream = self.respond.send_response(head, ended).map_err(|_| ClientReset)?;
        self.sender =
            if ended { Sender::new(stream, true) } else { Sender::sharing(stream, self.accounts.responses.share()) };
        Ok(())
    }

    /// Sends a response whose body is in memory.
    pub(super) fn send_whole(&mut self, head: Response<()>, body: Bytes) -> Result<(), ClientReset> {
        self.send_head(head, body.is_empty())?;
        if body.is_empty() { Ok(()) } else { self.sender.send_all(body).map_err(|_| ClientReset) }
    }

    /// Ends a gRPC response that has begun, with a status in its trailers (S-119).
    pub(super) fn end_grpc(&mut self, status: u8, message: &'static str) -> Result<(), ClientReset> {
        let mut trailers = HeaderMap::with_capacity(2);
        trailers.insert("grpc-status", HeaderValue::from(u16::from(status)));
        if !message.is_empty() {
            trailers.insert("grpc-message", HeaderValue::from_static(message));
        }
        self.sender.end(Some(trailers)).map_err(|_| ClientReset)
    }

    /// Resets the stream: the response is incomplete.
    pub(super) fn reset(&mut self, code: ResetCode) {
        self.respond.send_reset(code.into());
        self.sender.reset(code.into());
    }

    /// Ready when the client has reset the stream.
    pub(super) fn poll_reset(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.sender.is_begun() {
            self.sender.poll_reset(context)
        } else {
            self.respond.poll_reset(context).map(drop)
        }
    }
}
