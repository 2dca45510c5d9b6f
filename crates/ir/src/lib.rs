//! What the gateway must do, as plain values: listeners, hosts, routes, clusters, endpoints.
//!
//! Everything here is already resolved and ordered: references, weights, defaults and precedence were settled by
//! `compiler`, so that every reader (the native data plane, `explain`, xDS) does first-match and agrees by construction.
//! Nothing here is a configuration language (no `Deserialize`), holds a lock, a socket or a counter, or can fail to build.
//! `compiler` writes it; `routing`, `upstream`, `dataplane` and the admin pages read it.

mod action;
mod balance;
mod cluster;
mod cors;
mod credential;
mod fault;
mod filter;
mod forward;
mod header;
mod health;
mod host;
mod limits;
mod listener;
mod map;
mod matching;
mod mesh_settings;
mod origin;
mod pattern;
pub mod policy;
mod retries;
mod snapshot;
mod tls;
mod tunnel;
pub mod x509;

pub use action::{
    Action, DirectResponse, Forward, Mirror, PathRewrite, Redirect, RedirectPort, Scheme, Target, TargetCluster,
};
pub use balance::{Balance, Balancer, ConsistentHash, HashCookie, HashKey, HashTable, Localities, Locality, Warmup};
pub use cluster::{
    Cluster, ClusterId, ClusterTimeouts, Clusters, DnsName, DynamicEndpoints, Endpoint, EndpointAddress,
    EndpointSource, KeepAlive, Lacking, UpstreamProtocol,
};
pub use cors::Cors;
pub use credential::{ClientAuthentication, CredentialValue, Hidden, OAuthClient, RequestCredential};
pub use fault::{Abort, Fault, Share};
pub use filter::Filter;
pub use forward::{
    ForwardAddress, ForwardHost, ForwardPort, ForwardProtocol, ForwardProxy, OriginalDestination, ProxyUsers,
};
pub use header::{HeaderAppend, HeaderChanges, HeaderLists};
pub use health::OutlierDetection;
pub use host::{HostPattern, InvalidHostPattern};
pub use limits::{PoolLimits, RetryLimit, TcpKeepalive};
pub use listener::{
    CertificateHeader, EscapedSlashes, ForwardedHeaders, Host, HttpSettings, HttpTable, Listener, ListenerId,
    PathNormalization, Route, Service, TableId, TcpRoute, TcpTarget, TlsServer, WorkloadName,
};
pub use map::Map;
pub use matching::{ClaimMatch, Demands, HeaderMatch, MatchPath, QueryMatch, RouteMatch, StringMatch, ValueMatch};
pub use mesh_settings::{
    CertificateDetails, ConnectionSettings, HeaderSettings, Http10, InvalidIpRange, IpRange, MeshConnectionSettings,
    ProxyProtocol, ProxyProtocolVersion, Underscores,
};
pub use origin::{ObjectKind, Origin};
pub use pattern::{InvalidPattern, Pattern};
pub use retries::{Broken, Retries, RetryOn};
pub use snapshot::{Changes, Delta, Snapshot};
pub use text::format::{
    AddressOf, AddressPart, Clock, DurationUnit, Fact, FieldChoice, FieldName, Format, GrpcStatusFormat, HeaderText,
    InvalidFormat, InvalidText, JsonNode, LogFormat, MetadataKey, MetadataNamespace, Operator, Part, PeerFact, Span,
    TimeFormat,
};
pub use text::{Authority, CookieName, CookieText, HeaderName, HeaderValue, PathText};
pub use tls::{
    Alpn, ClientAuth, ClientTls, Credential, Der, Identity, KeyForm, PrivateKey, Sni, Staple, Termination,
    TlsParameters, TlsVersion, Trust, Verify,
};
pub use tunnel::{Tunnel, TunnelMethod};
