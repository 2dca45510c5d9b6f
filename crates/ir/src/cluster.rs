//! Where requests go: a named set of endpoints with the settings for reaching them.

use crate::{
    Balance, ClientTls, IpRange, Locality, Map, Origin, OutlierDetection, PoolLimits, ProxyProtocolVersion,
    RequestCredential,
};
use serde::{Serialize, Serializer};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// `outbound|<port>|<subset>|<host>`, the name that Istio's tools print.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(Arc<str>);

/// What the ids of clusters of forward proxies begin with.
const FORWARD: &str = "forward|";

impl ClusterId {
    /// The name of the cluster for all destinations that nothing names, as Istio has it.
    pub const PASSTHROUGH: &str = "PassthroughCluster";

    /// The id of a host's port and, if not empty, subset.
    pub fn outbound(port: u16, subset: &str, host: &str) -> Self {
        Self(format!("outbound|{port}|{subset}|{host}").into())
    }

    /// The id of the cluster that a forward proxy uses for a port of a host, as the ServiceEntry that allows it (`namespace/name`) has it.
    pub fn forward(port: u16, entry: (&str, &str), host: &str) -> Self {
        let (namespace, name) = entry;
        Self(format!("{FORWARD}{port}|{namespace}/{name}|{host}").into())
    }

    /// The id of the cluster for all destinations that nothing names.
    pub fn passthrough() -> Self {
        Self(Self::PASSTHROUGH.into())
    }

    /// Whether the cluster is that for all destinations that nothing names.
    pub fn is_passthrough(&self) -> bool {
        *self.0 == *Self::PASSTHROUGH
    }

    /// Whether the cluster is one that a forward proxy uses for a host's port.
    pub fn is_forward(&self) -> bool {
        self.0.starts_with(FORWARD)
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ClusterId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// A cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// Its name.
    pub id: ClusterId,
    /// The host that the destination named; the `destination_service` of metrics.
    pub host: Arc<str>,
    /// The Service or ServiceEntry.
    pub origin: Origin,
    /// The DestinationRule that set its policy, if one did.
    pub policy: Option<Arc<Origin>>,
    /// Its endpoints, or how to find them.
    pub endpoints: EndpointSource,
    /// How one is chosen.
    pub balance: Arc<Balance>,
    /// What is spoken to it.
    pub protocol: UpstreamProtocol,
    /// TLS to its endpoints; `None` is clear text.
    pub tls: Option<Arc<ClientTls>>,
    /// Time limits.
    pub timeouts: ClusterTimeouts,
    /// How much may be asked of it at one time; `None` has no limits (DR-20, DR-21).
    pub limits: Option<Arc<PoolLimits>>,
    /// The outlier detection (DR-30).
    pub outlier: Option<Arc<OutlierDetection>>,
    /// The PROXY header that connections begin with (DR-51).
    pub proxy_protocol: Option<ProxyProtocolVersion>,
    /// The header that requests get on the way out.
    pub credential: Option<Arc<RequestCredential>>,
}

/// Where endpoints come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum EndpointSource {
    /// Known addresses, sorted; may be empty (503 `UH`).
    Static(Arc<[Endpoint]>),
    /// Names that are resolved while running (SE-07, SE-08).
    Dns {
        /// The names, each a source of one or more addresses.
        names: Arc<[DnsName]>,
        /// `DNS_ROUND_ROBIN`: only the first address of an answer is used.
        first_only: bool,
    },
    /// The addresses of the name that a client asks for (SE-09).
    Dynamic(DynamicEndpoints),
    /// There can be none at a gateway, for the reason given (SE-05): 503 `UH`.
    Never(Arc<str>),
    /// None may be used, because something that is demanded of connections or requests cannot be had, for the reason given: 503 `UF`. Nothing is
    /// sent without it instead.
    Withheld(Lacking, Arc<str>),
}

/// What is demanded and cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Lacking {
    /// TLS to endpoints: `upstream_tls_unavailable`.
    Tls,
    /// The credential that requests get: `upstream_credential_unavailable`.
    Credential,
}

/// Endpoints that are found when a client asks for a name: the addresses of that name, each of which has to be one of the internet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DynamicEndpoints {
    /// The port to connect to; `None` is the one that the client asked for.
    pub port: Option<u16>,
    /// Further addresses that names may have.
    pub allowed: Arc<[IpRange]>,
}

/// A name to resolve.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DnsName {
    /// The name.
    pub name: Arc<str>,
    /// The port of every address it resolves to.
    pub port: u16,
    /// The weight of each of them.
    pub weight: u32,
    /// Where they are.
    pub locality: Option<Locality>,
    /// As [`Endpoint::priority`].
    pub priority: u32,
}

impl DnsName {
    /// The endpoint at one of its addresses.
    pub fn endpoint(&self, address: IpAddr) -> Endpoint {
        let address = EndpointAddress::Ip(SocketAddr::new(address, self.port));
        Endpoint { address, weight: self.weight, locality: self.locality.clone(), priority: self.priority }
    }
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Endpoint {
    /// Its address.
    pub address: EndpointAddress,
    /// Its share; at least 1.
    pub weight: u32,
    /// Where it is.
    pub locality: Option<Locality>,
    /// Those of a lower number come first, where [`crate::Localities::Failover`] holds; without gaps from 0 (DR-13).
    pub priority: u32,
}

/// An address to connect to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointAddress {
    /// IP and port.
    Ip(SocketAddr),
    /// A unix socket.
    Unix(Arc<Path>),
}

impl EndpointAddress {
    /// IP and port, where it has them.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl Serialize for EndpointAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What is spoken to endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 (S-119).
    Http2 {
        /// The most concurrent requests on a connection (DR-21); `None` is the endpoint's limit.
        streams: Option<u32>,
        /// Pings while it is in use (DR-23).
        keep_alive: Option<Arc<KeepAlive>>,
    },
    /// What the client speaks (DR-22 `useClientProtocol`).
    AsClient,
}

/// Pings that find out whether the peer is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct KeepAlive {
    /// Between two of them.
    pub interval: Duration,
    /// Without an answer for so long, the connection is given up.
    pub timeout: Duration,
}

/// Time limits of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ClusterTimeouts {
    /// Until a connection is made (DR-20: 10 s).
    pub connect: Duration,
    /// How long an idle connection is kept.
    pub idle: Duration,
}

/// All clusters by name.
pub type Clusters = Map<ClusterId, Arc<Cluster>>;
