//! Both directions of one exchange, polled together: the request's body keeps flowing while the answer already comes.
//!
//! It copies small pieces behind the head that is to be written anyway, so that one call of the system takes both, and writes
//! large ones from where they were read. It reads no further while what it read is not written.

use super::exchange::{After, Settled};
use super::reply::Reject;
use super::server::{Downstream, read};
use crate::conn::{Buffer, Space, Timer, Worker};
use crate::limits::COPY_LIMIT;
use routing::RouteEntry;
use std::io::IoSlice;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use upstream::{Connection, Stream};
use wire::edit::Edits;
use wire::h1::response::Asked;
use wire::h1::{
    BodyLength, BodyReader, ChunkWriter, OutFraming, RequestHead, ResponseHead, ResponseParts, write_response,
};

/// Why an exchange did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The backend closed, before or while it answered.
    UpstreamClosed,
    /// The backend's answer is malformed.
    UpstreamProtocol,
    /// The route's time is over.
    Timeout,
    /// The client closed, or does not take its answer.
    ClientClosed,
    /// The client's body is malformed.
    ClientBody,
    /// The client's body does not come.
    ClientTimeout,
}

impl Failure {
    /// The answer that tells it, where there is somebody to tell.
    pub(super) fn reject(self) -> Option<Reject> {
        match self {
            Self::UpstreamClosed => Some(Reject::UpstreamClosed),
            Self::UpstreamProtocol => Some(Reject::UpstreamProtocol),
            Self::Timeout => Some(Reject::Timeout),
            Self::ClientClosed => None,
            Self::ClientBody => Some(Reject::ClientBody),
            Self::ClientTimeout => Some(Reject::ClientTimeout),
        }
    }

    pub(super) fn detail(self) -> &'static str {
        match self {
            Self::ClientClosed => "downstream_remote_disconnect",
            Self::UpstreamClosed => "upstream_reset_after_response_started{connection_termination}",
            Self::UpstreamProtocol => "upstream_reset_after_response_started{protocol_error}",
            Self::Timeout | Self::ClientBody | Self::ClientTimeout => self.reject().map_or("", Reject::detail),
        }
    }
}

/// How the answer is to be passed on.
pub(super) struct ResponseSetting<'a> {
    pub(super) route: &'a RouteEntry,
    pub(super) target: usize,
    pub(super) asked: Asked,
    /// Whether the client is told that the connection ends.
    pub(super) close: bool,
    pub(super) timeout: Option<Duration>,
}

/// One attempt of an exchange.
pub(super) struct Flow<'a> {
    worker: &'a Rc<Worker>,
    down: &'a mut Stream,
    timer: &'a Timer,
    up: Connection,
    setting: ResponseSetting<'a>,
    request: RequestSide<'a>,
    response: ResponseSide<'a>,
    started: Instant,
}

/// From the client to the backend.
struct RequestSide<'a> {
    head: &'a RequestHead,
    body: &'a mut BodyReader,
    input: &'a mut Buffer,
    out: &'a mut Vec<u8>,
    written: usize,
    /// All that was sent, while it might have to be sent again.
    held: Option<&'a mut Vec<u8>>,
    held_limit: usize,
    /// Whether all of the body was handed to `out`.
    complete: bool,
    /// Whether the backend takes no more.
    refused: bool,
    any_written: bool,
    received: u64,
}

/// From the backend to the client.
struct ResponseSide<'a> {
    head: &'a mut ResponseHead,
    input: &'a mut Buffer,
    out: &'a mut Vec<u8>,
    written: usize,
    body: BodyReader,
    /// Bytes at the front of `input` that are written from there.
    direct: usize,
    chunked: bool,
    /// Whether a large piece has to be followed by the end of its chunk.
    chunk_end: bool,
    head_seen: bool,
    /// Whether all of the body was handed to `out`.
    complete: bool,
    any_written: bool,
    sent: u64,
    status: u16,
    time_to_head: Option<Duration>,
    tunnel: bool,
}

impl<'a> Flow<'a> {
    pub(super) fn new(
        worker: &'a Rc<Worker>,
        conn: &'a mut Downstream,
        space: &'a mut Space,
        up: Connection,
        request_body: &'a mut BodyReader,
        held: Option<&'a mut Vec<u8>>,
        setting: ResponseSetting<'a>,
    ) -> Self {
        let complete = request_body.is_done();
        let request = RequestSide {
            head: &space.request,
            body: request_body,
            input: &mut space.body_in,
            out: &mut space.up_out,
            written: 0,
            // Without a body `out` stays as it is, and is at hand to be sent again.
            held: held.filter(|_| !complete && up.reused),
            held_limit: worker.limits.replay_bytes,
            complete,
            refused: false,
            any_written: false,
            received: 0,
        };
        let response = ResponseSide {
            head: &mut space.response,
            input: &mut space.up_in,
            out: &mut space.down_out,
            written: 0,
            body: BodyReader::Done,
            direct: 0,
            chunked: false,
            chunk_end: false,
            head_seen: false,
            complete: false,
            any_written: false,
            sent: 0,
            status: 0,
            time_to_head: None,
            tunnel: false,
        };
        let flow = Self {
            worker,
            down: &mut conn.stream,
            timer: &conn.timer,
            up,
            setting,
            request,
            response,
            started: Instant::now(),
        };
        flow.set_deadline();
        flow
    }

    /// The route's time counts from the end of the request (VS-39); until then the client has to go on.
    fn set_deadline(&self) {
        match (self.request.complete, self.setting.timeout) {
            (true, Some(timeout)) => self.timer.set(timeout),
            (true, None) => self.timer.clear(),
            (false, _) => self.timer.set(self.worker.limits.body_timeout),
        }
    }

    /// Moves what can be moved; ready when the answer is complete or cannot become so.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            let mut moved = self.send_request(context)?;
            moved |= self.receive(context)?;
            moved |= self.send_response(context)?;
            if self.response.complete && self.response.is_flushed() {
                return Poll::Ready(Ok(()));
            }
            if moved {
                continue;
            }
            if self.timer.expired(context) {
                let failure = if self.request.complete { Failure::Timeout } else { Failure::ClientTimeout };
                return Poll::Ready(Err(failure));
            }
            return Poll::Pending;
        }
    }

    /// Writes what is to be written to the backend, and takes more of the body when that is done.
    fn send_request(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        loop {
            match self.request.flush(&mut self.up.stream, context) {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Ok(wrote)) => moved |= wrote,
                // It may have answered before it closed; what it said is read first.
                Poll::Ready(Err(_)) => {
                    self.request.refused = true;
                    return Ok(moved);
                }
            }
            if self.request.complete || self.request.refused {
                return Ok(moved);
            }
            match self.request.take_body(self.down, context)? {
                Poll::Pending => return Ok(moved),
                Poll::Ready(()) => moved = true,
            }
            if self.request.complete {
                self.set_deadline();
            }
        }
    }

    /// Reads the answer's head, and after it as much of the body as may be kept.
    fn receive(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        while !self.response.head_seen {
            if !self.request.any_written && !self.request.refused {
                return Ok(moved);
            }
            if self.response.input.is_full() {
                self.response.input.grow();
            }
            match read(&mut self.up.stream, self.response.input, context) {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(_) => return Err(Failure::UpstreamClosed),
            }
            moved = true;
            self.read_heads()?;
        }
        Ok(moved)
    }

    /// Informational answers are passed on as they come; the final one ends the loop.
    fn read_heads(&mut self) -> Result<(), Failure> {
        while !self.response.head_seen {
            let response = &mut self.response;
            let parsed = response.head.parse(response.input.filled(), self.setting.asked, &self.worker.limits.head);
            let Some(length) = parsed.map_err(|_| Failure::UpstreamProtocol)? else {
                return if response.input.is_full() && response.input.filled().len() > self.worker.limits.head.bytes {
                    Err(Failure::UpstreamProtocol)
                } else {
                    Ok(())
                };
            };
            if response.head.is_informational() {
                response.pass_informational();
            } else {
                self.pass_head();
            }
            self.response.input.consume(length);
        }
        Ok(())
    }

    fn pass_head(&mut self) {
        let response = &mut self.response;
        let elapsed = self.started.elapsed();
        response.head_seen = true;
        response.status = response.head.status;
        response.time_to_head = Some(elapsed);
        response.tunnel = response.status == 101;
        response.body = BodyReader::new(response.head.body);
        response.complete = response.body.is_done();
        let framing = match (response.head.body, response.head.declared_length) {
            (BodyLength::None, _) if matches!(response.status, 101 | 204) => OutFraming::None,
            // The length that a body would have had, told without one (HEAD, 304).
            (BodyLength::None, Some(length)) => OutFraming::Length(length),
            (BodyLength::None, None) if response.status == 304 || self.setting.asked == Asked::Head => OutFraming::None,
            (BodyLength::None, None) => OutFraming::Length(0),
            (BodyLength::Length(length), _) => OutFraming::Length(length),
            // HTTP/1.1 has a better end than that of the connection.
            (BodyLength::Chunked | BodyLength::UntilClose, _) => OutFraming::Chunked,
        };
        response.chunked = framing == OutFraming::Chunked && !response.complete;
        let buffer = response.input.filled();
        let fields = response.head.fields(buffer);
        let millis = itoa::Buffer::new().format(elapsed.as_millis()).to_owned();
        let date = if fields.get("date").is_none() { Some(self.worker.date()) } else { None };
        let mut edits = Edits::default();
        edits.set("server", &b"istio-envoy"[..]);
        edits.set("x-envoy-upstream-service-time", millis.as_bytes());
        if let Some(date) = &date {
            edits.set("date", date.as_bytes());
        }
        self.setting.route.edit_response(self.setting.target, &mut edits);
        let upgrade = response.head.upgrade.filter(|_| response.tunnel).map(|span| span.of(buffer));
        let parts = ResponseParts {
            status: response.status,
            fields,
            nominates: response.head.nominates,
            framing,
            upgrade,
            close: self.setting.close && !response.tunnel,
        };
        write_response(response.out, &parts, &edits);
    }

    /// Writes what is to be written to the client, and takes more of the body when that is done.
    fn send_response(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        loop {
            if self.response.head_seen {
                // What is there already goes out with the head.
                moved |= self.response.take_body().map_err(|_| Failure::UpstreamProtocol)?;
            }
            match self.response.flush(self.down, context) {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Ok(wrote)) => moved |= wrote,
                Poll::Ready(Err(_)) => return Err(Failure::ClientClosed),
            }
            if !self.response.head_seen || self.response.complete {
                return Ok(moved);
            }
            match read(&mut self.up.stream, self.response.input, context) {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Ok(count)) if count > 0 => self.response.adapt(),
                Poll::Ready(Ok(_)) if self.response.body.ends_with_connection() => self.response.end(),
                // Part of an answer, and no end: the client must not take it for the whole.
                Poll::Ready(_) => return Err(Failure::UpstreamClosed),
            }
            moved = true;
        }
    }

    /// Whether the request may be sent once more (RULES on replay): nothing of it was written, or it went out on a connection that
    /// had been idle, may be repeated, and is still there as a whole, and no byte of an answer came.
    pub(super) fn may_replay(&self, failure: Failure, reused: bool) -> bool {
        let unanswered = !self.response.head_seen && self.response.input.is_empty() && !self.response.any_written;
        let is_whole = match &self.request.held {
            Some(held) => held.len() <= self.request.held_limit,
            // Without a body, or with none of it taken yet, `out` is the whole.
            None => self.request.received == 0,
        };
        let safe = !self.request.any_written || self.request.held.is_some() || self.is_idempotent_without_body();
        failure == Failure::UpstreamClosed && reused && unanswered && is_whole && safe
    }

    fn is_idempotent_without_body(&self) -> bool {
        self.request.head.body == BodyLength::None && self.request.idempotent()
    }

    /// After a complete answer: what becomes of the client's connection, and the backend's if it can be used again.
    pub(super) fn finish(self) -> (Settled, Option<Connection>) {
        if self.response.tunnel {
            return (Settled::Tunnel, Some(self.up));
        }
        let request_complete = self.request.complete && !self.request.refused && self.request.is_flushed();
        let clean = self.response.head.keep_alive && request_complete && self.response.input.is_empty();
        let after = match (request_complete, self.setting.close) {
            (false, _) => After::Linger,
            (true, true) => After::Linger,
            (true, false) => After::Next,
        };
        (Settled::Keep(after), clean.then_some(self.up))
    }

    pub(super) fn received(&self) -> u64 {
        self.request.received
    }

    pub(super) fn sent(&self) -> u64 {
        self.response.sent
    }

    pub(super) fn status(&self) -> u16 {
        self.response.status
    }

    pub(super) fn time_to_head(&self) -> Option<Duration> {
        self.response.time_to_head
    }

    /// Whether the client has any byte of an answer.
    pub(super) fn has_answered(&self) -> bool {
        self.response.head_seen
    }

    pub(super) fn local_address(&self) -> Option<std::net::SocketAddr> {
        self.up.stream.local_address()
    }
}

impl RequestSide<'_> {
    fn is_flushed(&self) -> bool {
        self.written >= self.out.len()
    }

    fn idempotent(&self) -> bool {
        // `out` begins with the method while it has not been replaced by a part of the body.
        [&b"GET "[..], b"HEAD ", b"OPTIONS ", b"TRACE ", b"PUT ", b"DELETE "]
            .iter()
            .any(|method| self.out.starts_with(method))
    }

    fn flush(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<std::io::Result<bool>> {
        let mut wrote = false;
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match stream.poll_write(context, rest) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    self.written += count;
                    self.any_written = true;
                    wrote = true;
                }
                Poll::Ready(Ok(_)) => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(wrote))
    }

    /// Takes the next piece of the body into `out`, which is written.
    fn take_body(&mut self, down: &mut Stream, context: &mut Context<'_>) -> Result<Poll<()>, Failure> {
        let step = self.body.decode(self.input.filled()).map_err(|_| Failure::ClientBody)?;
        if step.consumed == 0 && !step.done {
            if self.input.is_full() {
                self.input.grow();
            }
            return match read(down, self.input, context) {
                Poll::Pending => Ok(Poll::Pending),
                Poll::Ready(Ok(count)) if count > 0 => Ok(Poll::Ready(())),
                Poll::Ready(_) => Err(Failure::ClientClosed),
            };
        }
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
        self.complete = step.done;
        self.input.consume(step.consumed);
        if self.complete {
            self.hold();
        }
        Ok(Poll::Ready(()))
    }

    /// Keeps what was sent, as long as there is little of it.
    fn hold(&mut self) {
        let limit = self.held_limit;
        if let Some(held) = self.held.as_mut().filter(|held| held.len() <= limit) {
            held.extend_from_slice(self.out);
        }
    }
}

impl ResponseSide<'_> {
    fn is_flushed(&self) -> bool {
        self.written >= self.out.len() && self.direct == 0
    }

    fn pass_informational(&mut self) {
        // 102 and its kin say nothing of the connection; their headers are passed on.
        let fields = self.head.fields(self.input.filled());
        let parts = ResponseParts {
            status: self.head.status,
            fields,
            nominates: self.head.nominates,
            framing: OutFraming::None,
            upgrade: None,
            close: false,
        };
        write_response(self.out, &parts, &Edits::default());
    }

    /// Hands what was read of the body to `out`, or marks it to be written from where it lies.
    fn take_body(&mut self) -> Result<bool, wire::h1::BodyError> {
        let mut moved = false;
        while !self.complete && self.direct == 0 && self.out.len() < COPY_LIMIT {
            let step = self.body.decode(self.input.filled())?;
            let length = step.data.len();
            if step.consumed == 0 && !step.done {
                break;
            }
            moved = true;
            self.sent += length as u64;
            self.complete = step.done;
            if length > COPY_LIMIT {
                // The framing before the data is done with; what follows it is looked at next time.
                self.input.consume(step.data.start);
                self.direct = length;
                if self.chunked {
                    ChunkWriter::prefix(self.out, length);
                    self.chunk_end = true;
                }
            } else {
                let data = self.input.filled().get(step.data.clone()).unwrap_or_default();
                if self.chunked {
                    ChunkWriter::data(self.out, data);
                } else {
                    self.out.extend_from_slice(data);
                }
                self.input.consume(step.consumed);
            }
            if self.complete && self.chunked && self.direct == 0 {
                ChunkWriter::end(self.out, self.body.trailers());
            }
        }
        Ok(moved)
    }

    /// The connection ended, and the body with it.
    fn end(&mut self) {
        self.complete = true;
        if self.chunked {
            ChunkWriter::end(self.out, None);
        }
    }

    /// A body that fills the buffer again and again gets a larger one.
    fn adapt(&mut self) {
        if self.input.is_full() {
            self.input.grow();
        }
    }

    fn flush(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<std::io::Result<bool>> {
        let mut wrote = false;
        while !self.is_flushed() {
            let head = self.out.get(self.written..).unwrap_or_default();
            let direct = self.input.filled().get(..self.direct).unwrap_or_default();
            let polled = match (head.is_empty(), direct.is_empty()) {
                (false, true) => stream.poll_write(context, head),
                (true, _) => stream.poll_write(context, direct),
                (false, false) => stream.poll_write_vectored(context, &[IoSlice::new(head), IoSlice::new(direct)]),
            };
            match polled {
                Poll::Ready(Ok(count)) if count > 0 => {
                    wrote = true;
                    self.any_written = true;
                    self.count_written(count);
                }
                Poll::Ready(Ok(_)) => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if wrote {
            self.out.clear();
            self.written = 0;
        }
        Poll::Ready(Ok(wrote))
    }

    fn count_written(&mut self, count: usize) {
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
}
