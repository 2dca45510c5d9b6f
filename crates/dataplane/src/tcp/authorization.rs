//! AuthorizationPolicies for connections whose bytes are passed on (AP-11, AP-12).

use crate::conn::{Client, Worker};
use crate::metrics::Protocol;
use routing::authorization::AccessFacts;

/// Whether there is no policy for a connection. `AUTO_PASSTHROUGH` has no policies, as in Istio.
pub(super) fn has_none(client: &Client) -> bool {
    !client.listener.has_policies() || client.tls.as_ref().is_some_and(|tls| tls.service.server.mesh_only)
}

/// The facts of a connection.
pub(super) fn access_facts(client: &Client) -> AccessFacts<'_> {
    AccessFacts {
        connection: client.access(),
        remote: client.remote.ip().to_canonical(),
        view: None,
        edits: &[],
        claims: None,
    }
}

/// Why the policies of the workload do not allow a connection; `None` if they do. The decision is made before anything is sent to a backend,
/// and before anything of a backend is sent to the client.
pub(super) fn denied(worker: &Worker, client: &Client) -> Option<Box<str>> {
    if has_none(client) {
        return None;
    }
    let services = client.listener.services();
    let authorizer = services.authorizer.as_ref()?;
    let verdict = authorizer.connections.decide(&access_facts(client));
    worker.metrics.policies.count(Protocol::Tcp, &verdict);
    (!verdict.decision.is_allowed()).then(|| verdict.decision.detail().into())
}
