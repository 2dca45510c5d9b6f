//! Forwards a request: sends it in attempts, by the route's policy, until the client has its response.

use super::attempt::{Attempt, Failure, Finished, OutgoingRequest, Replay, RequestBody};
use super::attempts::{Attempts, Connected, FailedAttempt, ForwardError, Pooled};
use super::client::Disposition;
use super::destination::unreachable;
use super::local;
use super::mirror;
use super::plan::Plan;
use super::received_request::ReceivedRequest;
use super::tunnel;
use crate::codec::{Downstream, ResetCode, Upstream};
use crate::conn::{Worker, boxed};
use crate::metrics::add;
use crate::reasons::Flags;
use crate::stream_info::StreamInfo;
use std::future::poll_fn;
use std::time::Instant;
use wire::grpc::Dialect;
use wire::h1::BodyReader;

/// Forwards a request, with retries, and returns the response to the client.
pub(super) async fn forward(request: &mut ReceivedRequest<'_>, plan: &Plan, info: &mut StreamInfo) -> Disposition {
    let worker = request.worker;
    let mut outgoing = OutgoingRequest {
        body: RequestBody::new(request.buffers.take_body(), plan.web()),
        replay: Replay::new(worker.limits.replay_bytes, request.conn.downstream.request_charge()),
    };
    let mut attempts = Attempts::new(worker, plan, info);
    loop {
        let connected = match attempts.take_pooled() {
            Pooled::Connected(connected) => Ok(connected),
            Pooled::Failed(error) => Err(error),
            // Boxed, like the other rare steps below, so that the future of the common request stays small.
            Pooled::MustConnect(picked) => boxed(|| attempts.connect(&mut request.conn.downstream, picked)).await,
        };
        if attempts.info.endpoint.is_some() {
            // As in Envoy, a request without an endpoint is not mirrored.
            outgoing.body.mirror_to(mirror::start(worker, plan.mirrors.take()));
        }
        let failed = match connected {
            Ok(Connected { mut up, permits }) => match attempt(request, &mut attempts, &mut outgoing, &mut up).await {
                Ok(finished) => {
                    // Released now, unless a tunnel follows, which counts as a request until it ends. The rest of the body does not.
                    let _until_tunnel_ends = (finished == Finished::Tunnel).then_some(permits);
                    return finish(request, finished, up, outgoing.body.rest(), attempts.into_info()).await;
                }
                Err(failed) => failed,
            },
            Err(error) => attempts.end_without_connection(error),
        };
        if let Err(error) = boxed(|| attempts.prepare_next(request, failed)).await {
            return boxed(|| fail(request, plan, error, outgoing.body.rest(), attempts.into_info())).await;
        }
    }
}

/// Makes one attempt on a connection or stream.
async fn attempt(
    request: &mut ReceivedRequest<'_>,
    attempts: &mut Attempts<'_>,
    outgoing: &mut OutgoingRequest,
    up: &mut Upstream,
) -> Result<Finished, FailedAttempt> {
    let mut attempt = Attempt::new(request, attempts.plan, up, outgoing, attempts.retry(), attempts.info);
    let result = poll_fn(|context| attempt.poll(context)).await;
    attempts.end(&mut attempt, result)
}

/// Releases both connections after a complete response.
async fn finish(
    request: &mut ReceivedRequest<'_>,
    finished: Finished,
    up: Upstream,
    body: &mut BodyReader,
    info: &mut StreamInfo,
) -> Disposition {
    match finished {
        Finished::Tunnel => boxed(|| tunnel::run(request, up, info)).await,
        Finished::Answered { is_clean, close } => {
            if let Some(up) = up.into_reusable().filter(|_| is_clean) {
                request.worker.pool.borrow_mut().put(up, Instant::now());
            }
            local::after_response(request, body, close).await
        }
    }
}

/// Responds to a request without a response from a backend, or breaks off a response that has begun.
async fn fail(
    request: &mut ReceivedRequest<'_>,
    plan: &Plan,
    error: ForwardError,
    body: &mut BodyReader,
    info: &mut StreamInfo,
) -> Disposition {
    if let ForwardError::Connect { reject, .. } = error
        && plan.route.proxied.is_some()
    {
        let answer = unreachable(reject, &info.transport_failure);
        info.flags |= reject.reason().flags;
        return local::answer(request, Some(plan.reply_route()), &answer, body, info).await;
    }
    let reject = match error {
        ForwardError::Connect { reject, .. } => reject,
        ForwardError::Attempt(failure) => match failure.reject().filter(|_| !info.answered) {
            Some(reject) => reject,
            None => return break_off(request.worker, &mut request.conn.downstream, plan, failure, info),
        },
    };
    local::refuse(request, reject, Some(plan.reply_route()), body, info).await
}

/// Ends an exchange whose client has reset, or has received a part of a response that stays incomplete: only a close, a reset or a gRPC status
/// can report that.
fn break_off(
    worker: &Worker,
    client: &mut Downstream,
    plan: &Plan,
    failure: Failure,
    info: &mut StreamInfo,
) -> Disposition {
    let reject = failure.reject();
    let reported = reject.filter(|_| plan.dialect == Some(Dialect::Grpc));
    let status = reported.map(|reject| (reject.grpc_status(), failure.message()));
    client.break_off(status, failure.reset());
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
    Disposition::Abort
}

/// Ends an exchange whose client has reset before anything was sent.
pub(super) fn abandon(client: &mut Downstream, info: &mut StreamInfo) -> Disposition {
    client.reset(ResetCode::Cancel);
    info.flags |= Flags::DC;
    info.detail = Failure::ClientClosed.detail();
    Disposition::Close
}
