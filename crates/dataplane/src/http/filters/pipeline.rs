//! The order of an exchange's filters. `exchange` calls it.

use super::verdict::Verdict;
use super::{authentication, ext_authz, fault, proxy_user};
use crate::conn::{ExchangeBuffers, TableVersion, Worker};
use crate::http::client::ClientConnection;
use crate::http::decide;
use crate::http::plan::{Decision, Reply, Routed};
use crate::stream_info::StreamInfo;
use ir::Filter;
use std::sync::Arc;

/// Runs what the policies of the workload demand of every request (S-110), and then decides the request by the routes that came with them. `head` is
/// the length of its head, which filters may change.
pub(in crate::http) async fn run_gate(
    worker: &Worker,
    conn: &mut ClientConnection,
    buffers: &mut ExchangeBuffers,
    (head, version): (&mut usize, Arc<TableVersion>),
    info: &mut StreamInfo,
) -> Decision {
    let policies = version.policies.as_deref();
    // First, as in Istio: the service may add the credentials that the next filters verify (AP-02).
    if let Some(gate) = policies.and_then(|policies| policies.ext_authz.as_deref()) {
        match ext_authz::run(worker, conn, buffers, gate, &version, *head, info).await {
            ext_authz::Outcome::Pass(length) => *head = length,
            ext_authz::Outcome::Deny(denial) => return Decision::Respond(Reply::Denied(denial), None),
            ext_authz::Outcome::Reject(reject) => return Decision::Respond(Reply::Reject(reject), None),
            ext_authz::Outcome::Abandon => return Decision::Abandoned(None),
        }
    }
    // Before authorization and routes, which see the claims and the changed head.
    if let Some(issuers) = policies.and_then(|policies| policies.issuers.as_deref()) {
        match authentication::run(worker, conn, buffers, issuers, *head, version.http.settings) {
            Ok(length) => *head = length,
            Err(answer) => {
                let routed = decide::denied(worker, conn, buffers, (*head, &version));
                return Decision::Respond(Reply::Plain(answer), routed);
            }
        }
    }
    // After tokens, one of which may say who the client is, and before authorization, which sees the user.
    if let Some(answer) = proxy_user::run(conn, buffers, *head, &version) {
        return Decision::Respond(Reply::Plain(answer), None);
    }
    // With authorization, over the normalised request that is routed.
    decide::decide(worker, conn, buffers, (*head, &version), info)
}

/// Runs the filters of a route, in their order (`ir::Filter`). `Ok` when all have passed.
pub(in crate::http) async fn run_route_filters(
    worker: &Worker,
    conn: &mut ClientConnection,
    buffers: &mut ExchangeBuffers,
    head: usize,
    mut routed: Routed,
    info: &mut StreamInfo,
) -> Result<Routed, Decision> {
    let route = Arc::clone(&routed.route);
    for filter in &*route.config.filters {
        let verdict = match filter {
            // First: an aborted request costs nothing more, and a delay is in front of what the others see.
            Filter::Fault(fault) => fault::run(worker, &mut conn.downstream, fault, info).await,
            // A preflight request is answered without a backend.
            Filter::Cors(cors) => {
                let buffer = conn.input.filled();
                let (method, fields) = (buffers.request.method.of(buffer), buffers.request.fields(buffer));
                let answer = routed.filters.run_cors(cors, method, fields);
                answer.map_or(Verdict::Continue, |answer| Verdict::Reply(Reply::Plain(answer)))
            }
        };
        match verdict {
            Verdict::Continue => {}
            Verdict::Reply(reply) => {
                return Err(decide::proceed(worker, conn, buffers, head, routed, Some(reply)));
            }
            Verdict::Abandon => return Err(Decision::Abandoned(Some(routed))),
        }
    }
    Ok(routed)
}
