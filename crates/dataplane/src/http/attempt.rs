//! Forwards a request: chooses an endpoint, connects, sends, and retries by the route's policy.

use super::client::{ClientConnection, Disposition};
use super::flow::{AttemptStart, Failure, Finished, Flow, ReplayBuffer, RequestProgress};
use super::local;
use super::mirror;
use super::plan::Plan;
use super::record::add_attempt;
use super::request_head;
use super::retry::{AttemptFailure, AttemptOutcome, ResponseProgress, RetryDecision};
use super::tunnel;
use crate::codec::{ClientReset, Downstream, ResetCode, Upstream};
use crate::conn::{ExchangeBuffers, ReceivedBody, Worker, choose};
use crate::metrics::add;
use crate::reasons::{Flags, Reject};
use crate::stream_info::StreamInfo;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use upstream::{
    ConnectError, ConnectTimeouts, Connection, Counted, EndpointState, H2Stream, InFlight, NoEndpoint, Outcome,
    PickContext,
};
use wire::grpc::Dialect;
use wire::h1::BodyReader;

/// The attempts of a request; a retry holds a permit within the limit of its cluster.
type RetryState = super::retry::RetryState<Counted>;

/// Why there is no connection.
struct NoConnection {
    reject: Reject,
    /// Whether an endpoint was tried.
    tried: bool,
}

/// Why no attempt led to a whole response.
enum Unanswered {
    /// The last one had no connection.
    NotConnected(Reject),
    /// The last one failed on its connection, or the client has reset.
    Failed(Failure),
}

/// What an attempt counts while it lasts: load of its endpoint, and a request of its cluster.
type AttemptPermits = (Option<InFlight>, Counted);

/// Forwards a request, with retries, and returns the response to the client.
pub(super) async fn forward(
    worker: &Rc<Worker>,
    conn: &mut ClientConnection,
    buffers: &mut ExchangeBuffers,
    head: usize,
    plan: &Plan,
    info: &mut StreamInfo,
) -> Disposition {
    let ReceivedBody { held, reader: mut body } = buffers.take_body();
    let mut replay = ReplayBuffer::new(plan.web(), &conn.downstream, held);
    let mut retry = RetryState::default();
    let unanswered = loop {
        let ready = take_pooled(worker, plan, &mut retry, info);
        let result = match ready {
            Ok(ready) => Ok(ready),
            // Boxed, like the other rare steps below, so that the future of the common request stays small.
            Err(chosen) => conn.downstream.until_reset(Box::pin(connect(worker, plan, chosen, &mut retry, info))).await,
        };
        if info.endpoint.is_some() {
            // As in Envoy, a request without an endpoint is not mirrored.
            replay.mirror_to(mirror::start(worker, plan.mirrors.take()));
        }
        let (up, permits) = match result {
            Err(ClientReset) => break Unanswered::Failed(Failure::ClientClosed),
            Ok(Ok(up)) => up,
            Ok(Err(NoConnection { reject, tried })) => {
                let outcome = without_connection(plan, &retry, tried);
                let decision = decide_retry(worker, plan, &mut retry, outcome);
                let Some(wait) = decision.wait() else {
                    info.flags |= decision.flags();
                    break Unanswered::NotConnected(reject);
                };
                if let Err(failure) = Box::pin(pause(&mut conn.downstream, plan, info, wait)).await {
                    break Unanswered::Failed(failure);
                }
                begin_again(worker, conn, buffers, (head, plan, &retry), info);
                continue;
            }
        };
        let progress = RequestProgress { body: &mut body, replay: &mut replay };
        let mut flow = Flow::new(worker, conn, buffers, plan, up, progress, AttemptStart { retry: &retry, info });
        let result = poll_fn(|context| flow.poll(context)).await;
        add_attempt(info, &mut flow, worker);
        let failure = match result {
            Ok(()) => {
                info.flags |= flow.no_retry_reason().flags();
                let finished = flow.finish();
                // A tunnel still counts as a request.
                let permits = Some(permits).filter(|_| matches!(finished, Finished::Tunnel(_)));
                drop(retry);
                let disposition = finish(worker, conn, buffers, head, finished, (&mut body, info)).await;
                drop(permits);
                return disposition;
            }
            Err(failure) => failure,
        };
        let outcome = flow.outcome(failure);
        let decision = decide_retry(worker, plan, &mut retry, outcome);
        if decision != RetryDecision::Replay {
            flow.report(failure);
        }
        let Some(wait) = decision.wait() else {
            info.flags |= decision.flags();
            break Unanswered::Failed(failure);
        };
        flow.rewind();
        drop(permits);
        if let Err(failure) = Box::pin(pause(&mut conn.downstream, plan, info, wait)).await {
            break Unanswered::Failed(failure);
        }
        begin_again(worker, conn, buffers, (head, plan, &retry), info);
    };
    match unanswered {
        Unanswered::NotConnected(reject) => {
            let refusal = (reject, Some(plan.reply_route()));
            Box::pin(local::refuse(worker, conn, buffers, refusal, &mut body, info)).await
        }
        Unanswered::Failed(failure) => Box::pin(fail(worker, conn, buffers, (plan, failure), &mut body, info)).await,
    }
}

/// Decides whether there is another attempt, and counts it.
fn decide_retry(
    worker: &Worker,
    plan: &Plan,
    retry: &mut RetryState,
    outcome: AttemptOutcome<Counted>,
) -> RetryDecision {
    let acquire = || plan.cluster.begin_retry();
    let decision = retry.decide(plan.retry_policy(), outcome, acquire, || worker.random());
    match decision {
        RetryDecision::Retry(_) => add(&worker.metrics.retried),
        RetryDecision::Replay => add(&worker.metrics.replayed),
        RetryDecision::Stop(_) => {}
    }
    decision
}

/// The outcome of an attempt without a connection; `tried` says whether an endpoint was tried.
fn without_connection(plan: &Plan, retry: &RetryState, tried: bool) -> AttemptOutcome<Counted> {
    let is_other = |one: &Arc<EndpointState>| !one.is_ejected() && !retry.has_tried(one.id);
    let has_others = || plan.cluster.endpoints().is_some_and(|all| all.iter().any(is_other));
    AttemptOutcome {
        failure: if tried { AttemptFailure::Connect { has_others: has_others() } } else { AttemptFailure::Final },
        is_started: false,
        is_replayable: true,
        may_be_stale: false,
        response: ResponseProgress::Nothing,
        permit: None,
    }
}

/// Writes the head for another attempt, and remembers a retry.
fn begin_again(
    worker: &Worker,
    conn: &ClientConnection,
    buffers: &mut ExchangeBuffers,
    (head, plan, retry): (usize, &Plan, &RetryState),
    info: &mut StreamInfo,
) {
    let number = retry.attempt_number();
    info.retried |= number.is_some();
    request_head::renew(worker, conn, buffers, (head, plan, number.unwrap_or(1)));
}

/// Waits before the next attempt; an error if the route's timeout ends or the client resets meanwhile.
async fn pause(client: &mut Downstream, plan: &Plan, info: &StreamInfo, wait: Duration) -> Result<(), Failure> {
    let wait = time_left(plan, info).map_or(wait, |left| left.min(wait));
    if !wait.is_zero() {
        client.until_reset(tokio::time::sleep(wait)).await.map_err(|ClientReset| Failure::ClientClosed)?;
    }
    if is_timed_out(plan, info) { Err(Failure::Timeout) } else { Ok(()) }
}

/// The time left until the route's timeout or the client's deadline.
fn time_left(plan: &Plan, info: &StreamInfo) -> Option<Duration> {
    let of_route = plan.timeout.map(|limit| limit.saturating_sub(info.whole.elapsed()));
    let of_client = plan.deadline.map(|limit| limit.saturating_sub(info.counted.elapsed()));
    of_route.into_iter().chain(of_client).min()
}

fn is_timed_out(plan: &Plan, info: &StreamInfo) -> bool {
    time_left(plan, info).is_some_and(|left| left.is_zero())
}

/// The chosen endpoint, and its load while the attempt lasts.
type ChosenEndpoint = (Arc<EndpointState>, Option<InFlight>);

fn pick_context<'a>(plan: &'a Plan, retry: &'a RetryState) -> PickContext<'a> {
    PickContext { hash: plan.affinity.hash, avoid: retry.avoid(plan.retry_policy()), excluded: retry.excluded() }
}

fn begin(plan: &Plan, (endpoint, _): &ChosenEndpoint, retry: &mut RetryState, info: &mut StreamInfo) {
    info.begin_attempt(endpoint);
    retry.begin(plan.retry_policy(), endpoint.id, || plan.cluster.priority_bit(endpoint.id));
}

/// An idle connection, or a stream on an open one, without waiting; this serves most requests. The error is the chosen endpoint, if there is
/// one.
fn take_pooled(
    worker: &Worker,
    plan: &Plan,
    retry: &mut RetryState,
    info: &mut StreamInfo,
) -> Result<Result<(Upstream, AttemptPermits), NoConnection>, Option<ChosenEndpoint>> {
    let picked = plan.cluster.pick(&mut || worker.random(), pick_context(plan, retry));
    let chosen = picked.map_err(|_| None)?;
    begin(plan, &chosen, retry, info);
    let endpoint = &chosen.0;
    let up = match plan.http2 {
        false if retry.may_use_idle() => {
            let idle = worker.pool.borrow_mut().take(&plan.cluster, endpoint, plan.sender());
            idle.map(|connection| on_connection(worker, plan, endpoint, connection))
        }
        false => None,
        true => {
            let stream = worker.streams.borrow_mut().take(&plan.cluster, endpoint, plan.sender());
            stream.map(|stream| on_stream(worker, plan, endpoint, stream))
        }
    };
    match up {
        Some(up) => Ok(with_permits(up, chosen.1)),
        None => Err(Some(chosen)),
    }
}

fn with_permits(
    up: Result<(Upstream, Counted), Reject>,
    in_flight: Option<InFlight>,
) -> Result<(Upstream, AttemptPermits), NoConnection> {
    match up {
        Ok((up, counted)) => Ok((up, (in_flight, counted))),
        Err(reject) => Err(NoConnection { reject, tried: !matches!(reject, Reject::Timeout | Reject::Overflow) }),
    }
}

/// Connects to an endpoint of the cluster: an idle or a new connection, or a stream. A retry does not use idle connections.
async fn connect(
    worker: &Worker,
    plan: &Plan,
    chosen: Option<ChosenEndpoint>,
    retry: &mut RetryState,
    info: &mut StreamInfo,
) -> Result<(Upstream, AttemptPermits), NoConnection> {
    let (endpoint, in_flight) = match chosen {
        Some(chosen) => chosen,
        None => {
            let chosen = choose(worker, &plan.cluster, pick_context(plan, retry)).await;
            let chosen = chosen.map_err(|none| no_endpoint(&none, info))?;
            begin(plan, &chosen, retry, info);
            chosen
        }
    };
    let result = match plan.http2 {
        true => stream(worker, plan, &endpoint, info).await,
        false => connection(worker, plan, &endpoint, (retry, info)).await,
    };
    with_permits(result, in_flight)
}

fn no_endpoint(none: &NoEndpoint, info: &mut StreamInfo) -> NoConnection {
    if let NoEndpoint::Withheld(reason) = none {
        info.transport_failure = reason.to_string();
    }
    NoConnection { reject: none.into(), tried: false }
}

async fn connection(
    worker: &Worker,
    plan: &Plan,
    endpoint: &Arc<EndpointState>,
    (retry, info): (&RetryState, &mut StreamInfo),
) -> Result<(Upstream, Counted), Reject> {
    let timeouts = ConnectTimeouts {
        idle: retry.may_use_idle(),
        wait: time_left(plan, info),
        connect: || connect_timeout(plan, info),
    };
    let connection = upstream::h1_connection(&worker.pool, &plan.cluster, endpoint, plan.sender(), timeouts).await;
    let connection = connection.map_err(|error| connect_failure(worker, plan, endpoint, (info, &error)))?;
    on_connection(worker, plan, endpoint, connection)
}

fn on_connection(
    worker: &Worker,
    plan: &Plan,
    endpoint: &EndpointState,
    connection: Connection,
) -> Result<(Upstream, Counted), Reject> {
    record_connection(worker, plan, endpoint, connection.reused);
    match plan.cluster.begin_request() {
        Some(counted) => Ok((Upstream::connection(connection), counted)),
        None => {
            // The connection was not used.
            worker.pool.borrow_mut().put(connection, Instant::now());
            Err(Reject::Overflow)
        }
    }
}

/// Counts a connection that was reused or established.
fn record_connection(worker: &Worker, plan: &Plan, endpoint: &EndpointState, reused: bool) {
    if reused {
        add(&worker.metrics.reused);
    } else {
        add(&worker.metrics.connected);
        worker.report(&plan.cluster, endpoint, Outcome::Connected);
    }
}

/// Opens an HTTP/2 stream and sends the head of the request.
async fn stream(
    worker: &Worker,
    plan: &Plan,
    endpoint: &Arc<EndpointState>,
    info: &mut StreamInfo,
) -> Result<(Upstream, Counted), Reject> {
    let limit = connect_timeout(plan, info);
    let stream = match upstream::h2_stream(&worker.streams, &plan.cluster, endpoint, plan.sender(), limit).await {
        Ok(stream) => stream,
        Err(error) => return Err(connect_failure(worker, plan, endpoint, (info, &error))),
    };
    on_stream(worker, plan, endpoint, stream)
}

fn on_stream(
    worker: &Worker,
    plan: &Plan,
    endpoint: &EndpointState,
    stream: H2Stream,
) -> Result<(Upstream, Counted), Reject> {
    record_connection(worker, plan, endpoint, stream.reused);
    let counted = plan.cluster.begin_request().ok_or(Reject::Overflow)?;
    let Some(head) = plan.stream_head.take() else { return Err(Reject::UpstreamProtocol) };
    // If the library rejects the head, nothing was sent.
    let opened = Upstream::open(stream, head.request, head.bodiless).map_err(|_| Reject::UpstreamClosed)?;
    Ok((opened, counted))
}

/// How long connecting may take: the cluster's timeout, within the time left.
fn connect_timeout(plan: &Plan, info: &StreamInfo) -> Duration {
    let limit = plan.cluster.config.timeouts.connect;
    time_left(plan, info).map_or(limit, |left| left.min(limit))
}

/// The reject for a connection that could not be established.
fn connect_failure(
    worker: &Worker,
    plan: &Plan,
    endpoint: &EndpointState,
    (info, error): (&mut StreamInfo, &ConnectError),
) -> Reject {
    if is_timed_out(plan, info) {
        return Reject::Timeout;
    }
    if matches!(error, ConnectError::Overflow) {
        return Reject::Overflow;
    }
    if !error.is_own() {
        worker.report(&plan.cluster, endpoint, Outcome::Disconnected);
    }
    add(&worker.metrics.connect_failed);
    info.transport_failure = error.to_string();
    Reject::from(error)
}

/// Releases both connections after a complete response.
async fn finish(
    worker: &Rc<Worker>,
    conn: &mut ClientConnection,
    buffers: &mut ExchangeBuffers,
    head: usize,
    finished: Finished,
    (body, info): (&mut BodyReader, &mut StreamInfo),
) -> Disposition {
    match finished {
        Finished::Tunnel(up) => {
            let relayed = Box::pin(tunnel::run(worker, conn, buffers, head, up)).await;
            (info.received, info.sent) = (relayed.to_backend, relayed.to_client);
            Disposition::Close
        }
        Finished::Answered { up, close } => {
            if let Some(up) = up {
                worker.pool.borrow_mut().put(up, Instant::now());
            }
            local::after_response(worker, conn, buffers, body, close).await
        }
    }
}

async fn fail(
    worker: &Worker,
    conn: &mut ClientConnection,
    buffers: &mut ExchangeBuffers,
    (plan, failure): (&Plan, Failure),
    body: &mut BodyReader,
    info: &mut StreamInfo,
) -> Disposition {
    match failure.reject() {
        Some(reject) if !info.answered => {
            let refusal = (reject, Some(plan.reply_route()));
            local::refuse(worker, conn, buffers, refusal, body, info).await
        }
        // The client has reset, or has received a part of a response that stays incomplete: only a close, a reset or a gRPC status can report
        // that.
        reject => {
            let told = reject.filter(|_| plan.dialect == Some(Dialect::Grpc));
            let status = told.map(|reject| (reject.grpc_status(), failure.message()));
            conn.downstream.break_off(status, failure.reset());
            if failure == Failure::ClientTrailers {
                add(&worker.metrics.streams.malformed);
            }
            if !info.answered {
                // The status of a response that was not sent to the client does not count.
                info.status = 0;
            }
            let own = if failure == Failure::ClientTrailers { Flags::DPE } else { Flags::DC };
            info.flags |= reject.map_or(own, |reject| reject.reason().flags);
            info.detail = failure.detail();
            Disposition::Close
        }
    }
}

/// Ends an exchange whose client has reset before anything was sent.
pub(super) fn abandon(client: &mut Downstream, info: &mut StreamInfo) -> Disposition {
    client.reset(ResetCode::Cancel);
    info.flags |= Flags::DC;
    info.detail = Failure::ClientClosed.detail();
    Disposition::Close
}
