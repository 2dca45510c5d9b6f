//! What becomes of a request: the one sequence of decisions, over facts alone. The data plane and `explain` call the same two functions:
//! [`decide`] up to the route and what it does, and [`edit_request`] for the head that is sent to one of its targets.

use crate::cors::CorsRequest;
use crate::prepare::{self, RawRequest, Refusal, Scratch, prepare};
use crate::route::{LocalAnswer, RouteEntry};
use crate::substitute::Facts;
use crate::table::Pick;
use ir::{HttpTable, MeshConnectionSettings};
use std::sync::Arc;
use text::Target;
use wire::edit::Edits;
use wire::forwarded::{self, Peer};
use wire::grpc::Dialect;
use wire::grpc_web::Call;
use wire::h1::{RequestHead, RequestParts, Version};
use wire::view::RequestView;

/// A request as it was read, and what applies to it.
#[derive(Debug, Clone, Copy)]
pub struct RequestContext<'a> {
    /// The head, an index into `buffer`.
    pub request: &'a RequestHead,
    /// The octets of the head.
    pub buffer: &'a [u8],
    /// The settings of the listener's table.
    pub http: &'a HttpTable,
    /// What the mesh settings say of connections and headers.
    pub mesh_settings: &'a MeshConnectionSettings,
    /// The client.
    pub peer: &'a Peer<'a>,
}

/// The decision on a request.
#[derive(Debug)]
pub enum Decision<'a, 't> {
    /// The request cannot be routed.
    Refused(Refusal),
    /// The request is redirected to its normalised path (PC-04), or to HTTPS (S-70).
    Redirect(LocalAnswer),
    /// The host belongs to another TLS server of the listener: 421 (S-38, P-05).
    Misdirected,
    /// No route matches: 404.
    NoRoute,
    /// A route matches.
    Matched(Matched<'a, 't>),
}

/// A request and the route that matches it.
#[derive(Debug)]
pub struct Matched<'a, 't> {
    /// The route.
    pub route: &'t Arc<RouteEntry>,
    /// The request as the route saw it.
    pub view: RequestView<'a>,
    /// What the route does with the request.
    pub action: RouteAction<'a>,
}

/// What a route does with a request.
#[derive(Debug)]
pub enum RouteAction<'a> {
    /// The route answers by itself.
    Respond(RouteResponse),
    /// The request is sent to one of the targets.
    Forward(Forwarding<'a>),
}

/// A response without a backend.
#[derive(Debug)]
pub enum RouteResponse {
    /// A redirect or a direct response.
    Local(LocalAnswer),
    /// The response to a preflight request, by the policy of the route (VS-46).
    Preflight(LocalAnswer),
    /// The rewrite of the route does not give a valid target (VS-37).
    Refused(Refusal),
}

/// What is known of a request that is forwarded, whatever the target.
#[derive(Debug)]
pub struct Forwarding<'a> {
    /// The new request target, if the route rewrites it.
    pub rewritten: Option<Target<'static>>,
    /// The request as CORS sees it, if the route has a policy and the request an origin.
    pub cors: Option<CorsRequest<'a>>,
}

impl<'a> RequestContext<'a> {
    /// The dialect of gRPC that the client speaks, if any (S-119).
    pub fn dialect(&self) -> Option<Dialect> {
        let fields = self.request.fields(self.buffer);
        Dialect::of(|name| fields.get(name), self.http.grpc_web)
    }
}

/// Decides a request. `pick` finds the route. `is_misdirected` says, by the host and whether a route was found, whether the host belongs to
/// another TLS server than the one that accepted the connection.
pub fn decide<'a, 't>(
    context: &RequestContext<'a>,
    scratch: &'a mut Scratch,
    is_misdirected: impl FnOnce(&str, bool) -> bool,
    pick: impl FnOnce(&RequestView<'a>) -> Pick<'t>,
) -> Decision<'a, 't>
where
    't: 'a,
{
    let RequestContext { request, buffer, http, mesh_settings, peer } = *context;
    let fields = request.fields(buffer);
    let (method, target) = (request.method.of(buffer), request.target.of(buffer));
    let host = match prepare::host(request, mesh_settings, buffer) {
        Ok(host) => host,
        Err(refusal) => return Decision::Refused(refusal),
    };
    let view = match prepare(RawRequest { method, target, host, fields }, http, peer, scratch) {
        // A gRPC client does not follow redirects.
        Ok(prepared) if prepared.to_normalised && Dialect::of(|name| fields.get(name), false).is_some() => {
            return Decision::Refused(Refusal::Path);
        }
        Ok(prepared) if prepared.to_normalised => {
            return Decision::Redirect(LocalAnswer::to_normalised(&prepared.view));
        }
        Ok(prepared) => prepared.view,
        Err(refusal) => return Decision::Refused(refusal),
    };
    let picked = pick(&view);
    if is_misdirected(view.host, matches!(picked, Pick::Route(_))) {
        return Decision::Misdirected;
    }
    let route = match picked {
        Pick::Route(route) => route,
        Pick::ToHttps => return Decision::Redirect(LocalAnswer::to_https(&view)),
        Pick::NoRoute(_) | Pick::NoHost => return Decision::NoRoute,
    };
    Decision::Matched(Matched { route, view, action: act(route, &view) })
}

fn act<'a>(route: &'a RouteEntry, view: &RequestView<'a>) -> RouteAction<'a> {
    if let Some(answer) = route.local_answer(view) {
        return RouteAction::Respond(RouteResponse::Local(answer));
    }
    let cors = CorsRequest::of(route, view.fields);
    if let Some(answer) = cors.as_ref().and_then(|cors| cors.preflight(route, view.method, view.fields)) {
        return RouteAction::Respond(RouteResponse::Preflight(answer));
    }
    match route.rewritten(view) {
        Ok(rewritten) => RouteAction::Forward(Forwarding { rewritten, cors }),
        Err(refusal) => RouteAction::Respond(RouteResponse::Refused(refusal)),
    }
}

/// One of the targets of a route, for a request.
#[derive(Debug)]
pub struct RouteTarget<'a> {
    /// The route.
    pub route: &'a RouteEntry,
    /// The index of the target.
    pub target: usize,
    /// The new request target that [`decide`] found, if the route rewrites it.
    pub rewritten: Option<Target<'static>>,
    /// The dialect of gRPC that the client speaks, if any.
    pub dialect: Option<Dialect>,
}

/// Adds the edits of the head that is sent to a target of a route, after those of [`forwarded::edit`], and returns the head's other parts.
pub fn edit_request<'a>(
    context: &RequestContext<'a>,
    to: RouteTarget<'a>,
    view: &RequestView<'a>,
    facts: &dyn Facts,
    edits: &mut Edits<'a>,
) -> RequestParts<'a> {
    let headers = &context.mesh_settings.headers;
    if headers.attempt_count {
        edits.set("x-envoy-attempt-count", "1");
    }
    if context.request.version == Version::Http10 {
        // An HTTP/1.0 client does not wait for 100 (RFC 9110 §10.1.1).
        edits.remove("expect");
    }
    let web = to.dialect.and_then(Dialect::web);
    if web.is_some() {
        Call::edit_request(view.fields, edits);
    }
    to.route.edit_request(to.target, to.rewritten, view, facts, edits);
    if headers.forwarded_host {
        forwarded::set_forwarded_host(view.authority, view.fields, edits);
    }
    let mut parts = RequestParts::of(context.request, view, context.request.switch(context.buffer));
    if let Some(call) = web {
        parts.framing = call.framing(parts.framing);
    }
    parts
}

#[cfg(test)]
mod tests;
