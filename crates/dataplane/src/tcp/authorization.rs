//! AuthorizationPolicies for connections whose bytes are passed on (AP-11, AP-12).

use crate::conn::{Client, Worker};
use crate::metrics::Protocol;
use routing::authorization::AccessFacts;

/// Why the policies of the workload do not allow a connection; `None` if they do. The decision is made before anything is sent to a backend,
/// and before anything of a backend is sent to the client. `AUTO_PASSTHROUGH` has no policies, as in Istio.
pub(super) fn denied(worker: &Worker, client: &Client) -> Option<Box<str>> {
    if !client.listener.has_policies() || client.tls.as_ref().is_some_and(|tls| tls.service.server.mesh_only) {
        return None;
    }
    let services = client.listener.services();
    let authorizer = services.authorizer.as_ref()?;
    let facts = AccessFacts {
        connection: client.access(),
        remote: client.remote.ip().to_canonical(),
        view: None,
        edits: &[],
        claims: None,
    };
    let verdict = authorizer.connections.decide(&facts);
    worker.metrics.policies.count(Protocol::Tcp, &verdict);
    (!verdict.decision.is_allowed()).then(|| verdict.decision.detail().into())
}
