//! The request direction of an attempt: from the client to the backend.

use super::Failure;
use super::replay::ReplayBuffer;
use crate::codec::{Downstream, Piece, SendBuffer, Splice, TransferError, Upstream};
use crate::conn::{Buffer, Worker};
use std::io;
use std::task::{Context, Poll, ready};
use wire::h1::{BodyLength, BodyReader, RequestHead, Style};

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestState {
    /// Its body is forwarded.
    Body,
    /// All of it is in the send buffer, or was sent.
    Done,
    /// The backend accepts no further octets; whether all of the request was received before.
    Refused { is_complete: bool },
}

/// The request direction of a attempt.
pub(super) struct RequestSide<'a> {
    pub(super) head: &'a RequestHead,
    body: &'a mut BodyReader,
    input: &'a mut Buffer,
    send: SendBuffer<'a>,
    /// What was sent before the send buffer, for a replay.
    replay: &'a mut ReplayBuffer,
    /// The limit of the replay buffer; 0 without a replay.
    replay_limit: usize,
    splice: Splice,
    state: RequestState,
    /// Octets of the body that were received.
    pub(super) received: u64,
}

/// The parts of a request that is sent.
pub(super) struct RequestParts<'a> {
    pub(super) head: &'a RequestHead,
    pub(super) body: &'a mut BodyReader,
    pub(super) input: &'a mut Buffer,
    /// Octets to send first: the head in HTTP/1.
    pub(super) out: &'a mut Vec<u8>,
    pub(super) replay: &'a mut ReplayBuffer,
    pub(super) replay_limit: usize,
    /// Whether the backend is asked to switch protocols.
    pub(super) is_switch: bool,
    pub(super) style: Style,
}

impl<'a> RequestSide<'a> {
    pub(super) fn new(parts: RequestParts<'a>, up: &Upstream) -> Self {
        let RequestParts { head, body, input, out, replay, replay_limit, is_switch, style } = parts;
        let is_chunked = head.body == BodyLength::Chunked || (replay.is_decoded() && head.body != BodyLength::None);
        let mut send = up.send_buffer(out, is_chunked.then_some(style), is_switch);
        let is_done = body.is_done() && !replay.is_holding();
        let state = if is_done { RequestState::Done } else { RequestState::Body };
        if state == RequestState::Done {
            send.end_again(replay.trailers.as_deref());
        }
        Self { head, body, input, send, replay, replay_limit, splice: Splice::default(), state, received: 0 }
    }

    /// Whether all of the request was received.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state, RequestState::Done | RequestState::Refused { is_complete: true })
    }

    /// Whether the backend accepts no further octets.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.state, RequestState::Refused { .. })
    }

    /// Whether the backend may have received any of the request.
    pub(super) fn any_written(&self) -> bool {
        self.send.any_written()
    }

    /// Whether the whole request was sent.
    pub(super) fn is_sent(&self) -> bool {
        self.state == RequestState::Done && self.send.is_flushed()
    }

    /// Whether the trailer section is incomplete.
    pub(super) fn is_in_trailers(&self) -> bool {
        !self.is_complete() && self.body.is_in_trailers()
    }

    /// Whether the attempt waits for the client's body.
    pub(super) fn awaits_body(&self) -> bool {
        self.state == RequestState::Body && self.send.is_flushed() && self.splice.is_empty()
    }

    /// Notes that the backend accepts no further octets.
    pub(super) fn refuse(&mut self) {
        self.state = RequestState::Refused { is_complete: self.is_complete() };
    }

    /// Sends what waits; whether anything was sent.
    pub(super) fn poll_send(&mut self, up: &mut Upstream, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        up.poll_send(&mut self.send, self.input, context)
    }

    /// Receives the next piece of the body, or splices it.
    pub(super) fn poll_body(
        &mut self,
        worker: &Worker,
        down: &mut Downstream,
        up: &Upstream,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>> {
        if let Some(piece) = self.replay.take_held(self.body) {
            return Poll::Ready(self.take(piece));
        }
        if !self.splice.is_active() && self.input.is_empty() && self.replay.is_plain() {
            self.splice.begin(worker, self.body, down, up);
        }
        if self.splice.is_active() {
            return self.poll_splice(down, up, context);
        }
        let piece = ready!(down.poll_data(self.body, self.input, &worker.limits.head, context));
        Poll::Ready(self.take(piece.map_err(Failure::of_client)?))
    }

    fn take(&mut self, piece: Piece) -> Result<(), Failure> {
        self.begin_piece();
        let data = piece.data(self.input);
        self.received += data.len() as u64;
        let taken = self.replay.put(&mut self.send, data);
        piece.consume(self.input);
        taken?;
        if piece.is_last {
            self.replay.check_whole()?;
            self.state = RequestState::Done;
            let trailers = piece.into_trailers(self.body);
            self.replay.mirrors.end(|| trailers.to_map());
            self.send.end(trailers);
            self.replay.trailers = self.send.pending_trailers().cloned().map(Box::new);
        }
        Ok(())
    }

    /// Clears the send buffer for the next piece, once the last one was sent.
    fn begin_piece(&mut self) {
        self.retain_sent();
        self.send.clear();
    }

    /// Moves what was sent into the replay buffer, up to its limit.
    fn retain_sent(&mut self) {
        if self.replay_limit == 0 {
            if !self.send.octets().is_empty() {
                // What is cleared next is kept nowhere, also where it is no more than the frame of a piece.
                self.replay.discard();
            }
            return;
        }
        if self.replay.bytes.len() > self.replay_limit || !self.replay.retain(self.send.octets()) {
            // The buffer is incomplete, so the request cannot be replayed.
            self.replay_limit = 0;
            self.replay.discard();
        }
    }

    fn poll_splice(
        &mut self,
        down: &Downstream,
        up: &Upstream,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>> {
        // Spliced octets cannot be replayed.
        self.replay_limit = 0;
        match ready!(self.splice.poll_move(self.body, down, up, context)) {
            Ok(spliced) => {
                self.received += spliced.received;
                if spliced.is_done {
                    self.state = RequestState::Done;
                }
            }
            Err(TransferError::Source(error)) => return Poll::Ready(Err(Failure::of_client(error))),
            Err(TransferError::Sink) => self.refuse(),
        }
        Poll::Ready(Ok(()))
    }

    /// Whether all that was sent can be replayed.
    pub(super) fn is_whole(&mut self) -> bool {
        let kept = self.received == 0
            || (self.replay_limit > 0 && self.replay.bytes.len() + self.send.octets().len() <= self.replay_limit);
        kept && !self.replay.is_lost()
    }

    /// Puts everything sent so far back, to be sent again.
    pub(super) fn rewind(mut self) {
        if !self.replay.bytes.is_empty() {
            let sent = self.send.octets();
            self.replay.bytes.append(sent);
            std::mem::swap(sent, &mut self.replay.bytes);
        }
    }
}
