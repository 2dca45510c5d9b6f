//! The backend of an exchange or a tunnel: an HTTP/1 connection, or one HTTP/2 stream.

use super::chunks;
use super::read::read_some;
use super::receive::{Piece, ReceiveError, Received};
use super::send::{BodyFraming, SendBuffer};
use super::streams::{Receiver, Sender, StreamPiece};
use crate::conn::{Buffer, Duplex};
use ::upstream::{Connection, EndpointState, H2Stream, Stream, StreamMarks};
use h2::client::ResponseFuture;
use http::Request;
use http::response::Parts;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::net::TcpStream;
use wire::h1::response::RequestKind;
use wire::h1::{HeadLimits, ResponseHead, Style};

/// The only protocol to switch to (S-118).
const WEBSOCKET: &[u8] = b"websocket";

/// The backend of an exchange or a tunnel.
#[derive(Debug)]
pub(crate) struct Upstream(Protocol);

#[derive(Debug)]
enum Protocol {
    H1(Connection),
    H2(Box<H2Upstream>),
}

use Protocol::{H1, H2};

/// An HTTP/2 stream to a backend; the head of the request was sent.
#[derive(Debug)]
struct H2Upstream {
    response: ResponseFuture,
    sender: Sender,
    /// Set once the head of the response was received.
    receiver: Receiver,
    reused: bool,
    local: Option<SocketAddr>,
    /// Findings about its header blocks.
    marks: StreamMarks,
    /// The permit within the connection's limit on streams.
    permit: ::upstream::StreamPermit,
}

/// A head that is received.
pub(crate) struct HeadInput<'a> {
    pub(crate) head: &'a mut ResponseHead,
    pub(crate) input: &'a mut Buffer,
    pub(crate) request_kind: RequestKind,
    pub(crate) limits: &'a HeadLimits,
    /// The most octets to read at once: those after the head wait for a client that does not read.
    pub(crate) most: usize,
    /// Whether earlier interim responses were sent to the client. Before that nothing is read, since a backend may send any number of them; but
    /// interim heads of a stream have no flow control, so they are always taken from the library's queue, which would grow otherwise.
    pub(crate) may_read: bool,
}

impl Upstream {
    /// A connection in HTTP/1, or one for octets.
    pub(crate) fn connection(connection: Connection) -> Self {
        Self(H1(connection))
    }

    /// Sends the head of a request on a stream in HTTP/2; `ended` if no body follows.
    pub(crate) fn open(stream: H2Stream, head: Request<()>, ended: bool) -> Result<Self, h2::Error> {
        let H2Stream { mut send, reused, local, permit, marks, .. } = stream;
        let (response, body) = send.send_request(head, ended)?;
        let sender: Sender = Sender::new(body, ended);
        let marks = marks.of(response.stream_id().as_u32());
        let stream = H2Upstream { response, sender, receiver: Receiver::default(), reused, local, marks, permit };
        Ok(Self(H2(Box::new(stream))))
    }

    /// Whether it is one of many streams of a connection: its peer may refuse it without processing, and it is never reused.
    pub(crate) fn is_multiplexed(&self) -> bool {
        matches!(self.0, H2(_))
    }

    /// Whether the connection was used before, so that the peer may have closed it.
    pub(crate) fn is_reused(&self) -> bool {
        match &self.0 {
            H1(connection) => connection.reused,
            H2(stream) => stream.reused,
        }
    }

    /// The endpoint.
    pub(crate) fn endpoint(&self) -> &Arc<EndpointState> {
        match &self.0 {
            H1(connection) => &connection.endpoint,
            H2(stream) => stream.permit.endpoint(),
        }
    }

    /// The local address of the connection, if there is one.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        match &self.0 {
            H1(connection) => connection.stream.local_address(),
            H2(stream) => stream.local,
        }
    }

    /// When the maximum lifetime of the connection ends (DR-20). The connection of a stream accepts no further streams then, and closes after
    /// the last.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.0 {
            H1(connection) => connection.deadline(),
            H2(_) => None,
        }
    }

    /// The connection, if another request can follow on it.
    pub(crate) fn into_reusable(self) -> Option<Connection> {
        match self.0 {
            H1(connection) => Some(connection),
            H2(_) => None,
        }
    }

    /// What is sent to the backend, beginning with the octets in `out`. In HTTP/1 `chunks` says whether the body is sent in chunks, and in which
    /// style; a stream stays open after a switch of protocols.
    pub(crate) fn send_buffer<'a>(
        &self,
        out: &'a mut Vec<u8>,
        chunks: Option<Style>,
        is_switch: bool,
    ) -> SendBuffer<'a> {
        match &self.0 {
            H1(_) => SendBuffer::new(out, chunks.map_or(BodyFraming::Octets, BodyFraming::Chunks)),
            H2(stream) => {
                let is_open = is_switch || stream.sender.is_ended();
                let mut send = SendBuffer::new(out, if is_open { BodyFraming::Octets } else { BodyFraming::Frames });
                send.mark_written();
                send
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
        match &mut self.0 {
            H1(connection) => send.poll_flush(&mut connection.stream, input, context),
            H2(stream) => send.poll_flush(&mut stream.sender, input, context),
        }
    }

    /// Receives the next head, interim or final: its length in the input, or `None` while it is incomplete.
    #[inline]
    pub(crate) fn poll_head(
        &mut self,
        into: HeadInput<'_>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<usize>, ReceiveError>> {
        match &mut self.0 {
            H1(connection) => into.poll_octets(&mut connection.stream, context),
            H2(stream) => stream.poll_head(into, context),
        }
    }

    /// Removes a head from the input.
    pub(crate) fn consume_head(&self, input: &mut Buffer, length: usize) {
        match self.0 {
            H1(_) => input.consume(length),
            H2(_) => input.release(),
        }
    }

    /// Whether the stream ended with the head of the response, so that it cannot carry a tunnel.
    pub(crate) fn has_ended(&self) -> bool {
        match &self.0 {
            H1(_) => false,
            H2(stream) => stream.receiver.has_ended(),
        }
    }

    /// Receives more of a response's body, of which octets come into `input`.
    pub(crate) fn poll_data(
        &mut self,
        input: &mut Buffer,
        limits: &HeadLimits,
        context: &mut Context<'_>,
    ) -> Poll<Result<Received, ReceiveError>> {
        match &mut self.0 {
            H1(connection) => received(ready!(read_some(&mut connection.stream, input, usize::MAX, context))),
            H2(stream) => stream.poll_data(limits, context),
        }
    }

    /// The connection whose octets the exchange reads itself.
    pub(super) fn octets(&mut self) -> Option<&mut Stream> {
        match &mut self.0 {
            H1(connection) => Some(&mut connection.stream),
            H2(_) => None,
        }
    }
}

/// What a read of octets means.
pub(super) fn received(read: io::Result<usize>) -> Poll<Result<Received, ReceiveError>> {
    Poll::Ready(match read {
        Ok(0) => Ok(Received::Closed),
        Ok(_) => Ok(Received::Octets),
        Err(_) => Err(ReceiveError::Closed),
    })
}

impl HeadInput<'_> {
    #[inline]
    fn poll_octets(
        mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<usize>, ReceiveError>> {
        if !self.input.is_empty()
            && let Some(length) = self.parse()?
        {
            return Poll::Ready(Ok(Some(length)));
        }
        if !self.may_read {
            return Poll::Pending;
        }
        if self.input.is_full() {
            self.input.grow();
        }
        match ready!(read_some(stream, self.input, self.most, context)) {
            Ok(count) if count > 0 => Poll::Ready(self.parse()),
            _ => Poll::Ready(Err(ReceiveError::Closed)),
        }
    }

    fn parse(&mut self) -> Result<Option<usize>, ReceiveError> {
        let octets = self.input.filled();
        let parsed = self.head.parse(octets, self.request_kind, self.limits).map_err(|_| ReceiveError::Malformed)?;
        let is_too_large = parsed.is_none() && self.input.is_full() && octets.len() > self.limits.bytes;
        if is_too_large { Err(ReceiveError::Malformed) } else { Ok(parsed) }
    }

    /// Lays the head of a stream flat into the input; its length there. `ended` says that no body follows.
    fn flatten(&mut self, parts: &Parts, ended: bool) -> Result<Option<usize>, ReceiveError> {
        let mut flat = Vec::with_capacity(512);
        let is_bodiless = ended || self.request_kind == RequestKind::Head;
        wire::h2::flatten_response(parts, is_bodiless, self.limits, self.head, &mut flat)
            .map_err(|_| ReceiveError::Malformed)?;
        if self.request_kind == RequestKind::Upgrade && parts.status.is_success() {
            // RFC 8441 §5: a success has the meaning of 101 in HTTP/1.
            self.head.switched(WEBSOCKET, &mut flat);
        }
        self.input.release();
        self.input.put(&flat);
        Ok(Some(flat.len()))
    }
}

impl H2Upstream {
    fn poll_head(
        &mut self,
        mut into: HeadInput<'_>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<usize>, ReceiveError>> {
        if let Poll::Ready(Some(interim)) = self.response.poll_informational(context) {
            let (parts, ()) = interim.map_err(|error| ReceiveError::of_stream(&error))?.into_parts();
            self.check_marks()?;
            return Poll::Ready(into.flatten(&parts, true));
        }
        if !into.may_read {
            return Poll::Pending;
        }
        let head = ready!(Pin::new(&mut self.response).poll(context));
        let (parts, receiver) = head.map_err(|error| ReceiveError::of_stream(&error))?.into_parts();
        self.check_marks()?;
        let ended = receiver.is_end_stream();
        self.receiver = Receiver::new(receiver);
        Poll::Ready(into.flatten(&parts, ended))
    }

    fn check_marks(&self) -> Result<(), ReceiveError> {
        if self.marks.is_malformed() { Err(ReceiveError::Malformed) } else { Ok(()) }
    }

    fn poll_data(&mut self, limits: &HeadLimits, context: &mut Context<'_>) -> Poll<Result<Received, ReceiveError>> {
        let piece = match ready!(self.receiver.poll_piece(context)) {
            Ok(StreamPiece::Data(data)) => Piece::of_frame(data),
            Ok(StreamPiece::End(trailers)) => {
                self.check_marks()?;
                if trailers.is_some() && self.marks.ends_with_status() {
                    return Poll::Ready(Err(ReceiveError::Malformed));
                }
                Piece::of_end(chunks::checked_trailers(trailers, limits).map_err(|_| ReceiveError::Malformed)?)
            }
            // The response is incomplete: the client must not see a regular end.
            Err(error) => return Poll::Ready(Err(ReceiveError::of_stream(&error))),
        };
        Poll::Ready(Ok(Received::Piece(piece)))
    }
}

impl Duplex for Upstream {
    fn poll_read(&mut self, context: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            H1(connection) => connection.stream.poll_read(context, room),
            H2(stream) => stream.receiver.poll_read(context, room),
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            H1(connection) => connection.stream.poll_write(context, bytes),
            H2(stream) => stream.sender.poll_send(bytes, false, context),
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            H1(connection) => connection.stream.poll_flush(context),
            H2(_) => Poll::Ready(Ok(())),
        }
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        match &mut self.0 {
            H1(connection) => connection.stream.shutdown_write(),
            H2(stream) => stream.sender.end(None),
        }
    }

    fn abort(&mut self) {
        match &mut self.0 {
            H1(connection) => connection.stream.abort(),
            // A stream that is dropped before its end is reset.
            H2(_) => {}
        }
    }

    fn as_tcp(&self) -> Option<&TcpStream> {
        match &self.0 {
            H1(connection) => connection.stream.as_tcp(),
            H2(_) => None,
        }
    }

    fn is_stream(&self) -> bool {
        self.is_multiplexed()
    }
}
