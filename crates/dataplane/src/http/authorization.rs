//! AuthorizationPolicies for requests (AP-02 to AP-16).

use crate::conn::{Client, Worker};
use crate::metrics::Protocol;
use routing::Claims;
use routing::authorization::AccessFacts;
use std::net::IpAddr;
use text::{FieldValue, Uuid};
use wire::edit::Edits;
use wire::forwarded::{self, Peer};
use wire::view::RequestView;

/// What a request is authorized by.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) client: &'a Client,
    pub(super) peer: &'a Peer<'a>,
    pub(super) view: &'a RequestView<'a>,
    /// The claims of its verified token.
    pub(super) claims: &'a Claims,
}

/// Why the policies of the workload do not allow a request, as the access log says it; `None` if they do. `id` is the request's id.
pub(super) fn denied(worker: &Worker, subject: Subject<'_>, id: &Uuid) -> Option<Box<str>> {
    let Subject { client, peer, view, claims } = subject;
    if !client.listener.has_policies() {
        return None;
    }
    let services = client.listener.services();
    let rules = &services.authorizer.as_ref()?.requests;
    let mut edits = Edits::default();
    if rules.has_headers() {
        // Conditions see the head as a backend would, so that no client forges what the gateway writes.
        let id = client.mesh_settings.headers.request_id.then_some(FieldValue::from(id));
        forwarded::edit(peer, view.fields, view.scheme, id, &mut edits);
    }
    let behind: Option<IpAddr> = forwarded::client_behind(peer, view.fields).and_then(|address| address.parse().ok());
    let facts = AccessFacts {
        connection: client.access(),
        remote: behind.unwrap_or(client.remote.ip()).to_canonical(),
        view: Some(view),
        edits: &edits.fields,
        claims: Some(claims),
    };
    let verdict = rules.decide(&facts);
    worker.metrics.policies.count(Protocol::Http, &verdict);
    (!verdict.decision.is_allowed()).then(|| verdict.decision.detail().into())
}
