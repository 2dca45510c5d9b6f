//! The order of an exchange's filters. `exchange` calls it.

use super::fault;
use super::verdict::Verdict;
use crate::conn::{ExchangeBuffers, Worker};
use crate::http::client::ClientConnection;
use crate::http::decide;
use crate::http::plan::{Decision, Reply, Routed};
use crate::stream_info::StreamInfo;
use ir::Filter;
use std::sync::Arc;

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
            Verdict::Reply(reply) => return Err(decide::reply(worker, conn, buffers, head, (reply, routed))),
            Verdict::Abandon => return Err(Decision::Abandoned(Some(routed))),
        }
    }
    Ok(routed)
}
