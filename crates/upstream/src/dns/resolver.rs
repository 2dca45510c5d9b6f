//! The resolver: the system's settings (name servers, search domains, `ndots`, the hosts file), or given name servers.

use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{ResolverBuilder, TokioResolver};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Queries in progress on one connection to a name server. The limit is above the number of concurrent queries, so that none is refused.
const QUERIES_PER_CONNECTION: usize = 512;

/// A resolver with the system's settings, or with `servers` in place of them. `None`, with a warning, if it cannot be created.
pub(crate) fn build_resolver(servers: &[SocketAddr]) -> Option<TokioResolver> {
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio().unwrap_or_else(|error| {
            tracing::warn!(%error, "the system's name servers cannot be read: only the hosts file is used");
            with_servers(&[])
        })
    } else {
        with_servers(servers)
    };
    let options = builder.options_mut();
    options.ip_strategy = strategy();
    options.max_active_requests = QUERIES_PER_CONNECTION;
    builder.build().inspect_err(|error| tracing::warn!(%error, "names cannot be resolved")).ok()
}

#[cfg(test)]
pub(super) fn without_servers() -> Option<TokioResolver> {
    with_servers(&[]).build().ok()
}

fn with_servers(servers: &[SocketAddr]) -> ResolverBuilder<TokioRuntimeProvider> {
    let config = ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(server).collect());
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let at = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    // TCP is for answers that do not fit into a datagram.
    NameServerConfig::new(address.ip(), true, vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())])
}

/// IPv4, IPv6 or both, depending on the routes of this machine (SE-07): an endpoint that cannot be reached would still be picked.
fn strategy() -> LookupIpStrategy {
    let four = is_routed(Ipv4Addr::new(192, 0, 2, 1).into());
    let six = is_routed(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into());
    match (four, six) {
        (true, true) => LookupIpStrategy::Ipv4AndIpv6,
        (false, true) => LookupIpStrategy::Ipv6thenIpv4,
        (_, false) => LookupIpStrategy::Ipv4thenIpv6,
    }
}

/// Whether there is a route to an address. Connecting a UDP socket sends nothing.
fn is_routed(address: IpAddr) -> bool {
    let any = if address.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect((address, 9))).is_ok()
}
