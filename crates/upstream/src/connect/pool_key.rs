//! Which requests may share a connection to an endpoint.

use crate::tls::Connector;
use ir::ProxyProtocolVersion;
use std::sync::Arc;
use wire::proxy_protocol::Ends;

/// What requests have to have in common to share a connection.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PoolKey {
    /// The TLS settings and the SNI; `None` is clear text.
    pub(crate) tls: Option<TlsTarget>,
    /// The PROXY header that the connection began with, if any.
    pub(crate) proxy_header: Option<ProxyHeader>,
}

impl PoolKey {
    /// Whether the connection belongs to one client.
    pub(crate) fn is_client_specific(&self) -> bool {
        self.proxy_header.is_some()
    }
}

/// The PROXY header of a connection (DR-51).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProxyHeader {
    pub(crate) version: ProxyProtocolVersion,
    pub(crate) ends: Option<Ends>,
}

/// The TLS of a connection: the settings, and the server name.
#[derive(Debug, Clone)]
pub(crate) struct TlsTarget {
    pub(crate) connector: Arc<Connector>,
    pub(crate) sni: Option<Arc<str>>,
}

impl PartialEq for TlsTarget {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.connector, &other.connector) && self.sni == other.sni
    }
}
