//! Sending a request on: to an endpoint, over a connection, and where that is safe a second time (RULES on replay).

use super::decide::Plan;
use super::flow::{Failure, Finished, Flow};
use super::local;
use super::record::Ended;
use super::reply::Reject;
use super::server::{After, Downstream};
use super::tunnel;
use crate::conn::{Space, Worker};
use crate::metrics::add;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use upstream::{Connection, InFlight, NoEndpoint};
use wire::h1::BodyReader;

/// What the first attempt taught the second.
#[derive(Debug, Clone, Copy, Default)]
struct Attempt {
    second: bool,
    /// The endpoint that could not be reached.
    avoid: Option<u64>,
}

/// Why there is no connection.
struct NoConnection {
    reject: Reject,
    /// The endpoint that was tried.
    endpoint: Option<u64>,
}

/// Sends a request on, at most twice, and passes the answer back.
pub(super) async fn forward(
    worker: &Rc<Worker>,
    conn: &mut Downstream,
    space: &mut Space,
    head: usize,
    plan: &Plan,
    ended: &mut Ended,
) -> After {
    let mut body = BodyReader::new(space.request.body);
    let mut held = Vec::new();
    let mut attempt = Attempt::default();
    loop {
        let (connection, in_flight) = match connection(worker, plan, attempt, ended).await {
            Ok(connection) => connection,
            Err(NoConnection { endpoint: Some(endpoint), .. }) if has_another(plan, attempt) => {
                attempt = Attempt { second: true, avoid: Some(endpoint) };
                continue;
            }
            Err(NoConnection { reject, .. }) => {
                let refusal = (reject, Some((&*plan.route, plan.target)));
                return local::refuse(worker, conn, space, refusal, &mut body, ended).await;
            }
        };
        let mut flow = Flow::new(worker, conn, space, plan, connection, (&mut body, &mut held), ended.started);
        let result = poll_fn(|context| flow.poll(context)).await;
        ended.take(&flow, worker.log.is_some());
        match result {
            Ok(()) => {
                let finished = flow.finish();
                drop(in_flight);
                return settle(worker, conn, space, head, finished, (&mut body, ended)).await;
            }
            Err(failure) if !attempt.second && flow.may_replay(failure) => {
                add(&worker.metrics.replayed);
                flow.rewind();
                attempt = Attempt { second: true, avoid: None };
            }
            Err(failure) => return fail(worker, conn, space, (plan, failure), &mut body, ended).await,
        }
    }
}

/// Whether there is an endpoint besides one that could not be reached. Nothing was written, so that every request may be sent there.
fn has_another(plan: &Plan, attempt: Attempt) -> bool {
    !attempt.second && plan.cluster.endpoints().is_some_and(|endpoints| endpoints.len() > 1)
}

/// An idle connection to an endpoint of the cluster, or a new one. A second attempt does not trust idle ones.
async fn connection(
    worker: &Worker,
    plan: &Plan,
    attempt: Attempt,
    ended: &mut Ended,
) -> Result<(Connection, Option<InFlight>), NoConnection> {
    let cluster = &plan.cluster;
    let mut picked = cluster.pick(&mut || worker.random(), attempt.avoid);
    if matches!(picked, Err(NoEndpoint::Unresolved)) {
        worker.upstream.begin_resolving(cluster);
        cluster.wait_resolved(worker.limits.resolve_timeout).await;
        picked = cluster.pick(&mut || worker.random(), attempt.avoid);
    }
    let none = |_| NoConnection { reject: Reject::NoEndpoint, endpoint: None };
    let (endpoint, in_flight) = picked.map_err(none)?;
    let idle = if attempt.second { None } else { worker.pool.borrow_mut().take(&endpoint) };
    if let Some(connection) = idle {
        add(&worker.metrics.reused);
        ended.endpoint = Some(endpoint);
        return Ok((connection, in_flight));
    }
    let result = connect(worker, plan, &endpoint, ended).await;
    let id = endpoint.id;
    ended.endpoint = Some(endpoint);
    match result {
        Ok(connection) => Ok((connection, in_flight)),
        Err(reject) => Err(NoConnection { reject, endpoint: Some(id) }),
    }
}

/// A new connection, within the time that the cluster gives it and the route has left.
async fn connect(
    worker: &Worker,
    plan: &Plan,
    endpoint: &Arc<upstream::EndpointState>,
    ended: &mut Ended,
) -> Result<Connection, Reject> {
    let limit = plan.cluster.cluster.timeouts.connect;
    let left = plan.timeout.map(|timeout| timeout.saturating_sub(ended.started.elapsed()));
    match upstream::connect(endpoint, left.map_or(limit, |left| left.min(limit))).await {
        Ok(connection) => {
            add(&worker.metrics.connected);
            Ok(connection)
        }
        Err(_) if left.is_some_and(|left| left < limit && plan.timeout <= Some(ended.started.elapsed())) => {
            Err(Reject::Timeout)
        }
        Err(error) => {
            add(&worker.metrics.connect_failed);
            ended.transport_failure = error.to_string();
            Err(Reject::from(&error))
        }
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
        // The client is gone, or has part of an answer that will not be complete: only a close can tell it.
        reject => {
            ended.flags = reject.map_or("DC", Reject::flags);
            ended.detail = failure.detail();
            After::Close
        }
    }
}
