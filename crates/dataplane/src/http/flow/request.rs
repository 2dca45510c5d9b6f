//! The request direction of a flow: from the client to the backend.

use super::Failure;
use crate::codec::{
    Downstream, Piece, Receiver, Sender, UpstreamStream,
    chunks::{checked_trailers, end_chunks, put},
    read,
    splice::{self, SpliceError},
};
use crate::conn::{Buffer, Charge, Pipe, Worker};
use crate::http::body_queue::MirrorSinks;
use http::HeaderMap;
use std::io;
use std::task::{Context, Poll, ready};
use upstream::{Connection, Stream};
use wire::grpc_web::{Call, Decoder, NotBase64, Writing};
use wire::h1::{BodyLength, BodyReader, ChunkWriter, HeadLimits, RequestHead, Style};
use wire::h2::FlatError;

/// State that lasts over all attempts: the octets sent so far, for a replay, and the trailers of a finished body.
#[derive(Debug, Default)]
pub(in crate::http) struct ReplayBuffer {
    bytes: Vec<u8>,
    trailers: Option<HeaderMap>,
    /// The decoder of a base64 body (S-119).
    text: Option<Decoder>,
    /// The mirrors that receive the body too (VS-45).
    mirrors: MirrorSinks,
    /// The charge for the octets, for an HTTP/2 client.
    charge: Option<Charge>,
    /// Whether octets were sent that are not in the buffer.
    lost: bool,
}

impl ReplayBuffer {
    /// An empty buffer for a new request.
    pub(in crate::http) fn new(web: Option<Call>, client: &Downstream) -> Self {
        let text = web.filter(|call| call.request == Writing::Text).map(|_| Decoder::default());
        let charge = match client {
            Downstream::H1(_) => None,
            Downstream::H2(stream) => Some(stream.heads.nothing()),
        };
        Self { text, charge, ..Self::default() }
    }

    /// Appends octets, if the budget of the client's connection allows it.
    fn retain(&mut self, bytes: &[u8]) -> bool {
        let octets = self.bytes.len() + bytes.len();
        let kept = self.charge.as_mut().is_none_or(|charge| charge.resize(octets).is_ok());
        if kept {
            self.bytes.extend_from_slice(bytes);
        } else {
            self.discard();
        }
        kept
    }

    fn discard(&mut self) {
        self.lost = true;
        self.bytes = Vec::new();
        if let Some(charge) = &mut self.charge {
            // A smaller charge is never refused.
            let _ = charge.resize(0);
        }
    }

    /// Sets the mirrors, before any of the body is read.
    pub(in crate::http) fn mirror_to(&mut self, mirrors: MirrorSinks) {
        if !mirrors.is_empty() {
            self.mirrors = mirrors;
        }
    }

    /// Appends a piece of the body to `out`, as a chunk if `chunked`.
    fn put(&mut self, out: &mut Vec<u8>, data: &[u8], chunked: bool) -> Result<(), Failure> {
        match &mut self.text {
            None => {
                self.mirrors.push(data);
                put(out, data, chunked);
            }
            Some(decoder) => {
                let mut octets = Vec::with_capacity(data.len());
                decoder.take(data, &mut octets).map_err(|NotBase64| Failure::NotBase64)?;
                self.mirrors.push(&octets);
                put(out, &octets, chunked);
            }
        }
        Ok(())
    }
}

/// The request direction of a flow.
pub(super) struct RequestSide<'a> {
    pub(super) head: &'a RequestHead,
    body: &'a mut BodyReader,
    input: &'a mut Buffer,
    /// Octets to write next; at first the head.
    out: &'a mut Vec<u8>,
    written: usize,
    /// Whether TLS may still buffer written octets.
    unflushed: bool,
    /// What was written before `out`, for a replay.
    replay: &'a mut ReplayBuffer,
    /// The limit of the replay buffer; 0 without a replay.
    replay_limit: usize,
    pipe: Option<Pipe>,
    /// Whether the HTTP/2 stream still has to be ended.
    end_due: bool,
    /// Whether the body is written in chunks.
    chunked: bool,
    style: Style,
    /// Whether all of the body is in `out` or was spliced.
    pub(super) complete: bool,
    /// Whether the backend accepts no further octets.
    pub(super) refused: bool,
    pub(super) any_written: bool,
    /// Bytes of the body.
    pub(super) received: u64,
}

impl<'a> RequestSide<'a> {
    pub(super) fn new(
        head: &'a RequestHead,
        body: &'a mut BodyReader,
        (input, out): (&'a mut Buffer, &'a mut Vec<u8>),
        replay: &'a mut ReplayBuffer,
        (replay_limit, up, upgrade): (usize, &UpstreamStream, bool),
        style: Style,
    ) -> Self {
        let complete = body.is_done();
        let (end_due, chunked) = match up {
            UpstreamStream::H1(_) => {
                (false, head.body == BodyLength::Chunked || (replay.text.is_some() && head.body != BodyLength::None))
            }
            // After an upgrade the stream stays open.
            UpstreamStream::H2(stream) => (!upgrade && !stream.sender.is_ended(), false),
        };
        Self {
            head,
            body,
            input,
            out,
            written: 0,
            unflushed: false,
            replay,
            replay_limit,
            pipe: None,
            end_due,
            chunked,
            style,
            complete,
            refused: false,
            any_written: matches!(up, UpstreamStream::H2(_)),
            received: 0,
        }
    }

    fn is_flushed(&self) -> bool {
        self.written >= self.out.len() && !self.unflushed && !(self.complete && self.end_due)
    }

    /// Whether the whole request was written.
    pub(super) fn is_sent(&self) -> bool {
        self.complete && !self.refused && self.is_flushed()
    }

    /// Whether the trailer section is incomplete.
    pub(super) fn is_in_trailers(&self) -> bool {
        !self.complete && self.body.is_in_trailers()
    }

    /// Whether the flow waits for the client's body.
    pub(super) fn awaits_body(&self) -> bool {
        let in_pipe = self.pipe.as_ref().is_some_and(|pipe| !pipe.is_empty());
        !self.complete && !self.refused && self.is_flushed() && !in_pipe
    }

    /// Writes pending octets; whether any were written.
    pub(super) fn flush(&mut self, up: &mut UpstreamStream, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match up {
            UpstreamStream::H1(connection) => self.flush_bytes(&mut connection.stream, context),
            UpstreamStream::H2(stream) => self.flush_stream(&mut stream.sender, context),
        }
    }

    fn flush_stream(&mut self, sender: &mut Sender, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut wrote = false;
        let last = self.complete && self.replay.trailers.is_none();
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            self.written += ready!(sender.poll_send(rest, last, context))?;
            wrote = true;
        }
        if self.complete && self.end_due {
            self.end_due = false;
            if !sender.is_ended() {
                sender.end(self.replay.trailers.clone())?;
                wrote = true;
            }
        }
        Poll::Ready(Ok(wrote))
    }

    fn flush_bytes(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut wrote = false;
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(stream.poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => {
                    self.written += count;
                    self.any_written = true;
                    (wrote, self.unflushed) = (true, true);
                }
            }
        }
        ready!(stream.poll_flush(context))?;
        self.unflushed = false;
        Poll::Ready(Ok(wrote))
    }

    /// Reads the next piece of the body into `out`, or splices it.
    pub(super) fn take_body(
        &mut self,
        worker: &Worker,
        down: &mut Downstream,
        up: &mut UpstreamStream,
        context: &mut Context<'_>,
    ) -> Result<Poll<()>, Failure> {
        let down = match down {
            Downstream::H1(stream) => stream,
            Downstream::H2(stream) => return self.take_piece(&mut stream.receiver, &worker.limits.head, context),
        };
        if let UpstreamStream::H1(Connection { stream: up, .. }) = up
            && self.is_moved(worker, down, up)
        {
            return self.move_body(down, up, context);
        }
        let step = self.body.decode(self.input.filled()).map_err(|_| Failure::ClientBody)?;
        if step.consumed > 0 || step.done {
            return self.pass(&step).map(Poll::Ready);
        }
        if self.input.is_full() {
            self.input.grow();
        }
        match read(down, self.input, context) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Ok(count)) if count > 0 => {
                if self.input.is_full() {
                    self.input.grow();
                }
                Ok(Poll::Ready(()))
            }
            Poll::Ready(_) => Err(Failure::ClientClosed),
        }
    }

    fn pass(&mut self, step: &wire::h1::Step) -> Result<(), Failure> {
        self.begin_piece();
        let data = self.input.filled().get(step.data.clone()).unwrap_or_default();
        self.received += data.len() as u64;
        let taken = self.replay.put(self.out, data, self.chunked);
        self.input.consume(step.consumed);
        taken?;
        self.complete = step.done;
        if step.done {
            self.check_whole()?;
        }
        if step.done {
            self.replay.mirrors.end(|| self.body.trailers().map(wire::h2::trailers));
        }
        match self.body.trailers() {
            trailers if step.done && self.chunked => ChunkWriter::end_in(self.out, trailers, self.style),
            Some(trailers) if step.done => self.replay.trailers = Some(wire::h2::trailers(trailers)),
            Some(_) | None => {}
        }
        Ok(())
    }

    /// Checks that base64 text is complete at the end of the body.
    fn check_whole(&self) -> Result<(), Failure> {
        match &self.replay.text {
            Some(text) if !text.is_whole() => Err(Failure::NotBase64),
            Some(_) | None => Ok(()),
        }
    }

    /// Receives the next piece from an HTTP/2 stream.
    fn take_piece(
        &mut self,
        receiver: &mut Receiver,
        limits: &HeadLimits,
        context: &mut Context<'_>,
    ) -> Result<Poll<()>, Failure> {
        match receiver.poll_piece(context) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Ok(Piece::Data(data))) => {
                self.begin_piece();
                self.received += data.len() as u64;
                self.replay.put(self.out, &data, self.chunked)?;
            }
            Poll::Ready(Ok(Piece::End(_))) if receiver.has_malformed_trailers() => return Err(Failure::ClientTrailers),
            Poll::Ready(Ok(Piece::End(trailers))) => {
                self.begin_piece();
                self.check_whole()?;
                self.complete = true;
                *self.body = BodyReader::Done;
                self.replay.trailers = checked_trailers(trailers, limits).map_err(of_trailers)?;
                self.replay.mirrors.end(|| self.replay.trailers.clone());
                if self.chunked {
                    end_chunks(self.out, self.replay.trailers.as_ref());
                }
            }
            Poll::Ready(Err(_)) => return Err(Failure::ClientClosed),
        }
        Ok(Poll::Ready(()))
    }

    /// Prepares `out` for the next piece, once the last one was written.
    fn begin_piece(&mut self) {
        self.retain_sent();
        self.out.clear();
        self.written = 0;
    }

    /// Moves what was sent into the replay buffer, up to its limit.
    fn retain_sent(&mut self) {
        if self.replay_limit == 0 {
            return;
        }
        if self.replay.bytes.len() > self.replay_limit || !self.replay.retain(self.out) {
            // The buffer is incomplete, so the request cannot be replayed.
            self.replay_limit = 0;
            self.replay.discard();
        }
    }

    fn is_moved(&mut self, worker: &Worker, down: &Stream, up: &Stream) -> bool {
        if self.pipe.is_none()
            && self.input.is_empty()
            && self.replay.text.is_none()
            && self.replay.mirrors.is_empty()
            && let BodyReader::Length(left) = *self.body
        {
            self.pipe = splice::pipe(worker, left, down, up);
        }
        self.pipe.is_some()
    }

    fn move_body(&mut self, down: &Stream, up: &Stream, context: &mut Context<'_>) -> Result<Poll<()>, Failure> {
        let (Some(pipe), BodyReader::Length(left)) = (&mut self.pipe, &mut *self.body) else {
            return Err(Failure::ClientBody);
        };
        // Spliced octets cannot be replayed.
        self.replay_limit = 0;
        let before = *left;
        let moved = splice::poll_move(pipe, left, down, up, context);
        self.received += before - *left;
        match moved {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(SpliceError::Source | SpliceError::End)) => return Err(Failure::ClientClosed),
            Poll::Ready(Err(SpliceError::Sink)) => self.refused = true,
        }
        if *left == 0 && pipe.is_empty() {
            self.complete = true;
            self.pipe = None;
        }
        Ok(Poll::Ready(()))
    }

    /// Whether all that was sent can be replayed.
    pub(super) fn is_whole(&self) -> bool {
        let kept = self.received == 0
            || (self.replay_limit > 0 && self.replay.bytes.len() + self.out.len() <= self.replay_limit);
        kept && !self.replay.lost
    }

    /// Puts everything sent so far back into `out`.
    pub(super) fn rewind(self) {
        if !self.replay.bytes.is_empty() {
            self.replay.bytes.append(self.out);
            std::mem::swap(self.out, &mut self.replay.bytes);
        }
    }
}

fn of_trailers(error: FlatError) -> Failure {
    match error {
        FlatError::Malformed => Failure::ClientTrailers,
        _ => Failure::ClientBody,
    }
}
