//! The filters of an exchange in their order. `exchange` calls it.
//!
//! A request passes, in this order (each step has its reason where it is called):
//!
//! 0. what a forward proxy answers about itself;
//! 1. the gate, which the workload demands of every request: external authorization, tokens, users of a forward proxy;
//! 2. `decide`: authorization, and the route;
//! 3. the filters of the route, in the order of `ir::Filter`: faults, CORS;
//! 4. the edits of the route.
//!
//! A response passes the same steps the other way round, in `routing::filter::edit_response`: the edits of the route, CORS, what the service for
//! external authorization changes. That function is in `routing`, because `routing::response_head`, which is below this crate, calls it for the
//! responses of backends; `local` calls it for those of the gateway. A filter that edits responses has a line there and a line here.

use super::result::FilterResult;
use super::{authentication, ext_authz, fault, proxy_user};
use crate::conn::TableVersion;
use crate::http::decide;
use crate::http::plan::{Decision, Reply, Routed};
use crate::http::received_request::ReceivedRequest;
use crate::stream_info::StreamInfo;
use ir::Filter;
use std::sync::Arc;

/// What the gate leads to without waiting.
pub(in crate::http) enum GateOutcome {
    /// The request is decided.
    Decided(Decision),
    /// A service decides first, by these policies; the routes that came with them follow.
    AskService(Arc<TableVersion>),
}

/// Runs what the policies of the workload demand of every request (S-110), and then decides the request by the routes that came with them, unless a
/// service has to be asked before, for which there is [`ask_and_decide`].
pub(in crate::http) fn decide_at_gate(request: &mut ReceivedRequest<'_>, info: &mut StreamInfo) -> GateOutcome {
    let version = request.conn.table.version();
    // Answered before authentication: it contains only the address that the client used, and a browser requests it before it is configured for the
    // proxy.
    if version.http.settings.forward
        && let Some(answer) = decide::to_itself(request, &version)
    {
        return GateOutcome::Decided(Decision::Respond(Reply::Plain(answer), None));
    }
    if version.policies.as_deref().is_some_and(|policies| policies.ext_authz.is_some()) {
        return GateOutcome::AskService(Arc::clone(&version));
    }
    GateOutcome::Decided(authenticate_and_decide(request, &version, info))
}

/// Asks the service for authorization first, as in Istio: the service may add the credentials that the next filters verify (AP-02).
pub(in crate::http) async fn ask_and_decide(
    request: &mut ReceivedRequest<'_>,
    version: Arc<TableVersion>,
    info: &mut StreamInfo,
) -> Decision {
    if let Some(gate) = version.policies.as_deref().and_then(|policies| policies.ext_authz.as_deref()) {
        match ext_authz::run(request, gate, &version, info).await {
            ext_authz::CheckOutcome::Pass => {}
            ext_authz::CheckOutcome::Deny(denial) => return Decision::Respond(Reply::Denied(denial), None),
            ext_authz::CheckOutcome::Reject(reject) => return Decision::Respond(Reply::Reject(reject), None),
            ext_authz::CheckOutcome::Abandon => return Decision::Abandoned(None),
        }
    }
    authenticate_and_decide(request, &version, info)
}

/// The part of the gate that never waits.
fn authenticate_and_decide(
    request: &mut ReceivedRequest<'_>,
    version: &TableVersion,
    info: &mut StreamInfo,
) -> Decision {
    // Before authorization and routes, which see the claims and the changed head.
    if let Some(issuers) = version.policies.as_deref().and_then(|policies| policies.issuers.as_deref())
        && let Err(answer) = authentication::run(request, issuers, version.http.settings)
    {
        return Decision::Respond(Reply::Plain(answer), decide::route_of_denied(request, version));
    }
    // After tokens, one of which may say who the client is, and before authorization, which sees the user.
    if version.http.settings.forward
        && let Some(answer) = proxy_user::run(request, version)
    {
        return Decision::Respond(Reply::Plain(answer), None);
    }
    // With authorization, over the normalised request that is routed.
    decide::decide(request, version, info)
}

/// Runs the filters of a route, in their order (`ir::Filter`). `Ok` when all have passed.
pub(in crate::http) async fn run_route_filters(
    request: &mut ReceivedRequest<'_>,
    mut routed: Routed,
    info: &mut StreamInfo,
) -> Result<Routed, Decision> {
    let route = Arc::clone(&routed.route);
    for filter in &*route.config.filters {
        let verdict = match filter {
            // First: an aborted request costs nothing more, and a delay is in front of what the others see.
            Filter::Fault(fault) => fault::run(request.worker, &mut request.conn.downstream, fault, info).await,
            // A preflight request is answered without a backend.
            Filter::Cors(cors) => {
                let answer = routed.filters.run_cors(cors, request.method(), request.fields());
                answer.map_or(FilterResult::Continue, |answer| FilterResult::Reply(Reply::Plain(answer)))
            }
        };
        match verdict {
            FilterResult::Continue => {}
            FilterResult::Reply(reply) => {
                return Err(decide::proceed(request, routed, Some(reply)));
            }
            FilterResult::Abandon => return Err(Decision::Abandoned(Some(routed))),
        }
    }
    Ok(routed)
}
