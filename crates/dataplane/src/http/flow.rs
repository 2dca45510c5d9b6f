//! Both directions of one exchange, polled together: the request's body keeps flowing while the answer already comes.
//!
//! It copies small pieces behind the head that is to be written anyway, so that one call of the system takes both, writes middling
//! ones from where they were read, and has the system move large bodies from socket to socket. It reads no further while what it
//! read is not written.

pub(super) mod direct;
mod failure;
mod interim;
mod pieces;
mod request;
mod response;
mod response_context;
mod times;
mod verdict;
mod web;

use super::decide::Plan;
use super::downstream::Downstream;
use super::facts::{self, Common};
use super::record::StreamInfo;
use super::retry::{NoRetryReason, RetryState, policy};
use super::server::{ClientConnection, read_some};
use super::streams::Receiver;
use super::upstream_stream::UpstreamStream;
use crate::conn::{Charge, Client, ExchangeBuffers, MIN_PER_STREAM, TableState, Timer, Worker};
pub(super) use failure::Failure;
use ir::{FieldName, Retries};
pub(super) use pieces::end_chunks;
pub(super) use request::ReplayBuffer;
use request::RequestSide;
use response::ResponseSide;
use response_context::ResponseContext;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use upstream::{Connection, Counted, Outcome};
use wire::h1::response::RequestKind;
use wire::h1::{BodyReader, Style, Version};

/// How an exchange ended that went well.
pub(super) enum Finished {
    /// Both sides switched protocols.
    Tunnel(UpstreamStream),
    /// The answer is complete.
    Answered {
        /// The backend's connection, if it can be used again.
        up: Option<Connection>,
        /// Whether the client was told that its connection ends.
        close: bool,
    },
}

/// One attempt of an exchange.
pub(super) struct Flow<'a> {
    worker: &'a Worker,
    client: &'a Client,
    table: &'a TableState,
    down: &'a mut Downstream,
    timer: &'a Timer,
    up: UpstreamStream,
    plan: &'a Plan,
    request_kind: RequestKind,
    request: RequestSide<'a>,
    response: ResponseSide<'a>,
    /// Whether a deadline has been set since something moved last.
    armed: bool,
    /// Whether it is still of use to look if the client has gone.
    watching: bool,
    /// From when the route's time counts (VS-39): the whole request has come.
    complete_at: Option<Instant>,
    /// Since when a head or trailers are there in part.
    section_begun: Option<Instant>,
    /// When a client of gRPC wants no answer any more.
    deadline: Option<Instant>,
    /// When the whole request has to have come, where the mesh gives it a time (PC-04).
    request_end: Option<Instant>,
    /// The policy of the route, and attempts that it has left.
    retries: Option<(&'a Retries, u32)>,
    /// From when the attempt's time counts, where it has one: the whole request has been sent.
    try_from: Option<Instant>,
    /// Whether the request has a place among those that are sent again, and the one that it was given for the next attempt.
    has_slot: bool,
    retry_slot: Option<Counted>,
    /// Why an answer is passed on that would have been tried again.
    no_retry: NoRetryReason,
    /// What was kept of the request, where the endpoint is, and when the request began: for changes of the answer.
    captured_headers: &'a [(FieldName, Vec<u8>)],
    endpoint: Option<SocketAddr>,
    begun: Instant,
    /// While the client takes nothing: what a backend in HTTP/2 may have sent.
    ahead: Option<Charge>,
}

impl<'a> Flow<'a> {
    /// `body` is read on and `held` kept over attempts; a request whose body was read was complete before.
    pub(super) fn new(
        worker: &'a Worker,
        conn: &'a mut ClientConnection,
        buffers: &'a mut ExchangeBuffers,
        plan: &'a Plan,
        up: UpstreamStream,
        (body, replay): (&'a mut BodyReader, &'a mut ReplayBuffer),
        (started, retry, info): (Instant, &RetryState, &StreamInfo),
    ) -> Self {
        let request_kind = match (plan.upgrade, buffers.request.method.of(conn.input.filled()) == b"HEAD") {
            (true, _) => RequestKind::Upgrade,
            (false, true) => RequestKind::Head,
            (false, false) => RequestKind::Other,
        };
        let complete = body.is_done();
        // A stream may be refused, whatever the request is.
        let retries = policy(plan).map(|policy| (policy, retry.remaining(plan)));
        // What everybody has looks at answers of gRPC alone.
        let again = retries.is_some_and(|(policy, left)| left > 0 && (!policy.implied || plan.dialect.is_some()));
        let replayable = again || matches!(up, UpstreamStream::H2(_)) || (plan.idempotent && up.is_reused());
        let limit = if replayable { worker.limits.replay_bytes } else { 0 };
        let bodies = (&mut buffers.body_in, &mut buffers.up_out);
        let style = Style {
            keep_case: conn.client.mesh_settings.headers.keep_case,
            http10: buffers.request.version == Version::Http10,
        };
        let request = RequestSide::new(&buffers.request, body, bodies, replay, (limit, &up, plan.upgrade), style);
        let settings = (&conn.client.mesh_settings.headers, style);
        let response = ResponseSide::new(&mut buffers.response, &mut buffers.up_in, &mut buffers.down_out, settings);
        Self {
            worker,
            client: &conn.client,
            table: &conn.table,
            down: &mut conn.downstream,
            timer: &conn.timer,
            up,
            plan,
            request_kind,
            request,
            response,
            armed: false,
            watching: true,
            complete_at: complete.then_some(info.whole),
            section_begun: None,
            deadline: plan.deadline.and_then(|after| started.checked_add(after)),
            request_end: conn.client.request_end(started),
            retries,
            try_from: retries
                .filter(|(policy, _)| complete && policy.per_try_timeout.is_some())
                .map(|_| Instant::now()),
            has_slot: retry.has_slot(),
            retry_slot: None,
            no_retry: NoRetryReason::NotRetriable,
            captured_headers: &buffers.captured_headers,
            endpoint: info.endpoint.as_ref().and_then(|endpoint| endpoint.address.ip()),
            begun: info.started,
            ahead: None,
        }
    }

    /// Moves what can be moved; ready when the answer is complete or cannot become so.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            let mut moved = self.send_request(context)?;
            moved |= self.receive_head(context)?;
            moved |= self.send_response(context)?;
            if self.response.is_complete() {
                return Poll::Ready(Ok(()));
            }
            if !moved {
                break;
            }
            self.armed = false;
        }
        self.watch_client(context)?;
        self.wait(context)
    }

    /// Writes what is to be written to the backend, and takes more of the body when that is done.
    fn send_request(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        while !self.request.refused {
            match self.request.flush(&mut self.up, context) {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Ok(wrote)) => moved |= wrote,
                // It may have answered before it closed; what it said is read first.
                Poll::Ready(Err(_)) => {
                    self.request.refused = true;
                    return Ok(true);
                }
            }
            if self.request.complete {
                return Ok(moved);
            }
            match self.request.take_body(self.worker, self.down, &mut self.up, context)? {
                Poll::Pending => return Ok(moved),
                Poll::Ready(()) => moved = true,
            }
            if self.request.complete {
                let now = Instant::now();
                (self.complete_at, self.try_from) = (Some(now), Some(now));
            }
        }
        Ok(moved)
    }

    /// Reads the answer's head, once there is something to be answered.
    fn receive_head(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        while !self.response.head_seen {
            if !(self.request.any_written || self.request.refused) {
                return Ok(moved);
            }
            let stream = match &mut self.up {
                UpstreamStream::H2(_) => return self.receive_stream_head(context).map(|more| moved | more),
                // Nothing is read while the client has not taken what was read before: a backend may send 1xx without end.
                UpstreamStream::H1(_) if !self.response.is_flushed() => return Ok(moved),
                UpstreamStream::H1(connection) => &mut connection.stream,
            };
            if self.response.input.is_full() {
                self.response.input.grow();
            }
            // What follows the head of a response waits here for a client that takes nothing.
            let most = if matches!(&*self.down, Downstream::H2(down) if down.is_tight()) {
                MIN_PER_STREAM
            } else {
                usize::MAX
            };
            match read_some(stream, self.response.input, most, context) {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Ok(count)) if count > 0 => moved = true,
                Poll::Ready(_) => return Err(Failure::UpstreamClosed),
            }
            self.read_heads()?;
        }
        Ok(moved)
    }

    /// Informational answers are passed on as they come; the final one ends the loop.
    fn read_heads(&mut self) -> Result<(), Failure> {
        while !self.response.head_seen {
            let limits = &self.worker.limits.head;
            let Some(length) = self.response.parse(self.request_kind, limits)? else { return Ok(()) };
            if self.response.head.is_informational() {
                self.response.take_interim(length, self.down)?;
            } else if self.response.is_unrequested_upgrade() || !self.response.may_begin_body(length) {
                return Err(Failure::UpstreamProtocol);
            } else {
                self.pass_head()?;
            }
            self.response.input.consume(length);
            // What is there of the next one began later.
            self.section_begun = None;
        }
        Ok(())
    }

    fn pass_head(&mut self) -> Result<(), Failure> {
        if self.is_refused_upgrade() {
            return Err(Failure::UpstreamProtocol);
        }
        if self.plan.cluster.config.outlier.is_some() {
            let status = self.response.effective_status(self.plan.dialect.is_some());
            self.worker.report(&self.plan.cluster, self.up.endpoint(), Outcome::Answered(status));
        }
        self.check_retry()?;
        let since = self.complete_at.unwrap_or_else(Instant::now);
        let date = self.worker.date();
        let last = (self.request_kind, self.is_last());
        let (protocol, route) = (facts::protocol(self.down, self.request.head.version), &*self.plan.route);
        let cluster = self.plan.cluster.config.id.as_str();
        let context = ResponseContext {
            common: Common { client: self.client, address: "", protocol, route, cluster },
            captured_headers: self.captured_headers,
            flags: self.no_retry.flags(),
            begun: self.begun,
            upstream: self.endpoint,
            upstream_local: &|| self.up.local_address(),
        };
        self.response.pass_head(self.down, self.plan, last, (&date, since.elapsed()), &context)
    }

    /// Whether a backend in HTTP/1.1 has answered with a success instead of the switch that a client of HTTP/2 asked for. A success would tell
    /// the client that the switch was made (RFC 8441 §5).
    fn is_refused_upgrade(&self) -> bool {
        let request_kind = self.request_kind == RequestKind::Upgrade && matches!(self.down, Downstream::H2(_));
        request_kind && (200..300).contains(&self.response.head.status)
    }

    /// Whether the answer whose head has come is passed on.
    fn check_retry(&mut self) -> Result<(), Failure> {
        let Some((policy, left)) = self.retries else { return Ok(()) };
        if !self.response.is_retriable(policy, self.plan.dialect.is_some()) {
            return Ok(());
        }
        if left == 0 {
            self.no_retry = NoRetryReason::Exhausted;
            return Ok(());
        }
        if !self.request.is_whole() || self.response.any_written {
            return Ok(());
        }
        if !self.has_slot {
            // Before the answer is given up.
            self.retry_slot = self.plan.cluster.begin_retry();
            if self.retry_slot.is_none() {
                self.no_retry = NoRetryReason::Overflow;
                return Ok(());
            }
        }
        Err(Failure::Answer)
    }

    /// Whether the request can be sent again after the attempt broke.
    pub(super) fn is_repeatable(&self) -> bool {
        !self.response.head_seen && !self.response.any_written && self.request.is_whole()
    }

    /// Whether the backend has any of the request.
    pub(super) fn is_begun(&self) -> bool {
        self.request.any_written
    }

    /// Why an answer was passed on that would have been tried again.
    pub(super) fn no_retry_reason(&self) -> NoRetryReason {
        self.no_retry
    }

    /// The place that was given for the next attempt.
    pub(super) fn take_retry_slot(&mut self) -> Option<Counted> {
        self.retry_slot.take()
    }

    /// Takes the heads that a stream of HTTP/2 brings. Interim ones have no flow control: they are taken from the library's queue as they
    /// come, whether the client takes them or not, or the queue would grow.
    fn receive_stream_head(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let UpstreamStream::H2(up) = &mut self.up else { return Ok(false) };
        let mut moved = false;
        while let Poll::Ready(Some(interim)) = up.response.poll_informational(context) {
            let (parts, ()) = interim.map_err(|error| Failure::of_stream(&error))?.into_parts();
            if up.marks.is_malformed() {
                return Err(Failure::UpstreamProtocol);
            }
            self.response.take_stream_head(&parts, (self.request_kind, true), &self.worker.limits.head)?;
            self.response.take_interim(self.response.input.filled().len(), self.down)?;
            self.response.input.release();
            moved = true;
        }
        if !self.response.is_flushed() {
            return Ok(moved);
        }
        let Poll::Ready(head) = Pin::new(&mut up.response).poll(context) else { return Ok(moved) };
        let (parts, receiver) = head.map_err(|error| Failure::of_stream(&error))?.into_parts();
        if up.marks.is_malformed() {
            return Err(Failure::UpstreamProtocol);
        }
        let ended = receiver.is_end_stream();
        up.receiver = Receiver::new(receiver);
        self.response.take_stream_head(&parts, (self.request_kind, ended), &self.worker.limits.head)?;
        self.pass_head()?;
        self.response.input.release();
        Ok(true)
    }

    /// Whether the client is told that its connection ends with this answer.
    fn is_last(&self) -> bool {
        let draining = self.client.is_draining(self.worker, self.table);
        // A client that still waits for 100 may send its body after a final answer or not: what comes next cannot be told apart.
        let unwanted = self.request.head.expect_continue && self.request.received == 0;
        draining || unwanted || !self.request.head.keep_alive
    }

    /// Writes what is to be written to the client, and takes more of the body when that is done.
    fn send_response(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        loop {
            // What is there already goes out with the head.
            moved |= self.response.take_body(self.down, &self.up)?;
            match self.response.flush(self.down, context) {
                Poll::Pending => return self.charge_ahead().map(|()| moved),
                Poll::Ready(Ok(wrote)) => moved |= wrote,
                Poll::Ready(Err(_)) => return Err(Failure::ClientClosed),
            }
            self.ahead = None;
            if !self.response.head_seen || self.response.complete {
                return Ok(moved);
            }
            match self.response.more(self.worker, &mut self.up, self.down, context)? {
                Poll::Pending => return Ok(moved),
                Poll::Ready(()) => moved = true,
            }
        }
    }

    /// Charges the client's connection with what a backend in HTTP/2 may have sent, while the client takes nothing.
    fn charge_ahead(&mut self) -> Result<(), Failure> {
        if let (Downstream::H2(down), UpstreamStream::H2(_), None) = (&*self.down, &self.up, &self.ahead) {
            let octets = self.response.still_to_come().min(u64::from(upstream::STREAM_WINDOW)) as usize;
            self.ahead = Some(down.ahead.charge(octets).map_err(|over| {
                self.worker.refuse_stream(over);
                Failure::ClientSlow
            })?);
        }
        Ok(())
    }

    /// Looks whether the client has reset its connection while nothing moves. That it sends no more is no such sign (RULES).
    fn watch_client(&mut self, context: &mut Context<'_>) -> Result<(), Failure> {
        if !self.watching || !self.request.complete {
            return Ok(());
        }
        let down = match &mut *self.down {
            Downstream::H1(stream) => stream,
            Downstream::H2(stream) => {
                return if stream.poll_reset(context).is_ready() { Err(Failure::ClientClosed) } else { Ok(()) };
            }
        };
        match direct::poll_client(down, context) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.watching = false,
            Poll::Ready(Err(_)) => return Err(Failure::ClientClosed),
        }
        Ok(())
    }

    /// Whether the request may be sent once more for nothing (RULES on replay): nothing of it was written, or it went out on a connection
    /// that had been idle, may be repeated, and nobody said how often; it is still there as a whole, and no byte of an answer came.
    pub(super) fn may_replay(&self, failure: Failure) -> bool {
        let unanswered = !self.response.head_seen && self.response.input.is_empty() && !self.response.any_written;
        let implied = self.retries.is_some_and(|(policy, _)| policy.implied);
        let safe = !self.request.any_written || (implied && self.up.is_reused() && self.plan.idempotent);
        let lost = match failure {
            Failure::UpstreamUnprocessed => true,
            Failure::UpstreamClosed => safe,
            _ => false,
        };
        lost && unanswered && self.request.is_whole()
    }

    /// Tells what an attempt that broke says of its endpoint (DR-30): not what the client did, and not what was told with the head.
    pub(super) fn report(&self, failure: Failure) {
        let outcome = match failure {
            Failure::UpstreamClosed | Failure::UpstreamUnprocessed | Failure::UpstreamProtocol => Outcome::Disconnected,
            Failure::HeadTimeout => Outcome::TimedOut,
            Failure::Timeout | Failure::TryTimeout if !self.response.head_seen => Outcome::TimedOut,
            _ => return,
        };
        self.worker.report(&self.plan.cluster, self.up.endpoint(), outcome);
    }

    /// Makes everything ready for another attempt.
    pub(super) fn rewind(self) {
        self.request.rewind();
        self.response.rewind();
    }

    /// Disposition a complete answer: what becomes of the backend's connection.
    pub(super) fn finish(self) -> Finished {
        if self.response.tunnel {
            return Finished::Tunnel(self.up);
        }
        let clean = self.response.head.keep_alive && self.request.is_sent() && self.response.input.is_empty();
        let up = match self.up {
            UpstreamStream::H1(connection) => Some(connection).filter(|_| clean),
            UpstreamStream::H2(_) => None,
        };
        Finished::Answered { up, close: self.response.close }
    }

    /// When the whole request had come, if it has.
    pub(super) fn complete_at(&self) -> Option<Instant> {
        self.complete_at
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
        self.up.local_address()
    }
}
