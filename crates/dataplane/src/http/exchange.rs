//! One request: decided, sent on, answered. The one orchestrator; each step is a function below or a module beside.

use super::flow::{Failure, Flow, ResponseSetting};
use super::record::{Ended, ended};
use super::reply::{self, Local, Reject};
use super::server::{Downstream, write_all};
use super::tunnel;
use crate::conn::{Space, Worker};
use crate::metrics::add;
use routing::{LocalAnswer, Pick, RawRequest, RouteEntry, prepare};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use upstream::{ClusterState, Connection, InFlight, NoEndpoint};
use wire::edit::Edits;
use wire::forwarded::{self, Peer};
use wire::h1::response::Asked;
use wire::h1::{BodyLength, BodyReader, OutFraming, RequestParts, write_request};

/// What becomes of the connection after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// The next request may come.
    Next,
    /// It is closed.
    Close,
    /// It is closed once the answer has arrived.
    Linger,
}

/// What is to be done with a request.
enum Decision {
    /// Answered here.
    Reject(Reject),
    /// Answered by its route.
    Local(Arc<RouteEntry>, LocalAnswer),
    /// Sent on; the head stands in `up_out`.
    Forward(Plan),
}

/// Where a request is sent.
pub(super) struct Plan {
    pub(super) route: Arc<RouteEntry>,
    pub(super) target: usize,
    pub(super) cluster: Arc<ClusterState>,
    pub(super) upgrade: bool,
    /// May be sent twice without harm (RFC 9110 §9.2.2).
    pub(super) idempotent: bool,
    timeout: Option<Duration>,
}

/// Answers the request whose head takes the first `head` bytes of the connection's input.
pub(super) async fn exchange(worker: &Rc<Worker>, conn: &mut Downstream, space: &mut Space, head: usize) -> After {
    let started = Instant::now();
    if space.request.body != BodyLength::None {
        // The head stays where it is for as long as the exchange; the body is read elsewhere.
        let rest = conn.input.filled().get(head..).unwrap_or_default();
        space.body_in.put(rest);
        conn.input.truncate(head);
    }
    let mut ended_as = Ended::new(started);
    let after = match decide(worker, conn, space, head) {
        Decision::Forward(plan) => {
            let after = forward(worker, conn, space, &plan, &mut ended_as).await;
            ended(worker, conn, space, head, Some(&plan), &ended_as);
            after
        }
        Decision::Local(route, answer) => {
            ended_as.status = answer.status;
            ended_as.detail = "direct_response";
            let after = answer_locally(worker, conn, space, Some(&route), &answer).await;
            ended(worker, conn, space, head, None, &ended_as);
            after
        }
        Decision::Reject(reject) => {
            let after = refuse(worker, conn, space, reject, &mut ended_as).await;
            ended(worker, conn, space, head, None, &ended_as);
            after
        }
    };
    conn.input.consume(head);
    if !space.body_in.is_empty() {
        conn.input.put(space.body_in.filled());
    }
    after
}

/// Everything that can be said of a request without waiting: where it goes, and the head that goes there.
fn decide(worker: &Worker, conn: &Downstream, space: &mut Space, head: usize) -> Decision {
    let Space { request, scratch, request_id, up_out, .. } = space;
    forwarded::request_id(u128::from(worker.random()) << 64 | u128::from(worker.random()), request_id);
    let version = conn.listener.version();
    let buffer = conn.input.filled().get(..head).unwrap_or_default();
    let fields = request.fields(buffer);
    let peer = Peer { address: &conn.peer, scheme: "http", trusted_proxies: version.http.forwarded.trusted_proxies };
    let (method, target, host) = (request.method.of(buffer), request.target.of(buffer), request.host.of(buffer));
    let view = match prepare(RawRequest { method, target, host, fields }, &version.http, &peer, scratch) {
        Ok(prepared) => prepared.view,
        Err(refusal) => return Decision::Reject(Reject::Refused(refusal)),
    };
    let route = match version.table.pick(&view) {
        Pick::Route(route) => Arc::clone(route),
        Pick::NoRoute(_) | Pick::NoHost => return Decision::Reject(Reject::NoRoute),
    };
    if let Some(answer) = route.local_answer(&view) {
        return Decision::Local(route, answer);
    }
    let target = route.choose(|| worker.random());
    let slot = route.targets.get(target).and_then(|target| target.slot);
    let Some(cluster) = slot.and_then(|slot| worker.upstream.cluster(slot)) else {
        return Decision::Reject(Reject::NoCluster);
    };
    let request_id = std::str::from_utf8(request_id).unwrap_or_default();
    // Other switches than WebSocket's are not asked of the backend (S-118): the request stays HTTP.
    let websocket = |span: &wire::view::Span| span.of(buffer).eq_ignore_ascii_case(b"websocket");
    let upgrade = request.upgrade.filter(websocket).map(|span| span.of(buffer));
    let mut edits = Edits::default();
    forwarded::edit(&peer, fields, view.scheme, request_id, &mut edits);
    edits.set("x-envoy-attempt-count", &b"1"[..]);
    route.edit_request(target, &view, &mut edits);
    let parts = RequestParts {
        method,
        path: view.path,
        query: view.query,
        authority: view.authority,
        fields,
        nominates: request.nominates,
        framing: OutFraming::from(request.body),
        upgrade,
        close: false,
    };
    write_request(up_out, &parts, &edits);
    let idempotent = matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE");
    let (upgrade, timeout) = (upgrade.is_some(), route.forward().and_then(|forward| forward.timeout));
    drop(edits);
    Decision::Forward(Plan { route, target, cluster, upgrade, idempotent, timeout })
}

/// Sends a request on, at most twice, and passes the answer back.
async fn forward(
    worker: &Rc<Worker>,
    conn: &mut Downstream,
    space: &mut Space,
    plan: &Plan,
    ended: &mut Ended,
) -> After {
    let mut request_body = BodyReader::new(space.request.body);
    let mut held = plan.idempotent.then(Vec::new);
    let mut avoid = None;
    let mut may_reuse = true;
    loop {
        let (connection, in_flight) = match connection(worker, plan, avoid, may_reuse, ended).await {
            Ok(connection) => connection,
            Err(reject) => return refuse(worker, conn, space, reject, ended).await,
        };
        let reused = connection.reused;
        let mut flow = flow(worker, conn, space, plan, connection, &mut request_body, held.as_mut());
        let result = poll_fn(|context| flow.poll(context)).await;
        ended.take(&flow);
        match result {
            Ok(()) => {
                let (after, connection) = flow.finish();
                drop(in_flight);
                return settle(worker, conn, space, connection, after).await;
            }
            Err(failure) if flow.may_replay(failure, reused) => {
                // The connection had been closed while it was idle: the request was not taken.
                add(&worker.metrics.replayed);
                avoid = None;
                may_reuse = false;
                if let Some(held) = held.as_mut().filter(|held| !held.is_empty()) {
                    space.up_out = std::mem::take(held);
                }
                space.up_in.release();
                space.response = std::mem::take(&mut space.response).reset();
            }
            Err(failure) => return fail(worker, conn, space, failure, ended).await,
        }
    }
}

fn flow<'a>(
    worker: &'a Rc<Worker>,
    conn: &'a mut Downstream,
    space: &'a mut Space,
    plan: &'a Plan,
    connection: Connection,
    request_body: &'a mut BodyReader,
    held: Option<&'a mut Vec<u8>>,
) -> Flow<'a> {
    let head_only = space.request.method.of(conn.input.filled()) == b"HEAD";
    let asked = match (plan.upgrade, head_only) {
        (true, _) => Asked::Upgrade,
        (false, true) => Asked::Head,
        (false, false) => Asked::Other,
    };
    let close = !space.request.keep_alive || conn.is_draining(worker);
    let setting = ResponseSetting { route: &plan.route, target: plan.target, asked, close, timeout: plan.timeout };
    Flow::new(worker, conn, space, connection, request_body, held, setting)
}

/// An idle connection to an endpoint of the cluster, or a new one.
async fn connection(
    worker: &Rc<Worker>,
    plan: &Plan,
    avoid: Option<u64>,
    may_reuse: bool,
    ended: &mut Ended,
) -> Result<(Connection, Option<InFlight>), Reject> {
    let cluster = &plan.cluster;
    let mut picked = cluster.pick(&mut || worker.random(), avoid);
    if matches!(picked, Err(NoEndpoint::Unresolved)) {
        worker.upstream.begin_resolving(cluster);
        cluster.wait_resolved(worker.limits.resolve_timeout).await;
        picked = cluster.pick(&mut || worker.random(), avoid);
    }
    let (endpoint, in_flight) = picked.map_err(|_| Reject::NoEndpoint)?;
    ended.endpoint = Some(Arc::clone(&endpoint));
    let idle = if may_reuse { worker.pool.borrow_mut().take(&endpoint) } else { None };
    if let Some(connection) = idle {
        add(&worker.metrics.reused);
        return Ok((connection, in_flight));
    }
    match upstream::connect(&endpoint, cluster.cluster.timeouts.connect).await {
        Ok(connection) => {
            add(&worker.metrics.connected);
            Ok((connection, in_flight))
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
    up: Option<Connection>,
    after: Settled,
) -> After {
    match (after, up) {
        (Settled::Tunnel, Some(up)) => {
            tunnel::run(worker, conn, space, up).await;
            After::Close
        }
        (Settled::Keep(after), Some(up)) => {
            worker.pool.borrow_mut().put(up, Instant::now());
            after
        }
        (Settled::Keep(after), None) => after,
        (Settled::Tunnel, None) => After::Close,
    }
}

/// How an exchange came out that went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// Both sides switched protocols.
    Tunnel,
    /// The answer is complete.
    Keep(After),
}

async fn fail(
    worker: &Rc<Worker>,
    conn: &mut Downstream,
    space: &mut Space,
    failure: Failure,
    ended: &mut Ended,
) -> After {
    match failure.reject() {
        Some(reject) if !ended.answered => refuse(worker, conn, space, reject, ended).await,
        // The client is gone, or has part of an answer that will not be complete: only a close can tell it.
        reject => {
            ended.flags = reject.map_or("DC", Reject::flags);
            ended.detail = failure.detail();
            After::Close
        }
    }
}

async fn refuse(
    worker: &Rc<Worker>,
    conn: &mut Downstream,
    space: &mut Space,
    reject: Reject,
    ended: &mut Ended,
) -> After {
    ended.status = reject.status();
    ended.flags = reject.flags();
    ended.detail = reject.detail();
    let answer = LocalAnswer { status: reject.status(), location: None, body: Arc::from(reject.body().as_bytes()) };
    answer_locally(worker, conn, space, None, &answer).await
}

async fn answer_locally(
    worker: &Rc<Worker>,
    conn: &mut Downstream,
    space: &mut Space,
    route: Option<&RouteEntry>,
    answer: &LocalAnswer,
) -> After {
    let head_only = space.request.method.of(conn.input.filled()) == b"HEAD";
    // A body that nobody read would be taken for the next request.
    let unread = space.request.body != BodyLength::None;
    let close = unread || !space.request.keep_alive || conn.is_draining(worker);
    let date = worker.date();
    let local = Local {
        status: answer.status,
        location: answer.location.as_deref(),
        body: &answer.body,
        date: &date,
        head_only,
        close,
    };
    let mut edits = Edits::default();
    if let Some(route) = route {
        route.edit_response(0, &mut edits);
    }
    space.down_out.clear();
    reply::write(&mut space.down_out, &local, &mut edits);
    let sent = write_all(worker, conn, &space.down_out).await;
    match (sent, close) {
        (false, _) => After::Close,
        (true, false) => After::Next,
        (true, true) => {
            space.body_in.release();
            After::Linger
        }
    }
}
