//! The attempts of one request: each chooses an endpoint and connects to it, and the retry policy decides what follows a failure.

use super::attempt::{Attempt, Failure, Finished};
use super::plan::Plan;
use super::received_request::ReceivedRequest;
use super::record::add_attempt;
use super::request_head::RequestHeadError;
use super::retry::{AttemptFailure, AttemptOutcome, ResponseProgress, RetryDecision};
use crate::codec::{ClientReset, Downstream, Upstream};
use crate::conn::{Worker, choose};
use crate::metrics::add;
use crate::reasons::Reject;
use crate::stream_info::StreamInfo;
use std::sync::Arc;
use std::time::{Duration, Instant};
use upstream::{
    ConnectError, ConnectTimeouts, Connection, Counted, EndpointState, H2Stream, InFlight, NoEndpoint, Outcome,
    PickContext, PickedEndpoint,
};

/// The state of retries; a retry holds a permit within the limit of its cluster.
type RetryState = super::retry::RetryState<Counted>;

/// The attempts of one request.
pub(super) struct Attempts<'a> {
    worker: &'a Worker,
    pub(super) plan: &'a Plan,
    pub(super) info: &'a mut StreamInfo,
    retry: RetryState,
}

/// Why an attempt did not lead to a whole response.
pub(super) enum ForwardError {
    /// No connection was established; `tried` is whether to an endpoint that was chosen.
    Connect { reject: Reject, tried: bool },
    /// It failed on its connection, or the client has reset.
    Attempt(Failure),
}

/// An attempt that failed, and what follows it.
pub(super) struct FailedAttempt {
    error: ForwardError,
    decision: RetryDecision,
}

/// What the pool has for an attempt.
pub(super) enum Pooled {
    /// An idle connection, or a stream on an open one.
    Connected(Connected),
    /// Nothing, so that a connection has to be established; with the endpoint that was picked, if one could be picked at once.
    MustConnect(Option<PickedEndpoint>),
    /// A connection that the request may not use.
    Failed(ForwardError),
}

/// A connection or stream to an endpoint, and what the attempt counts while it lasts.
pub(super) struct Connected {
    pub(super) up: Upstream,
    pub(super) permits: AttemptPermits,
}

/// What an attempt counts for while it lasts.
pub(super) struct AttemptPermits {
    /// Load of the endpoint, if its cluster balances by load.
    _in_flight: Option<InFlight>,
    /// A request within the limit of the cluster.
    _request: Counted,
}

impl Connected {
    fn new(up: Upstream, picked: PickedEndpoint, request: Counted) -> Self {
        Self { up, permits: AttemptPermits { _in_flight: picked.in_flight, _request: request } }
    }
}

impl From<Result<Connected, ForwardError>> for Pooled {
    fn from(connected: Result<Connected, ForwardError>) -> Self {
        match connected {
            Ok(connected) => Self::Connected(connected),
            Err(error) => Self::Failed(error),
        }
    }
}

impl From<Reject> for ForwardError {
    /// Without a connection to the endpoint that was chosen.
    fn from(reject: Reject) -> Self {
        Self::Connect { reject, tried: !matches!(reject, Reject::Timeout | Reject::Overflow) }
    }
}

impl<'a> Attempts<'a> {
    /// The state before the first attempt.
    pub(super) fn new(worker: &'a Worker, plan: &'a Plan, info: &'a mut StreamInfo) -> Self {
        Self { worker, plan, info, retry: RetryState::default() }
    }

    /// The state of retries.
    pub(super) fn retry(&self) -> &RetryState {
        &self.retry
    }

    /// Ends the attempts after a response.
    pub(super) fn into_info(self) -> &'a mut StreamInfo {
        self.info
    }

    /// Picks an endpoint, and takes what the pool has for it, without waiting; this serves most requests.
    pub(super) fn take_pooled(&mut self) -> Pooled {
        let (worker, plan) = (self.worker, self.plan);
        let Ok(picked) = plan.cluster.pick(&mut || worker.random(), self.pick_context()) else {
            return Pooled::MustConnect(None);
        };
        self.begin(&picked.endpoint);
        if plan.http2 {
            let stream = worker.streams.borrow_mut().take(&plan.cluster, &picked.endpoint, plan.connect_context());
            return match stream {
                Some(stream) => self.on_stream(picked, stream).into(),
                None => Pooled::MustConnect(Some(picked)),
            };
        }
        if !self.retry.may_use_idle() {
            return Pooled::MustConnect(Some(picked));
        }
        let idle = worker.pool.borrow_mut().take(&plan.cluster, &picked.endpoint, plan.connect_context());
        match idle {
            Some(connection) => self.on_connection(picked, connection).into(),
            None => Pooled::MustConnect(Some(picked)),
        }
    }

    /// Connects to an endpoint of the cluster, unless the client resets before: an idle or a new connection, or a stream. A retry does not use
    /// idle connections.
    pub(super) async fn connect(
        &mut self,
        client: &mut Downstream,
        picked: Option<PickedEndpoint>,
    ) -> Result<Connected, ForwardError> {
        let connecting = client.until_reset(self.connect_to(picked)).await;
        connecting.unwrap_or_else(|ClientReset| Err(ForwardError::Attempt(Failure::ClientClosed)))
    }

    async fn connect_to(&mut self, picked: Option<PickedEndpoint>) -> Result<Connected, ForwardError> {
        let picked = match picked {
            Some(picked) => picked,
            None => {
                let picked = choose(self.worker, &self.plan.cluster, self.pick_context()).await;
                let picked = picked.map_err(|none| self.no_endpoint(&none))?;
                self.begin(&picked.endpoint);
                picked
            }
        };
        if self.plan.http2 { self.stream(picked).await } else { self.connection(picked).await }
    }

    /// Ends an attempt that was made on a connection: adds its facts, and decides what follows a failure.
    pub(super) fn end(
        &mut self,
        attempt: &mut Attempt<'_>,
        result: Result<(), Failure>,
    ) -> Result<Finished, FailedAttempt> {
        self.add(attempt);
        let Err(failure) = result else {
            self.info.flags |= attempt.no_retry_reason().flags();
            return Ok(attempt.finished());
        };
        let decision = self.decide(attempt.take_outcome(failure));
        attempt.end(failure, decision);
        Err(FailedAttempt { error: ForwardError::Attempt(failure), decision })
    }

    /// Ends an attempt that had no connection, and decides what follows.
    pub(super) fn end_without_connection(&mut self, error: ForwardError) -> FailedAttempt {
        let decision = self.decide(self.without_connection(&error));
        FailedAttempt { error, decision }
    }

    /// Adds the facts of an attempt. A response 401, whether the client receives it or a retry follows, rejects the credential that was sent.
    fn add(&mut self, attempt: &mut Attempt<'_>) {
        add_attempt(self.info, attempt, self.worker);
        if self.info.status == 401 {
            let sent = self.info.credential_at.unwrap_or(self.info.started);
            self.worker.credentials.reject(&self.plan.cluster, sent);
        }
    }

    /// Decides whether there is another attempt, and counts it.
    fn decide(&mut self, outcome: AttemptOutcome<Counted>) -> RetryDecision {
        let (worker, plan) = (self.worker, self.plan);
        let acquire = || plan.cluster.begin_retry();
        let decision = self.retry.decide(plan.retry_policy(), outcome, acquire, || worker.random());
        match decision {
            RetryDecision::Retry(_) => add(&worker.metrics.retried),
            RetryDecision::Replay => add(&worker.metrics.replayed),
            RetryDecision::Stop(_) => {}
        }
        decision
    }

    /// The outcome of an attempt without a connection.
    fn without_connection(&self, error: &ForwardError) -> AttemptOutcome<Counted> {
        let is_other = |one: &Arc<EndpointState>| !one.is_ejected() && !self.retry.has_tried(one.id);
        let has_others = || self.plan.cluster.endpoints().is_some_and(|all| all.iter().any(is_other));
        AttemptOutcome {
            failure: match error {
                ForwardError::Connect { tried: true, .. } => AttemptFailure::Connect { has_others: has_others() },
                ForwardError::Connect { tried: false, .. } | ForwardError::Attempt(_) => AttemptFailure::Final,
            },
            is_started: false,
            is_replayable: true,
            may_be_stale: false,
            response: ResponseProgress::Nothing,
            permit: None,
        }
    }

    /// Prepares the next attempt, after a failed one: waits before it and for its credential, and writes its head. An error if there is none.
    pub(super) async fn prepare_next(
        &mut self,
        request: &mut ReceivedRequest<'_>,
        failed: FailedAttempt,
    ) -> Result<(), ForwardError> {
        self.wait(&mut request.conn.downstream, failed).await?;
        self.begin_again(request)
    }

    /// Waits before the next attempt, and for its credential; an error if there is none, or if the route's timeout ends or the client resets meanwhile.
    async fn wait(&mut self, client: &mut Downstream, failed: FailedAttempt) -> Result<(), ForwardError> {
        let FailedAttempt { error, decision } = failed;
        let Some(wait) = decision.wait() else {
            self.info.flags |= decision.flags();
            return Err(error);
        };
        let wait = self.time_left().map_or(wait, |left| left.min(wait));
        if !wait.is_zero() {
            let slept = client.until_reset(tokio::time::sleep(wait)).await;
            slept.map_err(|ClientReset| ForwardError::Attempt(Failure::ClientClosed))?;
        }
        if self.is_timed_out() {
            return Err(ForwardError::Attempt(Failure::Timeout));
        }
        self.wait_for_credential(client).await
    }

    /// Waits for the credential that the next attempt is sent with: the destination may have rejected that of the last one.
    async fn wait_for_credential(&mut self, client: &mut Downstream) -> Result<(), ForwardError> {
        let cluster = &self.plan.cluster;
        if cluster.config.credential.is_none() {
            return Ok(());
        }
        let left = self.time_left().unwrap_or(Duration::MAX);
        let waiting = tokio::time::timeout(left, self.worker.credentials.wait(cluster));
        match client.until_reset(waiting).await {
            Err(ClientReset) => Err(ForwardError::Attempt(Failure::ClientClosed)),
            Ok(Err(_)) => Err(ForwardError::Attempt(Failure::Timeout)),
            Ok(Ok(Err(error))) => {
                self.info.transport_failure = error.to_string();
                Err(ForwardError::Connect { reject: Reject::UpstreamCredentialUnavailable, tried: false })
            }
            Ok(Ok(Ok(()))) => {
                self.info.credential_at = Some(Instant::now());
                Ok(())
            }
        }
    }

    /// Writes the head for another attempt, and remembers a retry.
    fn begin_again(&mut self, request: &mut ReceivedRequest<'_>) -> Result<(), ForwardError> {
        let number = self.retry.attempt_number();
        self.info.retried |= number.is_some();
        let renewed = request.prepare(self.plan.settings, |request| request.renew_head(self.plan, number.unwrap_or(1)));
        // Both succeeded for the first attempt, over the same facts; but a credential may have come to its end.
        let reject = match renewed {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(RequestHeadError::Credential)) => Reject::UpstreamCredentialUnavailable,
            Ok(Err(RequestHeadError::Target)) | Err(_) => Reject::UpstreamProtocol,
        };
        Err(ForwardError::Connect { reject, tried: false })
    }

    fn pick_context(&self) -> PickContext<'_> {
        PickContext {
            hash: self.plan.affinity.hash,
            avoid: self.retry.avoid(self.plan.retry_policy()),
            excluded: self.retry.excluded(),
        }
    }

    fn begin(&mut self, endpoint: &Arc<EndpointState>) {
        self.info.begin_attempt(endpoint);
        let priority = || self.plan.cluster.priority_bit(endpoint.id);
        self.retry.begin(self.plan.retry_policy(), endpoint.id, priority);
    }

    fn no_endpoint(&mut self, none: &NoEndpoint) -> ForwardError {
        if let NoEndpoint::Withheld(_, reason) = none {
            self.info.transport_failure = reason.to_string();
        }
        ForwardError::Connect { reject: none.into(), tried: false }
    }

    async fn connection(&mut self, picked: PickedEndpoint) -> Result<Connected, ForwardError> {
        let (plan, endpoint) = (self.plan, &picked.endpoint);
        let timeouts = ConnectTimeouts {
            idle: self.retry.may_use_idle(),
            wait: self.time_left(),
            connect: || self.connect_timeout(),
        };
        let pool = &self.worker.pool;
        match upstream::h1_connection(pool, &plan.cluster, endpoint, plan.connect_context(), timeouts).await {
            Ok(connection) => {
                self.info.set_endpoint(&connection.endpoint);
                self.on_connection(picked, connection)
            }
            Err(error) => Err(self.connect_failure(endpoint, &error).into()),
        }
    }

    fn on_connection(&self, picked: PickedEndpoint, connection: Connection) -> Result<Connected, ForwardError> {
        self.record_connection(&connection.endpoint, connection.reused);
        match self.plan.cluster.begin_request() {
            Some(request) => Ok(Connected::new(Upstream::connection(connection), picked, request)),
            None => {
                // The connection was not used.
                self.worker.pool.borrow_mut().put(connection, Instant::now());
                Err(Reject::Overflow.into())
            }
        }
    }

    /// Opens an HTTP/2 stream and sends the head of the request.
    async fn stream(&mut self, picked: PickedEndpoint) -> Result<Connected, ForwardError> {
        let (plan, endpoint, limit) = (self.plan, &picked.endpoint, self.connect_timeout());
        let streams = &self.worker.streams;
        match upstream::h2_stream(streams, &plan.cluster, endpoint, plan.connect_context(), limit).await {
            Ok(stream) => self.on_stream(picked, stream),
            Err(error) => Err(self.connect_failure(endpoint, &error).into()),
        }
    }

    fn on_stream(&self, picked: PickedEndpoint, stream: H2Stream) -> Result<Connected, ForwardError> {
        self.record_connection(&picked.endpoint, stream.reused);
        let request = self.plan.cluster.begin_request().ok_or(Reject::Overflow)?;
        let head = self.plan.stream_head.take().ok_or(Reject::UpstreamProtocol)?;
        // If the library rejects the head, nothing was sent.
        let up = Upstream::open(stream, head.request, head.bodiless).map_err(|_| Reject::UpstreamClosed)?;
        Ok(Connected::new(up, picked, request))
    }

    /// Counts a connection that was reused or established.
    fn record_connection(&self, endpoint: &EndpointState, reused: bool) {
        let worker = self.worker;
        if reused {
            add(&worker.metrics.reused);
        } else {
            add(&worker.metrics.connected);
            worker.report(&self.plan.cluster, endpoint, Outcome::Connected);
        }
    }

    /// The reject for a connection that could not be established.
    fn connect_failure(&mut self, endpoint: &EndpointState, error: &ConnectError) -> Reject {
        if self.is_timed_out() {
            return Reject::Timeout;
        }
        if matches!(error, ConnectError::Overflow) {
            return Reject::Overflow;
        }
        if !error.is_own() {
            self.worker.report(&self.plan.cluster, endpoint, Outcome::Disconnected);
        }
        add(&self.worker.metrics.connect_failed);
        self.info.transport_failure = error.to_string();
        Reject::from(error)
    }

    /// How long connecting may take: the cluster's timeout, within the time left.
    fn connect_timeout(&self) -> Duration {
        let limit = self.plan.cluster.config.timeouts.connect;
        self.time_left().map_or(limit, |left| left.min(limit))
    }

    /// The time left until the route's timeout or the client's deadline.
    fn time_left(&self) -> Option<Duration> {
        let of_route = self.plan.timeout.map(|limit| limit.saturating_sub(self.info.timeout_start.elapsed()));
        let of_client = self.plan.deadline.map(|limit| limit.saturating_sub(self.info.counted.elapsed()));
        of_route.into_iter().chain(of_client).min()
    }

    fn is_timed_out(&self) -> bool {
        self.time_left().is_some_and(|left| left.is_zero())
    }
}
