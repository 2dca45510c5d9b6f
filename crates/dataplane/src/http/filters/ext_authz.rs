//! External authorization (AP-13): a service is asked whether a request may pass, before anything else decides about it (S-110).

mod apply;
mod check;
mod outcome;

use crate::conn::{ExternalGate, TableVersion};
use crate::http::received_request::ReceivedRequest;
use crate::reasons::{Reason, Reject};
use crate::stream_info::StreamInfo;
use apply::apply;
use check::ask;
use ir::policy::ExternalAuthorization;
pub(super) use outcome::CheckOutcome;
use routing::ext_authz::{DENY_ALL, Denial};

/// Asks the service of a gate about a request, and does what it says.
pub(super) async fn run(
    request: &mut ReceivedRequest<'_>,
    gate: &ExternalGate,
    version: &TableVersion,
    info: &mut StreamInfo,
) -> CheckOutcome {
    let check = match &*gate.authorization {
        ExternalAuthorization::DenyAll => return deny_all(info),
        ExternalAuthorization::Check(check) => check,
    };
    match ask(request, gate, check, version.http.settings, info).await {
        Ok(Some(verdict)) => apply(request, check, version, verdict, info),
        Ok(None) => CheckOutcome::Pass,
        Err(failure) => failure.into(),
    }
}

/// The response to each request, if the configuration of the service is not valid.
fn deny_all(info: &mut StreamInfo) -> CheckOutcome {
    (info.detail, info.is_denied) = (DENY_ALL, true);
    let Reason { status, body, .. } = Reject::Denied.reason();
    CheckOutcome::Deny(Box::new(Denial { status: Some(status), headers: Vec::new(), body: body.as_bytes().to_vec() }))
}
