//! The client of an exchange: an HTTP/1 connection, or one HTTP/2 stream.

use super::splice;
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

/// The client of an exchange.
#[derive(Debug)]
pub(crate) enum Downstream {
    H1(Stream),
    H2(Box<H2Downstream>),
}

impl Downstream {
    /// Waits for a future, unless the client resets its connection or stream before. A half-close is not a reset (RULES), and unread input does
    /// not hide a reset.
    pub(crate) async fn until_reset<T>(&mut self, wait: impl Future<Output = T>) -> Result<T, ClientReset> {
        let mut wait = pin!(wait);
        match self {
            Self::H1(stream) => {
                let mut reset = pin!(splice::wait_client_reset(stream));
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

/// An HTTP/2 stream of a client.
#[derive(Debug)]
pub(crate) struct H2Downstream {
    pub(crate) receiver: Receiver,
    respond: SendResponse<Outgoing>,
    /// The account of heads and replay buffers.
    pub(crate) heads: Rc<Account>,
    /// The account of responses that wait for the client.
    pub(crate) responses: Rc<Account>,
    /// The account of what HTTP/2 backends have sent ahead of the client.
    pub(crate) ahead: Rc<Account>,
    /// Set once the head was sent.
    pub(crate) sender: Sender,
}

/// The client has reset the stream or its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientReset;

impl H2Downstream {
    /// `accounts` are those of the connection: heads, responses, and what is sent ahead.
    pub(crate) fn new(receiver: Receiver, respond: SendResponse<Outgoing>, accounts: [&Rc<Account>; 3]) -> Self {
        let [heads, responses, ahead] = accounts.map(Rc::clone);
        Self { receiver, respond, heads, responses, ahead, sender: Sender::default() }
    }

    /// Whether the connection holds so much that nothing should be read ahead of the client.
    pub(crate) fn is_tight(&self) -> bool {
        self.responses.is_tight()
    }

    /// Sends the head of the response; `ended` if no body follows.
    pub(crate) fn send_head(&mut self, head: Response<()>, ended: bool) -> Result<(), ClientReset> {
        let stream = self.respond.send_response(head, ended).map_err(|_| ClientReset)?;
        self.sender = if ended { Sender::new(stream, true) } else { Sender::sharing(stream, self.responses.share()) };
        Ok(())
    }

    /// Sends a response whose body is in memory.
    pub(crate) fn send_whole(&mut self, head: Response<()>, body: Bytes) -> Result<(), ClientReset> {
        self.send_head(head, body.is_empty())?;
        if body.is_empty() { Ok(()) } else { self.sender.send_all(body).map_err(|_| ClientReset) }
    }

    /// Sends an interim response (1xx).
    pub(crate) fn send_informational(&mut self, head: Response<()>) -> Result<(), ClientReset> {
        self.respond.send_informational(head).map_err(|_| ClientReset)
    }

    /// Ends a gRPC response that has begun, with a status in its trailers (S-119).
    pub(crate) fn end_grpc(&mut self, status: u8, message: &'static str) -> Result<(), ClientReset> {
        let mut trailers = HeaderMap::with_capacity(2);
        trailers.insert("grpc-status", HeaderValue::from(u16::from(status)));
        if !message.is_empty() {
            trailers.insert("grpc-message", HeaderValue::from_static(message));
        }
        self.sender.end(Some(trailers)).map_err(|_| ClientReset)
    }

    /// Resets the stream: the response is incomplete.
    pub(crate) fn reset(&mut self, reason: Reason) {
        self.respond.send_reset(reason);
        self.sender.reset(reason);
    }

    /// Resets the stream because the request is malformed (RFC 9113 §8.1.1).
    pub(crate) fn reset_malformed(&mut self, worker: &Worker) {
        add(&worker.metrics.streams.malformed);
        self.reset(Reason::PROTOCOL_ERROR);
    }

    /// Ready when the client has reset the stream.
    pub(crate) fn poll_reset(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.sender.is_begun() {
            self.sender.poll_reset(context)
        } else {
            self.respond.poll_reset(context).map(drop)
        }
    }
}
