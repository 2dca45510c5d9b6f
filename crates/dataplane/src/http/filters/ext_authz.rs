//! External authorization (AP-13): a service is asked whether a request may pass, before anything else decides about it (S-110).

mod service_call;

use super::amended::amend;
use crate::codec::ClientReset;
use crate::conn::{ExchangeBuffers, ExternalGate, Worker};
use crate::http::authorization::access_facts;
use crate::http::client::ClientConnection;
use crate::http::facts::protocol;
use crate::http::request_head::{context, edit_forwarded, peer};
use crate::metrics::add;
use crate::reasons::{Flags, Reason, Reject};
use crate::stream_info::StreamInfo;
use ir::HttpSettings;
use ir::policy::{CheckProtocol, ExternalAuthorization, ExternalCheck};
use routing::decision;
use routing::ext_authz::{self, Changes, CheckedRequest, Denial, Verdict};
use service_call::{CallError, ServiceRequest, ServiceResponse, call};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use upstream::ClusterState;
use wire::edit::Edits;
use wire::ext_authz::{CheckResponse, METHOD};
use wire::h1::{BodyLength, OutFraming, RequestParts};
use wire::view::Fields;

/// The detail of a request that is denied because no service can be asked, as Istio has it.
const DENY_ALL: &str = "rbac_access_denied_matched_policy[default-deny-all-due-to-bad-CUSTOM-action]";

/// What becomes of a request.
pub(super) enum Outcome {
    /// It goes on. The length of its head, which may be another one now.
    Pass(usize),
    /// The client gets this response.
    Deny(Box<Denial>),
    /// The client has reset its connection or stream.
    Abandon,
}

/// A check that is ready to be sent.
enum Message {
    Grpc(Vec<u8>),
    Http(Box<ext_authz::http::HttpCheckRequest>),
}

/// Asks the service about the request whose head is the first `head` octets of the connection's input.
pub(super) async fn run(
    worker: &Worker,
    conn: &mut ClientConnection,
    buffers: &mut ExchangeBuffers,
    (gate, settings, head): (&ExternalGate, HttpSettings, usize),
    info: &mut StreamInfo,
) -> Outcome {
    let check = match &*gate.authorization {
        ExternalAuthorization::DenyAll => {
            info.detail = DENY_ALL;
            let Reason { status, body, .. } = Reject::Denied.reason();
            let denial = Denial { status: Some(status), headers: Vec::new(), body: body.as_bytes().to_vec() };
            return Outcome::Deny(Box::new(denial));
        }
        ExternalAuthorization::Check(check) => check,
    };
    // A request that no rule is for passes. A malformed one is refused by what decides next.
    let Some(message) = message(gate, check, conn, (buffers, settings, head)) else { return Outcome::Pass(head) };
    let cluster = gate.slot.and_then(|slot| worker.upstream.cluster(slot));
    let asked = match &cluster {
        None => Err(CallError::NoEndpoint),
        Some(cluster) => match conn.downstream.until_reset(ask(worker, cluster, check, &message)).await {
            Ok(asked) => asked,
            Err(ClientReset) => return Outcome::Abandon,
        },
    };
    let verdict = asked.unwrap_or_else(|error| {
        info.transport_failure = error.to_string();
        Verdict::Error(None)
    });
    let counters = &worker.metrics.checks;
    match verdict {
        Verdict::Allow(changes) => {
            add(&counters.allowed);
            pass(conn, buffers, head, changes).unwrap_or_else(|| failed(check, None, info))
        }
        Verdict::Deny(denial) => {
            add(&counters.denied);
            info.flags |= Flags::UAEX;
            info.detail = "ext_authz_denied";
            Outcome::Deny(denial)
        }
        Verdict::Error(denial) => {
            add(&counters.failed);
            let opened = check.fail_open.then(|| pass(conn, buffers, head, Changes::failed_open().into())).flatten();
            opened.unwrap_or_else(|| failed(check, denial, info))
        }
    }
}

/// The response to a request without a decision.
fn failed(check: &ExternalCheck, own: Option<Box<Denial>>, info: &mut StreamInfo) -> Outcome {
    info.flags |= Flags::UAEX;
    info.detail = "ext_authz_error";
    let denial = own.map_or_else(|| Denial { status: None, headers: Vec::new(), body: Vec::new() }, |own| *own);
    Outcome::Deny(Box::new(Denial { status: denial.status.or(Some(check.status_on_error)), ..denial }))
}

/// Lets a request pass with the changes; `None` if its head would become too large.
fn pass(
    conn: &mut ClientConnection,
    buffers: &mut ExchangeBuffers,
    head: usize,
    changes: Box<Changes>,
) -> Option<Outcome> {
    let length = if changes.leaves_request() { head } else { change(conn, buffers, head, &changes)? };
    if !changes.response.is_empty() {
        buffers.checked = Some(changes);
    }
    Some(Outcome::Pass(length))
}

/// Changes the head of the request. Returns the length of the head; `None` if it would become too large.
fn change(conn: &mut ClientConnection, buffers: &mut ExchangeBuffers, head: usize, changes: &Changes) -> Option<usize> {
    let buffer = conn.input.filled();
    let mut edits = Edits::default();
    changes.edit_request(buffers.request.fields(buffer), &mut edits);
    let target = buffers.request.target.of(buffer);
    let before = memchr::memchr(b'?', target).and_then(|at| target.get(at + 1..));
    let query = changes.changes_query().then(|| changes.query(before));
    amend(conn, buffers, head, &edits.fields, query.as_ref().map(Option::as_deref))
}

/// The check of a request; `None` if no rule is for it, or its host or path is malformed.
fn message(
    gate: &ExternalGate,
    check: &ExternalCheck,
    conn: &ClientConnection,
    (buffers, settings, head): (&mut ExchangeBuffers, HttpSettings, usize),
) -> Option<Message> {
    let ExchangeBuffers { request, scratch, request_id, .. } = buffers;
    let client = &*conn.client;
    let peer = peer(client, settings);
    let context = context(conn, request, head, (settings, &peer));
    let view = decision::prepare(&context, scratch).ok()?;
    let mut edits = Edits::default();
    edit_forwarded(&context, &view, request_id, &mut edits);
    let facts = access_facts(client, &context, &view, &edits.fields);
    if !gate.concerns(&facts) {
        return None;
    }
    // Its URI, its DNS name, or its subject.
    let principal = facts.connection.identity.first().map_or("", |name| name);
    let checked = CheckedRequest {
        view: &view,
        edits: &edits.fields,
        protocol: protocol(&conn.downstream, request.version),
        id: request_id.as_str(),
        time: SystemTime::now(),
        source: client.remote,
        destination: client.local,
        source_principal: principal,
        destination_principal: "",
        sni: client.tls.as_ref().and_then(|tls| tls.sni.as_deref()),
        size: match request.body {
            BodyLength::None => Some(0),
            BodyLength::Length(length) => Some(length),
            BodyLength::Chunked | BodyLength::UntilClose => None,
        },
        body: None,
    };
    Some(match &check.protocol {
        CheckProtocol::Grpc => Message::Grpc(ext_authz::grpc::check(&checked, false).to_frame()),
        CheckProtocol::Http(options) => Message::Http(Box::new(ext_authz::http::check(options, &checked))),
    })
}

/// Sends a check and reads the decision.
async fn ask(
    worker: &Worker,
    cluster: &Arc<ClusterState>,
    check: &ExternalCheck,
    message: &Message,
) -> Result<Verdict, CallError> {
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
