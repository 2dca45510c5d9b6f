//! What a rule does: forward, redirect or answer (VS-30 to VS-39).

mod compiled;
pub(super) mod cors;
pub(crate) mod fault;
mod forward;
mod mirrors;
mod redirect;
mod retries;
mod rewrite;

use crate::code;
use crate::context::CompileContext;
use crate::destinations::Asking;
use crate::frontends::istio::routes::headers::{self, Operations};
use crate::report::Notes;
use base64::Engine as _;
use compiled::Compiled;
pub(crate) use compiled::MatchedRule;
use ir::{Action, DirectResponse};
use resources::spec::virtual_service::{DirectResponse as Written, HttpRoute};

/// Compiles the action of a rule. `None` when there is nothing that could be done, which is reported.
pub(crate) fn compile_action(
    context: CompileContext<'_>,
    asking: Asking<'_>,
    matched: MatchedRule<'_>,
    notes: &mut Notes,
) -> Option<Compiled> {
    let MatchedRule { rule, path, field } = matched;
    let operations = headers::compile_headers(rule.headers.as_deref(), &format!("{field}.headers"), notes);
    if let Some(written) = &rule.redirect {
        let redirect = redirect::compile(written, path, asking.server_port, &format!("{field}.redirect"), notes)?;
        unused(rule, "redirect", field, notes);
        return Some(local(Action::Redirect(Box::new(redirect)), operations));
    }
    if let Some(written) = &rule.direct_response {
        let response = respond(written, &format!("{field}.directResponse"), notes)?;
        unused(rule, "directResponse", field, notes);
        return Some(local(Action::Respond(response), operations));
    }
    if rule.route.is_empty() {
        let help = "one of `route`, `redirect` and `directResponse` has to be there";
        notes.add_with_help(code::NO_ACTION, field, "the rule has no action, and is left out", help);
        return None;
    }
    forward::compile(context, asking, matched, operations, notes)
}

fn local(action: Action, operations: Operations) -> Compiled {
    Compiled { action, request_headers: operations.request, response_headers: operations.response }
}

/// What acts on requests that go to a destination has nothing to do where none does, as in Istio.
fn unused(rule: &HttpRoute, action: &str, field: &str, notes: &mut Notes) {
    let written = [
        (rule.cors_policy.is_some(), "corsPolicy"),
        (rule.mirror.is_some(), "mirror"),
        (!rule.mirrors.is_empty(), "mirrors"),
        (rule.retries.is_some(), "retries"),
        (rule.timeout.is_some(), "timeout"),
    ];
    for (_, name) in written.into_iter().filter(|(is_there, _)| *is_there) {
        let message = format!("`{name}` has no effect on a rule with `{action}`, whose requests go to no destination");
        notes.add(code::FIELD_NO_EFFECT, format!("{field}.{name}"), message);
    }
}

/// VS-36.
fn respond(written: &Written, field: &str, notes: &mut Notes) -> Option<DirectResponse> {
    let status = u16::try_from(written.status).ok().filter(|status| (200..600).contains(status));
    let Some(status) = status else {
        notes.add(code::BAD_REWRITE, format!("{field}.status"), format!("{} is not from 200 to 599", written.status));
        return None;
    };
    let body = written.body.as_ref();
    let text = body.and_then(|body| body.string.as_ref()).map(|text| text.as_bytes().to_vec());
    let bytes = || {
        let encoded: String = body?.bytes.as_ref()?.split_ascii_whitespace().collect();
        base64::engine::general_purpose::STANDARD.decode(encoded).ok()
    };
    Some(DirectResponse { status, body: text.or_else(bytes).unwrap_or_default().into() })
}
