//! From the client to the backend.

use super::Failure;
use super::direct::{self, Broken};
use crate::conn::{Buffer, Pipe, Worker};
use crate::http::server::read;
use std::io;
use std::task::{Context, Poll, ready};
use upstream::Stream;
use wire::h1::{BodyLength, BodyReader, ChunkWriter, RequestHead};

/// The request's side of a flow.
pub(super) struct RequestSide<'a> {
    pub(super) head: &'a RequestHead,
    body: &'a mut BodyReader,
    input: &'a mut Buffer,
    /// What is written next; first of all the head.
    out: &'a mut Vec<u8>,
    written: usize,
    /// All that was written before `out`, while it might have to be sent again.
    held: &'a mut Vec<u8>,
    /// How much may be held; 0 when nothing will be sent again.
    held_limit: usize,
    pipe: Option<Pipe>,
    /// Whether all of the body was handed to `out`, or moved.
    pub(super) complete: bool,
    /// Whether the backend takes no more.
    pub(super) refused: bool,
    pub(super) any_written: bool,
    /// Bytes of the body.
    pub(super) received: u64,
}

impl<'a> RequestSide<'a> {
    pub(super) fn new(
        head: &'a RequestHead,
        body: &'a mut BodyReader,
        input: &'a mut Buffer,
        out: &'a mut Vec<u8>,
        held: &'a mut Vec<u8>,
        held_limit: usize,
    ) -> Self {
        let complete = body.is_done();
        Self {
            head,
            body,
            input,
            out,
            written: 0,
            held,
            held_limit,
            pipe: None,
            complete,
            refused: false,
            any_written: false,
            received: 0,
        }
    }

    fn is_flushed(&self) -> bool {
        self.written >= self.out.len()
    }

    /// Whether all of it has gone to the backend.
    pub(super) fn is_sent(&self) -> bool {
        self.complete && !self.refused && self.is_flushed()
    }

    /// Whether it is the client that is waited for.
    pub(super) fn awaits_body(&self) -> bool {
        let in_pipe = self.pipe.as_ref().is_some_and(|pipe| !pipe.is_empty());
        !self.complete && !self.refused && self.is_flushed() && !in_pipe
    }

    pub(super) fn flush(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut wrote = false;
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(stream.poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => {
                    self.written += count;
                    self.any_written = true;
                    wrote = true;
                }
            }
        }
        Poll::Ready(Ok(wrote))
    }

    /// Takes the next piece of the body: into `out`, which is written, or past this process.
    pub(super) fn take_body(
        &mut self,
        worker: &Worker,
        down: &mut Stream,
        up: &mut Stream,
        context: &mut Context<'_>,
    ) -> Result<Poll<()>, Failure> {
        if self.is_moved(worker, down, up) {
            return self.move_body(worker, down, up, context);
        }
        let step = self.body.decode(self.input.filled()).map_err(|_| Failure::ClientBody)?;
        if step.consumed > 0 || step.done {
            self.pass(&step);
            return Ok(Poll::Ready(()));
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

    fn pass(&mut self, step: &wire::h1::Step) {
        self.hold();
        self.out.clear();
        self.written = 0;
        let data = self.input.filled().get(step.data.clone()).unwrap_or_default();
        self.received += data.len() as u64;
        if self.head.body == BodyLength::Chunked {
            ChunkWriter::data(self.out, data);
            if step.done {
                ChunkWriter::end(self.out, self.body.trailers());
            }
        } else {
            self.out.extend_from_slice(data);
        }
        self.input.consume(step.consumed);
        self.complete = step.done;
    }

    /// Keeps what was sent, as long as there is little of it.
    fn hold(&mut self) {
        if self.held.len() <= self.held_limit && self.held_limit > 0 {
            self.held.extend_from_slice(self.out);
        }
    }

    fn is_moved(&mut self, worker: &Worker, down: &Stream, up: &Stream) -> bool {
        if self.pipe.is_none()
            && self.input.is_empty()
            && let BodyReader::Length(left) = *self.body
        {
            self.pipe = direct::pipe(worker, left, down, up);
        }
        self.pipe.is_some()
    }

    fn move_body(
        &mut self,
        worker: &Worker,
        down: &Stream,
        up: &Stream,
        context: &mut Context<'_>,
    ) -> Result<Poll<()>, Failure> {
        let (Some(pipe), BodyReader::Length(left)) = (&mut self.pipe, &mut *self.body) else {
            return Err(Failure::ClientBody);
        };
        // What moves past cannot be kept.
        self.held_limit = 0;
        let before = *left;
        let moved = direct::poll_move(pipe, left, down, up, context);
        self.received += before - *left;
        match moved {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(Broken::From)) => return Err(Failure::ClientClosed),
            Poll::Ready(Err(Broken::To)) => self.refused = true,
        }
        if *left == 0 && pipe.is_empty() {
            self.complete = true;
            self.pipe.take().into_iter().for_each(|pipe| worker.give_pipe(pipe));
        }
        Ok(Poll::Ready(()))
    }

    /// Whether all that was sent is still there.
    pub(super) fn is_whole(&self) -> bool {
        self.received == 0 || (self.held_limit > 0 && self.held.len() + self.out.len() <= self.held_limit)
    }

    /// Puts all that was sent into `out` again.
    pub(super) fn rewind(self) {
        if !self.held.is_empty() {
            self.held.append(self.out);
            std::mem::swap(self.out, self.held);
        }
    }
}
