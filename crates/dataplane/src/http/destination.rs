//! The destination that a client names, where the endpoints of a cluster are the addresses of a name: it is resolved before the request is sent or
//! the tunnel is opened.

use super::decide;
use super::plan::{Decision, Reply, Routed};
use super::received_request::ReceivedRequest;
use crate::codec::ClientReset;
use crate::reasons::{Reject, Unreached};
use crate::stream_info::StreamInfo;
use routing::LocalAnswer;
use routing::forward::{self, Refused};
use upstream::DestinationError;
use wire::destination::Destination;

/// Puts the cluster of the destination in place of the cluster with dynamic endpoints.
pub(super) async fn find(
    request: &mut ReceivedRequest<'_>,
    mut routed: Routed,
    info: &mut StreamInfo,
) -> Result<Routed, Decision> {
    let Some(cluster) = routed.cluster.clone() else { return Ok(routed) };
    let asked = decide::destination(request, &routed);
    let Some((host, port)) = asked else {
        let error = DestinationError::NotCovered(String::new(), cluster.config.id.clone());
        return Err(Decision::Respond(Reply::Plain(answer(error, info)), Some(routed)));
    };
    let worker = request.worker;
    let finding = async {
        let parsed = Destination::parse(host.as_bytes());
        let host = parsed.map_err(|_| DestinationError::NotCovered(host.clone(), cluster.config.id.clone()))?.host;
        worker.upstream.destination(&cluster, (host, port), worker.limits.resolve_timeout).await
    };
    match request.conn.downstream.until_reset(finding).await {
        Err(ClientReset) => Err(Decision::Abandoned(Some(routed))),
        Ok(Ok(found)) => {
            (routed.cluster, info.resolution) = (Some(found.cluster), found.resolution);
            Ok(routed)
        }
        Ok(Err(error)) => Err(Decision::Respond(Reply::Plain(answer(error, info)), Some(routed))),
    }
}

/// The response to a request whose destination has no address.
fn answer(error: DestinationError, info: &mut StreamInfo) -> LocalAnswer {
    let Unreached { status, flags, detail, is_denial } = Unreached::of(&error);
    info.flags |= flags;
    let hint = match error {
        DestinationError::Blocked(..) => {
            ". To allow it, name the address in `addresses` of the ServiceEntry, or in its annotation `moongate.dev/allowed-addresses`."
        }
        DestinationError::NotCovered(..) | DestinationError::Unresolved(..) | DestinationError::Timeout(..) => ".",
    };
    let refused = if is_denial { Refused::Denied } else { Refused::Failed };
    let answer = forward::refusal(status, detail, refused, &format!("{error}{hint}"));
    info.resolution = error.into_resolution();
    answer
}

/// The answer of a forward proxy where a destination cannot be reached.
pub(super) fn unreachable(reject: Reject, cause: &str) -> LocalAnswer {
    let status = match reject {
        Reject::Connect { timeout: true } => 504,
        Reject::Overflow => 503,
        _ => 502,
    };
    forward::refusal(
        status,
        reject.reason().detail,
        Refused::Failed,
        &format!("the destination cannot be reached: {cause}."),
    )
}
