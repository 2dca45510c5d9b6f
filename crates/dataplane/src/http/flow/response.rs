//! From the backend to the client.

use super::Failure;
use super::direct::{self, Broken};
use crate::conn::{Buffer, Pipe, Worker};
use crate::http::decide::Plan;
use crate::http::server::read;
use crate::limits::COPY_LIMIT;
use crate::log::HttpDate;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use upstream::Stream;
use wire::edit::Edits;
use wire::h1::response::Asked;
use wire::h1::{
    BodyLength, BodyReader, ChunkWriter, HeadLimits, OutFraming, ResponseHead, ResponseParts, write_response,
};

/// The answer's side of a flow.
pub(super) struct ResponseSide<'a> {
    pub(super) head: &'a mut ResponseHead,
    pub(super) input: &'a mut Buffer,
    out: &'a mut Vec<u8>,
    written: usize,
    body: BodyReader,
    /// Bytes at the front of `input` that are written from there.
    direct: usize,
    pipe: Option<Pipe>,
    chunked: bool,
    /// Whether a large piece has to be followed by the end of its chunk.
    chunk_end: bool,
    pub(super) head_seen: bool,
    /// Whether all of the body was handed to `out`, or moved.
    pub(super) complete: bool,
    pub(super) any_written: bool,
    /// Bytes of the body.
    pub(super) sent: u64,
    pub(super) status: u16,
    pub(super) time_to_head: Option<Duration>,
    pub(super) tunnel: bool,
    /// Whether the client was told that its connection ends.
    pub(super) close: bool,
}

impl<'a> ResponseSide<'a> {
    pub(super) fn new(head: &'a mut ResponseHead, input: &'a mut Buffer, out: &'a mut Vec<u8>) -> Self {
        Self {
            head,
            input,
            out,
            written: 0,
            body: BodyReader::Done,
            direct: 0,
            pipe: None,
            chunked: false,
            chunk_end: false,
            head_seen: false,
            complete: false,
            any_written: false,
            sent: 0,
            status: 0,
            time_to_head: None,
            tunnel: false,
            close: false,
        }
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.written >= self.out.len() && self.direct == 0 && self.pipe.as_ref().is_none_or(Pipe::is_empty)
    }

    /// Whether the client has all of it.
    pub(super) fn is_complete(&self) -> bool {
        self.complete && self.is_flushed()
    }

    /// The length of the next head, once it is there.
    pub(super) fn parse(&mut self, asked: Asked, limits: &HeadLimits) -> Result<Option<usize>, Failure> {
        let parsed = self.head.parse(self.input.filled(), asked, limits).map_err(|_| Failure::UpstreamProtocol)?;
        let too_large = parsed.is_none() && self.input.is_full() && self.input.filled().len() > limits.bytes;
        if too_large { Err(Failure::UpstreamProtocol) } else { Ok(parsed) }
    }

    /// Whether the backend switches to something that it was not asked for (S-118).
    pub(super) fn is_other_switch(&self) -> bool {
        let to = self.head.upgrade.map(|span| span.of(self.input.filled()));
        self.head.status == 101 && !to.is_some_and(|to| to.eq_ignore_ascii_case(b"websocket"))
    }

    /// 102 and its kin say nothing of the connection; their headers are passed on.
    pub(super) fn pass_informational(&mut self) {
        let parts = ResponseParts {
            status: self.head.status,
            fields: self.head.fields(self.input.filled()),
            nominates: self.head.nominates,
            framing: OutFraming::None,
            upgrade: None,
            close: false,
        };
        write_response(self.out, &parts, &Edits::default());
    }

    /// Passes the final head on.
    pub(super) fn pass_head(&mut self, plan: &Plan, asked: Asked, close: bool, date: &HttpDate, elapsed: Duration) {
        self.head_seen = true;
        self.status = self.head.status;
        self.time_to_head = Some(elapsed);
        self.tunnel = self.status == 101;
        self.close = close && !self.tunnel;
        self.body = BodyReader::new(self.head.body);
        self.complete = self.body.is_done();
        let framing = self.framing(asked);
        self.chunked = framing == OutFraming::Chunked && !self.complete;
        let buffer = self.input.filled();
        let fields = self.head.fields(buffer);
        let mut millis = itoa::Buffer::new();
        let mut edits = Edits::default();
        edits.set("server", &b"istio-envoy"[..]);
        edits.set("x-envoy-upstream-service-time", millis.format(elapsed.as_millis()).as_bytes());
        if fields.get("date").is_none() {
            edits.set("date", &date[..]);
        }
        plan.route.edit_response(plan.target, &mut edits);
        let upgrade = self.head.upgrade.filter(|_| self.tunnel).map(|span| span.of(buffer));
        let (status, nominates) = (self.status, self.head.nominates);
        let parts = ResponseParts { status, fields, nominates, framing, upgrade, close: self.close };
        write_response(self.out, &parts, &edits);
    }

    fn framing(&self, asked: Asked) -> OutFraming {
        match (self.head.body, self.head.declared_length) {
            (BodyLength::None, _) if matches!(self.status, 101 | 204) => OutFraming::None,
            // The length that a body would have had, told without one (HEAD, 304).
            (BodyLength::None, Some(length)) => OutFraming::Length(length),
            (BodyLength::None, None) if self.status == 304 || asked == Asked::Head => OutFraming::None,
            (BodyLength::None, None) => OutFraming::Length(0),
            (BodyLength::Length(length), _) => OutFraming::Length(length),
            // HTTP/1.1 has a better end than that of the connection.
            (BodyLength::Chunked | BodyLength::UntilClose, _) => OutFraming::Chunked,
        }
    }

    /// Hands what was read of the body to `out`, or marks it to be written from where it lies.
    pub(super) fn take_body(&mut self) -> Result<bool, Failure> {
        let mut moved = false;
        if !self.head_seen || self.pipe.is_some() {
            return Ok(false);
        }
        while !self.complete && self.direct == 0 && self.out.len() < COPY_LIMIT {
            let step = self.body.decode(self.input.filled()).map_err(|_| Failure::UpstreamProtocol)?;
            if step.consumed == 0 && !step.done {
                break;
            }
            moved = true;
            self.sent += step.data.len() as u64;
            self.complete = step.done;
            self.pass(&step);
            if self.complete && self.chunked && self.direct == 0 {
                ChunkWriter::end(self.out, self.body.trailers());
            }
        }
        Ok(moved)
    }

    fn pass(&mut self, step: &wire::h1::Step) {
        let length = step.data.len();
        if length > COPY_LIMIT {
            // The framing before the data is done with; what follows it is looked at next time.
            self.input.consume(step.data.start);
            self.direct = length;
            if self.chunked {
                ChunkWriter::prefix(self.out, length);
                self.chunk_end = true;
            }
            return;
        }
        let data = self.input.filled().get(step.data.clone()).unwrap_or_default();
        if self.chunked {
            ChunkWriter::data(self.out, data);
        } else {
            self.out.extend_from_slice(data);
        }
        self.input.consume(step.consumed);
    }

    /// Takes more of the body: reads it, or moves it past this process.
    pub(super) fn more(
        &mut self,
        worker: &Worker,
        up: &mut Stream,
        down: &mut Stream,
        context: &mut Context<'_>,
    ) -> Result<Poll<()>, Failure> {
        if self.is_moved(worker, up, down) {
            return self.move_body(worker, up, down, context);
        }
        match read(up, self.input, context) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Ok(count)) if count > 0 => {
                // A body that fills the buffer gets a larger one.
                if self.input.is_full() {
                    self.input.grow();
                }
            }
            Poll::Ready(Ok(_)) if self.body.ends_with_connection() => {
                self.complete = true;
                ChunkWriter::end(self.out, None);
            }
            // Part of an answer, and no end: the client must not take it for the whole.
            Poll::Ready(_) => return Err(Failure::UpstreamClosed),
        }
        Ok(Poll::Ready(()))
    }

    fn is_moved(&mut self, worker: &Worker, up: &Stream, down: &Stream) -> bool {
        if self.pipe.is_none()
            && self.input.is_empty()
            && let BodyReader::Length(left) = self.body
        {
            self.pipe = direct::pipe(worker, left, up, down);
        }
        self.pipe.is_some()
    }

    fn move_body(
        &mut self,
        worker: &Worker,
        up: &Stream,
        down: &Stream,
        context: &mut Context<'_>,
    ) -> Result<Poll<()>, Failure> {
        let (Some(pipe), BodyReader::Length(left)) = (&mut self.pipe, &mut self.body) else {
            return Err(Failure::UpstreamProtocol);
        };
        let before = *left;
        let moved = direct::poll_move(pipe, left, up, down, context);
        self.sent += before - *left;
        match moved {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(Broken::From)) => return Err(Failure::UpstreamClosed),
            Poll::Ready(Err(Broken::To)) => return Err(Failure::ClientClosed),
        }
        if *left == 0 && pipe.is_empty() {
            self.complete = true;
            self.pipe.take().into_iter().for_each(|pipe| worker.give_pipe(pipe));
        }
        Ok(Poll::Ready(()))
    }

    /// Writes what is to be written to the client; what it wrote.
    pub(super) fn flush(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut wrote = false;
        while self.written < self.out.len() || self.direct > 0 {
            let head = self.out.get(self.written..).unwrap_or_default();
            let direct = self.input.filled().get(..self.direct).unwrap_or_default();
            let polled = match (head.is_empty(), direct.is_empty()) {
                (false, true) => stream.poll_write(context, head),
                (true, _) => stream.poll_write(context, direct),
                (false, false) => stream.poll_write_vectored(context, &[IoSlice::new(head), IoSlice::new(direct)]),
            };
            match ready!(polled)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.count_written(count),
            }
            wrote = true;
        }
        self.out.clear();
        self.written = 0;
        Poll::Ready(Ok(wrote))
    }

    fn count_written(&mut self, count: usize) {
        self.any_written = true;
        let of_head = count.min(self.out.len() - self.written);
        self.written += of_head;
        let of_direct = count - of_head;
        self.input.consume(of_direct);
        self.direct -= of_direct;
        if self.direct == 0 && of_direct > 0 && self.chunk_end {
            self.chunk_end = false;
            self.out.extend_from_slice(b"\r\n");
            if self.complete {
                ChunkWriter::end(self.out, self.body.trailers());
            }
        }
    }

    /// Forgets a backend that gave no answer.
    pub(super) fn rewind(self) {
        self.input.release();
        self.out.clear();
        *self.head = std::mem::take(self.head).reset();
    }
}
