//! What is decided on a request, without octets: the response of the gateway, or how the request is forwarded.

use super::affinity::Affinity;
use super::mirror::MirrorRequest;
use super::retry::RetryPolicy;
use crate::conn::Worker;
use crate::reasons::Reject;
use http::Request;
use ir::HttpSettings;
use routing::ext_authz::Denial;
use routing::{FilterState, LocalAnswer, RouteEntry};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;
use upstream::{ClusterState, ConnectContext};
use wire::destination::OwnedHost;
use wire::grpc::Dialect;
use wire::grpc_web::Call;
use wire::h1::response::RequestKind;
use wire::proxy_protocol::Ends;

/// What happens to a request.
pub(super) enum Decision {
    /// Something has to be waited for: the filters of its route, the name of the destination, or its credential. The request is then decided further.
    Prepare(Routed),
    /// The gateway responds; with the route, if one was found.
    Respond(Reply, Option<Routed>),
    /// The request is forwarded.
    Forward(Box<Plan>),
    /// The client of a forward proxy gets a tunnel to this host.
    Connect(Routed, OwnedHost),
    /// The client has reset its connection or stream; with the route, if one was found.
    Abandoned(Option<Routed>),
}

/// A response of the gateway.
pub(super) enum Reply {
    /// A rejection.
    Reject(Reject),
    /// The response of the route, with the route's edits.
    Route(LocalAnswer),
    /// A response without edits: a redirect to HTTPS (S-70) or to the normalised path (PC-04), or that to a preflight request (VS-46).
    Plain(LocalAnswer),
    /// The policies of the workload do not allow the request; with the detail for the access log (AP-03).
    Forbidden(Box<str>),
    /// The response of an external authorization service (AP-13).
    Denied(Box<Denial>),
}

/// A request that has a route. It holds the route and the cluster, never the table.
pub(super) struct Routed {
    pub(super) route: Arc<RouteEntry>,
    /// The index of the target in the route.
    pub(super) target: usize,
    /// The cluster of the target, if there is one.
    pub(super) cluster: Option<Arc<ClusterState>>,
    /// The settings of the table that the route is from.
    pub(super) settings: HttpSettings,
    /// What the filters of the route keep.
    pub(super) filters: FilterState,
}

/// The route of a request, for the edits of the gateway's response.
#[derive(Clone, Copy)]
pub(super) struct ReplyRoute<'a> {
    pub(super) route: &'a RouteEntry,
    pub(super) target: usize,
    pub(super) filters: &'a FilterState,
}

/// The head for a backend in HTTP/2.
pub(super) struct StreamHead {
    pub(super) request: Request<()>,
    /// Whether no body follows.
    pub(super) bodiless: bool,
}

/// How a request is forwarded. It holds the route and the cluster, never the table.
pub(super) struct Plan {
    pub(super) route: Arc<RouteEntry>,
    pub(super) target: usize,
    pub(super) cluster: Arc<ClusterState>,
    /// The settings of the table that the route is from.
    pub(super) settings: HttpSettings,
    /// What the filters of the route keep for the response.
    pub(super) filters: FilterState,
    /// What the response may be: one that switches protocols, if the backend is asked to.
    pub(super) request_kind: RequestKind,
    /// Whether the method is idempotent (RFC 9110 §9.2.2).
    pub(super) idempotent: bool,
    /// Whether the backend speaks HTTP/2.
    pub(super) http2: bool,
    /// The head for an HTTP/2 backend, which an attempt takes. The head for an HTTP/1 backend is in `up_out`.
    pub(super) stream_head: Cell<Option<Box<StreamHead>>>,
    /// `Sec-WebSocket-Accept` for an HTTP/1 client of an HTTP/2 backend, which has not seen the key.
    pub(super) accept: Option<String>,
    /// The host of the request, if it is the SNI of the TLS handshake with the backend (DR-42).
    pub(super) host: Option<Box<str>>,
    /// The addresses of the client's connection, if the backend gets a PROXY header (DR-51).
    pub(super) ends: Option<Box<Ends>>,
    /// From the end of the request until the end of the response (VS-39).
    pub(super) timeout: Option<Duration>,
    /// The client's dialect of gRPC, if it speaks gRPC (S-119).
    pub(super) dialect: Option<Dialect>,
    /// From the head until the end of the response: the timeout of a gRPC client (VS-39), or the mesh's `maxStreamDuration` (PC-04).
    pub(super) deadline: Option<Duration>,
    /// The mirror requests (VS-45); the first attempt takes them.
    pub(super) mirrors: Cell<Vec<MirrorRequest>>,
    /// The affinity to an endpoint (DR-11).
    pub(super) affinity: Affinity,
}

impl Routed {
    /// Whether nothing has to be waited for: the route has no filters, and its cluster has endpoints of its own and its credential, if it has any.
    #[inline]
    pub(super) fn is_ready(&self, worker: &Worker) -> bool {
        self.route.config.filters.is_empty()
            && self.cluster.as_ref().is_none_or(|cluster| {
                !cluster.is_dynamic() && (cluster.config.credential.is_none() || worker.credentials.is_ready(cluster))
            })
    }

    /// Whether the endpoints are the addresses of the name that the client asks for.
    #[inline]
    pub(super) fn has_dynamic_cluster(&self) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.is_dynamic())
    }

    /// The route, for the edits of a response.
    pub(super) fn reply_route(&self) -> ReplyRoute<'_> {
        ReplyRoute { route: &self.route, target: self.target, filters: &self.filters }
    }
}

impl Plan {
    /// The route, for the edits of a response of the gateway.
    pub(super) fn reply_route(&self) -> ReplyRoute<'_> {
        ReplyRoute { route: &self.route, target: self.target, filters: &self.filters }
    }

    /// The properties of the request that select a connection.
    pub(super) fn connect_context(&self) -> ConnectContext<'_> {
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
            Self::Prepare(_) | Self::Connect(..) | Self::Respond(..) | Self::Abandoned(_) => None,
        }
    }

    /// The route that matched, if any.
    pub(super) fn route(&self) -> Option<&RouteEntry> {
        match self {
            Self::Forward(plan) => Some(&plan.route),
            Self::Respond(_, routed) | Self::Abandoned(routed) => routed.as_ref().map(|routed| &*routed.route),
            Self::Prepare(routed) | Self::Connect(routed, _) => Some(&routed.route),
        }
    }

    /// The cluster of the target that was chosen, if the route forwards and the cluster exists.
    pub(super) fn cluster(&self) -> Option<&ClusterState> {
        match self {
            Self::Forward(plan) => Some(&plan.cluster),
            Self::Respond(_, routed) | Self::Abandoned(routed) => {
                routed.as_ref().and_then(|routed| routed.cluster.as_deref())
            }
            Self::Prepare(routed) | Self::Connect(routed, _) => routed.cluster.as_deref(),
        }
    }
}
