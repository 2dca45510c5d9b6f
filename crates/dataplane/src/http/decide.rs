//! Decides a request without waiting: its route, and then the response or how the request is forwarded. `routing` makes the decisions; this module
//! gives it the request.

use super::affinity::{Affinity, HashInput};
use super::authorization;
use super::client::ClientConnection;
use super::mirror::{MirrorBody, MirrorRequest};
use super::plan::{Decision, Plan, Reply, Routed, StreamHead};
use super::prepared::Prepared;
use super::received_request::ReceivedRequest;
use super::request_head::{HeadSource, RequestHeadError, speaks_http2, stream_head};
use super::websocket;
use crate::codec::OwnHead;
use crate::conn::{EarlyPick, TableVersion, Worker};
use crate::reasons::Reject;
use crate::stream_info::StreamInfo;
use ir::{FieldName, HttpSettings, Sni};
use routing::{
    Claims, FilterState, LocalAnswer, Refusal, RequestContext, RouteAction, RouteEntry, RouteError, decision,
    substitute,
};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;
use text::{Authority, Target};
use upstream::ClusterState;
use wire::destination::OwnedHost;
use wire::edit::Edits;
use wire::grpc::Dialect;
use wire::h1::response::RequestKind;
use wire::h1::{OutFraming, RequestParts, Style, write_request_in};
use wire::view::RequestView;

/// Finds the route of a request by a version of the table. Decides the request further if the route has no filters.
pub(super) fn decide(request: &mut ReceivedRequest<'_>, version: &TableVersion, info: &mut StreamInfo) -> Decision {
    // As in Istio, a verified token has the route picked anew (RA-06).
    let picked = request.buffers.picked.take().filter(|_| request.buffers.claims.is_empty());
    let decision = request.prepare(version.http.settings, |mut request| {
        request.log_path();
        request.authorize_and_route(version, picked, info)
    });
    decision.unwrap_or_else(respond)
}

/// The route that the request has now, without claims; `None` if the request is answered without a route.
pub(super) fn pick(request: &mut ReceivedRequest<'_>, version: &TableVersion) -> Option<EarlyPick> {
    let picked = request.prepare(version.http.settings, |request| request.pick(version, &Claims::default()));
    match picked.and_then(|picked| picked) {
        Ok(route) => Some(EarlyPick::Route(route)),
        Err(RouteError::NoRoute) => Some(EarlyPick::NoRoute),
        Err(RouteError::Refused(_) | RouteError::Redirect(_) | RouteError::Misdirected | RouteError::ProxyReply(_)) => {
            None
        }
    }
}

/// The route of a request that was denied before it was routed, for the access log and the metrics: Envoy picks one first of all, without claims.
pub(super) fn route_of_denied(request: &mut ReceivedRequest<'_>, version: &TableVersion) -> Option<Routed> {
    let settings = version.http.settings;
    let picked = request.prepare(settings, |mut request| {
        request.log_path();
        request.pick(version, &Claims::default())
    });
    Some(choose_target(request.worker, picked.ok()?.ok()?, settings, FilterState::default()))
}

/// Chooses one of the targets of a route by their weights.
fn choose_target(worker: &Worker, route: Arc<RouteEntry>, settings: HttpSettings, filters: FilterState) -> Routed {
    let target = route.choose(|| worker.random());
    let slot = route.targets.get(target).and_then(|target| target.slot);
    let cluster = slot.and_then(|slot| worker.upstream.cluster(slot));
    Routed { route, target, cluster, settings, filters }
}

/// Decides a request further, after the filters of its route; `reply` is the response of a filter that answered the request.
pub(super) fn proceed(request: &mut ReceivedRequest<'_>, routed: Routed, reply: Option<Reply>) -> Decision {
    let decision = request.prepare(routed.settings, |request| match reply {
        None => request.act(routed),
        Some(reply) => request.respond(reply, routed),
    });
    decision.unwrap_or_else(respond)
}

/// The answer to a request that is for the forward proxy itself; `None` if it is for a destination, or cannot be read.
pub(super) fn to_itself(request: &mut ReceivedRequest<'_>, version: &TableVersion) -> Option<LocalAnswer> {
    if !decision::may_be_to_itself(request.target()) {
        // Without preparing it once more than is needed.
        return None;
    }
    let answer = request.prepare(version.http.settings, |request| decision::to_itself(request.context, request.view));
    answer.ok().flatten()
}

/// The destination that a request names, for a cluster whose endpoints are the addresses of a name: the host that is sent to the backend.
pub(super) fn destination(request: &mut ReceivedRequest<'_>, routed: &Routed) -> Option<(OwnedHost, u16)> {
    let asked = request.prepare(routed.settings, |request| {
        let asked = routing::forward::requested_by(&routed.route, routed.target, request.view)?;
        Some((asked.host.into(), asked.port))
    });
    asked.ok().flatten()
}

/// The head of the first attempt, and what depends on its edits.
struct FirstHead {
    /// The head for a backend in HTTP/2.
    stream_head: Option<Box<StreamHead>>,
    request_kind: RequestKind,
    /// The host of the request, if connections to the cluster differ by host.
    host: Option<Box<str>>,
    mirrors: Vec<MirrorRequest>,
    affinity: Affinity,
}

/// The response to a request without a route.
fn respond(error: RouteError) -> Decision {
    let reply = match error {
        RouteError::Refused(refusal) => Reply::Reject(Reject::Refused(refusal)),
        RouteError::Redirect(answer) => Reply::Plain(answer),
        RouteError::Misdirected => Reply::Reject(Reject::Misdirected),
        RouteError::NoRoute => Reply::Reject(Reject::NoRoute),
        RouteError::ProxyReply(answer) => Reply::Plain(answer),
    };
    Decision::Respond(reply, None)
}

/// S-38, P-05: a request for a host of another TLS server of the listener may have come to the wrong place.
fn is_misdirected(conn: &ClientConnection, host: &str, found: bool) -> bool {
    let (Some(tls), Some(server)) = (&conn.client.tls, conn.table.server_index()) else { return false };
    conn.client.listener.services().servers.is_misdirected(server, tls.sni.as_deref(), host, found)
}

impl Prepared<'_> {
    /// Authorizes the request and finds its route.
    fn authorize_and_route(self, version: &TableVersion, picked: Option<EarlyPick>, info: &mut StreamInfo) -> Decision {
        let denied = authorization::denied(&self, version.policies.as_deref(), info);
        let picked = match picked {
            Some(EarlyPick::Route(route)) => Ok(route),
            Some(EarlyPick::NoRoute) => Err(RouteError::NoRoute),
            None => self.pick(version, self.claims),
        };
        let route = match (picked, &denied) {
            (Ok(route), _) => route,
            // A request that is not allowed does not learn whether there is a route.
            (Err(_), Some(denied)) => return Decision::Respond(Reply::Forbidden(denied.clone()), None),
            (Err(error), None) => return respond(error),
        };
        let filters = FilterState::checked(self.out.checked.take());
        let routed = choose_target(self.worker, route, version.http.settings, filters);
        if let Some(denied) = denied {
            // The route is for the access log alone.
            return Decision::Respond(Reply::Forbidden(denied), Some(routed));
        }
        if routed.is_ready(self.worker) { self.act(routed) } else { Decision::Prepare(routed) }
    }

    /// The route that the table has for the request.
    fn pick(&self, version: &TableVersion, claims: &Claims) -> Result<Arc<RouteEntry>, RouteError> {
        if let Some(list) = version.table.forward() {
            return decision::proxied(list, self.context, self.view).map(Arc::clone);
        }
        let is_misdirected = |found| is_misdirected(self.conn, self.view.host, found);
        decision::route(self.view, version.table.pick(self.view, claims), is_misdirected).map(Arc::clone)
    }

    /// Keeps the path and query as they are matched, if the access log has them.
    fn log_path(&mut self) {
        let log = self.worker.log();
        let is_logged = log.as_ref().is_some_and(|log| log.demands().request_fields.contains(&FieldName::Path));
        if let Some(path) = is_logged.then(|| substitute::of_request(self.view, &FieldName::Path)).flatten() {
            self.out.logged_path.extend_from_slice(&path);
        }
    }

    /// Does what the route says.
    fn act(self, routed: Routed) -> Decision {
        match decision::act(&routed.route, self.view) {
            RouteAction::Forward(_) if self.view.method == b"CONNECT" => match self.view.destination {
                Some((host, _)) => Decision::Connect(routed, host.into()),
                // No other table has a route for CONNECT.
                None => respond(RouteError::Refused(Refusal::Connect)),
            },
            RouteAction::Forward(rewritten) => self.forward(routed, rewritten),
            RouteAction::Respond(answer) => self.respond(Reply::Route(answer), routed),
            RouteAction::Refuse(refusal) => self.respond(Reply::Reject(Reject::Refused(refusal)), routed),
        }
    }

    /// A response of the gateway; its edits may need headers of the request.
    fn respond(self, reply: Reply, routed: Routed) -> Decision {
        if !routed.route.captured_headers.is_empty() {
            let mut edits = Edits::default();
            self.edit_received(&mut edits);
            *self.out.captured_headers =
                substitute::capture_headers(&routed.route.captured_headers, self.view, &edits.fields);
        }
        Decision::Respond(reply, Some(routed))
    }

    /// Writes the head of the first attempt, and plans how the request is forwarded.
    fn forward(mut self, routed: Routed, rewritten: Option<Target<'static>>) -> Decision {
        let Some(cluster) = routed.cluster.clone() else {
            return self.respond(Reply::Reject(Reject::NoCluster), routed);
        };
        let view = self.view;
        // Some servers take methods without regard to case.
        let is_trace = || [b"TRACE", b"TRACK"].iter().any(|method| view.method.eq_ignore_ascii_case(*method));
        if cluster.config.credential.is_some() && is_trace() {
            return self.respond(Reply::Reject(Reject::TraceWithCredential), routed);
        }
        let dialect = self.context.dialect();
        let first = match self.write_first_head(&routed.route, routed.target, &cluster, dialect, rewritten) {
            Ok(first) => first,
            Err(error) => return Decision::Respond(Reply::Reject(error.into()), Some(routed)),
        };
        let FirstHead { stream_head, request_kind, host, mirrors, affinity } = first;
        let http2 = stream_head.is_some();
        let accept = (request_kind.is_switch() && http2).then(|| view.fields.get("sec-websocket-key")).flatten();
        let Routed { route, target, settings, filters, .. } = routed;
        Decision::Forward(Box::new(Plan {
            request_kind,
            idempotent: matches!(view.method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE"),
            http2,
            stream_head: Cell::new(stream_head),
            accept: accept.map(websocket::accept),
            host,
            ends: cluster.config.proxy_protocol.and_then(|_| self.conn.client.ends()).map(Box::new),
            timeout: route.forward().and_then(|forward| forward.timeout),
            dialect,
            deadline: deadline(self.context, view, dialect),
            mirrors: Cell::new(mirrors),
            affinity,
            route,
            target,
            cluster,
            settings,
            filters,
        }))
    }

    /// Writes the head of the first attempt, and prepares what depends on its edits.
    fn write_first_head(
        &mut self,
        route: &RouteEntry,
        target: usize,
        cluster: &ClusterState,
        dialect: Option<Dialect>,
        rewritten: Option<Target<'static>>,
    ) -> Result<FirstHead, RequestHeadError> {
        let (worker, client, context, view) = (self.worker, &*self.conn.client, self.context, self.view);
        let mut edits = Edits::default();
        self.edit_received(&mut edits);
        let sent = HashInput { view, edits: &edits, peer: context.peer, client };
        let affinity = cluster.hash_key().map_or_else(Affinity::default, |key| Affinity::of(key, &sent));
        let downstream = &self.conn.downstream;
        let source = HeadSource { worker, client, downstream, context, view, route, target, cluster, dialect };
        let parts = source.edit(rewritten, 1, &mut edits);
        self.capture(route, &parts, &edits);
        let stream_head = source.write(&parts, &edits, self.out.up_out)?;
        let host = host_for(cluster, &parts, &edits);
        let mirrors = self.mirrors(route, &parts, view.scheme, &mut edits);
        Ok(FirstHead { stream_head, request_kind: parts.kind(), host, mirrors, affinity })
    }

    /// Keeps the headers of the request that the response and the access log need, after the edits.
    fn capture(&mut self, route: &RouteEntry, parts: &RequestParts<'_>, edits: &Edits<'_>) {
        *self.out.captured_headers = substitute::capture_headers(&route.captured_headers, self.view, &edits.fields);
        if let Some(log) = self.worker.log() {
            (*self.out.logged_headers, *self.out.logged_size) = log.demands().capture_request(self.view, parts, edits);
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

    /// The request to one mirror; `None` if the target is not valid in HTTP/2, or the mirror's credential is not available.
    fn mirror(
        &self,
        cluster: Arc<ClusterState>,
        parts: &RequestParts<'_>,
        scheme: &str,
        edits: &Edits<'_>,
        timeout: Option<Duration>,
    ) -> Option<MirrorRequest> {
        let client = &self.conn.client;
        // The credential of the destination is not among the edits, and the mirror has its own, if any.
        let head = self.worker.credentials.inject(&cluster, parts.fields, edits, |edits| {
            if speaks_http2(&cluster, &self.conn.downstream) {
                return Some(OwnHead::Frame(stream_head(&cluster, parts, scheme, edits)?.request));
            }
            let mut head = Vec::with_capacity(1024);
            let style = Style { keep_case: client.mesh_settings.headers.keep_case, http10: false };
            write_request_in(&mut head, parts, edits, style);
            Some(OwnHead::Lines(head))
        });
        let head = head.ok()??;
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
