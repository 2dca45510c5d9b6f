//! The request direction of an attempt: from the client to the backend.

use super::Failure;
use super::replay::Replay;
use super::request_body::RequestBody;
use crate::codec::{Downstream, Piece, SendBuffer, Splice, TransferError, Upstream};
use crate::conn::{Buffer, Worker};
use std::task::{Context, Poll, ready};
use wire::h1::RequestHead;

/// The state of a request in an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestState {
    /// Its body is forwarded.
    Body,
    /// All of it is in the send buffer, or was sent.
    Done,
    /// The backend accepts no further octets, and the request is incomplete.
    Refused,
    /// The backend accepts no further octets, but all of the request was received before.
    RefusedWhole,
}

/// What lasts over all attempts of a request.
pub(in crate::http) struct OutgoingRequest {
    pub(in crate::http) body: RequestBody,
    pub(in crate::http) replay: Replay,
}

/// The request direction of an attempt.
pub(super) struct RequestSide<'a> {
    pub(super) head: &'a RequestHead,
    request: &'a mut OutgoingRequest,
    input: &'a mut Buffer,
    send: SendBuffer<'a>,
    splice: Splice,
    state: RequestState,
    /// Octets of the body that were received.
    pub(super) received: u64,
}

impl<'a> RequestSide<'a> {
    /// `send` has the head, if the backend receives it in octets, and what earlier attempts have sent of the body.
    pub(super) fn new(
        head: &'a RequestHead,
        request: &'a mut OutgoingRequest,
        input: &'a mut Buffer,
        mut send: SendBuffer<'a>,
    ) -> Self {
        let mut state = RequestState::Body;
        if request.body.is_done() {
            state = RequestState::Done;
            send.end_again(request.replay.trailers());
        }
        Self { head, request, input, send, splice: Splice::default(), state, received: 0 }
    }

    /// Whether all of the request was received.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state, RequestState::Done | RequestState::RefusedWhole)
    }

    /// Whether the backend accepts no further octets.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.state, RequestState::Refused | RequestState::RefusedWhole)
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
        !self.is_complete() && self.request.body.is_in_trailers()
    }

    /// Whether the attempt waits for the client's body.
    pub(super) fn awaits_body(&self) -> bool {
        self.state == RequestState::Body && self.send.is_flushed() && self.splice.is_empty()
    }

    /// Whether octets of the request wait for the backend, so that the client is not read.
    pub(super) fn awaits_backend(&self) -> bool {
        let is_flushed = self.send.is_flushed() && self.splice.is_empty();
        !self.is_refused() && !is_flushed
    }

    /// Whether all that was sent can be sent again.
    pub(super) fn is_replayable(&mut self) -> bool {
        self.request.replay.is_whole(self.send.octets())
    }

    /// Sends what waits to the backend, and receives and sends more of the body, as far as it goes; whether anything was received or sent.
    pub(super) fn forward(
        &mut self,
        worker: &Worker,
        down: &mut Downstream,
        up: &mut Upstream,
        context: &mut Context<'_>,
    ) -> Result<bool, Failure> {
        let mut moved = false;
        while !self.is_refused() {
            let waiting = self.send.waiting();
            match up.poll_send(&mut self.send, self.input, context) {
                Poll::Pending => {
                    moved |= self.send.waiting() < waiting;
                    break;
                }
                Poll::Ready(Ok(wrote)) => moved |= wrote,
                // The backend may have responded before it closed; its response is read first.
                Poll::Ready(Err(_)) => {
                    self.refuse();
                    return Ok(true);
                }
            }
            if self.is_complete() {
                break;
            }
            match self.poll_body(worker, down, up, context)? {
                Poll::Pending => break,
                Poll::Ready(()) => moved = true,
            }
        }
        Ok(moved)
    }

    /// Notes that the backend accepts no further octets.
    fn refuse(&mut self) {
        self.state = if self.is_complete() { RequestState::RefusedWhole } else { RequestState::Refused };
    }

    /// Receives the next piece of the body, or splices it.
    fn poll_body(
        &mut self,
        worker: &Worker,
        down: &mut Downstream,
        up: &Upstream,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>> {
        if !self.splice.is_active()
            && self.input.is_empty()
            && let Some(rest) = self.request.body.plain_rest()
        {
            self.splice.begin(worker, rest, down, up);
        }
        if self.splice.is_active() {
            return self.poll_splice(down, up, context);
        }
        let piece = ready!(self.request.body.poll_piece(down, self.input, &worker.limits.head, context))?;
        Poll::Ready(self.put(piece))
    }

    /// Puts a piece into the send buffer, once what was in it was sent.
    fn put(&mut self, piece: Piece) -> Result<(), Failure> {
        self.request.replay.keep(self.send.octets());
        self.send.clear();
        self.received += piece.data(self.input).len() as u64;
        let is_last = piece.is_last;
        self.request.body.put(piece, self.input, &mut self.send)?;
        if is_last {
            self.state = RequestState::Done;
            self.request.replay.end(self.send.pending_trailers());
        }
        Ok(())
    }

    fn poll_splice(
        &mut self,
        down: &Downstream,
        up: &Upstream,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>> {
        match ready!(self.splice.poll_move(self.request.body.rest(), down, up, context)) {
            Ok(spliced) => {
                self.received += spliced.received;
                if spliced.received > 0 {
                    self.request.replay.lose();
                }
                if spliced.is_done {
                    self.state = RequestState::Done;
                }
            }
            Err(TransferError::Source(error)) => return Poll::Ready(Err(Failure::of_client(error))),
            Err(TransferError::Sink) => self.refuse(),
        }
        Poll::Ready(Ok(()))
    }

    /// Ends a failed attempt, after which the request is sent again.
    pub(super) fn rewind(&mut self) {
        self.request.replay.rewind(self.send.octets());
    }
}
