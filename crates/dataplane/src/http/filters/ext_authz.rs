//! External authorization (AP-13): a service is asked whether a request may pass, before anything else decides about it (S-110).

use super::amended::amend;
use super::body::{self, Unreceived};
use crate::codec::ClientReset;
use crate::conn::{ExchangeBuffers, ExternalGate, HeldBody, TableVersion, Worker};
use crate::ext_authz::{Message, ask, connection};
use crate::http::authorization::access_facts;
use crate::http::client::ClientConnection;
use crate::http::decide;
use crate::http::facts::protocol;
use crate::http::request_head::{context, edit_forwarded, peer};
use crate::reasons::{Flags, Reason, Reject};
use crate::stream_info::{CheckResult, StreamInfo};
use ir::HttpSettings;
use ir::policy::{CheckBody, CheckProtocol, ExternalAuthorization, ExternalCheck};
use routing::decision;
use routing::ext_authz::{self, Changes, CheckedBody, CheckedRequest, DENY_ALL, Denial, Verdict};
use std::time::SystemTime;
use wire::edit::Edits;
use wire::h1::{BodyLength, BodyReader};

/// What becomes of a request.
pub(super) enum Outcome {
    /// It goes on. The length of its head, which may be another one now.
    Pass(usize),
    /// The client gets this response.
    Deny(Box<Denial>),
    /// The body cannot be had: the client gets this response.
    Reject(Reject),
    /// The client has reset its connection or stream.
    Abandon,
}

impl From<Unreceived> for Outcome {
    fn from(unreceived: Unreceived) -> Self {
        match unreceived {
            Unreceived::Reject(reject) => Self::Reject(reject),
            Unreceived::Abandon => Self::Abandon,
        }
    }
}

/// Asks the service about the request whose head is the first `head` octets of the connection's input.
pub(super) async fn run(
    worker: &Worker,
    conn: &mut ClientConnection,
    buffers: &mut ExchangeBuffers,
    gate: &ExternalGate,
    version: &TableVersion,
    head: usize,
    info: &mut StreamInfo,
) -> Outcome {
    let settings = version.http.settings;
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
    if !is_concerned(gate, conn, buffers, settings, head) {
        return Outcome::Pass(head);
    }
    let head = match check.body.filter(|_| has_body(conn, buffers)) {
        None => head,
        Some(wanted) => match body::receive(worker, conn, buffers, (wanted, head), info).await {
            Ok(head) => head,
            Err(unreceived) => return unreceived.into(),
        },
    };
    let Some(message) = message(check, conn, buffers, settings, head) else { return Outcome::Pass(head) };
    let asked = match conn.downstream.until_reset(ask(worker, gate, check, &message)).await {
        Ok(asked) => asked,
        Err(ClientReset) => return Outcome::Abandon,
    };
    drop(message);
    let verdict = asked.unwrap_or_else(|error| {
        info.transport_failure = error.to_string();
        Verdict::Error(None)
    });
    match verdict {
        Verdict::Allow(changes) => {
            let passed = pass(worker, conn, buffers, check, version, head, changes);
            info.check = Some(if passed.is_some() { CheckResult::Allowed } else { CheckResult::Failed });
            passed.unwrap_or_else(|| failed(check, None, info))
        }
        Verdict::Deny(denial) => {
            info.check = Some(CheckResult::Denied);
            info.flags |= Flags::UAEX;
            info.detail = "ext_authz_denied";
            Outcome::Deny(denial)
        }
        Verdict::Error(denial) => {
            info.check = Some(CheckResult::Failed);
            let open = || pass(worker, conn, buffers, check, version, head, Changes::failed_open().into());
            let opened = check.fail_open.then(open).flatten();
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
    worker: &Worker,
    conn: &mut ClientConnection,
    buffers: &mut ExchangeBuffers,
    check: &ExternalCheck,
    version: &TableVersion,
    head: usize,
    changes: Box<Changes>,
) -> Option<Outcome> {
    if !changes.leaves_request() && !check.clear_route_cache {
        // As in Envoy, the route is that of the request before its changes.
        buffers.picked = decide::pick(worker, conn, buffers, (head, version));
    }
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

/// Whether the request has a body that the service can see. As in Envoy, that of an upgrade is none.
fn has_body(conn: &ClientConnection, buffers: &ExchangeBuffers) -> bool {
    let request = &buffers.request;
    !BodyReader::new(request.body).is_done() && request.switch(conn.input.filled()).is_none()
}

/// Whether a rule is for the request.
fn is_concerned(
    gate: &ExternalGate,
    conn: &ClientConnection,
    buffers: &mut ExchangeBuffers,
    settings: HttpSettings,
    head: usize,
) -> bool {
    let ExchangeBuffers { request, scratch, request_id, .. } = buffers;
    let client = &*conn.client;
    let peer = peer(client, settings);
    let context = context(conn, request, head, settings, &peer);
    let Ok(view) = decision::prepare(&context, scratch) else { return false };
    let mut edits = Edits::default();
    if gate.has_headers() {
        edit_forwarded(&context, &view, request_id, &mut edits);
    }
    gate.concerns(&access_facts(client, &context, &view, &edits.fields))
}

/// The check of a request; `None` if its host or path is malformed.
fn message(
    check: &ExternalCheck,
    conn: &ClientConnection,
    buffers: &mut ExchangeBuffers,
    settings: HttpSettings,
    head: usize,
) -> Option<Message> {
    let ExchangeBuffers { request, scratch, request_id, held, .. } = buffers;
    let client = &*conn.client;
    let peer = peer(client, settings);
    let context = context(conn, request, head, settings, &peer);
    let view = decision::prepare(&context, scratch).ok()?;
    let mut edits = Edits::default();
    edit_forwarded(&context, &view, request_id, &mut edits);
    let held = held.as_ref().zip(check.body);
    let checked = CheckedRequest {
        view: &view,
        edits: &edits.fields,
        protocol: protocol(&conn.downstream, request.version),
        id: request_id.as_str(),
        time: SystemTime::now(),
        connection: connection(client),
        size: match request.body {
            BodyLength::None => Some(0),
            BodyLength::Length(length) => Some(length),
            BodyLength::Chunked | BodyLength::UntilClose => None,
        },
        body: held.map(|((held, reader), wanted)| checked_body(held, reader, wanted)),
    };
    Some(match &check.protocol {
        CheckProtocol::Grpc => ext_authz::grpc::check(&checked, check.body.is_some_and(|body| body.raw)).into(),
        CheckProtocol::Http(options) => Message::Http(Box::new(ext_authz::http::check(options, &checked))),
    })
}

/// What the service gets of a body.
fn checked_body<'a>(held: &'a HeldBody, reader: &BodyReader, wanted: CheckBody) -> CheckedBody<'a> {
    let octets = held.octets();
    let sent = octets.get(..wanted.octets).unwrap_or(octets);
    CheckedBody { octets: sent, is_partial: sent.len() < octets.len() || !reader.is_done() }
}
