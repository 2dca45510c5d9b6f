//! Asks the service of a workload for authorization (AP-13): sends a check, and reads the decision. The filter for requests and the gate of
//! connections make the checks.

mod service_call;

use crate::conn::{Client, ExternalGate, Worker};
use ir::policy::{CheckProtocol, ExternalCheck};
use routing::ext_authz::{self, CheckVerdict, CheckedConnection};
pub(crate) use service_call::CallError;
use service_call::{ServiceRequest, ServiceResponse, call};
use std::sync::Arc;
use std::time::Duration;
use upstream::ClusterState;
use wire::edit::Edits;
use wire::ext_authz::{CheckRequest, CheckResponse, METHOD};
use wire::h1::{OutFraming, RequestParts};
use wire::view::Fields;

/// A check that is ready to be sent.
pub(crate) enum Message {
    Grpc(Vec<u8>),
    Http(Box<ext_authz::http::HttpCheckRequest>),
}

impl From<CheckRequest> for Message {
    fn from(check: CheckRequest) -> Self {
        Self::Grpc(check.to_frame())
    }
}

/// A connection, as services see it.
pub(crate) fn connection(client: &Client) -> CheckedConnection<'_> {
    CheckedConnection {
        source: client.remote,
        destination: client.local,
        source_principal: client.principal(),
        destination_principal: client.own_principal(),
        sni: client.tls.as_ref().and_then(|tls| tls.sni.as_deref()),
    }
}

/// Sends a check to the service of a gate, and reads the decision.
pub(crate) async fn ask(
    worker: &Worker,
    gate: &ExternalGate,
    check: &ExternalCheck,
    message: &Message,
) -> Result<CheckVerdict, CallError> {
    let cluster = gate.slot.and_then(|slot| worker.upstream.cluster(slot)).ok_or(CallError::NoEndpoint)?;
    ask_cluster(worker, &cluster, check, message).await
}

async fn ask_cluster(
    worker: &Worker,
    cluster: &Arc<ClusterState>,
    check: &ExternalCheck,
    message: &Message,
) -> Result<CheckVerdict, CallError> {
    let host = &*cluster.config.host;
    match (message, &check.protocol) {
        (Message::Http(message), CheckProtocol::Http(options)) => {
            let (parts, edits) = message.head();
            let request = ServiceRequest { parts: &parts, edits: &edits, body: &message.body, host, is_grpc: false };
            let response = call(worker, cluster, request, check.timeout).await?;
            Ok(ext_authz::http::verdict(options, response.status, response.fields(), &response.body))
        }
        (Message::Grpc(frame), _) => {
            // `|` is no character of a host.
            let authority = cluster.config.id.as_str().replace('|', "_.");
            let mut edits = Edits::default();
            edits.set("content-type", "application/grpc");
            edits.set("te", "trailers");
            edits.set_checked("grpc-timeout", grpc_timeout(check.timeout).into_bytes());
            let parts = RequestParts {
                method: b"POST",
                path: METHOD.as_bytes(),
                query: None,
                authority: authority.as_bytes(),
                fields: Fields::new(&[], &[]),
                nominates: false,
                framing: OutFraming::Chunked,
                upgrade: None,
                close: false,
            };
            let request = ServiceRequest { parts: &parts, edits: &edits, body: frame, host, is_grpc: true };
            let response = call(worker, cluster, request, check.timeout).await?;
            grpc_response(&response).map(ext_authz::grpc::verdict).ok_or(CallError::Malformed)
        }
        (Message::Http(_), CheckProtocol::Grpc) => Err(CallError::Malformed),
    }
}

/// At most eight digits.
fn grpc_timeout(limit: Duration) -> String {
    match limit.as_millis() {
        millis @ ..100_000_000 => format!("{millis}m"),
        millis => format!("{}S", (millis / 1000).min(99_999_999)),
    }
}

/// The message of a successful call.
fn grpc_response(response: &ServiceResponse) -> Option<CheckResponse> {
    let content_type = response.fields().get("content-type")?;
    if response.status != 200 || !wire::grpc::is_grpc(content_type) {
        return None;
    }
    let of_trailers = response.trailers.as_ref().and_then(|trailers| trailers.get("grpc-status"));
    let status = of_trailers.map(|status| status.as_bytes()).or_else(|| response.fields().get("grpc-status"))?;
    (status == b"0").then(|| CheckResponse::from_frame(&response.body)).flatten()
}
