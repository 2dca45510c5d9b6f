//! `DestinationRule` of networking.istio.io (DR-01 to DR-51), and the destination that routes name.

use super::gateway::TlsVersion;
use super::pairs::Pairs;
use super::scalar::{Duration, Text, api_enum};
use super::text_match::{Labels, WorkloadSelector};
use serde::{Deserialize, Serialize};

/// Policies for a host.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DestinationRule {
    /// The host.
    pub host: Text,
    /// For the whole host.
    #[serde(alias = "traffic_policy")]
    pub traffic_policy: Option<Box<TrafficPolicy>>,
    /// Parts of its endpoints.
    pub subsets: Vec<Subset>,
    /// Namespaces that see it.
    #[serde(alias = "export_to")]
    pub export_to: Vec<Text>,
    /// Workloads of its namespace that it is for.
    #[serde(alias = "workload_selector")]
    pub workload_selector: Option<Box<WorkloadSelector>>,
    /// Whether it has errors and stops the traffic to its host, since what it asks for is not known.
    #[serde(skip)]
    pub is_guard: bool,
}

/// A named part of a host's endpoints.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Subset {
    /// Its name.
    pub name: Text,
    /// What its endpoints are labelled with.
    pub labels: Labels,
    /// Its policy.
    #[serde(alias = "traffic_policy")]
    pub traffic_policy: Option<Box<TrafficPolicy>>,
}

/// Host, subset and port of a destination.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Destination {
    /// The host; a short name is resolved in the VirtualService's namespace.
    pub host: Text,
    /// The subset.
    pub subset: Text,
    /// The port.
    pub port: Option<PortSelector>,
}

/// A port by its number.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PortSelector {
    /// The number.
    pub number: u32,
}

/// Policies.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TrafficPolicy {
    /// How an endpoint is chosen.
    #[serde(alias = "load_balancer")]
    pub load_balancer: Option<Box<LoadBalancer>>,
    /// Limits of connections.
    #[serde(alias = "connection_pool")]
    pub connection_pool: Option<Box<ConnectionPool>>,
    /// Ejection of failing endpoints.
    #[serde(alias = "outlier_detection")]
    pub outlier_detection: Option<Box<OutlierDetection>>,
    /// TLS to the endpoints.
    pub tls: Option<Box<ClientTls>>,
    /// In place of all of this for a port.
    #[serde(alias = "port_level_settings")]
    pub port_level_settings: Vec<PortTrafficPolicy>,
    /// TCP through an HTTP proxy.
    pub tunnel: Option<Box<Tunnel>>,
    /// PROXY protocol to the endpoints.
    #[serde(alias = "proxy_protocol")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How much may be retried.
    #[serde(alias = "retry_budget")]
    pub retry_budget: Option<RetryBudget>,
}

/// Policies of one port.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PortTrafficPolicy {
    /// The port.
    pub port: Option<PortSelector>,
    /// How an endpoint is chosen.
    #[serde(alias = "load_balancer")]
    pub load_balancer: Option<Box<LoadBalancer>>,
    /// Limits of connections.
    #[serde(alias = "connection_pool")]
    pub connection_pool: Option<Box<ConnectionPool>>,
    /// Ejection of failing endpoints.
    #[serde(alias = "outlier_detection")]
    pub outlier_detection: Option<Box<OutlierDetection>>,
    /// TLS to the endpoints.
    pub tls: Option<Box<ClientTls>>,
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LoadBalancer {
    /// Without regard to the request.
    pub simple: Option<SimpleBalancer>,
    /// By a part of the request.
    #[serde(alias = "consistent_hash")]
    pub consistent_hash: Option<Box<ConsistentHash>>,
    /// By locality.
    #[serde(alias = "locality_lb_setting")]
    pub locality_lb_setting: Option<Box<LocalityBalancer>>,
    /// Slow start; deprecated.
    #[serde(alias = "warmup_duration_secs")]
    pub warmup_duration_secs: Option<Duration>,
    /// Slow start.
    pub warmup: Option<Warmup>,
}

api_enum! {
    /// A balancer without regard to the request.
    SimpleBalancer {
        Unspecified = 0 "UNSPECIFIED",
        LeastConn = 1 "LEAST_CONN",
        Random = 2 "RANDOM",
        Passthrough = 3 "PASSTHROUGH",
        RoundRobin = 4 "ROUND_ROBIN",
        LeastRequest = 5 "LEAST_REQUEST",
    }
}

/// A balancer by a part of the request.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ConsistentHash {
    /// A header.
    #[serde(alias = "http_header_name")]
    pub http_header_name: Option<Text>,
    /// A cookie.
    #[serde(alias = "http_cookie")]
    pub http_cookie: Option<HttpCookie>,
    /// The peer's address.
    #[serde(alias = "use_source_ip")]
    pub use_source_ip: Option<bool>,
    /// A query parameter.
    #[serde(alias = "http_query_parameter_name")]
    pub http_query_parameter_name: Option<Text>,
    /// Deprecated.
    #[serde(alias = "minimum_ring_size")]
    pub minimum_ring_size: Option<u64>,
    /// By a ring.
    #[serde(alias = "ring_hash")]
    pub ring_hash: Option<RingHash>,
    /// By Maglev's table.
    pub maglev: Option<Maglev>,
}

/// A cookie to hash by.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpCookie {
    /// Its name.
    pub name: Text,
    /// Its path.
    pub path: Text,
    /// Its life; made by the gateway when set.
    pub ttl: Option<Duration>,
    /// Further attributes.
    pub attributes: Vec<CookieAttribute>,
}

/// An attribute of a cookie.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CookieAttribute {
    /// Its name.
    pub name: Text,
    /// Its value.
    pub value: Text,
}

/// A ring.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RingHash {
    /// Its least size.
    #[serde(alias = "minimum_ring_size")]
    pub minimum_ring_size: u64,
}

/// Maglev's table.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Maglev {
    /// A prime.
    #[serde(alias = "table_size")]
    pub table_size: u64,
}

/// Slow start.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Warmup {
    /// How long.
    pub duration: Option<Duration>,
    /// The least share.
    #[serde(alias = "minimum_percent")]
    pub minimum_percent: Option<f64>,
    /// The shape of the curve.
    pub aggression: Option<f64>,
}

/// A balancer by locality.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LocalityBalancer {
    /// Shares.
    pub distribute: Vec<Distribute>,
    /// Regions in place of others.
    pub failover: Vec<Failover>,
    /// Labels by rank.
    #[serde(alias = "failover_priority")]
    pub failover_priority: Vec<Text>,
    /// Whether it acts.
    pub enabled: Option<bool>,
}

/// Shares from one locality.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Distribute {
    /// From here.
    pub from: Text,
    /// To these.
    pub to: Pairs<u32>,
}

/// A region in place of another.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Failover {
    /// From here.
    pub from: Text,
    /// To there.
    pub to: Text,
}

/// Limits of connections.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ConnectionPool {
    /// Of TCP.
    pub tcp: Option<TcpPool>,
    /// Of HTTP.
    pub http: Option<HttpPool>,
}

/// Limits of TCP.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TcpPool {
    /// Connections.
    #[serde(alias = "max_connections")]
    pub max_connections: i32,
    /// Until a connection is made.
    #[serde(alias = "connect_timeout")]
    pub connect_timeout: Option<Duration>,
    /// Probes.
    #[serde(alias = "tcp_keepalive")]
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// A connection's longest life.
    #[serde(alias = "max_connection_duration")]
    pub max_connection_duration: Option<Duration>,
    /// Without bytes; zero is for ever.
    #[serde(alias = "idle_timeout")]
    pub idle_timeout: Option<Duration>,
}

/// TCP probes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TcpKeepalive {
    /// How many.
    pub probes: u32,
    /// Before the first.
    pub time: Option<Duration>,
    /// Between them.
    pub interval: Option<Duration>,
}

/// Limits of HTTP.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpPool {
    /// Requests that wait.
    #[serde(alias = "http1MaxPendingRequests", alias = "http1_max_pending_requests")]
    pub http1_max_pending_requests: i32,
    /// Requests at once.
    #[serde(alias = "http2MaxRequests", alias = "http2_max_requests")]
    pub http2_max_requests: i32,
    /// Requests of one connection.
    #[serde(alias = "max_requests_per_connection")]
    pub max_requests_per_connection: i32,
    /// Retries at once.
    #[serde(alias = "max_retries")]
    pub max_retries: i32,
    /// Without requests.
    #[serde(alias = "idle_timeout")]
    pub idle_timeout: Option<Duration>,
    /// HTTP/2 to endpoints.
    #[serde(alias = "h2UpgradePolicy", alias = "h2_upgrade_policy")]
    pub h2_upgrade_policy: Option<H2UpgradePolicy>,
    /// What the client speaks.
    #[serde(alias = "use_client_protocol")]
    pub use_client_protocol: bool,
    /// Streams of one connection.
    #[serde(alias = "max_concurrent_streams")]
    pub max_concurrent_streams: i32,
    /// Pings.
    #[serde(alias = "http2KeepAlive", alias = "http2_keep_alive")]
    pub http2_keep_alive: Option<Http2KeepAlive>,
}

api_enum! {
    /// Whether HTTP/2 is spoken to endpoints.
    H2UpgradePolicy {
        Default = 0 "DEFAULT",
        DoNotUpgrade = 1 "DO_NOT_UPGRADE",
        Upgrade = 2 "UPGRADE",
    }
}

/// Pings of HTTP/2.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Http2KeepAlive {
    /// Between them.
    pub interval: Option<Duration>,
    /// For the answer.
    pub timeout: Option<Duration>,
}

/// Ejection of failing endpoints.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OutlierDetection {
    /// Deprecated.
    #[serde(alias = "consecutive_errors")]
    pub consecutive_errors: i32,
    /// Local and remote failures apart.
    #[serde(alias = "split_external_local_origin_errors")]
    pub split_external_local_origin_errors: bool,
    /// Local failures.
    #[serde(alias = "consecutive_local_origin_failures")]
    pub consecutive_local_origin_failures: Option<u32>,
    /// 502, 503, 504.
    #[serde(alias = "consecutive_gateway_errors")]
    pub consecutive_gateway_errors: Option<u32>,
    /// Any 5xx.
    #[serde(rename = "consecutive5xxErrors", alias = "consecutive_5xx_errors")]
    pub consecutive_5xx_errors: Option<u32>,
    /// Between sweeps.
    pub interval: Option<Duration>,
    /// The shortest ejection.
    #[serde(alias = "base_ejection_time")]
    pub base_ejection_time: Option<Duration>,
    /// How many may be ejected.
    #[serde(alias = "max_ejection_percent")]
    pub max_ejection_percent: i32,
    /// Below it all are used.
    #[serde(alias = "min_health_percent")]
    pub min_health_percent: i32,
    /// Status codes that count.
    #[serde(alias = "outlier_detection_http_error_codes")]
    pub outlier_detection_http_error_codes: Vec<u32>,
}

/// TLS to endpoints.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClientTls {
    /// Whether and how.
    pub mode: Option<ClientTlsMode>,
    /// A file.
    #[serde(alias = "client_certificate")]
    pub client_certificate: Text,
    /// A file.
    #[serde(alias = "private_key")]
    pub private_key: Text,
    /// A file.
    #[serde(alias = "ca_certificates")]
    pub ca_certificates: Text,
    /// A Secret.
    #[serde(alias = "credential_name")]
    pub credential_name: Text,
    /// Names of the server.
    #[serde(alias = "subject_alt_names")]
    pub subject_alt_names: Vec<Text>,
    /// The name that is asked for.
    pub sni: Text,
    /// Accepts any certificate.
    #[serde(alias = "insecure_skip_verify")]
    pub insecure_skip_verify: Option<bool>,
    /// A file.
    #[serde(alias = "ca_crl")]
    pub ca_crl: Text,
    /// Lowest version.
    #[serde(alias = "min_protocol_version")]
    pub min_protocol_version: Option<TlsVersion>,
    /// Highest version.
    #[serde(alias = "max_protocol_version")]
    pub max_protocol_version: Option<TlsVersion>,
    /// Suites up to TLS 1.2.
    #[serde(alias = "cipher_suites")]
    pub cipher_suites: Vec<Text>,
}

api_enum! {
    /// Whether and how TLS is spoken to endpoints.
    ClientTlsMode {
        Disable = 0 "DISABLE",
        Simple = 1 "SIMPLE",
        Mutual = 2 "MUTUAL",
        IstioMutual = 3 "ISTIO_MUTUAL",
    }
}

/// TCP through an HTTP proxy.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Tunnel {
    /// CONNECT or POST.
    pub protocol: Text,
    /// The host that is asked for.
    #[serde(alias = "target_host")]
    pub target_host: Text,
    /// Its port.
    #[serde(alias = "target_port")]
    pub target_port: u32,
}

/// PROXY protocol.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProxyProtocol {
    /// Its version.
    pub version: Option<ProxyProtocolVersion>,
}

api_enum! {
    /// A version of the PROXY protocol.
    ProxyProtocolVersion {
        V1 = 0 "V1",
        V2 = 1 "V2",
    }
}

/// How much may be retried.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetryBudget {
    /// The share of active requests, 0 to 100; a number alone, where routes have `{value: 20}`.
    pub percent: Option<f64>,
    /// The least number.
    #[serde(alias = "min_retry_concurrency")]
    pub min_retry_concurrency: Option<u32>,
}
