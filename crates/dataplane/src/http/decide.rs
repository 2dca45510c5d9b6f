//! Everything that can be said of a request without waiting: where it goes, and the head that goes there. The decisions themselves
//! are `routing`'s; here they are put to it.

use super::reply::Reject;
use super::server::Downstream;
use crate::conn::{Space, Worker};
use routing::{LocalAnswer, Pick, RawRequest, RouteEntry, prepare};
use std::sync::Arc;
use std::time::Duration;
use upstream::ClusterState;
use wire::edit::Edits;
use wire::forwarded::{self, Peer};
use wire::h1::{OutFraming, RequestHead, RequestParts, write_request};
use wire::view::RequestView;

/// What is to be done with a request.
pub(super) enum Decision {
    /// Answered here; by a route, where one was found.
    Reject(Reject, Option<(Arc<RouteEntry>, usize)>),
    /// Answered by its route.
    Local(Arc<RouteEntry>, LocalAnswer),
    /// Sent on; the head stands in `up_out`.
    Forward(Plan),
}

/// Where a request is sent. It holds the route and the cluster, never the table.
pub(super) struct Plan {
    pub(super) route: Arc<RouteEntry>,
    pub(super) target: usize,
    pub(super) cluster: Arc<ClusterState>,
    /// Whether the backend is asked to switch protocols.
    pub(super) upgrade: bool,
    /// May be sent twice without harm (RFC 9110 §9.2.2).
    pub(super) idempotent: bool,
    /// From the whole request until the whole answer (VS-39).
    pub(super) timeout: Option<Duration>,
}

impl Decision {
    /// Where it is sent, if it is.
    pub(super) fn plan(&self) -> Option<&Plan> {
        match self {
            Self::Forward(plan) => Some(plan),
            Self::Reject(..) | Self::Local(..) => None,
        }
    }

    /// The route that took it, if one did.
    pub(super) fn route(&self) -> Option<&RouteEntry> {
        match self {
            Self::Forward(plan) => Some(&plan.route),
            Self::Local(route, _) => Some(route),
            Self::Reject(_, route) => route.as_ref().map(|(route, _)| route.as_ref()),
        }
    }
}

/// Decides by the table of now.
pub(super) fn decide(worker: &Worker, conn: &Downstream, space: &mut Space, head: usize) -> Decision {
    let Space { request, scratch, request_id, up_out, .. } = space;
    forwarded::request_id(u128::from(worker.random()) << 64 | u128::from(worker.random()), request_id);
    let request_id = std::str::from_utf8(request_id).unwrap_or_default();
    let version = conn.listener.version();
    let buffer = conn.input.filled().get(..head).unwrap_or_default();
    let fields = request.fields(buffer);
    let peer = Peer { address: &conn.peer, scheme: "http", trusted_proxies: version.http.forwarded.trusted_proxies };
    let (method, target, host) = (request.method.of(buffer), request.target.of(buffer), request.host.of(buffer));
    let view = match prepare(RawRequest { method, target, host, fields }, &version.http, &peer, scratch) {
        Ok(prepared) => prepared.view,
        Err(refusal) => return Decision::Reject(Reject::Refused(refusal), None),
    };
    let route = match version.table.pick(&view) {
        Pick::Route(route) => Arc::clone(route),
        Pick::NoRoute(_) | Pick::NoHost => return Decision::Reject(Reject::NoRoute, None),
    };
    if let Some(answer) = route.local_answer(&view) {
        return Decision::Local(route, answer);
    }
    let target = route.choose(|| worker.random());
    let slot = route.targets.get(target).and_then(|target| target.slot);
    let Some(cluster) = slot.and_then(|slot| worker.upstream.cluster(slot)) else {
        return Decision::Reject(Reject::NoCluster, Some((route, target)));
    };
    let mut edits = Edits::default();
    forwarded::edit(&peer, fields, view.scheme, request_id, &mut edits);
    edits.set("x-envoy-attempt-count", &b"1"[..]);
    route.edit_request(target, &view, &mut edits);
    let upgrade = websocket(request, buffer);
    write_request(up_out, &parts(request, &view, upgrade), &edits);
    drop(edits);
    let idempotent = matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE");
    let timeout = route.forward().and_then(|forward| forward.timeout);
    Decision::Forward(Plan { route, target, cluster, upgrade: upgrade.is_some(), idempotent, timeout })
}

/// Other switches than WebSocket's are not asked of the backend (S-118): the request stays HTTP.
fn websocket<'a>(request: &RequestHead, buffer: &'a [u8]) -> Option<&'a [u8]> {
    request.upgrade.map(|span| span.of(buffer)).filter(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}

fn parts<'a>(request: &RequestHead, view: &RequestView<'a>, upgrade: Option<&'a [u8]>) -> RequestParts<'a> {
    RequestParts {
        method: view.method,
        path: view.path,
        query: view.query,
        authority: view.authority,
        fields: view.fields,
        nominates: request.nominates,
        framing: OutFraming::from(request.body),
        upgrade,
        close: false,
    }
}
