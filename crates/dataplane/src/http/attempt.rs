//! Sending a request on: to an endpoint, over a connection, and again as far as its route's policy says.

use super::backend::{Backend, H2Backend};
use super::decide::Plan;
use super::flow::{Failure, Finished, Flow, Held};
use super::local;
use super::mirror;
use super::record::Ended;
use super::server::{After, Downstream};
use super::side::Side;
use super::tries::{Next, Tries};
use super::tunnel;
use crate::conn::{Space, Worker, choose};
use crate::metrics::add;
use crate::reasons::{Flags, Reject};
use h2::Reason;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use upstream::{ConnectError, Connection, EndpointState, InFlight, Wanted};
use wire::grpc::Dialect;
use wire::h1::BodyReader;

/// Why there is no connection.
struct NoConnection {
    reject: Reject,
    /// Whether there was an endpoint that was tried.
    tried: bool,
}

/// Sends a request on, as often as it may be, and passes the answer back.
pub(super) async fn forward(
    worker: &Rc<Worker>,
    conn: &mut Downstream,
    space: &mut Space,
    head: usize,
    plan: &Plan,
    ended: &mut Ended,
) -> After {
    let mut body = BodyReader::new(space.request.body);
    let mut held = Held::new(plan.web(), mirror::start(worker, plan.mirrors.take()));
    let mut tries = Tries::default();
    loop {
        let (up, in_flight) = match backend(worker, plan, &mut tries, ended).await {
            Ok(up) => up,
            Err(NoConnection { reject, tried }) => match tries.after_connect(worker, plan, tried) {
                Next::Again(wait) if pause(plan, ended, wait).await => {
                    tries.renumber(space);
                    continue;
                }
                next => {
                    let reject = if matches!(next, Next::Again(_)) { Reject::Timeout } else { reject };
                    ended.flags |= next.flags();
                    let refusal = (reject, Some((&*plan.route, plan.target)));
                    return local::refuse(worker, conn, space, refusal, &mut body, ended).await;
                }
            },
        };
        let mut flow = Flow::new(worker, conn, space, plan, up, (&mut body, &mut held), (ended.counted, &tries, ended));
        let result = poll_fn(|context| flow.poll(context)).await;
        ended.take(&flow, worker.log.is_some());
        let failure = match result {
            Ok(()) => {
                ended.flags |= flow.end().flags();
                let finished = flow.finish();
                drop((in_flight, tries));
                return settle(worker, conn, space, head, finished, (&mut body, ended)).await;
            }
            Err(failure) => failure,
        };
        match tries.after_failure(worker, plan, &mut flow, failure) {
            Next::Again(wait) => {
                flow.rewind();
                drop(in_flight);
                if !pause(plan, ended, wait).await {
                    return fail(worker, conn, space, (plan, Failure::Timeout), &mut body, ended).await;
                }
                tries.renumber(space);
            }
            next => {
                ended.flags |= next.flags();
                return fail(worker, conn, space, (plan, failure), &mut body, ended).await;
            }
        }
    }
}

/// Waits before the next attempt; false when the route's time is over by then.
async fn pause(plan: &Plan, ended: &Ended, wait: Duration) -> bool {
    let left = plan.limit().map(|limit| limit.saturating_sub(ended.counted.elapsed()));
    let wait = left.map_or(wait, |left| left.min(wait));
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    plan.limit().is_none_or(|limit| limit > ended.counted.elapsed())
}

/// A side to some endpoint of the cluster: an idle connection or a new one, or a stream. A second attempt does not trust idle ones.
async fn backend(
    worker: &Worker,
    plan: &Plan,
    tries: &mut Tries,
    ended: &mut Ended,
) -> Result<(Backend, Option<InFlight>), NoConnection> {
    let wanted = Wanted { hash: plan.affinity.hash, avoid: tries.avoid(plan), excluded: tries.excluded() };
    let none = |_| NoConnection { reject: Reject::NoEndpoint, tried: false };
    let (endpoint, in_flight) = choose(worker, &plan.cluster, wanted).await.map_err(none)?;
    ended.endpoint = Some(Arc::clone(&endpoint));
    tries.begin(plan, endpoint.id);
    let result = match &plan.stream_head {
        Some(_) => stream(worker, plan, &endpoint, (tries, ended)).await,
        None => connection(worker, plan, &endpoint, (tries, ended)).await,
    };
    result.map(|up| (up, in_flight)).map_err(|reject| NoConnection { reject, tried: reject != Reject::Timeout })
}

async fn connection(
    worker: &Worker,
    plan: &Plan,
    endpoint: &Arc<EndpointState>,
    (tries, ended): (&Tries, &mut Ended),
) -> Result<Backend, Reject> {
    let take = || worker.pool.borrow_mut().take(&plan.cluster, endpoint, plan.host());
    let idle = if tries.trusts_idle() { take() } else { None };
    if let Some(connection) = idle {
        add(&worker.metrics.reused);
        return Ok(Backend::H1(connection));
    }
    connect(worker, plan, endpoint, ended).await.map(Backend::H1)
}

/// A stream of HTTP/2 on which the request's head was sent.
async fn stream(
    worker: &Worker,
    plan: &Plan,
    endpoint: &Arc<EndpointState>,
    (tries, ended): (&Tries, &mut Ended),
) -> Result<Backend, Reject> {
    let Some((head, bodiless)) = &plan.stream_head else { return Err(Reject::UpstreamProtocol) };
    let limit = time_left(plan, ended);
    let stream = match upstream::h2_stream(&worker.streams, &plan.cluster, endpoint, plan.host(), limit).await {
        Ok(stream) => stream,
        Err(error) => return Err(not_connected(worker, plan, ended, &error)),
    };
    add(if stream.reused { &worker.metrics.reused } else { &worker.metrics.connected });
    // What the library refuses to send never began.
    let mut head = head.clone();
    tries.renumber_stream(&mut head);
    H2Backend::open(stream, head, *bodiless).map(Box::new).map(Backend::H2).map_err(|_| Reject::UpstreamClosed)
}

/// How long connecting may take: what the cluster gives it, and the route has left.
fn time_left(plan: &Plan, ended: &Ended) -> Duration {
    let limit = plan.cluster.cluster.timeouts.connect;
    let left = plan.limit().map(|timeout| timeout.saturating_sub(ended.counted.elapsed()));
    left.map_or(limit, |left| left.min(limit))
}

/// The answer to a connection that could not be made.
fn not_connected(worker: &Worker, plan: &Plan, ended: &mut Ended, error: &ConnectError) -> Reject {
    if plan.limit().is_some_and(|timeout| timeout <= ended.counted.elapsed()) {
        return Reject::Timeout;
    }
    add(&worker.metrics.connect_failed);
    ended.transport_failure = error.to_string();
    Reject::from(error)
}

/// A new connection.
async fn connect(
    worker: &Worker,
    plan: &Plan,
    endpoint: &Arc<EndpointState>,
    ended: &mut Ended,
) -> Result<Connection, Reject> {
    let connected = plan.cluster.connect(endpoint, plan.host(), time_left(plan, ended)).await;
    match connected {
        Ok(connection) => {
            add(&worker.metrics.connected);
            Ok(connection)
        }
        Err(error) => Err(not_connected(worker, plan, ended, &error)),
    }
}

/// After a complete answer: what becomes of both connections.
async fn settle(
    worker: &Rc<Worker>,
    conn: &mut Downstream,
    space: &mut Space,
    head: usize,
    finished: Finished,
    (body, ended): (&mut BodyReader, &mut Ended),
) -> After {
    match finished {
        Finished::Tunnel(up) => {
            (ended.received, ended.sent) = tunnel::run(worker, conn, space, head, up).await;
            After::Close
        }
        Finished::Answered { up, close } => {
            if let Some(up) = up {
                worker.pool.borrow_mut().put(up, Instant::now());
            }
            local::after_answer(worker, conn, space, body, close).await
        }
    }
}

async fn fail(
    worker: &Worker,
    conn: &mut Downstream,
    space: &mut Space,
    (plan, failure): (&Plan, Failure),
    body: &mut BodyReader,
    ended: &mut Ended,
) -> After {
    match failure.reject() {
        Some(reject) if !ended.answered => {
            let refusal = (reject, Some((&*plan.route, plan.target)));
            local::refuse(worker, conn, space, refusal, body, ended).await
        }
        // The client is gone, or has part of an answer that will not be complete: only a close can tell it, or the status of gRPC.
        reject => {
            if let Side::H2(stream) = &mut conn.side {
                let told = reject.filter(|_| plan.dialect == Some(Dialect::Grpc));
                if told.is_none_or(|reject| stream.end_grpc(reject.grpc_status(), failure.message()).is_err()) {
                    stream.reset(Reason::INTERNAL_ERROR);
                }
            }
            ended.flags |= reject.map_or(Flags::DC, |reject| reject.reason().flags);
            ended.detail = failure.detail();
            After::Close
        }
    }
}
