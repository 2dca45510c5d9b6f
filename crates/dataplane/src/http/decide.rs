//! Decides a request without waiting: its route, and then the response or how the request is forwarded. `routing` makes the decisions; this module
//! gives it the request.

use super::affinity::{Affinity, HashInput};
use super::authorization::{self, Subject};
use super::client::ClientConnection;
use super::mirror::{MirrorBody, MirrorRequest};
use super::plan::{Decision, Plan, Reply, Routed};
use super::request_head::{HeadSource, context, edit_forwarded, peer, speaks_http2, stream_head};
use super::websocket;
use crate::codec::OwnHead;
use crate::conn::{EarlyPick, ExchangeBuffers, TableVersion, Worker};
use crate::reasons::Reject;
use crate::stream_info::StreamInfo;
use ir::{FieldName, HttpSettings, Sni};
use routing::ext_authz::Changes;
use routing::{
    Claims, FilterState, Refusal, RequestContext, RouteAction, RouteEntry, Scratch, Unrouted, decision, substitute,
};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;
use text::{Authority, Target, Uuid};
use upstream::ClusterState;
use wire::edit::Edits;
use wire::grpc::Dialect;
use wire::h1::{OutFraming, RequestHead, RequestParts, Style, write_request_in};
use wire::view::RequestView;

/// Decides a request by the current table if its workload has no policies and it is not a forward proxy. Otherwise returns the version of the table, by which the policies and
/// then the routes decide.
pub(super) fn decide_at_once(
    worker: &Worker,
    conn: &ClientConnection,
    buffers: &mut ExchangeBuffers,
    head: usize,
    info: &mut StreamInfo,
) -> Result<Decision, Arc<TableVersion>> {
    let version = conn.table.version();
    // A forward proxy may have users.
    let is_gated = version.policies.is_some() || version.http.settings.forward;
    if is_gated { Err(Arc::clone(&version)) } else { Ok(decide(worker, conn, buffers, (head, &version), info)) }
}

/// Finds the route of a request by a version of the table. Decides the request further if the route has no filters.
pub(super) fn decide(
    worker: &Worker,
    conn: &ClientConnection,
    buffers: &mut ExchangeBuffers,
    (head, version): (usize, &TableVersion),
    info: &mut StreamInfo,
) -> Decision {
    let settings = version.http.settings;
    let peer = peer(&conn.client, settings);
    // As in Istio, a verified token has the route picked anew (RA-06).
    let picked = buffers.picked.take().filter(|_| buffers.claims.is_empty());
    let (mut request, scratch) = Request::of(worker, conn, buffers);
    let context = context(conn, request.head, head, settings, &peer);
    let view = match decision::prepare(&context, scratch) {
        Ok(view) => view,
        Err(unrouted) => return respond(unrouted),
    };
    request.log_path(&view);
    let policies = version.policies.as_deref();
    let subject = Subject { client: &conn.client, policies, context: &context, view: &view, claims: request.claims };
    let denied = authorization::denied(subject, request.id, info);
    let picked = match picked {
        Some(EarlyPick::Route(route)) => Ok(route),
        Some(EarlyPick::NoRoute) => Err(Unrouted::NoRoute),
        None => request.pick(version, &view, request.claims),
    };
    let route = match (picked, &denied) {
        (Ok(route), _) => route,
        // A request that is not allowed does not learn whether there is a route.
        (Err(_), Some(denied)) => return Decision::Respond(Reply::Forbidden(denied.clone()), None),
        (Err(unrouted), None) => return respond(unrouted),
    };
    let routed = choose_target(worker, route, settings, FilterState::checked(request.checked.take()));
    if let Some(denied) = denied {
        // The route is for the access log alone.
        return Decision::Respond(Reply::Forbidden(denied), Some(routed));
    }
    if routed.is_ready() { request.act(&context, &view, routed) } else { Decision::Filter(routed) }
}

/// The route that the request has now, without claims; `None` if the request is answered without a route.
pub(super) fn pick(
    worker: &Worker,
    conn: &ClientConnection,
    buffers: &mut ExchangeBuffers,
    (head, version): (usize, &TableVersion),
) -> Option<EarlyPick> {
    let settings = version.http.settings;
    let peer = peer(&conn.client, settings);
    let (request, scratch) = Request::of(worker, conn, buffers);
    let context = context(conn, request.head, head, settings, &peer);
    let view = decision::prepare(&context, scratch).ok()?;
    match request.pick(version, &view, &Claims::default()) {
        Ok(route) => Some(EarlyPick::Route(route)),
        Err(Unrouted::NoRoute) => Some(EarlyPick::NoRoute),
        Err(Unrouted::Refused(_) | Unrouted::Redirect(_) | Unrouted::Misdirected | Unrouted::NotProxied(_)) => None,
    }
}

/// The route of a request that was denied before it was routed, for the access log and the metrics: Envoy picks one first of all, without claims.
pub(super) fn denied(
    worker: &Worker,
    conn: &ClientConnection,
    buffers: &mut ExchangeBuffers,
    (head, version): (usize, &TableVersion),
) -> Option<Routed> {
    let settings = version.http.settings;
    let peer = peer(&conn.client, settings);
    let (mut request, scratch) = Request::of(worker, conn, buffers);
    let context = context(conn, request.head, head, settings, &peer);
    let view = decision::prepare(&context, scratch).ok()?;
    request.log_path(&view);
    let route = request.pick(version, &view, &Claims::default()).ok()?;
    Some(choose_target(worker, route, settings, FilterState::default()))
}

/// Chooses one of the targets of a route by their weights.
fn choose_target(worker: &Worker, route: Arc<RouteEntry>, settings: HttpSettings, filters: FilterState) -> Routed {
    let target = route.choose(|| worker.random());
    let slot = route.targets.get(target).and_then(|target| target.slot);
    let cluster = slot.and_then(|slot| worker.upstream.cluster(slot));
    Routed { route, target, cluster, settings, filters }
}

/// Decides a request further, after the filters of its route; `reply` is the response of the filter that has responded.
pub(super) fn proceed(
    worker: &Worker,
    conn: &ClientConnection,
    buffers: &mut ExchangeBuffers,
    head: usize,
    routed: Routed,
    reply: Option<Reply>,
) -> Decision {
    let peer = peer(&conn.client, routed.settings);
    let (request, scratch) = Request::of(worker, conn, buffers);
    let context = context(conn, request.head, head, routed.settings, &peer);
    match (decision::prepare(&context, scratch), reply) {
        (Ok(view), None) => request.act(&context, &view, routed),
        (Ok(view), Some(reply)) => request.respond(&context, &view, reply, routed),
        (Err(unrouted), _) => respond(unrouted),
    }
}

/// The destination that a request names, for a cluster whose endpoints are the addresses of a name: the host that is sent to the backend.
pub(super) fn destination(
    worker: &Worker,
    conn: &ClientConnection,
    buffers: &mut ExchangeBuffers,
    head: usize,
    routed: &Routed,
) -> Option<(String, u16)> {
    let peer = peer(&conn.client, routed.settings);
    let (request, scratch) = Request::of(worker, conn, buffers);
    let context = context(conn, request.head, head, routed.settings, &peer);
    let view = decision::prepare(&context, scratch).ok()?;
    let asked = routing::forward::asked_by(&routed.route, routed.target, &view)?;
    Some((asked.host.to_string(), asked.port))
}

/// The response to a request without a route.
fn respond(unrouted: Unrouted) -> Decision {
    let reply = match unrouted {
        Unrouted::Refused(refusal) => Reply::Reject(Reject::Refused(refusal)),
        Unrouted::Redirect(answer) => Reply::Plain(answer),
        Unrouted::Misdirected => Reply::Reject(Reject::Misdirected),
        Unrouted::NoRoute => Reply::Reject(Reject::NoRoute),
        Unrouted::NotProxied(answer) => Reply::Plain(answer),
    };
    Decision::Respond(reply, None)
}

/// S-38, P-05: a request for a host of another TLS server of the listener may have come to the wrong place.
fn is_misdirected(conn: &ClientConnection, host: &str, found: bool) -> bool {
    let (Some(tls), Some(server)) = (&conn.client.tls, conn.table.server_index()) else { return false };
    conn.client.listener.services().servers.is_misdirected(server, tls.sni.as_deref(), host, found)
}

/// A request that is decided, and where the results go.
struct Request<'a> {
    worker: &'a Worker,
    conn: &'a ClientConnection,
    head: &'a RequestHead,
    id: &'a Uuid,
    up_out: &'a mut Vec<u8>,
    captured_headers: &'a mut Vec<(FieldName, Vec<u8>)>,
    logged_headers: &'a mut Vec<(FieldName, Vec<u8>)>,
    logged_size: &'a mut u64,
    logged_path: &'a mut Vec<u8>,
    checked: &'a mut Option<Box<Changes>>,
    claims: &'a Claims,
}

impl<'a> Request<'a> {
    /// The request whose head was parsed into the buffers, and the buffers to normalise it in.
    fn of(worker: &'a Worker, conn: &'a ClientConnection, buffers: &'a mut ExchangeBuffers) -> (Self, &'a mut Scratch) {
        let request = Self {
            worker,
            conn,
            head: &buffers.request,
            id: &buffers.request_id,
            up_out: &mut buffers.up_out,
            captured_headers: &mut buffers.captured_headers,
            logged_headers: &mut buffers.logged_headers,
            logged_size: &mut buffers.logged_size,
            logged_path: &mut buffers.logged_path,
            checked: &mut buffers.checked,
            claims: &buffers.claims,
        };
        (request, &mut buffers.scratch)
    }

    /// The route that the table has for the request.
    fn pick(
        &self,
        version: &TableVersion,
        view: &RequestView<'_>,
        claims: &Claims,
    ) -> Result<Arc<RouteEntry>, Unrouted> {
        if let Some(list) = version.table.forward() {
            let target = self.head.target.of(self.conn.input.filled());
            return decision::proxied(list, target, view).map(Arc::clone);
        }
        let is_misdirected = |found| is_misdirected(self.conn, view.host, found);
        decision::route(view, version.table.pick(view, claims), is_misdirected).map(Arc::clone)
    }

    /// Keeps the path and query as they are matched, if the access log has them.
    fn log_path(&mut self, view: &RequestView<'_>) {
        let log = self.worker.log();
        let is_logged = log.as_ref().is_some_and(|log| log.demands().request_fields.contains(&FieldName::Path));
        if let Some(path) = is_logged.then(|| substitute::of_request(view, &FieldName::Path)).flatten() {
            self.logged_path.extend_from_slice(&path);
        }
    }

    /// Does what the route says.
    fn act(self, context: &RequestContext<'_>, view: &RequestView<'_>, routed: Routed) -> Decision {
        match decision::act(&routed.route, view) {
            RouteAction::Forward(_) if view.method == b"CONNECT" => Decision::Connect(routed),
            RouteAction::Forward(rewritten) => self.forward(context, view, routed, rewritten),
            RouteAction::Respond(answer) => self.respond(context, view, Reply::Route(answer), routed),
            RouteAction::Refuse(refusal) => {
                self.respond(context, view, Reply::Reject(Reject::Refused(refusal)), routed)
            }
        }
    }

    /// A response of the gateway; its edits may need headers of the request.
    fn respond(self, context: &RequestContext<'_>, view: &RequestView<'_>, reply: Reply, routed: Routed) -> Decision {
        if !routed.route.captured_headers.is_empty() {
            let mut edits = Edits::default();
            edit_forwarded(context, view, self.id, &mut edits);
            *self.captured_headers = substitute::capture_headers(&routed.route.captured_headers, view, &edits.fields);
        }
        Decision::Respond(reply, Some(routed))
    }

    /// Writes the head of the first attempt, and plans how the request is forwarded.
    fn forward(
        mut self,
        context: &RequestContext<'_>,
        view: &RequestView<'_>,
        routed: Routed,
        rewritten: Option<Target<'static>>,
    ) -> Decision {
        let Some(cluster) = routed.cluster.clone() else {
            return self.respond(context, view, Reply::Reject(Reject::NoCluster), routed);
        };
        let (worker, client) = (self.worker, &*self.conn.client);
        let Routed { route, target, settings, filters, .. } = routed;
        let mut edits = Edits::default();
        edit_forwarded(context, view, self.id, &mut edits);
        let sent = HashInput { view, edits: &edits, peer: context.peer, client };
        let affinity = cluster.hash_key().map_or_else(Affinity::default, |key| Affinity::of(key, &sent));
        let source = HeadSource {
            worker,
            client,
            downstream: &self.conn.downstream,
            context,
            view,
            route: &route,
            target,
            cluster: &cluster,
            dialect: context.dialect(),
        };
        let parts = source.edit(rewritten, 1, &mut edits);
        self.capture(&route, view, &parts, &edits);
        let Ok(stream_head) = source.write(&parts, &edits, self.up_out) else {
            let routed =
                Routed { route: Arc::clone(&route), target, cluster: Some(Arc::clone(&cluster)), settings, filters };
            return Decision::Respond(Reply::Reject(Reject::Refused(Refusal::Host)), Some(routed));
        };
        let (http2, request_kind, dialect) = (stream_head.is_some(), parts.kind(), source.dialect);
        let accept = (request_kind.is_switch() && http2).then(|| view.fields.get("sec-websocket-key")).flatten();
        let host = host_for(&cluster, &parts, &edits);
        let mirrors = self.mirrors(&route, &parts, view.scheme, &mut edits);
        drop(edits);
        Decision::Forward(Box::new(Plan {
            request_kind,
            idempotent: matches!(view.method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE"),
            http2,
            stream_head: Cell::new(stream_head),
            accept: accept.map(websocket::accept),
            host,
            ends: cluster.config.proxy_protocol.and_then(|_| client.ends()).map(Box::new),
            timeout: route.forward().and_then(|forward| forward.timeout),
            dialect,
            deadline: deadline(context, view, dialect),
            mirrors: Cell::new(mirrors),
            affinity,
            route,
            target,
            cluster,
            settings,
            filters,
        }))
    }

    /// Keeps the headers of the request that the response and the access log need, after the edits.
    fn capture(&mut self, route: &RouteEntry, view: &RequestView<'_>, parts: &RequestParts<'_>, edits: &Edits<'_>) {
        *self.captured_headers = substitute::capture_headers(&route.captured_headers, view, &edits.fields);
        if let Some(log) = self.worker.log() {
            (*self.logged_headers, *self.logged_size) = log.demands().capture_request(view, parts, edits);
        }
    }

    /// The requests to the mirrors of a route (VS-45); none for a switch of protocols. `edits` are those of the request; those that concern only
    /// its client and its backend are removed.
    fn mirrors<'e>(
        &self,
        route: &RouteEntry,
        parts: &RequestParts<'e>,
        scheme: &str,
        edits: &mut Edits<'e>,
    ) -> Vec<MirrorRequest> {
        if route.mirrors.is_empty() || parts.kind().is_switch() {
            return Vec::new();
        }
        let mirrors = route.forward().map_or(&[][..], |forward| &forward.mirrors);
        let taken = mirrors.iter().zip(&route.mirrors).filter(|(mirror, _)| mirror.share.takes(self.worker.random()));
        // A mirror request does not wait for 100.
        edits.remove("expect");
        let timeout = route.forward().and_then(|forward| forward.timeout);
        taken
            .filter_map(|(_, slot)| self.worker.upstream.cluster((*slot)?))
            .filter_map(|cluster| self.mirror(cluster, parts, scheme, edits, timeout))
            .collect()
    }

    /// The request to one mirror; `None` if the target is not valid in HTTP/2.
    fn mirror(
        &self,
        cluster: Arc<ClusterState>,
        parts: &RequestParts<'_>,
        scheme: &str,
        edits: &Edits<'_>,
        timeout: Option<Duration>,
    ) -> Option<MirrorRequest> {
        let client = &self.conn.client;
        let head = if speaks_http2(&cluster, &self.conn.downstream) {
            OwnHead::Frame(stream_head(&cluster, parts, scheme, edits)?.request)
        } else {
            let mut head = Vec::with_capacity(1024);
            let style = Style { keep_case: client.mesh_settings.headers.keep_case, http10: false };
            write_request_in(&mut head, parts, edits, style);
            OwnHead::Lines(head)
        };
        let body = match parts.framing {
            OutFraming::None | OutFraming::Length(0) => MirrorBody::None,
            OutFraming::Length(_) => MirrorBody::Length,
            OutFraming::Chunked => MirrorBody::Chunked,
        };
        let host = host_for(&cluster, parts, edits);
        let ends = cluster.config.proxy_protocol.and_then(|_| client.ends());
        Some(MirrorRequest { host, ends, cluster, head, request_kind: parts.kind(), body, timeout })
    }
}

/// How long the response may take: the timeout of a gRPC client (VS-39), or the mesh's `maxStreamDuration` (PC-04).
fn deadline(context: &RequestContext<'_>, view: &RequestView<'_>, dialect: Option<Dialect>) -> Option<Duration> {
    let of_client = dialect.and_then(|_| view.fields.get("grpc-timeout")).and_then(wire::grpc::timeout);
    let of_mesh = context.mesh_settings.connections.max_stream_duration.filter(|most| !most.is_zero());
    of_client.into_iter().chain(of_mesh).min()
}

/// The host of the request, if connections to the cluster differ by host.
fn host_for(cluster: &ClusterState, parts: &RequestParts<'_>, edits: &Edits<'_>) -> Option<Box<str>> {
    let differs = cluster.config.tls.as_ref().is_some_and(|tls| tls.sni == Sni::Host);
    differs.then(|| host_of(edits.authority.map_or(parts.authority, Authority::as_bytes)))
}

/// The host of an authority, without its port.
fn host_of(authority: &[u8]) -> Box<str> {
    let mut lower = String::new();
    wire::host::host_of(authority, &mut lower).map_or_else(|_| Box::default(), Into::into)
}
