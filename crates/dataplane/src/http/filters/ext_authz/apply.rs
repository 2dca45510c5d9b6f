//! Does what the service has decided: changes the request, or makes the response to its client.

use super::outcome::CheckOutcome;
use crate::conn::TableVersion;
use crate::http::decide;
use crate::http::filters::amended::{TooLarge, amend};
use crate::http::received_request::ReceivedRequest;
use crate::reasons::Flags;
use crate::stream_info::{CheckResult, StreamInfo};
use ir::policy::ExternalCheck;
use routing::ext_authz::{Changes, CheckVerdict, Denial};
use wire::edit::Edits;

/// Applies a verdict to a request.
pub(super) fn apply(
    request: &mut ReceivedRequest<'_>,
    check: &ExternalCheck,
    version: &TableVersion,
    verdict: CheckVerdict,
    info: &mut StreamInfo,
) -> CheckOutcome {
    let (result, passed, denial) = match verdict {
        CheckVerdict::Allow(changes) => match pass(request, check, version, changes) {
            Ok(()) => (CheckResult::Allowed, true, None),
            Err(TooLarge) => (CheckResult::Failed, false, None),
        },
        CheckVerdict::Deny(denial) => {
            info.check = Some(CheckResult::Denied);
            info.flags |= Flags::UAEX;
            (info.detail, info.is_denied) = ("ext_authz_denied", true);
            return CheckOutcome::Deny(denial);
        }
        CheckVerdict::Error(denial) => {
            let mut open = || pass(request, check, version, Changes::failed_open().into()).is_ok();
            (CheckResult::Failed, check.fail_open && open(), denial)
        }
    };
    info.check = Some(result);
    if passed { CheckOutcome::Pass } else { failed(check, denial, info) }
}

/// The response to a request without a decision.
fn failed(check: &ExternalCheck, own: Option<Box<Denial>>, info: &mut StreamInfo) -> CheckOutcome {
    info.flags |= Flags::UAEX;
    (info.detail, info.is_denied) = ("ext_authz_error", true);
    let denial = own.map_or_else(|| Denial { status: None, headers: Vec::new(), body: Vec::new() }, |own| *own);
    CheckOutcome::Deny(Box::new(Denial { status: denial.status.or(Some(check.status_on_error)), ..denial }))
}

/// Lets a request pass with the changes.
fn pass(
    request: &mut ReceivedRequest<'_>,
    check: &ExternalCheck,
    version: &TableVersion,
    changes: Box<Changes>,
) -> Result<(), TooLarge> {
    if !changes.leaves_request() {
        if !check.clear_route_cache {
            // As in Envoy, the route is that of the request before its changes.
            request.buffers.picked = decide::pick(request, version);
        }
        change(request, &changes)?;
    }
    if !changes.response.is_empty() {
        request.buffers.checked = Some(changes);
    }
    Ok(())
}

/// Changes the head of a request.
fn change(request: &mut ReceivedRequest<'_>, changes: &Changes) -> Result<(), TooLarge> {
    let mut edits = Edits::default();
    changes.edit_request(request.fields(), &mut edits);
    let target = request.target();
    let before = memchr::memchr(b'?', target).and_then(|at| target.get(at + 1..));
    let query = changes.changes_query().then(|| changes.query(before));
    amend(request, &edits.fields, query.as_ref().map(Option::as_deref))
}
