//! Both directions of one attempt, polled together: the request body keeps flowing while the response already arrives.
//!
//! Small pieces are copied behind the head, so that one system call writes both. Medium pieces are written from the read buffer. Large bodies
//! move between the sockets in the kernel. A flow reads nothing further until what it read is written.

mod failure;
mod interim;
mod request;
mod response;
mod response_context;
mod times;
mod verdict;
mod web;

use super::client::ClientConnection;
use super::decide::Plan;
use super::facts;
use super::retry::{AttemptFailure, AttemptOutcome, NoRetryReason, ResponseProgress, RetryState};
use crate::codec::{Downstream, Receiver, UpstreamStream, read_some, splice};
use crate::conn::{Charge, Client, ExchangeBuffers, MIN_PER_STREAM, TableState, Timer, Worker};
use crate::stream_info::{OutcomeFacts, StreamInfo};
pub(super) use failure::Failure;
use ir::{FieldName, Retries};
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

/// The result of a successful attempt.
pub(super) enum Finished {
    /// Both sides switched protocols.
    Tunnel(UpstreamStream),
    /// The response is complete.
    Answered {
        /// The backend's connection, if it is reusable.
        up: Option<Connection>,
        /// Whether the response has `Connection: close`.
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
    /// Whether a deadline was set since the last progress.
    armed: bool,
    /// Whether the client is still watched for a reset.
    watching: bool,
    /// The start of the route's timeout (VS-39): the end of the request was received.
    complete_at: Option<Instant>,
    /// When a head or trailer section began that is still incomplete.
    section_begun: Option<Instant>,
    /// The deadline of a gRPC client, or of the mesh.
    deadline: Option<Instant>,
    /// The deadline for the end of the request, if the mesh sets one (PC-04).
    request_end: Option<Instant>,
    /// The route's retry policy, and the number of retries left.
    retries: Option<(&'a Retries, u32)>,
    /// The start of the per-try timeout, if there is one: the end of the request was sent.
    try_from: Option<Instant>,
    /// Whether the attempt has a permit within the cluster's limit on retries, and the permit acquired for the next attempt.
    has_permit: bool,
    retry_permit: Option<Counted>,
    /// Why a retriable response is sent to the client.
    no_retry: NoRetryReason,
    /// Captured request headers, the endpoint's address, and the start of the request: for edits of the response.
    captured_headers: &'a [(FieldName, Vec<u8>)],
    endpoint: Option<SocketAddr>,
    begun: Instant,
    /// While the client reads nothing: a charge for what an HTTP/2 backend may have sent.
    ahead: Option<Charge>,
}

impl<'a> Flow<'a> {
    /// `body` and `replay` last over all attempts; if `body` is done, the request was complete before.
    pub(super) fn new(
        worker: &'a Worker,
        conn: &'a mut ClientConnection,
        buffers: &'a mut ExchangeBuffers,
        plan: &'a Plan,
        up: UpstreamStream,
        (body, replay): (&'a mut BodyReader, &'a mut ReplayBuffer),
        (started, retry, info): (Instant, &RetryState<Counted>, &StreamInfo),
    ) -> Self {
        let request_kind = match (plan.upgrade, buffers.request.method.of(conn.input.filled()) == b"HEAD") {
            (true, _) => RequestKind::Upgrade,
            (false, true) => RequestKind::Head,
            (false, false) => RequestKind::Other,
        };
        let complete = body.is_done();
        // The backend may refuse a stream of any request.
        let policy = plan.retry_policy();
        let retries = policy.retries.map(|retries| (retries, retry.remaining(policy)));
        // The default policy checks only gRPC responses.
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
            has_permit: retry.has_permit(),
            retry_permit: None,
            no_retry: NoRetryReason::NotRetriable,
            captured_headers: &buffers.captured_headers,
            endpoint: info.endpoint.as_ref().and_then(|endpoint| endpoint.address.ip()),
            begun: info.started,
            ahead: None,
        }
    }

    /// Makes progress in both directions; ready when the response is complete or the attempt has failed.
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

    /// Writes pending octets to the backend, then reads more of the request body.
    fn send_request(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        while !self.request.refused {
            match self.request.flush(&mut self.up, context) {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Ok(wrote)) => moved |= wrote,
                // The backend may have responded before it closed; its response is read first.
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

    /// Reads the head of the response, once a part of the request was written.
    fn receive_head(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        while !self.response.head_seen {
            if !(self.request.any_written || self.request.refused) {
                return Ok(moved);
            }
            let stream = match &mut self.up {
                UpstreamStream::H2(_) => return self.receive_stream_head(context).map(|more| moved | more),
                // Nothing is read until the client has received the earlier interim responses: a backend may send any number of them.
                UpstreamStream::H1(_) if !self.response.is_flushed() => return Ok(moved),
                UpstreamStream::H1(connection) => &mut connection.stream,
            };
            if self.response.input.is_full() {
                self.response.input.grow();
            }
            // Octets after the head wait here for a client that does not read.
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

    /// Forwards interim responses as they arrive; the final response ends the loop.
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
            // The next head began later.
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
        let log = self.worker.log();
        let outcome = OutcomeFacts {
            started: self.begun,
            flags: self.no_retry.flags(),
            detail: "via_upstream",
            transport_failure: "",
            upstream: self.endpoint,
            upstream_local: &|| self.up.local_address(),
        };
        let context = ResponseContext {
            stream: facts::stream_facts(self.client, protocol, Some(route), cluster),
            outcome,
            captured_headers: self.captured_headers,
            logged: log.as_ref().map_or(&[], |log| log.response_fields()),
        };
        self.response.pass_head(self.down, self.plan, last, (&date, since.elapsed()), &context)
    }

    /// Whether an HTTP/1.1 backend has responded with a success instead of the switch that an HTTP/2 client asked for. To the client, a success
    /// means that the switch was made (RFC 8441 §5).
    fn is_refused_upgrade(&self) -> bool {
        let is_upgrade = self.request_kind == RequestKind::Upgrade && matches!(self.down, Downstream::H2(_));
        is_upgrade && (200..300).contains(&self.response.head.status)
    }

    /// Whether the response is sent to the client; an error if the request is retried.
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
        if !self.has_permit {
            // Acquired before the response is dropped.
            self.retry_permit = self.plan.cluster.begin_retry();
            if self.retry_permit.is_none() {
                self.no_retry = NoRetryReason::Overflow;
                return Ok(());
            }
        }
        Err(Failure::Answer)
    }

    /// Why a retriable response was sent to the client.
    pub(super) fn no_retry_reason(&self) -> NoRetryReason {
        self.no_retry
    }

    /// Receives heads from an HTTP/2 stream. Interim heads have no flow control, so they are always taken from the library's queue, which would
    /// grow otherwise.
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

    /// Whether the response closes the client's connection.
    fn is_last(&self) -> bool {
        let draining = self.client.is_draining(self.worker, self.table);
        // A client that still waits for 100 may or may not send its body after a final response, so the next octets are ambiguous.
        let unwanted = self.request.head.expect_continue && self.request.received == 0;
        draining || unwanted || !self.request.head.keep_alive
    }

    /// Writes pending octets to the client, then reads more of the response body.
    fn send_response(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        loop {
            // Body octets that are already read go out with the head.
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

    /// While the client reads nothing, charges its connection for what an HTTP/2 backend may have sent.
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

    /// Checks for a reset by the client while there is no progress. A half-close is not a reset (RULES).
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
        match splice::poll_client(down, context) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.watching = false,
            Poll::Ready(Err(_)) => return Err(Failure::ClientClosed),
        }
        Ok(())
    }

    /// What a failure of the attempt means for retries. Takes the permit that was acquired for the next attempt.
    pub(super) fn outcome(&mut self, failure: Failure) -> AttemptOutcome<Counted> {
        let response = if self.response.head_seen || self.response.any_written {
            ResponseProgress::Begun
        } else if self.response.input.is_empty() {
            ResponseProgress::Nothing
        } else {
            ResponseProgress::PartialHead
        };
        AttemptOutcome {
            failure: match failure {
                Failure::UpstreamClosed => AttemptFailure::Closed,
                Failure::UpstreamUnprocessed => AttemptFailure::Unprocessed,
                Failure::UpstreamProtocol | Failure::HeadTimeout => AttemptFailure::Protocol,
                Failure::TryTimeout => AttemptFailure::TryTimeout,
                Failure::Answer => AttemptFailure::Response,
                _ => AttemptFailure::Final,
            },
            is_started: self.request.any_written,
            is_replayable: self.request.is_whole(),
            may_be_stale: self.up.is_reused() && self.plan.idempotent,
            response,
            permit: self.retry_permit.take(),
        }
    }

    /// Reports a failed attempt to outlier detection (DR-30). Failures of the client, and results reported with the head, do not count.
    pub(super) fn report(&self, failure: Failure) {
        let outcome = match failure {
            Failure::UpstreamClosed
            | Failure::UpstreamIncomplete
            | Failure::UpstreamUnprocessed
            | Failure::UpstreamProtocol => Outcome::Disconnected,
            Failure::HeadTimeout => Outcome::TimedOut,
            Failure::Timeout | Failure::TryTimeout if !self.response.head_seen => Outcome::TimedOut,
            _ => return,
        };
        self.worker.report(&self.plan.cluster, self.up.endpoint(), outcome);
    }

    /// Resets both directions for another attempt.
    pub(super) fn rewind(self) {
        self.request.rewind();
        self.response.rewind();
    }

    /// The result of a complete response: the backend's connection, if it is reusable.
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

    /// When the end of the request was received, if it was.
    pub(super) fn complete_at(&self) -> Option<Instant> {
        self.complete_at
    }

    /// Headers of the response that the access log has, as the client received them.
    pub(super) fn take_logged_headers(&mut self) -> Vec<(FieldName, Vec<u8>)> {
        std::mem::take(&mut self.response.logged_headers)
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

    /// Whether the head of the final response was received.
    pub(super) fn has_answered(&self) -> bool {
        self.response.head_seen
    }

    pub(super) fn local_address(&self) -> Option<std::net::SocketAddr> {
        self.up.local_address()
    }
}
