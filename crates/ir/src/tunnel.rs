//! Tunnels through HTTP proxies.

use serde::Serialize;
use text::Authority;

/// A request to a proxy that opens a tunnel for bytes (DR-50).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tunnel {
    /// The method of the request.
    pub method: TunnelMethod,
    /// Where the bytes are to go: host and port, with an address of IPv6 in brackets.
    pub authority: Authority,
}

/// The method of the request that opens a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum TunnelMethod {
    /// CONNECT: the bytes follow both heads.
    Connect,
    /// POST to `/`: the bytes are both bodies.
    Post,
}
