//! The steps of the decision on a request, over facts alone. The data plane and `explain` call the same functions in the same order: [`prepare()`],
//! [`route`], the filters of the route, [`act`], and [`request_head`] for the head that is sent to one of the targets.

use crate::forward::{self, AllowList, RequestedDestination};
use crate::prepare::{self, RawRequest, Refusal, Scratch};
use crate::route::{LocalAnswer, RouteEntry};
use crate::substitute::Facts;
use crate::table::Pick;
use ir::{HttpSettings, MeshConnectionSettings};
use std::sync::Arc;
use text::{FieldValue, Target};
use wire::edit::Edits;
use wire::forwarded::{self, Peer};
use wire::grpc::Dialect;
use wire::grpc_web::Call;
use wire::h1::{BodyLength, RequestHead, RequestParts, Version};
use wire::view::RequestView;

/// The header with the number of the attempt.
const ATTEMPT_COUNT: &str = "x-envoy-attempt-count";

/// A request as it was read, and what applies to it.
#[derive(Debug, Clone, Copy)]
pub struct RequestContext<'a> {
    /// The head, an index into `buffer`.
    pub request: &'a RequestHead,
    /// The octets of the head.
    pub buffer: &'a [u8],
    /// The settings of the listener's table.
    pub settings: HttpSettings,
    /// What the mesh settings say of connections and headers.
    pub mesh_settings: &'a MeshConnectionSettings,
    /// The client.
    pub peer: &'a Peer<'a>,
    /// The port that a transparent client of a forward proxy has connected to.
    pub original_port: Option<u16>,
}

/// Why no route decides a request.
#[derive(Debug)]
pub enum RouteError {
    /// The request cannot be routed.
    Refused(Refusal),
    /// The request is redirected to its normalised path (PC-04), or to HTTPS (S-70).
    Redirect(LocalAnswer),
    /// The host belongs to another TLS server of the listener: 421 (S-38, P-05).
    Misdirected,
    /// No route matches: 404.
    NoRoute,
    /// The forward proxy answers by itself: it does not allow the destination, or the request is for the proxy.
    ProxyReply(LocalAnswer),
}

/// What a route does with a request.
#[derive(Debug)]
pub enum RouteAction {
    /// The route answers by itself: a redirect or a direct response.
    Respond(LocalAnswer),
    /// The rewrite of the route does not give a valid target (VS-37).
    Refuse(Refusal),
    /// The request is sent to one of the targets, with a new request target if the route rewrites it.
    Forward(Option<Target<'static>>),
}

impl<'a> RequestContext<'a> {
    /// The dialect of gRPC that the client speaks, if any (S-119).
    pub fn dialect(&self) -> Option<Dialect> {
        let fields = self.request.fields(self.buffer);
        Dialect::of(|name| fields.get(name), self.settings.grpc_web)
    }
}

/// Normalises a request. The view is what all later steps see.
pub fn prepare<'a>(context: &RequestContext<'a>, scratch: &'a mut Scratch) -> Result<RequestView<'a>, RouteError> {
    let RequestContext { request, buffer, settings, mesh_settings, peer, original_port } = *context;
    let fields = request.fields(buffer);
    let (method, target) = (request.method.of(buffer), request.target.of(buffer));
    if settings.forward && method == b"CONNECT" && request.body != BodyLength::None {
        return Err(RouteError::Refused(prepare::Refusal::Tunnel));
    }
    let host = prepare::host(request, mesh_settings, buffer).map_err(RouteError::Refused)?;
    let raw = RawRequest { method, target, host, fields, original_port };
    let prepared = prepare::prepare(raw, settings, peer, scratch).map_err(RouteError::Refused)?;
    match prepared.to_normalised {
        false => Ok(prepared.view),
        // A gRPC client does not follow redirects.
        true if Dialect::of(|name| fields.get(name), false).is_some() => Err(RouteError::Refused(Refusal::Path)),
        true => Err(RouteError::Redirect(LocalAnswer::to_normalised(&prepared.view))),
    }
}

/// Adds the edits that every request gets, whatever its route. `id` is the id for a request without a trusted one.
pub fn edit_received<'a>(
    context: &RequestContext<'a>,
    view: &RequestView<'a>,
    id: FieldValue<'a>,
    edits: &mut Edits<'a>,
) {
    if context.settings.forward {
        return forwarded::edit_proxied(edits);
    }
    let id = context.mesh_settings.headers.request_id.then_some(id);
    forwarded::edit(context.peer, view.fields, view.scheme, id, edits);
}

/// The route that the table picked. `is_misdirected` says, by whether a route was found, whether the host belongs to another TLS server than the
/// one that accepted the connection.
pub fn route<'t>(
    view: &RequestView<'_>,
    picked: Pick<'t>,
    is_misdirected: impl FnOnce(bool) -> bool,
) -> Result<&'t Arc<RouteEntry>, RouteError> {
    if is_misdirected(matches!(picked, Pick::Route(_))) {
        return Err(RouteError::Misdirected);
    }
    match picked {
        Pick::Route(route) => Ok(route),
        Pick::ToHttps => Err(RouteError::Redirect(LocalAnswer::to_https(view))),
        Pick::NoRoute(_) | Pick::NoHost => Err(RouteError::NoRoute),
    }
}

/// Whether a target, as it was received, may be for a forward proxy itself: it has no authority.
pub fn may_be_to_itself(target: &[u8]) -> bool {
    matches!(target.first(), Some(b'/' | b'*'))
}

/// The answer to a request that is for a forward proxy itself. `None` if it is for a destination: its target has an authority, or the client does not
/// know of the proxy.
pub fn to_itself(context: &RequestContext<'_>, view: &RequestView<'_>) -> Option<LocalAnswer> {
    let target = context.request.target.of(context.buffer);
    (context.original_port.is_none() && may_be_to_itself(target)).then(|| forward::to_itself(view))
}

/// The route of a request to a forward proxy.
pub fn proxied<'t>(
    list: &'t AllowList,
    context: &RequestContext<'_>,
    view: &RequestView<'_>,
) -> Result<&'t Arc<RouteEntry>, RouteError> {
    if let Some(answer) = to_itself(context, view) {
        return Err(RouteError::ProxyReply(answer));
    }
    let requested = RequestedDestination::of(view).ok_or(RouteError::Refused(prepare::Refusal::Host))?;
    list.decide(&requested).map_err(|denial| RouteError::ProxyReply(denial.answer(&requested)))
}

/// What the route does with the request, after its filters.
pub fn act(route: &RouteEntry, view: &RequestView<'_>) -> RouteAction {
    match route.local_answer(view) {
        Some(answer) => RouteAction::Respond(answer),
        None => route.rewritten(view).map_or_else(RouteAction::Refuse, RouteAction::Forward),
    }
}

/// One of the targets of a route, for a request.
#[derive(Debug)]
pub struct RouteTarget<'a> {
    /// The route.
    pub route: &'a RouteEntry,
    /// The index of the target.
    pub target: usize,
    /// The new request target that [`act`] found, if the route rewrites it.
    pub rewritten: Option<Target<'static>>,
    /// The dialect of gRPC that the client speaks, if any.
    pub dialect: Option<Dialect>,
    /// The number of the attempt, from 1.
    pub attempt: u32,
}

/// Adds the edits of the head that is sent to a target of a route, after those of [`forwarded::edit`], and returns the head's other parts.
pub fn request_head<'a>(
    context: &RequestContext<'a>,
    to: RouteTarget<'a>,
    view: &RequestView<'a>,
    facts: &dyn Facts,
    edits: &mut Edits<'a>,
) -> RequestParts<'a> {
    let headers = &context.mesh_settings.headers;
    // Not for destinations of the internet.
    let counts = headers.attempt_count && !context.settings.forward;
    if counts {
        edits.set(ATTEMPT_COUNT, "1");
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
    if headers.forwarded_host && !context.settings.forward {
        forwarded::set_forwarded_host(view.authority, view.fields, edits);
    }
    if counts && to.attempt > 1 {
        // As in Envoy, the number of a retry is set after the edits of the route.
        edits.set(ATTEMPT_COUNT, u64::from(to.attempt));
    }
    let mut parts = RequestParts::of(context.request, view, context.request.switch(context.buffer));
    if let Some(call) = web {
        parts.framing = call.framing(parts.framing);
    }
    parts
}

#[cfg(test)]
mod tests;
