//! The two halves of an HTTP/2 stream, for clients and backends.

use super::stream_trailers::StreamTrailers;
use crate::conn::{HeldOctets, StreamShare};
use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use upstream::Outgoing;

/// The sending half of a stream, after its head.
#[derive(Debug, Default)]
pub(super) struct Sender {
    stream: Option<SendStream<Outgoing>>,
    ended: bool,
    /// Whether the stream may hold a part of the connection's window.
    reserved: bool,
    /// The share of the client's connection; `None` towards backends.
    share: Option<Rc<StreamShare>>,
    /// What the exchange holds for a client that does not read.
    held: Option<HeldOctets>,
}

impl Sender {
    /// The sending half after the head; `ended` if nothing follows.
    pub(super) fn new(stream: SendStream<Outgoing>, ended: bool) -> Self {
        Self { stream: Some(stream), ended, reserved: false, share: None, held: None }
    }

    /// The same, but octets are charged to `share` until they are written.
    pub(super) fn sharing(stream: SendStream<Outgoing>, share: Rc<StreamShare>) -> Self {
        Self { share: Some(share), ..Self::new(stream, false) }
    }

    /// The share of the client's connection.
    pub(super) fn share(&self) -> Option<&Rc<StreamShare>> {
        self.share.as_ref()
    }

    /// Charges what the exchange holds for a client that does not read. `octets` is called only if the stream has a share.
    pub(super) fn hold_with(&mut self, octets: impl FnOnce() -> usize) {
        match &self.share {
            Some(share) => self.held.get_or_insert_with(|| share.hold(0)).set(octets()),
            None => self.held = None,
        }
    }

    /// Returns what [`Self::hold_with`] has charged.
    pub(super) fn release_held(&mut self) {
        self.held = None;
    }

    /// Whether the head was sent.
    pub(super) fn is_begun(&self) -> bool {
        self.stream.is_some()
    }

    /// Whether the end was sent.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Sends as much as the peer takes; `last` says that the stream ends with the last byte.
    pub(super) fn poll_send(&mut self, bytes: &[u8], last: bool, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let count = ready!(self.poll_room(bytes.len(), context))?.min(bytes.len());
        let piece = Bytes::copy_from_slice(bytes.get(..count).unwrap_or_default());
        self.send(self.counted(piece), last && count == bytes.len())?;
        Poll::Ready(Ok(count))
    }

    /// How many of `wanted` octets can be sent now; never zero. The stream keeps its part of the connection's window until it sends, or until
    /// [`Self::give_up_room`].
    pub(super) fn poll_room(&mut self, wanted: usize, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        stream.reserve_capacity(wanted);
        self.reserved = true;
        let mut room = stream.capacity();
        while room == 0 {
            room = match ready!(stream.poll_capacity(context)) {
                Some(Ok(room)) => room,
                Some(Err(_)) | None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        let Some(share) = &self.share else { return Poll::Ready(Ok(room)) };
        match share.poll_room(context) {
            Poll::Ready(own) => Poll::Ready(Ok(room.min(own))),
            Poll::Pending => {
                self.give_up_room();
                Poll::Pending
            }
        }
    }

    /// Returns the reserved window to the connection.
    pub(super) fn give_up_room(&mut self) {
        if let (true, Some(stream)) = (std::mem::take(&mut self.reserved), &mut self.stream) {
            stream.reserve_capacity(0);
        }
    }

    /// Sends all octets without regard to flow control: for small bodies, or those already in memory.
    pub(super) fn send_all(&mut self, bytes: Bytes) -> io::Result<()> {
        self.send(bytes.into(), true)
    }

    /// A piece, charged to the share if there is one.
    fn counted(&self, bytes: Bytes) -> Outgoing {
        match &self.share {
            Some(share) => {
                share.take(bytes.len());
                Outgoing::held(bytes, Rc::<StreamShare>::clone(share))
            }
            None => bytes.into(),
        }
    }

    fn send(&mut self, piece: Outgoing, ended: bool) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Err(io::ErrorKind::NotConnected.into()) };
        self.ended = ended;
        stream.send_data(piece, ended).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Ends the stream, with trailers if there are any.
    pub(super) fn end(&mut self, trailers: Option<HeaderMap>) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Err(io::ErrorKind::NotConnected.into()) };
        self.ended = true;
        let sent = match trailers {
            Some(trailers) => stream.send_trailers(trailers),
            None => stream.send_data(Bytes::new().into(), true),
        };
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Resets the stream.
    pub(super) fn reset(&mut self, reason: Reason) {
        if let Some(stream) = &mut self.stream {
            stream.send_reset(reason);
        }
    }

    /// Ready when the peer has reset the stream.
    pub(super) fn poll_reset(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.stream {
            Some(stream) => stream.poll_reset(context).map(drop),
            None => Poll::Pending,
        }
    }
}

/// The receiving half of a stream, after its head.
#[derive(Debug, Default)]
pub(crate) struct Receiver {
    stream: Option<RecvStream>,
    trailing: bool,
    /// The rest of a piece that did not fit.
    rest: Bytes,
    /// For a client: the charge of trailers that were received but not read.
    trailers: Option<StreamTrailers>,
    /// Whether the trailers that were read have pseudo-header fields (RFC 9113 §8.1); for clients only.
    malformed: bool,
}

/// One piece of what is received.
pub(super) enum StreamPiece {
    /// Some of the body.
    Data(Bytes),
    /// Its end.
    End(Option<HeaderMap>),
}

impl Receiver {
    /// The receiving half after the head.
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream: Some(stream), trailing: false, rest: Bytes::new(), trailers: None, malformed: false }
    }

    /// The same, for a stream of a client.
    pub(crate) fn of_client(stream: RecvStream, trailers: StreamTrailers) -> Self {
        Self { trailers: Some(trailers), ..Self::new(stream) }
    }

    /// Whether the stream ended with its head.
    pub(super) fn has_ended(&self) -> bool {
        self.stream.as_ref().is_none_or(RecvStream::is_end_stream)
    }

    /// Whether the trailers, once [`StreamPiece::End`] was read, make the request malformed.
    pub(super) fn has_malformed_trailers(&self) -> bool {
        self.malformed
    }

    /// Reads the body as bytes; 0 is its end.
    pub(super) fn poll_read(&mut self, context: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        while self.rest.is_empty() {
            match ready!(self.poll_piece(context)) {
                Ok(StreamPiece::Data(data)) => self.rest = data,
                Ok(StreamPiece::End(_)) if self.malformed => {
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                Ok(StreamPiece::End(_)) => return Poll::Ready(Ok(0)),
                Err(error) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(room.len()));
        if let Some(room) = room.get_mut(..piece.len()) {
            room.copy_from_slice(&piece);
        }
        Poll::Ready(Ok(piece.len()))
    }

    /// The next piece. Its octets are returned to the peer's window at once, so the caller polls only when it has room.
    pub(super) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<StreamPiece, h2::Error>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(StreamPiece::End(None))) };
        if !self.trailing {
            match ready!(stream.poll_data(context)) {
                Some(Ok(data)) => {
                    let _ = stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Ok(StreamPiece::Data(data)));
                }
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => self.trailing = true,
            }
        }
        let trailers = ready!(stream.poll_trailers(context))?;
        self.malformed |= self.trailers.as_ref().is_some_and(StreamTrailers::are_malformed);
        (self.stream, self.trailers) = (None, None);
        Poll::Ready(Ok(StreamPiece::End(trailers)))
    }
}
