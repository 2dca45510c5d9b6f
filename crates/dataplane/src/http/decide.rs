//! Decides a request without waiting: its destination, and the head that is sent there. `routing` makes the decisions; this module gives it the
//! request.

use super::affinity::{Affinity, HashInput};
use super::client::ClientConnection;
use super::facts::{self, RequestFacts};
use super::mirror::{MirrorBody, MirrorHead, MirrorRequest};
use super::retry::RetryPolicy;
use super::websocket;
use crate::codec::Downstream;
use crate::conn::{ExchangeBuffers, MAX_KEPT_OUTPUT, Worker};
use crate::reasons::Reject;
use crate::stream_info::StreamFacts;
use http::Request;
use ir::{FieldName, Sni, UpstreamProtocol};
use routing::{
    CorsRequest, Forwarding, LocalAnswer, Matched, Refusal, RequestContext, RouteAction, RouteEntry, RouteResponse,
    RouteTarget, decision, substitute,
};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;
use text::{Authority, FieldValue, Uuid};
use upstream::{ClusterState, ConnectContext};
use wire::edit::Edits;
use wire::forwarded::{self, Peer};
use wire::grpc::Dialect;
use wire::grpc_web::Call;
use wire::h1::response::RequestKind;
use wire::h1::{OutFraming, RequestParts, Style, write_request_in};
use wire::proxy_protocol::Ends;

/// What happens to a request.
pub(super) enum Decision {
    /// Rejected by the gateway; with the route and target, if one was found.
    Reject(Reject, Option<(Arc<RouteEntry>, usize)>),
    /// Redirected to HTTPS (S-70), or to its normalised path (PC-04).
    Redirect(LocalAnswer),
    /// Answered by its route.
    Local(Arc<RouteEntry>, LocalAnswer),
    /// A preflight, answered by the policy of its route (VS-46).
    Preflight(Arc<RouteEntry>, LocalAnswer),
    /// Forwarded; an HTTP/1 head is in `up_out`.
    Forward(Box<Plan>),
}

/// How a request is forwarded. It holds the route and the cluster, never the table.
pub(super) struct Plan {
    pub(super) route: Arc<RouteEntry>,
    pub(super) target: usize,
    pub(super) cluster: Arc<ClusterState>,
    /// Whether the backend is asked to switch protocols.
    pub(super) upgrade: bool,
    /// Whether the method is idempotent (RFC 9110 §9.2.2).
    pub(super) idempotent: bool,
    /// The head for an HTTP/2 backend, and whether no body follows. The head for an HTTP/1 backend is in `up_out`.
    pub(super) stream_head: Option<Box<(Request<()>, bool)>>,
    /// `Sec-WebSocket-Accept` for an HTTP/1 client of an HTTP/2 backend, which has not seen the key.
    pub(super) accept: Option<String>,
    /// The host of the request, if it is the SNI of the TLS handshake with the backend (DR-42).
    host: Option<Box<str>>,
    /// The addresses of the client's connection, if the backend gets a PROXY header (DR-51).
    ends: Option<Box<Ends>>,
    /// From the end of the request until the end of the response (VS-39).
    pub(super) timeout: Option<Duration>,
    /// The client's dialect of gRPC, if it speaks gRPC (S-119).
    pub(super) dialect: Option<Dialect>,
    /// From the head until the end of the response: the timeout of a gRPC client (VS-39), or the mesh's `maxStreamDuration` (PC-04).
    pub(super) deadline: Option<Duration>,
    /// The origin that may use the response (VS-46).
    pub(super) origin: Option<FieldValue<'static>>,
    /// The mirror requests (VS-45); the first attempt takes them.
    pub(super) mirrors: Cell<Vec<MirrorRequest>>,
    /// The affinity to an endpoint (DR-11).
    pub(super) affinity: Affinity,
}

impl Plan {
    /// The properties of the request that select a connection.
    pub(super) fn sender(&self) -> ConnectContext<'_> {
        ConnectContext { host: self.host.as_deref(), ends: self.ends.as_deref() }
    }

    /// The settings of its retries.
    pub(super) fn retry_policy(&self) -> RetryPolicy<'_> {
        RetryPolicy {
            retries: self.route.forward().and_then(|forward| forward.retries.as_deref()),
            is_hashed: self.cluster.config.balance.hash().is_some(),
        }
    }

    /// The call of gRPC-Web that is translated (S-119).
    pub(super) fn web(&self) -> Option<Call> {
        self.dialect.and_then(Dialect::web)
    }
}

impl Decision {
    /// The plan, if the request is forwarded.
    pub(super) fn plan(&self) -> Option<&Plan> {
        match self {
            Self::Forward(plan) => Some(plan),
            Self::Reject(..) | Self::Redirect(_) | Self::Local(..) | Self::Preflight(..) => None,
        }
    }

    /// The route that matched, and the index of the chosen target; 0 if none was chosen.
    pub(super) fn routed(&self) -> Option<(Arc<RouteEntry>, usize)> {
        match self {
            Self::Forward(plan) => Some((Arc::clone(&plan.route), plan.target)),
            Self::Redirect(_) => None,
            Self::Local(route, _) | Self::Preflight(route, _) => Some((Arc::clone(route), 0)),
            Self::Reject(_, routed) => routed.clone(),
        }
    }

    /// The route that matched, if any.
    pub(super) fn route(&self) -> Option<&RouteEntry> {
        match self {
            Self::Forward(plan) => Some(&plan.route),
            Self::Redirect(_) => None,
            Self::Local(route, _) | Self::Preflight(route, _) => Some(route),
            Self::Reject(_, route) => route.as_ref().map(|(route, _)| route.as_ref()),
        }
    }
}

/// Decides a request by the current table.
pub(super) fn decide(worker: &Worker, conn: &ClientConnection, buffers: &mut ExchangeBuffers, head: usize) -> Decision {
    let ExchangeBuffers { request, scratch, request_id, up_out, captured_headers, logged_headers, logged_path, .. } =
        buffers;
    *request_id = Uuid::from_random(u128::from(worker.random()) << 64 | u128::from(worker.random()));
    let version = conn.table.version();
    let buffer = conn.input.filled().get(..head).unwrap_or_default();
    let trusted_proxies = version.http.forwarded.trusted_proxies;
    let certificate = conn.client.certificate_header(version.http.forwarded.certificates);
    let mesh_settings = &*conn.client.mesh_settings;
    let request_id = || mesh_settings.headers.request_id.then_some(FieldValue::from(&*request_id));
    let port = conn.client.local.filter(|_| mesh_settings.headers.forwarded_port).map(|local| local.port());
    let peer = Peer { address: &conn.client.peer, scheme: conn.client.scheme(), trusted_proxies, certificate, port };
    let log = worker.log();
    let logged = log.as_ref().map_or(&[][..], |log| log.request_fields());
    let context = RequestContext { request, buffer, http: &version.http, mesh_settings, peer: &peer };
    let is_misdirected = |host: &str, found| is_misdirected(conn, host, found);
    let decision = decision::decide(&context, scratch, is_misdirected, |view| {
        if logged.contains(&FieldName::Path) {
            logged_path.extend_from_slice(&substitute::of_request(view, &FieldName::Path).unwrap_or_default());
        }
        version.table.pick(view, &routing::Claims::default())
    });
    let Matched { route, view, action } = match decision {
        routing::Decision::Refused(refusal) => return Decision::Reject(Reject::Refused(refusal), None),
        routing::Decision::Redirect(answer) => return Decision::Redirect(answer),
        routing::Decision::Misdirected => return Decision::Reject(Reject::Misdirected, None),
        routing::Decision::NoRoute => return Decision::Reject(Reject::NoRoute, None),
        routing::Decision::Matched(matched) => matched,
    };
    let route = Arc::clone(route);
    let mut edits = Edits::default();
    let fields = view.fields;
    let forwarding = match action {
        RouteAction::Forward(forwarding) => {
            forwarded::edit(&peer, fields, view.scheme, request_id(), &mut edits);
            forwarding
        }
        RouteAction::Respond(response) => {
            if !route.captured_headers.is_empty() {
                // The response may need them.
                forwarded::edit(&peer, fields, view.scheme, request_id(), &mut edits);
                *captured_headers = substitute::capture_headers(&route.captured_headers, &view, &edits.fields);
            }
            drop(edits);
            return match response {
                RouteResponse::Local(answer) => Decision::Local(route, answer),
                RouteResponse::Preflight(answer) => Decision::Preflight(route, answer),
                RouteResponse::Refused(refusal) => Decision::Reject(Reject::Refused(refusal), Some((route, 0))),
            };
        }
    };
    let target = route.choose(|| worker.random());
    let slot = route.targets.get(target).and_then(|target| target.slot);
    let Some(cluster) = slot.and_then(|slot| worker.upstream.cluster(slot)) else {
        *captured_headers = substitute::capture_headers(&route.captured_headers, &view, &edits.fields);
        drop(edits);
        return Decision::Reject(Reject::NoCluster, Some((route, target)));
    };
    let sent = HashInput { view: &view, edits: &edits, peer: &peer, client: &conn.client };
    let affinity = cluster.hash_key().map_or_else(Affinity::default, |key| Affinity::of(key, &sent));
    let dialect = context.dialect();
    let protocol = facts::protocol(&conn.downstream, request.version);
    let stream = StreamFacts {
        client: facts::address_behind(&peer, fields),
        ..facts::stream_facts(&conn.client, protocol, Some(&route), cluster.config.id.as_str())
    };
    let Forwarding { rewritten, cors } = forwarding;
    let to = RouteTarget { route: &route, target, rewritten, dialect };
    let facts = RequestFacts { stream, view: &view };
    let parts = decision::edit_request(&context, to, &view, &facts, &mut edits);
    *captured_headers = substitute::capture_headers(&route.captured_headers, &view, &edits.fields);
    *logged_headers = substitute::capture_edited(logged, &view, &edits);
    let upgrade = request.switch(buffer);
    let http2 = speaks_http2(&cluster, &conn.downstream);
    let accept = upgrade.filter(|_| http2).and_then(|_| fields.get("sec-websocket-key")).map(websocket::accept);
    if upgrade.is_some() && !http2 && conn.downstream.is_multiplexed() {
        let random = u128::from(worker.random()) << 64 | u128::from(worker.random());
        edits.set_checked("sec-websocket-key", websocket::key(random).into_bytes());
    }
    let host = host_for(&cluster, &parts, &edits);
    let stream_head = if http2 {
        match stream_head(&cluster, (&parts, view.scheme), &edits) {
            Some(head) => Some(Box::new(head)),
            None => return Decision::Reject(Reject::Refused(Refusal::Host), Some((Arc::clone(&route), target))),
        }
    } else {
        write_request_in(up_out, &parts, &edits, Style { keep_case: mesh_settings.headers.keep_case, http10: false });
        if up_out.capacity() > MAX_KEPT_OUTPUT {
            // The buffer grew by doubling and may be held for long.
            up_out.shrink_to_fit();
        }
        None
    };
    let timeout = route.forward().and_then(|forward| forward.timeout);
    let mirrors = if route.mirrors.is_empty() || upgrade.is_some() {
        Vec::new()
    } else {
        mirrors(worker, conn, &route, (&parts, view.scheme), &mut edits)
    };
    drop(edits);
    let ends = cluster.config.proxy_protocol.and_then(|_| conn.client.ends()).map(Box::new);
    let idempotent = matches!(view.method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE");
    let deadline = dialect.and_then(|_| fields.get("grpc-timeout")).and_then(wire::grpc::timeout);
    let most = mesh_settings.connections.max_stream_duration.filter(|most| !most.is_zero());
    let deadline = deadline.into_iter().chain(most).min();
    Decision::Forward(Box::new(Plan {
        route,
        target,
        cluster,
        upgrade: upgrade.is_some(),
        idempotent,
        stream_head,
        accept,
        host,
        ends,
        timeout,
        dialect,
        deadline,
        mirrors: Cell::new(mirrors),
        origin: cors.and_then(CorsRequest::allowed_origin).map(FieldValue::into_owned),
        affinity,
    }))
}

/// S-38, P-05: a request for a host of another TLS server of the listener may have come to the wrong place.
fn is_misdirected(conn: &ClientConnection, host: &str, found: bool) -> bool {
    let (Some(tls), Some(server)) = (&conn.client.tls, conn.table.server_index()) else { return false };
    conn.client.listener.services().servers.is_misdirected(server, tls.sni.as_deref(), host, found)
}

/// DR-22, S-119.
fn speaks_http2(cluster: &ClusterState, downstream: &Downstream) -> bool {
    match cluster.config.protocol {
        UpstreamProtocol::Http1 => false,
        UpstreamProtocol::Http2 { .. } => true,
        UpstreamProtocol::AsClient => downstream.is_multiplexed(),
    }
}

/// The requests to the mirrors of a route (VS-45). `edits` are those of the request; this function removes the headers that concern only its
/// client and its backend.
fn mirrors<'a>(
    worker: &Worker,
    conn: &ClientConnection,
    route: &RouteEntry,
    (parts, scheme): (&RequestParts<'a>, &str),
    edits: &mut Edits<'a>,
) -> Vec<MirrorRequest> {
    let mirrors = route.forward().map_or(&[][..], |forward| &forward.mirrors);
    let slots = mirrors.iter().zip(&route.mirrors).filter(|(mirror, _)| mirror.share.takes(worker.random()));
    // A mirror request does not wait for 100.
    edits.remove("expect");
    let copy = |cluster: Arc<ClusterState>| {
        let head = if speaks_http2(&cluster, &conn.downstream) {
            MirrorHead::Http2(stream_head(&cluster, (parts, scheme), edits)?.0)
        } else {
            let mut head = Vec::with_capacity(1024);
            let style = Style { keep_case: conn.client.mesh_settings.headers.keep_case, http10: false };
            write_request_in(&mut head, parts, edits, style);
            MirrorHead::Http1(head)
        };
        let request_kind = if parts.method == b"HEAD" { RequestKind::Head } else { RequestKind::Other };
        let body = match parts.framing {
            OutFraming::None | OutFraming::Length(0) => MirrorBody::None,
            OutFraming::Length(_) => MirrorBody::Length,
            OutFraming::Chunked => MirrorBody::Chunked,
        };
        let timeout = route.forward().and_then(|forward| forward.timeout);
        let host = host_for(&cluster, parts, edits);
        let ends = cluster.config.proxy_protocol.and_then(|_| conn.client.ends());
        Some(MirrorRequest { host, ends, cluster, head, request_kind, body, timeout })
    };
    slots.filter_map(|(_, slot)| worker.upstream.cluster((*slot)?)).filter_map(copy).collect()
}

fn stream_head(
    cluster: &ClusterState,
    (parts, scheme): (&RequestParts<'_>, &str),
    edits: &Edits<'_>,
) -> Option<(Request<()>, bool)> {
    let https = cluster.config.tls.is_some() || scheme == "https";
    let mut head = wire::h2::request(parts, edits, https)?;
    if let Some(protocol) = parts.upgrade {
        head.extensions_mut().insert(h2::ext::Protocol::from(String::from_utf8_lossy(protocol).as_ref()));
    }
    let bodiless = matches!(parts.framing, OutFraming::None | OutFraming::Length(0));
    Some((head, bodiless && parts.upgrade.is_none()))
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
