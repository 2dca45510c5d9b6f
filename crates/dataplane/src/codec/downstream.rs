//! The client of an exchange: an HTTP/1 connection, or one HTTP/2 stream.

use super::chunks;
use super::head::EncodedHead;
use super::read::read;
use super::receive::{Piece, ReceiveError};
use super::reset::{self, ClientReset, ResetCode};
use super::send::{BodyFraming, SendBuffer};
use super::streams::{Receiver, Sender, StreamPiece};
use super::upstream::Upstream;
use crate::conn::{Account, Budget, BudgetExceeded, Buffer, Charge, Duplex, MIN_PER_STREAM};
use ::upstream::{Outgoing, Stream};
use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response};
use routing::ClientFraming;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::net::TcpStream;
use wire::edit::Edits;
use wire::h1::{BodyReader, HeadLimits, OutFraming, ResponseParts, Style, Version, write_response_in};
use wire::h2::FlatError;

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

/// An HTTP/2 stream of a client.
#[derive(Debug)]
struct H2Downstream {
    receiver: Receiver,
    respond: SendResponse<Outgoing>,
    accounts: ClientAccounts,
    /// Set once the head was sent.
    sender: Sender,
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

    /// Waits for a future, unless the client resets its connection or stream before. A half-close is not a reset (RULES), and unread input does
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

    /// Sends an interim response (1xx).
    pub(crate) fn send_interim(
        &mut self,
        parts: &ResponseParts<'_>,
        style: Style,
        send: &mut SendBuffer<'_>,
    ) -> Result<(), ClientReset> {
        match &mut self.protocol {
            // HTTP/1.0 has no interim responses.
            H1(_) if style.http10 => {}
            H1(_) => write_response_in(send.octets(), parts, &Edits::default(), style),
            H2(stream) => {
                let head = wire::h2::response(parts, &Edits::default());
                stream.respond.send_informational(head).map_err(|_| ClientReset)?;
                send.mark_written();
            }
        }
        Ok(())
    }

    /// Sends the head of a response, and sets how the end of its body is marked. `is_bodiless` says that the response ends with the head.
    pub(crate) fn send_head(
        &mut self,
        parts: &ResponseParts<'_>,
        edits: &Edits<'_>,
        style: Style,
        is_bodiless: bool,
        send: &mut SendBuffer<'_>,
    ) -> Result<(), ClientReset> {
        match &mut self.protocol {
            H1(_) => {
                write_response_in(send.octets(), parts, edits, style);
                let is_chunked = parts.framing == OutFraming::Chunked && !is_bodiless;
                send.set_framing(if is_chunked { BodyFraming::Chunks(style) } else { BodyFraming::Octets });
            }
            H2(stream) => {
                // After a switch of protocols the stream stays open.
                let is_switched = parts.upgrade.is_some();
                stream.send_head(wire::h2::response(parts, edits), is_bodiless && !is_switched)?;
                send.set_framing(BodyFraming::Frames);
                send.mark_written();
            }
        }
        Ok(())
    }

    /// The head of a response, to be sent later.
    pub(crate) fn encode_head(&self, parts: &ResponseParts<'_>, edits: &Edits<'_>, style: Style) -> EncodedHead {
        match &self.protocol {
            H1(_) => EncodedHead::lines(parts, edits, style),
            H2(_) => EncodedHead::frame(parts, edits),
        }
    }

    /// Sends a response that was encoded before, and has no body.
    pub(crate) fn send_encoded(&mut self, head: EncodedHead, send: &mut SendBuffer<'_>) -> Result<(), ClientReset> {
        match (&mut self.protocol, head) {
            (H1(_), EncodedHead::Lines(lines)) => {
                send.octets().extend_from_slice(&lines);
                send.octets().extend_from_slice(b"\r\n");
                Ok(())
            }
            (H2(stream), EncodedHead::Frame(head)) => {
                send.mark_written();
                stream.send_head(head, true)
            }
            // A head is encoded for the client that it is sent to.
            (H1(_), EncodedHead::Frame(_)) | (H2(_), EncodedHead::Lines(_)) => Ok(()),
        }
    }

    /// Sends the head of a successful response to CONNECT (RFC 9110 §9.3.6): after it the stream carries octets, and so does the connection once
    /// `octets` are written.
    pub(crate) fn send_connected(&mut self, octets: &mut Vec<u8>) -> Result<(), ClientReset> {
        match &mut self.protocol {
            H1(_) if self.implied.is_some() => Ok(()),
            H1(_) => {
                octets.extend_from_slice(b"HTTP/1.1 200 Connection established\r\n\r\n");
                Ok(())
            }
            H2(stream) => stream.send_head(Response::new(()), false),
        }
    }

    /// Sends a response whose body is in memory, if the client receives it in frames; `None` otherwise. `message` makes the response.
    pub(crate) fn send_message(
        &mut self,
        message: impl FnOnce() -> (Response<()>, Bytes),
    ) -> Option<Result<u64, ClientReset>> {
        match &mut self.protocol {
            H1(_) => None,
            H2(stream) => {
                let (head, body) = message();
                let length = body.len() as u64;
                Some(stream.send_whole(head, body).map(|()| length))
            }
        }
    }

    /// Writes what waits in `send`; whether anything was written. `input` has the octets that are written from there.
    #[inline]
    pub(crate) fn poll_send(
        &mut self,
        send: &mut SendBuffer<'_>,
        input: &mut Buffer,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        match &mut self.protocol {
            H1(stream) => send.poll_flush(stream, input, context),
            H2(stream) => {
                let sender = &mut stream.sender;
                let flushed = send.poll_flush(sender, input, context);
                if flushed.is_pending() {
                    sender.hold_with(|| {
                        input.fit();
                        input.capacity() + send.capacity()
                    });
                } else {
                    sender.release_held();
                }
                flushed
            }
        }
    }

    /// Ends a response that has begun and stays incomplete: with a gRPC status, if there is one and it can be sent, or else by a reset. In HTTP/1
    /// only the close of the connection reports it.
    pub(crate) fn break_off(&mut self, status: Option<(u8, &'static str)>, code: ResetCode) {
        if let H2(stream) = &mut self.protocol
            && status.is_none_or(|(status, message)| stream.end_grpc(status, message).is_err())
        {
            stream.reset(code);
        }
    }

    /// Resets a stream; in HTTP/1 the close of the connection does.
    pub(crate) fn reset(&mut self, code: ResetCode) {
        if let H2(stream) = &mut self.protocol {
            stream.reset(code);
        }
    }

    /// The account of responses that the library queues for the client.
    pub(crate) fn response_account(&self) -> Option<&Rc<Account>> {
        match &self.protocol {
            H1(_) => None,
            H2(stream) => Some(&stream.accounts.responses),
        }
    }

    /// A charge of nothing, for what is held of the request.
    pub(crate) fn request_charge(&self) -> Option<Charge> {
        match &self.protocol {
            H1(_) => None,
            H2(stream) => Some(stream.accounts.heads.nothing()),
        }
    }

    /// A charge of nothing, for a body that is held; `budget` is that of a connection which has no account yet.
    pub(crate) fn body_charge(&self, budget: &Rc<Budget>) -> Charge {
        match &self.protocol {
            H1(_) => budget.account().nothing(),
            H2(stream) => stream.accounts.bodies.nothing(),
        }
    }

    /// How much may be read ahead of the client at once.
    pub(crate) fn read_ahead_limit(&self) -> usize {
        match self.response_account() {
            Some(account) if account.is_tight() => MIN_PER_STREAM,
            Some(_) | None => usize::MAX,
        }
    }

    /// Charges the client's connection for what a backend may have sent ahead, of `octets` at most; `None` if the client or the backend has a
    /// connection for itself, where the kernel holds it.
    pub(crate) fn charge_ahead(&self, up: &Upstream, octets: u64) -> Option<Result<Charge, BudgetExceeded>> {
        match &self.protocol {
            H2(stream) if up.is_multiplexed() => {
                let octets = octets.min(u64::from(::upstream::STREAM_WINDOW)) as usize;
                Some(stream.accounts.ahead.charge(octets))
            }
            H1(_) | H2(_) => None,
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

impl H2Downstream {
    fn poll_data(&mut self, limits: &HeadLimits, context: &mut Context<'_>) -> Poll<Result<Piece, ReceiveError>> {
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
    fn send_head(&mut self, head: Response<()>, ended: bool) -> Result<(), ClientReset> {
        let stream = self.respond.send_response(head, ended).map_err(|_| ClientReset)?;
        self.sender =
            if ended { Sender::new(stream, true) } else { Sender::sharing(stream, self.accounts.responses.share()) };
        Ok(())
    }

    /// Sends a response whose body is in memory.
    fn send_whole(&mut self, head: Response<()>, body: Bytes) -> Result<(), ClientReset> {
        self.send_head(head, body.is_empty())?;
        if body.is_empty() { Ok(()) } else { self.sender.send_all(body).map_err(|_| ClientReset) }
    }

    /// Ends a gRPC response that has begun, with a status in its trailers (S-119).
    fn end_grpc(&mut self, status: u8, message: &'static str) -> Result<(), ClientReset> {
        let mut trailers = HeaderMap::with_capacity(2);
        trailers.insert("grpc-status", HeaderValue::from(u16::from(status)));
        if !message.is_empty() {
            trailers.insert("grpc-message", HeaderValue::from_static(message));
        }
        self.sender.end(Some(trailers)).map_err(|_| ClientReset)
    }

    /// Resets the stream: the response is incomplete.
    fn reset(&mut self, code: ResetCode) {
        self.respond.send_reset(code.into());
        self.sender.reset(code.into());
    }

    /// Ready when the client has reset the stream.
    fn poll_reset(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.sender.is_begun() {
            self.sender.poll_reset(context)
        } else {
            self.respond.poll_reset(context).map(drop)
        }
    }
}

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
