//! Which version of HTTP is spoken to a port of a host.

use crate::context::CompileContext;
use crate::destination_rules::Effective;
use crate::services::BackingPort;
use ir::{KeepAlive, UpstreamProtocol};
use resources::spec::destination_rule::H2UpgradePolicy;
use resources::spec::mesh_config::MeshH2UpgradePolicy;
use resources::spec::scalar;
use std::sync::Arc;

/// S-119, DR-22: what is spoken to endpoints is never found out by asking them.
pub(crate) fn protocol(
    context: CompileContext<'_>,
    port: BackingPort<'_>,
    effective: Effective<'_>,
) -> UpstreamProtocol {
    let pool = effective.connection_pool.and_then(|pool| pool.http.as_ref());
    if pool.is_some_and(|pool| pool.use_client_protocol) {
        return UpstreamProtocol::AsClient;
    }
    let mesh = context.settings.mesh.h2_upgrade_policy == Some(MeshH2UpgradePolicy::Upgrade);
    let upgraded = match pool.and_then(|pool| pool.h2_upgrade_policy) {
        Some(H2UpgradePolicy::Upgrade) => true,
        Some(H2UpgradePolicy::DoNotUpgrade) => false,
        Some(H2UpgradePolicy::Default) | None => mesh,
    };
    if !upgraded && !speaks_http2(port.protocol) {
        return UpstreamProtocol::Http1;
    }
    let length = |duration: Option<scalar::Duration>| duration.and_then(scalar::Duration::get).filter(|d| !d.is_zero());
    let pings = pool.and_then(|pool| pool.http2_keep_alive.as_ref());
    UpstreamProtocol::Http2 {
        streams: pool.and_then(|pool| u32::try_from(pool.max_concurrent_streams).ok()).filter(|most| *most > 0),
        // DR-23: both or none.
        keep_alive: pings
            .and_then(|pings| Some(KeepAlive { interval: length(pings.interval)?, timeout: length(pings.timeout)? }))
            .map(Arc::new),
    }
}

/// Whether HTTP/2 is spoken on a port of this protocol or name.
pub(crate) fn speaks_http2(protocol: &str) -> bool {
    let protocol = protocol.to_ascii_lowercase();
    let protocol = protocol.strip_prefix("kubernetes.io/").unwrap_or(&protocol);
    ["grpc", "http2", "h2c"]
        .iter()
        .any(|name| protocol.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')))
}
