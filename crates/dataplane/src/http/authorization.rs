//! AuthorizationPolicies for requests (AP-02 to AP-16).

use super::facts;
use super::prepared::Prepared;
use crate::conn::{Client, Policies};
use crate::stream_info::StreamInfo;
use routing::authorization::AccessFacts;
use wire::edit::{Edits, FieldEdit};

/// The facts of a request without a token; `edits` are those of its head so far.
pub(super) fn access_facts<'a>(request: &Prepared<'a>, edits: &'a [FieldEdit<'a>]) -> AccessFacts<'a> {
    let client: &Client = &request.conn.client;
    let behind = facts::address_behind(request.context.peer, request.view.fields);
    AccessFacts {
        connection: client.access(),
        remote: behind.unwrap_or(client.remote.ip()).to_canonical(),
        view: Some(request.view),
        edits,
        claims: None,
    }
}

/// Why the policies of the workload do not allow a request, as the access log says it; `None` if they do.
pub(super) fn denied(request: &Prepared<'_>, policies: Option<&Policies>, info: &mut StreamInfo) -> Option<Box<str>> {
    let rules = &policies?.authorizer.as_ref()?.requests;
    // Conditions see the head as a backend would, so that no client forges what the gateway writes.
    let mut edits = Edits::default();
    if rules.has_headers() {
        request.edit_received(&mut edits);
    }
    let facts = AccessFacts { claims: Some(request.claims), ..access_facts(request, &edits.fields) };
    let verdict = rules.decide(&facts);
    info.policies = Some((&verdict).into());
    (!verdict.decision.is_allowed()).then(|| verdict.decision.detail().into())
}
