//! Responses of the gateway, as outcomes.

use super::answer::Outcome;
use routing::{LocalAnswer, RouteError};

pub(super) fn without_route(error: &RouteError) -> Outcome {
    match error {
        RouteError::Refused(refusal) => answered(refusal.status(), refusal.detail()),
        RouteError::Redirect(redirect) => local(redirect),
        RouteError::Misdirected => answered(421, "misdirected_request"),
        RouteError::NoRoute => answered(404, "route_not_found"),
        RouteError::ProxyReply(answer) => local(answer),
    }
}

pub(super) fn local(answer: &LocalAnswer) -> Outcome {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let body = (!answer.body.is_empty()).then(|| lossy(&answer.body));
    let location = answer.location.as_deref().map(lossy);
    let text = |(name, value): &(&str, ::text::FieldValue<'_>)| format!("{name}: {}", lossy(value));
    let headers = answer.fields.iter().map(text).collect();
    Outcome::Answered { status: answer.status, grpc: None, detail: answer.detail.to_owned(), location, headers, body }
}

pub(super) fn answered(status: u16, detail: &str) -> Outcome {
    let headers = Vec::new();
    Outcome::Answered { status, grpc: None, detail: detail.to_owned(), location: None, headers, body: None }
}
