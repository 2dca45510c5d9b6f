//! What a route does to its requests besides sending them somewhere, in words.

use crate::words;
use ir::{Abort, Fact, Fault, FieldName, Operator, Retries, Share};
use routing::{Facts, substitute};
use std::borrow::Cow;
use wire::view::{Fields, RequestView};

/// When and how often a request is sent again.
pub(super) fn retries(policy: Option<&Retries>) -> String {
    let Some(policy) = policy else { return "none".to_owned() };
    let mut causes = vec![policy.on.to_string()];
    causes.retain(|cause| !cause.is_empty());
    causes.extend(policy.statuses.iter().map(ToString::to_string));
    let mut shown = format!("up to {} on {}", policy.attempts, causes.join(","));
    if let Some(time) = policy.per_try_timeout {
        shown.push_str(&format!("; {} for each", words::time(time)));
    }
    if policy.implied {
        shown.push_str(" (default)");
    }
    shown
}

/// A share of requests.
pub(super) fn share(share: Share) -> String {
    format!("for {} %", share.percent())
}

/// What a fault does.
pub(super) fn fault(fault: &Fault) -> String {
    let delay = fault.delay.map(|(of, time)| format!("waits {} {}", words::time(time), share(of)));
    let abort = fault.abort.map(|(of, abort)| match abort {
        Abort::Http(status) => format!("answers {status} {}", share(of)),
        Abort::Grpc(status) => format!("answers grpc-status {status} {}", share(of)),
    });
    delay.into_iter().chain(abort).collect::<Vec<_>>().join(", ")
}

/// The status of a fault that all requests meet.
pub(super) fn always_answered(fault: &Fault) -> Option<u16> {
    let (_, abort) = fault.abort.filter(|(share, _)| share.is_all())?;
    Some(match abort {
        Abort::Http(status) => status,
        Abort::Grpc(status) => wire::grpc::http_status_of(status),
    })
}

/// A request of which only its head is known: operators in headers that need more are shown as placeholders (VS-47).
pub(super) struct HeadFacts<'a>(pub(super) &'a RequestView<'a>);

impl Facts for HeadFacts<'_> {
    fn request(&self, name: &FieldName) -> Option<Cow<'_, [u8]>> {
        substitute::of_request(self.0, name)
    }

    fn response(&self) -> Option<(u16, Fields<'_>)> {
        None
    }

    fn put(&self, operator: &Operator, out: &mut Vec<u8>) {
        // There is no response yet.
        if !matches!(operator, Operator::Response(_) | Operator::Fact(Fact::ResponseCode)) {
            out.extend_from_slice(format!("<{operator}>").as_bytes());
        }
    }
}
