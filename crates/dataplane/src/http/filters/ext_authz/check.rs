//! Asks the service about a request: whether a rule applies to the request, what is sent to the service, and the verdict.

use crate::codec::ClientReset;
use crate::conn::{ExternalGate, HeldBody};
use crate::ext_authz::{Message, connection};
use crate::http::authorization::access_facts;
use crate::http::facts::protocol;
use crate::http::filters::body::{self, BodyFailure};
use crate::http::prepared::Prepared;
use crate::http::received_request::ReceivedRequest;
use crate::stream_info::StreamInfo;
use ir::HttpSettings;
use ir::policy::{CheckBody, CheckProtocol, ExternalCheck};
use routing::ext_authz::{self, CheckVerdict, CheckedBody, CheckedRequest};
use std::time::SystemTime;
use wire::edit::Edits;
use wire::h1::{BodyLength, BodyReader};

/// Asks the service about a request, with as much of its body as the check wants. A call that failed is a verdict, too. `None` if no rule applies, or if
/// the request is malformed: the next step rejects it.
pub(super) async fn ask(
    request: &mut ReceivedRequest<'_>,
    gate: &ExternalGate,
    check: &ExternalCheck,
    settings: HttpSettings,
    info: &mut StreamInfo,
) -> Result<Option<CheckVerdict>, BodyFailure> {
    if !request.prepare(settings, |request| is_concerned(gate, &request)).unwrap_or(false) {
        return Ok(None);
    }
    if let Some(wanted) = check.body
        && has_body(request)
    {
        body::receive(request, wanted, info).await?;
    }
    let Ok(message) = request.prepare(settings, |request| message(check, &request)) else {
        return Ok(None);
    };
    let asked = crate::ext_authz::ask(request.worker, gate, check, &message);
    match request.conn.downstream.until_reset(asked).await {
        Ok(Ok(verdict)) => Ok(Some(verdict)),
        Ok(Err(error)) => {
            info.transport_failure = error.to_string();
            Ok(Some(CheckVerdict::Error(None)))
        }
        Err(ClientReset) => Err(BodyFailure::Abandon),
    }
}

/// Whether a rule is for the request.
fn is_concerned(gate: &ExternalGate, request: &Prepared<'_>) -> bool {
    let mut edits = Edits::default();
    if gate.has_headers() {
        request.edit_received(&mut edits);
    }
    gate.concerns(&access_facts(request, &edits.fields))
}

/// Whether the request has a body that the service can see. As in Envoy, that of an upgrade is none.
fn has_body(request: &ReceivedRequest<'_>) -> bool {
    let head = &request.buffers.request;
    !BodyReader::new(head.body).is_done() && head.switch(request.octets()).is_none()
}

/// The check of a request.
fn message(check: &ExternalCheck, request: &Prepared<'_>) -> Message {
    let mut edits = Edits::default();
    request.edit_received(&mut edits);
    let head = request.context.request;
    let held = request.held.zip(check.body);
    let checked = CheckedRequest {
        view: request.view,
        edits: &edits.fields,
        protocol: protocol(&request.conn.downstream, head.version),
        id: request.id.as_str(),
        time: SystemTime::now(),
        connection: connection(&request.conn.client),
        size: match head.body {
            BodyLength::None => Some(0),
            BodyLength::Length(length) => Some(length),
            BodyLength::Chunked | BodyLength::UntilClose => None,
        },
        body: held.map(|((held, reader), wanted)| checked_body(held, reader, wanted)),
    };
    match &check.protocol {
        CheckProtocol::Grpc => ext_authz::grpc::check(&checked, check.body.is_some_and(|body| body.raw)).into(),
        CheckProtocol::Http(options) => Message::Http(Box::new(ext_authz::http::check(options, &checked))),
    }
}

/// What the service gets of a body.
fn checked_body<'a>(held: &'a HeldBody, reader: &BodyReader, wanted: CheckBody) -> CheckedBody<'a> {
    let octets = held.octets();
    let sent = octets.get(..wanted.octets).unwrap_or(octets);
    CheckedBody { octets: sent, is_partial: sent.len() < octets.len() || !reader.is_done() }
}
