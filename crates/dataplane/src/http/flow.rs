//! Both directions of one attempt, polled together: the request body keeps flowing while the response already arrives.
//!
//! Small pieces are copied behind the head, so that one system call writes both. Medium pieces are written from the read buffer. Large bodies
//! move between the sockets in the kernel. A flow reads nothing further until what it read is written.

mod failure;
mod head;
mod interim;
mod outcome;
mod replay;
mod request;
mod response;
mod response_context;
mod response_head;
mod times;

use super::client::ClientConnection;
use super::plan::Plan;
use super::retry::{NoRetryReason, RetryState};
use crate::codec::{Downstream, Upstream};
use crate::conn::{Charge, Client, ExchangeBuffers, TableState, Timer, Worker};
use crate::stream_info::StreamInfo;
pub(super) use failure::Failure;
use ir::{FieldName, Retries};
pub(super) use replay::ReplayBuffer;
use request::{RequestParts, RequestSide};
use response::{ResponseBuffers, ResponseSide, ResponseState};
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Instant;
use upstream::{Connection, Counted};
use wire::h1::response::RequestKind;
use wire::h1::{BodyReader, Style, Version};

/// The result of a successful attempt.
pub(super) enum Finished {
    /// Both sides switched protocols.
    Tunnel(Upstream),
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
    up: Upstream,
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

/// What lasts over all attempts of a request.
pub(super) struct RequestProgress<'a> {
    /// If the body is done, the request was complete before the attempt.
    pub(super) body: &'a mut BodyReader,
    pub(super) replay: &'a mut ReplayBuffer,
}

/// What is known when an attempt starts.
#[derive(Clone, Copy)]
pub(super) struct AttemptStart<'s> {
    pub(super) retry: &'s RetryState<Counted>,
    pub(super) info: &'s StreamInfo,
}

impl<'a> Flow<'a> {
    /// An attempt on `up`.
    pub(super) fn new(
        worker: &'a Worker,
        conn: &'a mut ClientConnection,
        buffers: &'a mut ExchangeBuffers,
        plan: &'a Plan,
        up: Upstream,
        progress: RequestProgress<'a>,
        start: AttemptStart<'_>,
    ) -> Self {
        let RequestProgress { body, replay } = progress;
        let AttemptStart { retry, info } = start;
        let request_kind = match (plan.upgrade, buffers.request.method.of(conn.input.filled()) == b"HEAD") {
            (true, _) => RequestKind::Upgrade,
            (false, true) => RequestKind::Head,
            (false, false) => RequestKind::Other,
        };
        let is_complete = body.is_done() && !replay.is_holding();
        let policy = plan.retry_policy();
        let retries = policy.retries.map(|retries| (retries, retry.remaining(policy)));
        // The default policy checks only gRPC responses.
        let again = retries.is_some_and(|(policy, left)| left > 0 && (!policy.implied || plan.dialect.is_some()));
        // The backend may refuse a stream of any request.
        let is_replayable = again || up.is_multiplexed() || (plan.idempotent && up.is_reused());
        let headers = &conn.client.mesh_settings.headers;
        let style = Style { keep_case: headers.keep_case, http10: buffers.request.version == Version::Http10 };
        let request = RequestParts {
            head: &buffers.request,
            body,
            input: &mut buffers.body_in,
            out: &mut buffers.up_out,
            replay,
            replay_limit: if is_replayable { worker.limits.replay_bytes } else { 0 },
            is_upgrade: plan.upgrade,
            style,
        };
        let response =
            ResponseBuffers { head: &mut buffers.response, input: &mut buffers.up_in, out: &mut buffers.down_out };
        Self {
            worker,
            client: &conn.client,
            table: &conn.table,
            down: &mut conn.downstream,
            timer: &conn.timer,
            request: RequestSide::new(request, &up),
            response: ResponseSide::new(response, headers, style),
            up,
            plan,
            request_kind,
            armed: false,
            watching: true,
            complete_at: is_complete.then_some(info.whole),
            section_begun: None,
            deadline: plan.deadline.and_then(|after| info.counted.checked_add(after)),
            request_end: conn.client.request_end(info.counted),
            retries,
            try_from: retries
                .filter(|(policy, _)| is_complete && policy.per_try_timeout.is_some())
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
            let received = self.send_request(context)? | self.receive_head(context)?;
            let sent = self.send_response(context)?;
            if self.response.is_complete() {
                return Poll::Ready(Ok(()));
            }
            if received || sent {
                self.armed = false;
            }
            // Each step goes as far as it can. Only the next head waits for what the client receives.
            if !sent || self.response.has_head() {
                break;
            }
        }
        self.watch_client(context)?;
        self.wait(context)
    }

    /// Sends what waits to the backend, then receives more of the request's body.
    fn send_request(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        while !self.request.is_refused() {
            match self.request.poll_send(&mut self.up, context) {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Ok(wrote)) => moved |= wrote,
                // The backend may have responded before it closed; its response is read first.
                Poll::Ready(Err(_)) => {
                    self.request.refuse();
                    return Ok(true);
                }
            }
            if self.request.is_complete() {
                return Ok(moved);
            }
            match self.request.poll_body(self.worker, self.down, &self.up, context)? {
                Poll::Pending => return Ok(moved),
                Poll::Ready(()) => moved = true,
            }
            if self.request.is_complete() {
                let now = Instant::now();
                (self.complete_at, self.try_from) = (Some(now), Some(now));
            }
        }
        Ok(moved)
    }

    /// Sends what waits to the client, then receives more of the response's body.
    fn send_response(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        loop {
            // Body octets that are already read go out with the head.
            let taken = self.response.take_body(self.down)?;
            moved |= taken;
            match self.response.poll_send(self.down, context) {
                Poll::Pending => return self.charge_ahead().map(|()| moved),
                Poll::Ready(Ok(wrote)) => moved |= wrote,
                Poll::Ready(Err(_)) => return Err(Failure::ClientClosed),
            }
            self.ahead = None;
            if self.response.state != ResponseState::Body {
                return Ok(moved);
            }
            if taken && !self.response.input.is_empty() {
                // There is room for what follows.
                continue;
            }
            match self.response.poll_more(self.worker, &mut self.up, self.down, context)? {
                Poll::Pending => return Ok(moved),
                Poll::Ready(()) => moved = true,
            }
        }
    }

    /// While the client reads nothing, charges its connection for what the backend may have sent.
    fn charge_ahead(&mut self) -> Result<(), Failure> {
        if self.ahead.is_none()
            && let Some(charge) = self.down.charge_ahead(&self.up, self.response.still_to_come())
        {
            self.ahead = Some(charge.map_err(|over| {
                self.worker.refuse_stream(over);
                Failure::ClientSlow
            })?);
        }
        Ok(())
    }

    /// Checks for a reset by the client while there is no progress. A half-close is not a reset (RULES).
    fn watch_client(&mut self, context: &mut Context<'_>) -> Result<(), Failure> {
        if self.watching
            && self.request.is_complete()
            && let Poll::Ready(()) = self.down.poll_reset(context)?
        {
            self.watching = false;
        }
        Ok(())
    }
}
