//! Both directions of one attempt, polled together: the request body keeps flowing while the response already arrives.
//!
//! Small pieces are copied behind the head, so that one system call writes both. Medium pieces are written from the read buffer. Large bodies
//! move between the sockets in the kernel. An attempt reads nothing further until what it read is written.

mod deadlines;
mod failure;
mod head;
mod interim;
mod outcome;
mod replay;
mod request;
mod response;
mod response_context;
mod response_head;
mod timeouts;

use super::client::ClientConnection;
use super::plan::Plan;
use super::retry::{NoRetryReason, RetryState};
use crate::codec::{Downstream, Upstream};
use crate::conn::{Charge, Client, ExchangeBuffers, TableState, Timer, Worker};
use crate::stream_info::StreamInfo;
use deadlines::Deadlines;
pub(super) use failure::Failure;
use ir::{FieldName, Retries};
pub(super) use replay::ReplayBuffer;
use request::{RequestParts, RequestSide};
use response::{ResponseBuffers, ResponseSide, ResponseState};
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Instant;
use upstream::{Connection, Counted};
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
pub(super) struct Attempt<'a> {
    worker: &'a Worker,
    client: &'a Client,
    table: &'a TableState,
    down: &'a mut Downstream,
    timer: &'a Timer,
    up: Upstream,
    plan: &'a Plan,
    request: RequestSide<'a>,
    response: ResponseSide<'a>,
    deadlines: Deadlines,
    retries: ResponseRetries<'a>,
    /// Whether the client is still watched for a reset.
    is_watching: bool,
    /// Captured request headers, the endpoint's address, and the start of the request: for edits of the response.
    captured_headers: &'a [(FieldName, Vec<u8>)],
    endpoint: Option<SocketAddr>,
    begun: Instant,
    /// While the client reads nothing: a charge for what an HTTP/2 backend may have sent.
    ahead: Option<Charge>,
}

/// Whether a retriable response is retried.
struct ResponseRetries<'a> {
    /// The route's policy, and the number of retries left.
    policy: Option<(&'a Retries, u32)>,
    /// Whether the attempt has a permit within the cluster's limit on retries, and the permit acquired for the next attempt.
    has_permit: bool,
    permit: Option<Counted>,
    /// Why a retriable response is sent to the client.
    no_retry: NoRetryReason,
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

impl<'a> ResponseRetries<'a> {
    fn new(plan: &'a Plan, retry: &RetryState<Counted>) -> Self {
        let policy = plan.retry_policy();
        Self {
            policy: policy.retries.map(|retries| (retries, retry.remaining(policy))),
            has_permit: retry.has_permit(),
            permit: None,
            no_retry: NoRetryReason::NotRetriable,
        }
    }

    /// Whether the policy may retry the request; the default policy checks only gRPC responses.
    fn may_retry(&self, plan: &Plan) -> bool {
        self.policy.is_some_and(|(policy, left)| left > 0 && (!policy.implied || plan.dialect.is_some()))
    }
}

impl<'a> Attempt<'a> {
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
        let retries = ResponseRetries::new(plan, retry);
        // The backend may refuse a stream of any request.
        let is_replayable = retries.may_retry(plan) || up.is_multiplexed() || (plan.idempotent && up.is_reused());
        let headers = &conn.client.mesh_settings.headers;
        let style = Style { keep_case: headers.keep_case, http10: buffers.request.version == Version::Http10 };
        let is_complete = body.is_done() && !replay.is_holding();
        let deadlines = Deadlines::new(plan, &conn.client, info, is_complete);
        let request = RequestParts {
            head: &buffers.request,
            body,
            input: &mut buffers.body_in,
            out: &mut buffers.up_out,
            replay,
            replay_limit: if is_replayable { worker.limits.replay_bytes } else { 0 },
            is_switch: plan.request_kind.is_switch(),
            style,
        };
        let response =
            ResponseBuffers { head: &mut buffers.response, input: &mut buffers.up_in, out: &mut buffers.down_out };
        let keeps_trailers = worker.log().is_some_and(|log| log.demands().trailers);
        Self {
            worker,
            client: &conn.client,
            table: &conn.table,
            down: &mut conn.downstream,
            timer: &conn.timer,
            request: RequestSide::new(request, &up),
            response: ResponseSide::new(response, headers, style, keeps_trailers),
            up,
            plan,
            deadlines,
            retries,
            is_watching: true,
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
                self.deadlines.move_on();
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
                self.deadlines.complete(Instant::now());
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
        if self.is_watching
            && self.request.is_complete()
            && let Poll::Ready(()) = self.down.poll_reset(context)?
        {
            self.is_watching = false;
        }
        Ok(())
    }
}
