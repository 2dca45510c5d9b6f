//! The head of a request as one attempt sends it: `routing` decides the edits, and this module writes the head in the version of the backend. The
//! head of the first attempt is written when the request is decided, and that of each further attempt by `attempts`.

use super::facts::{self, RequestFacts};
use super::plan::{Plan, StreamHead};
use super::prepared::Prepared;
use super::websocket;
use crate::codec::Downstream;
use crate::conn::{Client, MAX_KEPT_OUTPUT, Worker};
use crate::reasons::Reject;
use crate::stream_info::StreamFacts;
use ir::UpstreamProtocol;
use routing::{Refusal, RequestContext, RouteAction, RouteEntry, RouteTarget, decision};
use text::Target;
use upstream::ClusterState;
use wire::edit::Edits;
use wire::grpc::Dialect;
use wire::h1::{OutFraming, RequestParts, Style, write_request_in};
use wire::view::RequestView;

/// Why a head was not written.
#[derive(Debug)]
pub(super) enum RequestHeadError {
    /// The target of a rewritten request is not valid in HTTP/2.
    Target,
    /// The credential that requests to the destination get is not available.
    Credential,
}

impl From<RequestHeadError> for Reject {
    fn from(error: RequestHeadError) -> Self {
        match error {
            RequestHeadError::Target => Self::Refused(Refusal::Host),
            RequestHeadError::Credential => Self::UpstreamCredentialUnavailable,
        }
    }
}

/// A request, its route, and the cluster that it is sent to.
#[derive(Clone, Copy)]
pub(super) struct HeadSource<'a> {
    pub(super) worker: &'a Worker,
    pub(super) client: &'a Client,
    pub(super) downstream: &'a Downstream,
    pub(super) context: &'a RequestContext<'a>,
    pub(super) view: &'a RequestView<'a>,
    pub(super) route: &'a RouteEntry,
    pub(super) target: usize,
    pub(super) cluster: &'a ClusterState,
    /// The client's dialect of gRPC, if it speaks gRPC.
    pub(super) dialect: Option<Dialect>,
}

/// Whether requests of a client to a cluster are sent in HTTP/2 (DR-22, S-119).
pub(super) fn speaks_http2(cluster: &ClusterState, downstream: &Downstream) -> bool {
    match cluster.config.protocol {
        UpstreamProtocol::Http1 => false,
        UpstreamProtocol::Http2 { .. } => true,
        UpstreamProtocol::AsClient => downstream.is_multiplexed(),
    }
}

impl<'a> HeadSource<'a> {
    /// Adds the edits of the route, after those that every request gets, and returns the other parts. `attempt` is the number of the attempt, from 1.
    pub(super) fn edit(
        &self,
        rewritten: Option<Target<'static>>,
        attempt: u32,
        edits: &mut Edits<'a>,
    ) -> RequestParts<'a> {
        let (context, view) = (self.context, self.view);
        let protocol = facts::protocol(self.downstream, context.request.version);
        let stream = StreamFacts {
            client: facts::address_behind(context.peer, view.fields),
            ..facts::stream_facts(self.client, protocol, Some(self.route), self.cluster.config.id.as_str())
        };
        let to = RouteTarget { route: self.route, target: self.target, rewritten, dialect: self.dialect, attempt };
        let facts = RequestFacts { stream, view };
        let parts = decision::request_head(context, to, view, &facts, edits);
        let is_stream = self.downstream.is_multiplexed();
        if parts.upgrade.is_some() && is_stream && !speaks_http2(self.cluster, self.downstream) {
            edits.set_checked("sec-websocket-key", websocket::key(self.worker.random_bits()).into_bytes());
        }
        parts
    }

    /// Writes the head for a backend in HTTP/1 into `up_out`, or returns that for one in HTTP/2. The credential of the destination is in what is
    /// written, and not in the edits, which the access log and mirrors see.
    pub(super) fn write(
        &self,
        parts: &RequestParts<'a>,
        edits: &Edits<'a>,
        up_out: &mut Vec<u8>,
    ) -> Result<Option<Box<StreamHead>>, RequestHeadError> {
        let write = |edits: &Edits<'_>| {
            if speaks_http2(self.cluster, self.downstream) {
                let head = stream_head(self.cluster, parts, self.view.scheme, edits).ok_or(RequestHeadError::Target)?;
                return Ok(Some(Box::new(head)));
            }
            let keep_case = self.context.mesh_settings.headers.keep_case;
            write_request_in(up_out, parts, edits, Style { keep_case, http10: false });
            if up_out.capacity() > MAX_KEPT_OUTPUT {
                // The buffer grew by doubling and may be held for long.
                up_out.shrink_to_fit();
            }
            Ok(None)
        };
        self.worker
            .credentials
            .inject(self.cluster, parts.fields, edits, write)
            .map_err(|_| RequestHeadError::Credential)?
    }
}

/// The head for a backend in HTTP/2; `None` if the target is not valid there.
pub(super) fn stream_head(
    cluster: &ClusterState,
    parts: &RequestParts<'_>,
    scheme: &str,
    edits: &Edits<'_>,
) -> Option<StreamHead> {
    let https = cluster.config.tls.is_some() || scheme == "https";
    let mut request = wire::h2::request(parts, edits, https)?;
    if let Some(protocol) = parts.upgrade {
        request.extensions_mut().insert(h2::ext::Protocol::from(String::from_utf8_lossy(protocol).as_ref()));
    }
    if let Some(credential) = &cluster.config.credential
        && let Some(value) = request.headers_mut().get_mut(credential.header.as_str())
    {
        // In no log of the library, and in no dynamic table (RFC 7541 §7.1.3).
        value.set_sensitive(true);
    }
    let bodiless = matches!(parts.framing, OutFraming::None | OutFraming::Length(0)) && parts.upgrade.is_none();
    Some(StreamHead { request, bodiless })
}

impl Prepared<'_> {
    /// Writes the head for a further attempt, into the buffers or the plan. The request, the route and the target are those of the first attempt,
    /// so that only what depends on the attempt differs.
    pub(super) fn renew_head(self, plan: &Plan, attempt: u32) -> Result<(), RequestHeadError> {
        let RouteAction::Forward(rewritten) = decision::act(&plan.route, self.view) else {
            return Err(RequestHeadError::Target);
        };
        let source = HeadSource {
            worker: self.worker,
            client: &self.conn.client,
            downstream: &self.conn.downstream,
            context: self.context,
            view: self.view,
            route: &plan.route,
            target: plan.target,
            cluster: &plan.cluster,
            dialect: plan.dialect,
        };
        let mut edits = Edits::default();
        self.edit_received(&mut edits);
        let parts = source.edit(rewritten, attempt, &mut edits);
        self.out.up_out.clear();
        plan.stream_head.set(source.write(&parts, &edits, self.out.up_out)?);
        Ok(())
    }
}
