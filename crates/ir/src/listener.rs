//! Listeners, what is served on them, their hosts, and each host's ordered routes.

use crate::policy::Policies;
use crate::{
    Action, Filter, ForwardProxy, HeaderChanges, HostPattern, Map, MeshConnectionSettings, Origin, OriginalDestination,
    RouteMatch, TargetCluster, Termination, Tunnel,
};
use serde::{Serialize, Serializer};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// `ingress`, `egress` or a name that the user gave: workloads never share a listener.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct WorkloadName(pub Arc<str>);

/// The key of a listener: the workload and the address that is bound. `[::]` is every address, including IPv4.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId {
    /// Whose it is.
    pub workload: WorkloadName,
    /// What is bound, after port translation (S-40) and `--port-map`.
    pub address: SocketAddr,
}

impl fmt::Display for ListenerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.workload.0, self.address)
    }
}

impl Serialize for ListenerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One listening address, with what is served on it in clear text, over TLS, or both (S-18).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// Its key.
    pub id: ListenerId,
    /// The servers that share it (S-10), oldest Gateway first.
    pub servers: Vec<Origin>,
    /// The `port.number` of the first of them, which `explain`'s URLs and redirects name (S-43).
    pub server_port: u16,
    /// The port that policies know it by: the port of the address, before `--port-map` (AP-08).
    pub policy_port: u16,
    /// What is done with connections in clear text; `None` closes them.
    pub plain: Option<Service>,
    /// Where the destination of clients is learned that do not know of the forward proxy; `None` is for clients that name it.
    pub original_destination: Option<OriginalDestination>,
    /// Servers for TLS connections, selected by SNI (S-14, S-82). No two have the same name.
    pub tls: Vec<TlsServer>,
    /// What the mesh says of its connections.
    pub mesh_settings: Arc<MeshConnectionSettings>,
    /// What the workload demands of every request or connection.
    pub policies: Policies,
}

/// One server of a listener for connections in TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TlsServer {
    /// The Gateway and `servers[i]`, or for passthrough the VirtualService and `tls[i]`.
    pub origin: Origin,
    /// The SNI names; `*` also matches clients without SNI (S-82).
    pub names: Vec<HostPattern>,
    /// Whether it is for clients of a mesh alone, which offer a protocol of Istio's (GW-10).
    pub mesh_only: bool,
    /// How TLS is terminated; `None` is passthrough.
    pub termination: Option<Arc<Termination>>,
    /// What is done with the bytes.
    pub service: Service,
}

/// What is served on a connection, after TLS is terminated if it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Service {
    /// HTTP by this table.
    Http(TableId),
    /// Bytes to one of some clusters.
    Tcp(Arc<TcpRoute>),
}

/// The key of a table: the listener and, unless the table is for clear text, the TLS server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId {
    /// The listener.
    pub listener: ListenerId,
    /// `namespace/gateway/servers[i]`; `None` for clear text.
    pub server: Option<Arc<str>>,
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server {
            Some(server) => write!(f, "{} {server}", self.listener),
            None => write!(f, "{}", self.listener),
        }
    }
}

impl Serialize for TableId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where the bytes of connections go (VS-64, VS-65).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TcpRoute {
    /// The VirtualService and `tcp[i]` or `tls[i]`.
    pub origin: Origin,
    /// At least one. Each is selected in proportion to its weight; no weight is zero.
    pub targets: Vec<TcpTarget>,
    /// How long a connection may be silent (VS-66, S-125); `None` is for ever.
    pub idle_timeout: Option<Duration>,
    /// What the endpoints of the only target are asked to open for the bytes (DR-50); `None` sends them as they are.
    pub tunnel: Option<Arc<Tunnel>>,
}

/// One destination of bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TcpTarget {
    /// Where they go.
    pub cluster: TargetCluster,
    /// Its share.
    pub weight: u32,
}

/// The hosts of HTTP in clear text on a listener, or behind one TLS server of it, and their settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpTable {
    /// Hosts; the most specific pattern wins and nothing falls through (S-34).
    #[serde(serialize_with = "hosts_by_name")]
    pub hosts: Map<HostPattern, Arc<Host>>,
    /// The settings for all requests.
    #[serde(flatten)]
    pub settings: HttpSettings,
    /// What clients may ask for, if the table is that of a forward proxy; it has no hosts then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward: Option<Arc<ForwardProxy>>,
}

/// The settings of a table that apply to all requests, whatever their host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct HttpSettings {
    /// How paths are normalised before matching (MC-02).
    pub path_normalization: PathNormalization,
    /// What becomes of requests with escaped slashes.
    pub escaped_slashes: EscapedSlashes,
    /// What is trusted and written of `X-Forwarded-*` (S-111).
    pub forwarded: ForwardedHeaders,
    /// Whether gRPC-Web is translated to gRPC (S-119: ports with the protocol `GRPC-WEB`).
    pub grpc_web: bool,
    /// Whether requests are those of a forward proxy's clients.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forward: bool,
}

/// One host and its routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Host {
    /// The host.
    pub pattern: HostPattern,
    /// In the order in which they are tried; first match wins (S-60 to S-62).
    pub routes: Arc<[Arc<Route>]>,
    /// Whether requests that did not come by HTTPS are sent there before any route is looked at (S-70, S-71).
    pub https_redirect: bool,
}

/// One route: one `match` entry of one rule, with the rule's action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    /// `<rule name>[.<match name>]` (VS-23); empty when unnamed.
    pub name: Arc<str>,
    /// What its requests are counted under by themselves (VS-21).
    pub stat_prefix: Option<Arc<str>>,
    /// The VirtualService and `http[i].match[j]`.
    pub origin: Origin,
    /// What it demands.
    pub matches: RouteMatch,
    /// What happens to its requests before its action, in order.
    pub filters: Box<[Filter]>,
    /// What it does.
    pub action: Action,
    /// Changes to the request (VS-47).
    pub request_headers: HeaderChanges,
    /// Changes to the response.
    pub response_headers: HeaderChanges,
}

/// MeshConfig `pathNormalization` (MC-02).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum PathNormalization {
    /// Unchanged.
    None,
    /// RFC 3986 dot segments, and `\` to `/` (S-116).
    #[default]
    Base,
    /// And runs of slashes to one.
    MergeSlashes,
    /// And `%2F`, `%5C` decoded first.
    DecodeAndMergeSlashes,
    /// The same, but runs of slashes stay (PC-04).
    DecodeSlashes,
}

/// What becomes of requests whose path has `%2F` or `%5C`, beside its normalisation (PC-04).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum EscapedSlashes {
    /// They are routed like any other.
    #[default]
    Take,
    /// They are refused.
    Reject,
    /// They are sent to the normalised path.
    Redirect,
}

/// MeshConfig `gatewayTopology` as far as it acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ForwardedHeaders {
    /// How many proxies in front are trusted (`numTrustedProxies`, 0).
    pub trusted_proxies: u32,
    /// What becomes of `x-forwarded-client-cert`.
    pub certificates: CertificateHeader,
}

/// What becomes of `x-forwarded-client-cert` (S-113).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum CertificateHeader {
    /// It is dropped.
    Sanitize,
    /// The header is kept on mutual TLS.
    ForwardOnly,
    /// The header is kept on mutual TLS, and the client's certificate is appended.
    AppendForward,
    /// The header is replaced by the client's certificate.
    #[default]
    SanitizeSet,
    /// The header is always kept.
    AlwaysForwardOnly,
}

fn hosts_by_name<S: Serializer>(hosts: &Map<HostPattern, Arc<Host>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(hosts.iter().map(|(pattern, host)| (pattern.to_string(), host)))
}
