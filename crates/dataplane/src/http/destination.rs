//! The destination that a client names, where the endpoints of a cluster are the addresses of a name: it is resolved before the request is sent or
//! the tunnel is opened.

use super::decide;
use super::plan::{Decision, Reply, Routed};
use super::received_request::ReceivedRequest;
use crate::codec::ClientReset;
use crate::reasons::{DestinationReason, Reject};
use crate::stream_info::StreamInfo;
use routing::LocalAnswer;
use routing::forward::{self, Refused};
use std::time::Instant;
use upstream::DestinationError;

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
    let (worker, client) = (request.worker, request.conn.client.remote.ip());
    let finding = worker.upstream.destination(&cluster, host.by_ref(), port, client, worker.limits.resolve_timeout);
    match request.conn.downstream.until_reset(finding).await {
        Err(ClientReset) => Err(Decision::Abandoned(Some(routed))),
        Ok(Ok(found)) => {
            (routed.cluster, info.resolution) = (Some(found.cluster), found.resolution);
            Ok(routed)
        }
        Ok(Err(error)) => Err(Decision::Respond(Reply::Plain(answer(error, info)), Some(routed))),
    }
}

/// Waits for the credential that requests to the destination get.
pub(super) async fn wait_for_credential(
    request: &mut ReceivedRequest<'_>,
    routed: Routed,
    info: &mut StreamInfo,
) -> Result<Routed, Decision> {
    let Some(cluster) = routed.cluster.as_deref().filter(|cluster| cluster.config.credential.is_some()) else {
        return Ok(routed);
    };
    let waiting = request.worker.credentials.wait(cluster);
    match request.conn.downstream.until_reset(waiting).await {
        Err(ClientReset) => Err(Decision::Abandoned(Some(routed))),
        Ok(Ok(())) => {
            info.credential_at = Some(Instant::now());
            Ok(routed)
        }
        Ok(Err(error)) => {
            info.transport_failure = error.to_string();
            Err(Decision::Respond(Reply::Reject(Reject::UpstreamCredentialUnavailable), Some(routed)))
        }
    }
}

/// The response to a request whose destination has no address.
fn answer(error: DestinationError, info: &mut StreamInfo) -> LocalAnswer {
    let DestinationReason { status, flags, detail, is_denial } = DestinationReason::of(&error);
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
        Reject::Overflow | Reject::UpstreamCredentialUnavailable => 503,
        _ => 502,
    };
    // The cause is the operator's, and is in the access log.
    let cause = if reject == Reject::UpstreamCredentialUnavailable { reject.reason().body } else { cause };
    forward::refusal(
        status,
        reject.reason().detail,
        Refused::Failed,
        &format!("the destination cannot be reached: {cause}."),
    )
}
