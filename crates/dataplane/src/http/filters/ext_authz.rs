//! External authorization (AP-13): a service is asked whether a request may pass, before anything else decides about it (S-110).

mod service_call;

use crate::codec::ClientReset;
use crate::conn::{ExchangeBuffers, ExternalGate, Worker};
use crate::http::client::ClientConnection;
use crate::http::facts::{address_behind, protocol};
use crate::http::request_head::{edit_forwarded, peer};
use crate::metrics::add;
use crate::reasons::Flags;
use crate::stream_info::StreamInfo;
use ir::policy::{CheckProtocol, ExternalAuthorization, ExternalCheck};
use ir::{HttpSettings, PeerFact};
use routing::authorization::AccessFacts;
use routing::ext_authz::{self, Changes, CheckedRequest, Denial, Verdict};
use routing::{RequestContext, decision};
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
/// The body of that response.
const DENIED: &[u8] = b"RBAC: access denied";
const FORBIDDEN: u16 = 403;

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
            let (status, headers, body) = (Some(FORBIDDEN), Vec::new(), DENIED.to_vec());
            return Outcome::Deny(Box::new(Denial { status, headers, body }));
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
    let length = if changes.leaves_request() { head } else { amend(conn, buffers, head, &changes)? };
    if !changes.response.is_empty() {
        buffers.checked = Some(changes);
    }
    Some(Outcome::Pass(length))
}

/// Changes the head of the request, as if the client had sent it so: routing and all else see the result. Returns the length of the head.
fn amend(conn: &mut ClientConnection, buffers: &mut ExchangeBuffers, head: usize, changes: &Changes) -> Option<usize> {
    let input = conn.input.filled();
    let (buffer, behind) = input.split_at_checked(head)?;
    let mut edits = Edits::default();
    changes.edit_request(buffers.request.fields(buffer), &mut edits);
    let target = buffers.request.target.of(buffer);
    let at = target.iter().position(|octet| *octet == b'?');
    let before = at.and_then(|at| target.get(at + 1..));
    let query = changes.changes_query().then(|| changes.query(before));
    let query = query.as_ref().map(Option::as_deref);
    let added = buffers.request.amend(buffer, &edits.fields, query);
    let (behind, whole) = (behind.to_vec(), input.len() + added.len());
    conn.input.truncate(head);
    conn.input.put(&added);
    conn.input.put(&behind);
    (conn.input.filled().len() == whole).then_some(head + added.len())
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
    let buffer = conn.input.filled().get(..head).unwrap_or_default();
    let context = RequestContext { request, buffer, settings, mesh_settings: &client.mesh_settings, peer: &peer };
    let view = decision::prepare(&context, scratch).ok()?;
    let mut edits = Edits::default();
    edit_forwarded(&context, &view, request_id, &mut edits);
    let facts = AccessFacts {
        connection: client.access(),
        remote: address_behind(&peer, view.fields).unwrap_or_else(|| client.remote.ip().to_canonical()),
        view: Some(&view),
        edits: &edits.fields,
        claims: None,
    };
    if !gate.concerns(&facts) {
        return None;
    }
    let principal = client.tls.as_ref().map(|tls| principal(|fact| tls.negotiated.peer(fact))).unwrap_or_default();
    let checked = CheckedRequest {
        view: &view,
        edits: &edits.fields,
        protocol: protocol(&conn.downstream, request.version),
        id: request_id.as_str(),
        time: SystemTime::now(),
        source: client.remote,
        destination: client.local,
        source_principal: &principal,
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

/// The first identity in the client's certificate: its URI, its DNS name, or its subject.
fn principal(fact: impl Fn(PeerFact) -> String) -> String {
    let names =
        [PeerFact::UriSan, PeerFact::DnsSan].map(|kind| fact(kind).split(',').next().unwrap_or_default().to_owned());
    names.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| fact(PeerFact::Subject))
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
