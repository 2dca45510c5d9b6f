//! What is sent to one side: octets in memory, octets that are still where they were received, and the end of the body. The one loop that
//! writes them serves both versions and both directions.

use super::chunks;
use super::receive::{Piece, Trailers};
use super::streams::Sender;
use crate::conn::Buffer;
use crate::limits::{COPY_LIMIT, PIECE};
use http::HeaderMap;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};
use upstream::Stream;
use wire::h1::{ChunkWriter, Style};

/// How the end of a body is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    /// By the head, or by the end of the connection.
    Octets,
    /// By the last chunk.
    Chunks(Style),
    /// By the end of the stream.
    Frames,
}

/// The end of a body.
#[derive(Debug)]
enum End {
    /// Nothing has to be sent for it.
    None,
    /// The stream ends after the octets.
    Due(Option<Box<HeaderMap>>),
}

/// One side that receives a body.
pub(super) trait BodySink {
    /// Writes the first pieces of two; `last` says that the body ends with both.
    fn poll_write(&mut self, context: &mut Context<'_>, pieces: [&[u8]; 2], last: bool) -> Poll<io::Result<usize>>;
    /// Sends what TLS has buffered.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Ends the stream, unless its last octets did; whether anything was sent.
    fn end(&mut self, trailers: Option<Box<HeaderMap>>) -> io::Result<bool>;
}

impl BodySink for Stream {
    fn poll_write(&mut self, context: &mut Context<'_>, pieces: [&[u8]; 2], _: bool) -> Poll<io::Result<usize>> {
        let count = ready!(match pieces {
            [first, []] => Stream::poll_write(self, context, first),
            [[], second] => Stream::poll_write(self, context, second),
            [first, second] => self.poll_write_vectored(context, &[IoSlice::new(first), IoSlice::new(second)]),
        })?;
        Poll::Ready(if count == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(count) })
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_flush(self, context)
    }

    fn end(&mut self, _: Option<Box<HeaderMap>>) -> io::Result<bool> {
        Ok(false)
    }
}

impl BodySink for Sender {
    fn poll_write(&mut self, context: &mut Context<'_>, pieces: [&[u8]; 2], last: bool) -> Poll<io::Result<usize>> {
        match pieces {
            [[], second] => self.poll_send(second, last, context),
            [first, second] => self.poll_send(first, last && second.is_empty(), context),
        }
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn end(&mut self, trailers: Option<Box<HeaderMap>>) -> io::Result<bool> {
        if self.is_ended() { Ok(false) } else { Sender::end(self, trailers.map(|map| *map)).map(|()| true) }
    }
}

/// What is sent to one side.
#[derive(Debug)]
pub(crate) struct SendBuffer<'a> {
    /// Octets to write; at first the head.
    out: &'a mut Vec<u8>,
    written: usize,
    /// How many octets at the front of the other side's input follow.
    direct: usize,
    /// Whether the end of a chunk follows those.
    chunk_end: bool,
    /// Whether TLS may still buffer written octets.
    is_unflushed: bool,
    framing: BodyFraming,
    end: End,
    any_written: bool,
}

impl<'a> SendBuffer<'a> {
    /// What is in `out` is written first.
    pub(crate) fn new(out: &'a mut Vec<u8>, framing: BodyFraming) -> Self {
        Self {
            out,
            written: 0,
            direct: 0,
            chunk_end: false,
            is_unflushed: false,
            framing,
            end: End::None,
            any_written: false,
        }
    }

    /// Sets how the end of the body is marked.
    pub(crate) fn set_framing(&mut self, framing: BodyFraming) {
        self.framing = framing;
    }

    /// The octets to write, including those that were written since the last [`Self::clear`].
    pub(crate) fn octets(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// Whether any octet was written, or a head in frames was sent.
    pub(crate) fn any_written(&self) -> bool {
        self.any_written
    }

    /// Notes that a head was sent in frames.
    pub(crate) fn mark_written(&mut self) {
        self.any_written = true;
    }

    /// How many octets in memory were written since the last [`Self::clear`].
    pub(crate) fn written(&self) -> usize {
        self.written
    }

    /// How many octets are not written yet.
    pub(crate) fn waiting(&self) -> usize {
        self.out.len().saturating_sub(self.written) + self.direct
    }

    /// Whether a part of the octets in memory was written.
    pub(crate) fn is_cut(&self) -> bool {
        self.written > 0 && self.written < self.out.len()
    }

    fn has_octets(&self) -> bool {
        self.written < self.out.len() || self.direct > 0
    }

    /// Whether everything was written.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.has_octets() && !self.is_unflushed && matches!(self.end, End::None)
    }

    /// Whether more should be collected before the next write.
    pub(crate) fn has_room(&self) -> bool {
        self.direct == 0 && self.out.len() < COPY_LIMIT
    }

    /// Forgets what was written.
    pub(crate) fn clear(&mut self) {
        self.out.clear();
        self.written = 0;
    }

    /// Appends data of the body.
    pub(crate) fn push(&mut self, data: &[u8]) {
        chunks::put(self.out, data, matches!(self.framing, BodyFraming::Chunks(_)));
    }

    /// Whether a piece is written from where it was received, since a copy would cost more than a write of its own. For streams small pieces are
    /// collected, unless nothing else was received.
    pub(crate) fn takes_directly(&self, piece: &Piece, input: &Buffer) -> bool {
        let Some(length) = piece.place().map(ExactSizeIterator::len) else { return false };
        match self.framing {
            BodyFraming::Frames => length >= PIECE || (length > 0 && self.out.is_empty() && piece.is_all_of(input)),
            BodyFraming::Octets | BodyFraming::Chunks(_) => length > COPY_LIMIT,
        }
    }

    /// Leaves a piece where it was received, from where it is written; its length. The body does not end with it where it is sent in chunks.
    pub(crate) fn push_direct(&mut self, piece: &Piece, input: &mut Buffer) -> usize {
        let Some(place) = piece.place() else { return 0 };
        // The framing before the data is consumed; what follows is decoded next time.
        input.consume(place.start);
        self.direct = place.len();
        if let BodyFraming::Chunks(_) = self.framing {
            ChunkWriter::prefix(self.out, place.len());
            self.chunk_end = true;
        }
        place.len()
    }

    /// Marks the end of the body.
    pub(crate) fn end(&mut self, trailers: Trailers<'_>) {
        match (self.framing, trailers) {
            (BodyFraming::Octets, _) => {}
            (BodyFraming::Chunks(style), Trailers::Lines(lines)) => ChunkWriter::end_in(self.out, Some(lines), style),
            (BodyFraming::Chunks(_), Trailers::Map(map)) => chunks::end_chunks(self.out, Some(&map)),
            (BodyFraming::Chunks(style), Trailers::None) => ChunkWriter::end_in(self.out, None, style),
            (BodyFraming::Frames, Trailers::Map(map)) => self.end = End::Due(Some(map)),
            (BodyFraming::Frames, trailers) => self.end = End::Due(trailers.to_map().map(Box::new)),
        }
    }

    /// Marks the end of a body whose octets are sent again: in chunks they have its end.
    pub(crate) fn end_again(&mut self, trailers: Option<&HeaderMap>) {
        if self.framing == BodyFraming::Frames {
            self.end = End::Due(trailers.cloned().map(Box::new));
        }
    }

    /// The trailers that a frame of their own will carry.
    pub(crate) fn pending_trailers(&self) -> Option<&HeaderMap> {
        match &self.end {
            End::Due(trailers) => trailers.as_deref(),
            End::None => None,
        }
    }

    /// How much memory waits for a side that takes nothing.
    pub(super) fn capacity(&self) -> usize {
        if self.written < self.out.len() { self.out.capacity() } else { 0 }
    }

    /// Writes everything; whether anything was written. `input` has the octets that are written from there.
    #[inline]
    pub(super) fn poll_flush(
        &mut self,
        sink: &mut impl BodySink,
        input: &mut Buffer,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        if self.is_flushed() {
            // TLS may have records of its own to send. Inlined, since most polls have nothing to write.
            return sink.poll_flush(context).map_ok(|()| false);
        }
        self.poll_write(sink, input, context)
    }

    fn poll_write(
        &mut self,
        sink: &mut impl BodySink,
        input: &mut Buffer,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        let mut wrote = false;
        while self.has_octets() {
            let first = self.out.get(self.written..).unwrap_or_default();
            let second = input.filled().get(..self.direct).unwrap_or_default();
            let last = matches!(self.end, End::Due(None));
            let count = ready!(sink.poll_write(context, [first, second], last))?;
            self.count_written(count, input);
            wrote = true;
        }
        ready!(sink.poll_flush(context))?;
        self.is_unflushed = false;
        if let End::Due(trailers) = &mut self.end {
            let trailers = trailers.take();
            self.end = End::None;
            wrote |= sink.end(trailers)?;
        }
        Poll::Ready(Ok(wrote))
    }

    fn count_written(&mut self, count: usize, input: &mut Buffer) {
        (self.any_written, self.is_unflushed) = (true, true);
        let of_out = count.min(self.out.len() - self.written);
        self.written += of_out;
        let of_input = count - of_out;
        if of_input == 0 {
            return;
        }
        input.consume(of_input);
        self.direct -= of_input;
        if self.direct == 0 && std::mem::take(&mut self.chunk_end) {
            self.out.extend_from_slice(b"\r\n");
        }
    }
}
