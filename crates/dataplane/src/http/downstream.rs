//! The client's side of an exchange: a connection of HTTP/1, or one stream of HTTP/2.

use super::flow::direct;
use super::streams::{Receiver, Sender};
use crate::conn::{Account, Worker};
use crate::metrics::add;
use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use upstream::{Outgoing, Stream};

/// A client's side.
#[derive(Debug)]
pub(crate) enum Downstream {
    H1(Stream),
    H2(Box<H2Downstream>),
}

impl Downstream {
    /// What comes of it, unless the client resets its connection before, or breaks the stream off. That it sends no more is no such sign
    /// (RULES), and what it has sent and nobody read hides none.
    pub(super) async fn until_reset<T>(&mut self, wait: impl Future<Output = T>) -> Result<T, ClientReset> {
        let mut wait = pin!(wait);
        match self {
            Self::H1(stream) => {
                let mut reset = pin!(direct::wait_client_reset(stream));
                poll_fn(|context| match wait.as_mut().poll(context) {
                    Poll::Ready(done) => Poll::Ready(Ok(done)),
                    Poll::Pending => reset.as_mut().poll(context).map(|()| Err(ClientReset)),
                })
                .await
            }
            Self::H2(stream) => {
                poll_fn(|context| match wait.as_mut().poll(context) {
                    Poll::Ready(done) => Poll::Ready(Ok(done)),
                    Poll::Pending => stream.poll_reset(context).map(|()| Err(ClientReset)),
                })
                .await
            }
        }
    }
}

/// A stream of a client.
#[derive(Debug)]
pub(crate) struct H2Downstream {
    pub(super) receiver: Receiver,
    respond: SendResponse<Outgoing>,
    /// What heads and copies of bodies hold of the connection.
    pub(super) heads: Rc<Account>,
    /// What responses that wait do.
    pub(super) responses: Rc<Account>,
    /// What backends in HTTP/2 have sent ahead of it.
    pub(super) ahead: Rc<Account>,
    /// Once the head was sent.
    pub(super) sender: Sender,
}

/// The client has broken the stream off, or its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientReset;

impl H2Downstream {
    /// The accounts are those of its connection: of heads, of responses, and of what is sent ahead.
    pub(super) fn new(receiver: Receiver, respond: SendResponse<Outgoing>, accounts: [&Rc<Account>; 3]) -> Self {
        let [heads, responses, ahead] = accounts.map(Rc::clone);
        Self { receiver, respond, heads, responses, ahead, sender: Sender::default() }
    }

    /// Whether the connection holds so much that nothing should be read ahead of the client.
    pub(super) fn is_tight(&self) -> bool {
        self.responses.is_tight()
    }

    /// Sends the head of the answer; `ended` where no body follows.
    pub(super) fn send_head(&mut self, head: Response<()>, ended: bool) -> Result<(), ClientReset> {
        let stream = self.respond.send_response(head, ended).map_err(|_| ClientReset)?;
        self.sender = if ended { Sender::new(stream, true) } else { Sender::sharing(stream, self.responses.share()) };
        Ok(())
    }

    /// Sends an answer that is held in memory.
    pub(super) fn send_whole(&mut self, head: Response<()>, body: Bytes) -> Result<(), ClientReset> {
        self.send_head(head, body.is_empty())?;
        if body.is_empty() { Ok(()) } else { self.sender.send_all(body).map_err(|_| ClientReset) }
    }

    /// Sends the head of an answer that is not the final one.
    pub(super) fn send_informational(&mut self, head: Response<()>) -> Result<(), ClientReset> {
        self.respond.send_informational(head).map_err(|_| ClientReset)
    }

    /// Ends an answer of gRPC that has begun with a status (S-119).
    pub(super) fn end_grpc(&mut self, status: u8, message: &'static str) -> Result<(), ClientReset> {
        let mut trailers = HeaderMap::with_capacity(2);
        trailers.insert("grpc-status", HeaderValue::from(u16::from(status)));
        if !message.is_empty() {
            trailers.insert("grpc-message", HeaderValue::from_static(message));
        }
        self.sender.end(Some(trailers)).map_err(|_| ClientReset)
    }

    /// Breaks the stream off: what was sent of the answer is not the whole of it.
    pub(super) fn reset(&mut self, reason: Reason) {
        self.respond.send_reset(reason);
        self.sender.reset(reason);
    }

    /// Breaks the stream off since what the client sent on it is malformed (RFC 9113 §8.1.1).
    pub(super) fn reset_malformed(&mut self, worker: &Worker) {
        add(&worker.metrics.streams.malformed);
        self.reset(Reason::PROTOCOL_ERROR);
    }

    /// Ready when the client has broken the stream off.
    pub(super) fn poll_reset(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.sender.is_begun() {
            self.sender.poll_reset(context)
        } else {
            self.respond.poll_reset(context).map(drop)
        }
    }
}
