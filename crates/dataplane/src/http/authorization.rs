//! AuthorizationPolicies for requests (AP-02 to AP-16).

use super::facts;
use super::request_head::edit_forwarded;
use crate::conn::{Client, Policies};
use crate::stream_info::StreamInfo;
use routing::authorization::AccessFacts;
use routing::{Claims, RequestContext};
use text::Uuid;
use wire::edit::{Edits, FieldEdit};
use wire::view::RequestView;

/// What a request is authorized by.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) client: &'a Client,
    /// The policies of the workload.
    pub(super) policies: Option<&'a Policies>,
    pub(super) context: &'a RequestContext<'a>,
    pub(super) view: &'a RequestView<'a>,
    /// The claims of its verified token.
    pub(super) claims: &'a Claims,
}

/// The facts of a request without a token; `edits` are those of its head so far.
pub(super) fn access_facts<'a>(
    client: &'a Client,
    context: &RequestContext<'a>,
    view: &'a RequestView<'a>,
    edits: &'a [FieldEdit<'a>],
) -> AccessFacts<'a> {
    let behind = facts::address_behind(context.peer, view.fields);
    AccessFacts {
        connection: client.access(),
        remote: behind.unwrap_or(client.remote.ip()).to_canonical(),
        view: Some(view),
        edits,
        claims: None,
    }
}

/// Why the policies of the workload do not allow a request, as the access log says it; `None` if they do. `id` is the request's id.
pub(super) fn denied(subject: Subject<'_>, id: &Uuid, info: &mut StreamInfo) -> Option<Box<str>> {
    let Subject { client, policies, context, view, claims } = subject;
    let rules = &policies?.authorizer.as_ref()?.requests;
    let mut edits = Edits::default();
    if rules.has_headers() {
        // Conditions see the head as a backend would, so that no client forges what the gateway writes.
        edit_forwarded(context, view, id, &mut edits);
    }
    let verdict =
        rules.decide(&AccessFacts { claims: Some(claims), ..access_facts(client, context, view, &edits.fields) });
    info.policies = Some((&verdict).into());
    (!verdict.decision.is_allowed()).then(|| verdict.decision.detail().into())
}
