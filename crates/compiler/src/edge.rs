//! What the mesh's settings mean for all connections and requests of clients (PC-02 to PC-04).

use crate::settings::Settings;
use ir::{Edge, ProxyProtocol};

/// Works the settings out.
pub(crate) fn compile(settings: &Settings) -> Edge {
    let topology = &settings.mesh.default_config.gateway_topology;
    Edge {
        proxy_protocol: topology.proxy_protocol.map(|_| ProxyProtocol { from: settings.proxy_protocol_from.clone() }),
    }
}
