//! AuthorizationPolicies for connections whose bytes are passed on (AP-11, AP-12).

use super::connection::TcpConnection;
use crate::conn::{Client, Policies};
use crate::stream_info::StreamInfo;
use routing::authorization::AccessFacts;

/// The policies for a connection. `AUTO_PASSTHROUGH` has none, as in Istio.
pub(super) fn policies(conn: &TcpConnection) -> Option<&Policies> {
    let is_mesh_only = conn.client.tls.as_ref().is_some_and(|tls| tls.service.server.mesh_only);
    conn.policies.as_deref().filter(|_| !is_mesh_only)
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
pub(super) fn denied(conn: &TcpConnection, info: &mut StreamInfo) -> Option<Box<str>> {
    let authorizer = policies(conn)?.authorizer.as_ref()?;
    let verdict = authorizer.connections.decide(&access_facts(&conn.client));
    info.policies = Some((&verdict).into());
    (!verdict.decision.is_allowed()).then(|| verdict.decision.detail().into())
}
