//! The response direction of an attempt: from the backend to the client.

use super::Failure;
use super::interim::Interim;
use crate::codec::{
    BodyFraming, Downstream, GrpcWebResponse, HeadInput, Pace, Piece, Received, SendBuffer, Splice, Trailers,
    TransferError, Upstream,
};
use crate::conn::{Buffer, Charge, Worker};
use crate::stream_info::LoggedResponse;
use ir::HeaderSettings;
use routing::BackendHead;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use wire::h1::response::RequestKind;
use wire::h1::{BodyReader, HeadLimits, ResponseHead, Style};

/// The state of a response in an attempt. Trailers are no state of their own: the last piece of a body has them, and how far a trailer section in octets has come
/// is the state of the [`BodyReader`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResponseState {
    /// Its final head is awaited.
    AwaitHead,
    /// Its body, with the trailers, is forwarded.
    Body,
    /// All of it is in the send buffer, or was sent.
    Done,
    /// Its head has switched protocols.
    Tunnel,
}

/// The response direction of an attempt.
pub(super) struct ResponseSide<'a> {
    pub(super) head: &'a mut ResponseHead,
    pub(super) input: &'a mut Buffer,
    pub(super) send: SendBuffer<'a>,
    pub(super) headers: &'a HeaderSettings,
    /// The style of heads for an HTTP/1 client.
    pub(super) style: Style,
    pub(super) state: ResponseState,
    pub(super) body: BodyReader,
    splice: Splice,
    pace: Pace,
    /// The translation for a gRPC-Web client; boxed, as most clients have none.
    pub(super) web: Option<Box<GrpcWebResponse>>,
    pub(super) interim: Interim,
    /// Octets of the body that were sent.
    pub(super) sent: u64,
    pub(super) status: u16,
    pub(super) time_to_head: Option<Duration>,
    /// Whether the response has `Connection: close`.
    pub(super) close: bool,
    /// What the access log states of the response, and whether it states trailers.
    pub(super) logged: LoggedResponse,
    keeps_trailers: bool,
    /// While the client reads nothing: a charge for what an HTTP/2 backend may have sent.
    ahead: Option<Charge>,
}

/// The buffers of the response direction.
pub(super) struct ResponseBuffers<'a> {
    pub(super) head: &'a mut ResponseHead,
    pub(super) input: &'a mut Buffer,
    pub(super) out: &'a mut Vec<u8>,
}

impl<'a> ResponseSide<'a> {
    /// `keeps_trailers` says whether the access log states trailers.
    pub(super) fn new(
        buffers: ResponseBuffers<'a>,
        headers: &'a HeaderSettings,
        style: Style,
        keeps_trailers: bool,
    ) -> Self {
        Self {
            head: buffers.head,
            input: buffers.input,
            send: SendBuffer::new(buffers.out, BodyFraming::Octets),
            headers,
            style,
            state: ResponseState::AwaitHead,
            body: BodyReader::Done,
            splice: Splice::default(),
            pace: Pace::default(),
            web: None,
            interim: Interim::default(),
            sent: 0,
            status: 0,
            time_to_head: None,
            close: false,
            logged: LoggedResponse::default(),
            keeps_trailers,
            ahead: None,
        }
    }

    /// Whether the head of the final response was received.
    pub(super) fn has_head(&self) -> bool {
        self.state != ResponseState::AwaitHead
    }

    /// Whether everything that was received was sent.
    pub(super) fn is_flushed(&self) -> bool {
        self.send.is_flushed() && self.splice.is_empty()
    }

    /// Whether the whole response was sent.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state, ResponseState::Done | ResponseState::Tunnel) && self.is_flushed()
    }

    /// Whether a head or trailer section is incomplete and the attempt waits for the backend.
    pub(super) fn has_partial_section(&self) -> bool {
        let is_partial = match self.state {
            ResponseState::AwaitHead => !self.input.is_empty(),
            ResponseState::Body => self.body.is_in_trailers(),
            ResponseState::Done | ResponseState::Tunnel => false,
        };
        is_partial && self.is_flushed()
    }

    /// Receives the next head, interim or final: its length in the input, or `None` while it is incomplete.
    pub(super) fn poll_head(
        &mut self,
        up: &mut Upstream,
        down: &Downstream,
        request_kind: RequestKind,
        limits: &HeadLimits,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<usize>, Failure>> {
        let may_read = self.is_flushed();
        let (head, input) = (&mut *self.head, &mut *self.input);
        let into = HeadInput { head, input, request_kind, limits, most: down.read_ahead_limit(), may_read };
        up.poll_head(into, context).map_err(Failure::of_backend)
    }

    /// The head that was received last.
    pub(super) fn backend_head(&self, request_kind: RequestKind) -> BackendHead<'_> {
        BackendHead::new(self.head, self.input.filled(), request_kind)
    }

    /// Whether the octets after a head of `length` octets can begin its body. Checked before the head is sent, so that an error response is
    /// still possible.
    pub(super) fn may_begin_body(&self, length: usize) -> bool {
        BodyReader::may_begin(self.head.body, self.input.filled().get(length..).unwrap_or_default())
    }

    /// Decodes what was received of the body into the send buffer; whether there was anything.
    fn decode_body(&mut self, down: &mut Downstream) -> Result<bool, Failure> {
        let mut moved = false;
        while self.state == ResponseState::Body && !self.splice.is_active() && self.send.has_room() {
            let piece = Piece::decode(&mut self.body, self.input).map_err(|_| Failure::UpstreamProtocol)?;
            let Some(piece) = piece else { break };
            moved = true;
            self.put(piece, down)?;
        }
        Ok(moved)
    }

    /// Puts a piece into the send buffer, or leaves it to be sent from the input.
    fn put(&mut self, piece: Piece, down: &mut Downstream) -> Result<(), Failure> {
        if self.web.is_none() && self.send.takes_directly(&piece, self.input) {
            self.sent += self.send.push_direct(&piece, self.input) as u64;
        } else {
            let data = piece.data(self.input);
            // `None`: the translation to gRPC-Web takes no more.
            let taken = match &mut self.web {
                Some(web) => web.push(data, &mut self.send),
                None => {
                    self.send.push(data);
                    Some(data.len())
                }
            };
            piece.consume(self.input);
            self.sent += taken.unwrap_or(0) as u64;
            if taken.is_none() && !piece.is_last {
                // No more is wanted, so that the backend's connection is not reusable.
                self.head.keep_alive = false;
                return self.end(Trailers::None, down);
            }
        }
        if piece.is_last {
            let trailers = piece.into_trailers(&self.body);
            if self.keeps_trailers {
                self.logged.trailers = trailers.to_map().map(Box::new);
            }
            end_body(&mut self.send, &mut self.web, trailers, down).map(|count| self.sent += count)?;
            self.state = ResponseState::Done;
        }
        Ok(())
    }

    fn end(&mut self, trailers: Trailers<'_>, down: &mut Downstream) -> Result<(), Failure> {
        self.state = ResponseState::Done;
        self.sent += end_body(&mut self.send, &mut self.web, trailers, down)?;
        Ok(())
    }

    /// Sends what waits to the client, and receives and sends more of the body, as far as it goes; whether anything was received or sent.
    pub(super) fn forward(
        &mut self,
        worker: &Worker,
        up: &mut Upstream,
        down: &mut Downstream,
        context: &mut Context<'_>,
    ) -> Result<bool, Failure> {
        let mut moved = false;
        loop {
            // Body octets that are already read go out with the head.
            let decoded = self.decode_body(down)?;
            moved |= decoded;
            match self.poll_send(down, context) {
                Poll::Pending => return self.charge_ahead(worker, up, down).map(|()| moved),
                Poll::Ready(Ok(wrote)) => moved |= wrote,
                Poll::Ready(Err(_)) => return Err(Failure::ClientClosed),
            }
            self.ahead = None;
            if self.state != ResponseState::Body {
                return Ok(moved);
            }
            if decoded && !self.input.is_empty() {
                // There is room for what follows.
                continue;
            }
            match self.poll_more(worker, up, down, context)? {
                Poll::Pending => return Ok(moved),
                Poll::Ready(()) => moved = true,
            }
        }
    }

    /// While the client reads nothing, charges its connection for what the backend may have sent.
    fn charge_ahead(&mut self, worker: &Worker, up: &Upstream, down: &Downstream) -> Result<(), Failure> {
        if self.ahead.is_none()
            && let Some(charge) = down.charge_ahead(up, self.still_to_come())
        {
            self.ahead = Some(charge.map_err(|over| {
                worker.refuse_stream(over);
                Failure::ClientSlow
            })?);
        }
        Ok(())
    }

    /// Receives more of the body, or splices it.
    fn poll_more(
        &mut self,
        worker: &Worker,
        up: &mut Upstream,
        down: &mut Downstream,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>> {
        if !self.splice.is_active() && self.input.is_empty() && self.web.is_none() {
            self.splice.begin(worker, &self.body, up, down);
        }
        if self.splice.is_active() {
            let spliced = ready!(self.splice.poll_move(&mut self.body, up, down, context)).map_err(of_transfer)?;
            self.sent += spliced.received;
            if spliced.is_done {
                self.state = ResponseState::Done;
            }
            return Poll::Ready(Ok(()));
        }
        let limits = &worker.limits.head;
        let received = ready!(self.pace.poll_data(up, down, self.input, limits, context)).map_err(of_transfer)?;
        Poll::Ready(match received {
            Received::Octets => Ok(()),
            Received::Piece(piece) => self.put(piece, down),
            Received::Closed if self.body.ends_with_connection() => self.end(Trailers::None, down),
            // The response is incomplete: the client must not see a regular end.
            Received::Closed => Err(Failure::UpstreamIncomplete),
        })
    }

    /// Sends what waits; whether anything was sent.
    fn poll_send(&mut self, down: &mut Downstream, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let sent = ready!(down.poll_send(&mut self.send, self.input, context));
        if sent.is_ok() {
            self.send.clear();
        }
        Poll::Ready(sent)
    }

    /// The octets of the body still to come; `u64::MAX` if unknown.
    fn still_to_come(&self) -> u64 {
        self.head.declared_length.map_or(u64::MAX, |length| length.saturating_sub(self.sent))
    }

    /// Resets the direction for another attempt.
    pub(super) fn rewind(&mut self) {
        self.input.release();
        self.send.clear();
        *self.head = std::mem::take(self.head).reset();
    }
}

/// Sends the end of a body; returns the octets of body sent for it.
fn end_body(
    send: &mut SendBuffer<'_>,
    web: &mut Option<Box<GrpcWebResponse>>,
    trailers: Trailers<'_>,
    down: &mut Downstream,
) -> Result<u64, Failure> {
    let Some(web) = web else {
        send.end(trailers);
        return Ok(0);
    };
    let count = web.end(&trailers, down, send)?;
    send.end(Trailers::None);
    Ok(count as u64)
}

fn of_transfer(error: TransferError) -> Failure {
    match error {
        TransferError::Source(error) => Failure::of_backend(error),
        TransferError::Sink => Failure::ClientClosed,
    }
}
