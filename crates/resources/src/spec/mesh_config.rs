//! `MeshConfig`, as far as it changes a gateway (MC-01 to MC-05, PC-02 to PC-05). It is no object: it comes from a file of its own.
//!
//! Fields that say nothing to a gateway of this kind are known, so that a slip of the pen is told from them, and left unread.

pub mod log_format;
mod no_effect;
mod providers;

pub use providers::{ExtAuthzBody, ExtAuthzGrpc, ExtAuthzHttp, ExtensionProvider};

use super::destination_rule::{LocalityBalancer, TcpKeepalive};
use super::gateway::TlsVersion;
use super::scalar::{Duration, Text, Unread, api_enum};
use super::virtual_service::HttpRetry;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Settings of the whole mesh.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MeshConfig {
    /// How paths are normalised (MC-02).
    #[serde(alias = "path_normalization")]
    pub path_normalization: PathNormalizationSetting,
    /// Who sees VirtualServices without `exportTo` (VS-03).
    #[serde(alias = "default_virtual_service_export_to")]
    pub default_virtual_service_export_to: Vec<Text>,
    /// Who sees Services and ServiceEntries without `exportTo` (SE-12).
    #[serde(alias = "default_service_export_to")]
    pub default_service_export_to: Vec<Text>,
    /// Who sees DestinationRules without `exportTo` (DR-03).
    #[serde(alias = "default_destination_rule_export_to")]
    pub default_destination_rule_export_to: Vec<Text>,
    /// `istio-system` when empty.
    #[serde(alias = "root_namespace")]
    pub root_namespace: Text,
    /// `cluster.local` when empty.
    #[serde(alias = "trust_domain")]
    pub trust_domain: Text,
    /// Other names of the trust domain.
    #[serde(alias = "trust_domain_aliases")]
    pub trust_domain_aliases: Vec<Text>,
    /// 10 s when absent (DR-20).
    #[serde(alias = "connect_timeout")]
    pub connect_timeout: Option<Duration>,
    /// Probes of connections to endpoints (DR-20).
    #[serde(alias = "tcp_keepalive")]
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Settings of proxies.
    #[serde(alias = "default_config")]
    pub default_config: ProxyConfig,
    /// The file of the access log; off when empty (TE-03). `--access-log` overrides it.
    #[serde(alias = "access_log_file")]
    pub access_log_file: Text,
    /// The format of its lines, or a JSON object as a text; Istio's default when empty (TE-05).
    #[serde(alias = "access_log_format")]
    pub access_log_format: Text,
    /// Text or JSON.
    #[serde(alias = "access_log_encoding")]
    pub access_log_encoding: Option<AccessLogEncoding>,
    /// What sidecars do with unknown hosts; no matter to gateways (MC-01).
    #[serde(alias = "outbound_traffic_policy")]
    pub outbound_traffic_policy: OutboundTrafficPolicy,
    /// Retries of routes that say nothing about them (VS-42).
    #[serde(alias = "default_http_retry_policy")]
    pub default_http_retry_policy: Option<Box<HttpRetry>>,
    /// HTTP/2 to endpoints (DR-22).
    #[serde(alias = "h2_upgrade_policy")]
    pub h2_upgrade_policy: Option<MeshH2UpgradePolicy>,
    /// Whether endpoints within the mesh are spoken to by mutual TLS (DR-46); so when absent.
    #[serde(alias = "enable_auto_mtls")]
    pub enable_auto_mtls: Option<bool>,
    /// Balancing by locality (DR-13).
    #[serde(alias = "locality_lb_setting")]
    pub locality_lb_setting: Option<Box<LocalityBalancer>>,
    /// TLS of gateways' servers (MC-03).
    #[serde(alias = "tls_defaults")]
    pub tls_defaults: Option<Box<TlsConfig>>,
    /// TLS within the mesh (MC-03).
    #[serde(rename = "meshMTLS", alias = "mesh_mTLS")]
    pub mesh_mtls: Option<Box<TlsConfig>>,
    /// The class of Ingresses that are taken (FE-02).
    #[serde(alias = "ingress_class")]
    pub ingress_class: Text,
    /// The Service of the gateway that serves Ingresses.
    #[serde(alias = "ingress_service")]
    pub ingress_service: Text,
    /// The label of the gateway that serves Ingresses.
    #[serde(alias = "ingress_selector")]
    pub ingress_selector: Text,
    /// Which Ingresses are taken.
    #[serde(alias = "ingress_controller_mode")]
    pub ingress_controller_mode: Option<IngressControllerMode>,
    /// The services that policies refer to (AP-13).
    #[serde(alias = "extension_providers")]
    pub extension_providers: Vec<ExtensionProvider>,
    #[serde(skip_serializing)]
    ca: Unread,
    #[serde(alias = "ca_certificates", skip_serializing)]
    ca_certificates: Unread,
    #[serde(skip_serializing)]
    certificates: Unread,
    #[serde(alias = "config_sources", skip_serializing)]
    config_sources: Unread,
    #[serde(alias = "default_providers", skip_serializing)]
    default_providers: Unread,
    #[serde(alias = "disable_envoy_listener_log", skip_serializing)]
    disable_envoy_listener_log: Unread,
    #[serde(alias = "discovery_selectors", skip_serializing)]
    discovery_selectors: Unread,
    #[serde(alias = "dns_refresh_rate", skip_serializing)]
    dns_refresh_rate: Unread,
    #[serde(alias = "enable_envoy_access_log_service", skip_serializing)]
    enable_envoy_access_log_service: Unread,
    #[serde(alias = "enable_prometheus_merge", skip_serializing)]
    enable_prometheus_merge: Unread,
    #[serde(alias = "enable_tracing", skip_serializing)]
    enable_tracing: Unread,
    #[serde(alias = "inbound_cluster_stat_name", skip_serializing)]
    inbound_cluster_stat_name: Unread,
    #[serde(alias = "inbound_traffic_policy", skip_serializing)]
    inbound_traffic_policy: Unread,
    #[serde(alias = "outbound_cluster_stat_name", skip_serializing)]
    outbound_cluster_stat_name: Unread,
    #[serde(alias = "protocol_detection_timeout", skip_serializing)]
    protocol_detection_timeout: Unread,
    #[serde(alias = "proxy_http_port", skip_serializing)]
    proxy_http_port: Unread,
    #[serde(alias = "proxy_inbound_listen_port", skip_serializing)]
    proxy_inbound_listen_port: Unread,
    #[serde(alias = "proxy_listen_port", skip_serializing)]
    proxy_listen_port: Unread,
    #[serde(alias = "service_scope_configs", skip_serializing)]
    service_scope_configs: Unread,
    #[serde(alias = "service_settings", skip_serializing)]
    service_settings: Unread,
    #[serde(alias = "verify_certificate_at_client", skip_serializing)]
    verify_certificate_at_client: Unread,
}

/// Settings of proxies.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProxyConfig {
    /// What stands in front of gateways (PC-02).
    #[serde(alias = "gateway_topology")]
    pub gateway_topology: GatewayTopology,
    /// How many workers; all cores when 0.
    pub concurrency: Option<i32>,
    /// How long connections of removed listeners live on (PC-05).
    #[serde(alias = "drain_duration")]
    pub drain_duration: Option<Duration>,
    /// How long connections live on at the end (PC-05).
    #[serde(alias = "termination_drain_duration")]
    pub termination_drain_duration: Option<Duration>,
    /// Which headers are written (PC-03).
    #[serde(alias = "proxy_headers")]
    pub proxy_headers: Option<Box<ProxyHeaders>>,
    /// Limits of connections (PC-04).
    #[serde(alias = "connection_settings")]
    pub connection_settings: Option<Box<ConnectionSettings>>,
    /// Further settings by name, such as `ISTIO_META_HTTP10` (S-120).
    #[serde(alias = "proxy_metadata")]
    pub proxy_metadata: BTreeMap<Text, Text>,
    #[serde(alias = "availability_zone", skip_serializing)]
    availability_zone: Unread,
    #[serde(alias = "binary_path", skip_serializing)]
    binary_path: Unread,
    #[serde(alias = "ca_certificates_pem", skip_serializing)]
    ca_certificates_pem: Unread,
    #[serde(alias = "config_path", skip_serializing)]
    config_path: Unread,
    #[serde(alias = "control_plane_auth_policy", skip_serializing)]
    control_plane_auth_policy: Unread,
    #[serde(alias = "custom_config_file", skip_serializing)]
    custom_config_file: Unread,
    #[serde(alias = "discovery_address", skip_serializing)]
    discovery_address: Unread,
    #[serde(alias = "envoy_access_log_service", skip_serializing)]
    envoy_access_log_service: Unread,
    #[serde(alias = "envoy_metrics_service", skip_serializing)]
    envoy_metrics_service: Unread,
    #[serde(alias = "envoy_metrics_service_address", skip_serializing)]
    envoy_metrics_service_address: Unread,
    #[serde(alias = "extra_stat_tags", skip_serializing)]
    extra_stat_tags: Unread,
    #[serde(alias = "file_flush_interval", skip_serializing)]
    file_flush_interval: Unread,
    #[serde(alias = "file_flush_min_size_kb", skip_serializing)]
    file_flush_min_size_kb: Unread,
    #[serde(alias = "hold_application_until_proxy_starts", skip_serializing)]
    hold_application_until_proxy_starts: Unread,
    #[serde(skip_serializing)]
    image: Unread,
    #[serde(alias = "interception_mode", skip_serializing)]
    interception_mode: Unread,
    #[serde(alias = "mesh_id", skip_serializing)]
    mesh_id: Unread,
    #[serde(alias = "private_key_provider", skip_serializing)]
    private_key_provider: Unread,
    #[serde(alias = "proxy_admin_port", skip_serializing)]
    proxy_admin_port: Unread,
    #[serde(alias = "proxy_bootstrap_template_path", skip_serializing)]
    proxy_bootstrap_template_path: Unread,
    #[serde(alias = "proxy_stats_matcher", skip_serializing)]
    proxy_stats_matcher: Unread,
    #[serde(alias = "readiness_probe", skip_serializing)]
    readiness_probe: Unread,
    #[serde(alias = "runtime_values", skip_serializing)]
    runtime_values: Unread,
    #[serde(alias = "service_cluster", skip_serializing)]
    service_cluster: Unread,
    #[serde(alias = "stat_name_length", skip_serializing)]
    stat_name_length: Unread,
    #[serde(alias = "stats_compression", skip_serializing)]
    stats_compression: Unread,
    #[serde(alias = "statsd_udp_address", skip_serializing)]
    statsd_udp_address: Unread,
    #[serde(alias = "status_port", skip_serializing)]
    status_port: Unread,
    #[serde(skip_serializing)]
    tracing: Unread,
    #[serde(alias = "tracing_service_name", skip_serializing)]
    tracing_service_name: Unread,
    #[serde(alias = "zipkin_address", skip_serializing)]
    zipkin_address: Unread,
}

/// Limits of connections of clients, and what is made of their requests (PC-04).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ConnectionSettings {
    /// Defaults of all that is not written.
    pub profile: Option<ConnectionProfile>,
    /// Bytes that wait on a connection of a client.
    #[serde(alias = "listener_per_connection_buffer_limit_bytes")]
    pub listener_per_connection_buffer_limit_bytes: Option<i32>,
    /// Bytes that wait on a connection to an endpoint.
    #[serde(alias = "cluster_per_connection_buffer_limit_bytes")]
    pub cluster_per_connection_buffer_limit_bytes: Option<i32>,
    /// Of a connection without a request.
    #[serde(alias = "http_idle_timeout")]
    pub http_idle_timeout: Option<Duration>,
    /// Of a connection from its beginning.
    #[serde(alias = "http_max_connection_duration")]
    pub http_max_connection_duration: Option<Duration>,
    /// Of a request and its answer.
    #[serde(alias = "http_max_stream_duration")]
    pub http_max_stream_duration: Option<Duration>,
    /// Of an exchange without a byte.
    #[serde(alias = "http_stream_idle_timeout")]
    pub http_stream_idle_timeout: Option<Duration>,
    /// Of a whole request.
    #[serde(alias = "http_request_timeout")]
    pub http_request_timeout: Option<Duration>,
    /// Of a request's head.
    #[serde(alias = "http_request_headers_timeout")]
    pub http_request_headers_timeout: Option<Duration>,
    /// Between the two words that end a connection in HTTP/2.
    #[serde(alias = "http_drain_timeout")]
    pub http_drain_timeout: Option<Duration>,
    /// Streams of HTTP/2 at once.
    #[serde(alias = "http_max_concurrent_streams")]
    pub http_max_concurrent_streams: Option<i32>,
    /// Bytes under way on a stream.
    #[serde(alias = "http2_initial_stream_window_size")]
    pub http2_initial_stream_window_size: Option<i32>,
    /// Bytes under way on a connection.
    #[serde(alias = "http2_initial_connection_window_size")]
    pub http2_initial_connection_window_size: Option<i32>,
    /// What becomes of header names with underscores.
    #[serde(alias = "http_headers_with_underscores_action")]
    pub http_headers_with_underscores_action: Option<UnderscoresAction>,
    /// Whether runs of slashes become one.
    #[serde(alias = "http_merge_slashes")]
    pub http_merge_slashes: Option<bool>,
    /// What becomes of `%2F` and `%5C`.
    #[serde(alias = "http_path_with_escaped_slashes_action")]
    pub http_path_with_escaped_slashes_action: Option<EscapedSlashesAction>,
    /// Connections of the process.
    #[serde(alias = "global_downstream_connection_limit")]
    pub global_downstream_connection_limit: Option<i32>,
}

/// What stands in front of gateways.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GatewayTopology {
    /// How many proxies are trusted (S-111).
    #[serde(alias = "num_trusted_proxies")]
    pub num_trusted_proxies: u32,
    /// What becomes of `x-forwarded-client-cert` (S-113).
    #[serde(alias = "forward_client_cert_details")]
    pub forward_client_cert_details: Option<ForwardClientCertDetails>,
    /// Whether connections begin with a PROXY header (S-112).
    #[serde(alias = "proxy_protocol")]
    pub proxy_protocol: Option<ProxyHeaderSetting>,
}

/// Set when connections begin with a PROXY header; there is nothing in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyHeaderSetting {}

/// Which headers are written (PC-03).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProxyHeaders {
    /// What becomes of `x-forwarded-client-cert`.
    #[serde(alias = "forwarded_client_cert")]
    pub forwarded_client_cert: Option<ForwardClientCertDetails>,
    /// What it says of the client's certificate.
    #[serde(alias = "set_current_client_cert_details")]
    pub set_current_client_cert_details: Option<ClientCertDetails>,
    /// `x-request-id`.
    #[serde(alias = "request_id")]
    pub request_id: Option<HeaderSwitch>,
    /// `server`.
    pub server: Option<ServerHeader>,
    /// `x-envoy-attempt-count`.
    #[serde(alias = "attempt_count")]
    pub attempt_count: Option<HeaderSwitch>,
    /// Other `x-envoy-` headers.
    #[serde(alias = "envoy_debug_headers")]
    pub envoy_debug_headers: Option<HeaderSwitch>,
    /// Headers by which proxies of a mesh know each other.
    #[serde(alias = "metadata_exchange_headers", skip_serializing)]
    metadata_exchange_headers: Unread,
    /// Keeps the case of HTTP/1 headers (S-115).
    #[serde(alias = "preserve_http1_header_case")]
    pub preserve_http1_header_case: Option<bool>,
    /// `x-forwarded-host`, off unless asked for.
    #[serde(alias = "x_forwarded_host")]
    pub x_forwarded_host: Option<HeaderOptIn>,
    /// `x-forwarded-port`, off unless asked for.
    #[serde(alias = "x_forwarded_port")]
    pub x_forwarded_port: Option<HeaderOptIn>,
}

/// Whether a header that is written is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderSwitch {
    /// Left out.
    pub disabled: Option<bool>,
}

/// Whether a header that is left out is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderOptIn {
    /// Written.
    pub enabled: Option<bool>,
}

/// The header `server` (S-124).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerHeader {
    /// Left as the backend wrote it.
    pub disabled: Option<bool>,
    /// `istio-envoy` when empty.
    pub value: Text,
}

/// What is said of the client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientCertDetails {
    /// The subject.
    pub subject: Option<bool>,
    /// The certificate.
    pub cert: Option<bool>,
    /// The chain.
    pub chain: Option<bool>,
    /// Names.
    pub dns: Option<bool>,
    /// URIs.
    pub uri: Option<bool>,
}

/// How TLS is spoken unless an object says otherwise (MC-03).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TlsConfig {
    /// Lowest version.
    #[serde(alias = "min_protocol_version")]
    pub min_protocol_version: Option<TlsVersion>,
    /// Curves.
    #[serde(alias = "ecdh_curves")]
    pub ecdh_curves: Vec<Text>,
    /// Suites up to TLS 1.2.
    #[serde(alias = "cipher_suites")]
    pub cipher_suites: Vec<Text>,
}

/// What sidecars do with unknown hosts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OutboundTrafficPolicy {
    /// `ALLOW_ANY` when absent.
    pub mode: Option<OutboundMode>,
}

/// How paths are normalised.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PathNormalizationSetting {
    /// `DEFAULT` when absent.
    pub normalization: Option<Normalization>,
}

api_enum! {
    /// How paths are normalised.
    Normalization {
        Default = 0 "DEFAULT",
        None = 1 "NONE",
        Base = 2 "BASE",
        MergeSlashes = 3 "MERGE_SLASHES",
        DecodeAndMergeSlashes = 4 "DECODE_AND_MERGE_SLASHES",
    }
}

api_enum! {
    /// What sidecars do with unknown hosts.
    OutboundMode {
        RegistryOnly = 0 "REGISTRY_ONLY",
        AllowAny = 1 "ALLOW_ANY",
        AllowAnyDynamicDns = 2 "ALLOW_ANY_DYNAMIC_DNS",
    }
}

api_enum! {
    /// The form of the access log.
    AccessLogEncoding {
        Text = 0 "TEXT",
        Json = 1 "JSON",
    }
}

api_enum! {
    /// Whether HTTP/2 is spoken to endpoints whose rules say nothing about it.
    MeshH2UpgradePolicy {
        DoNotUpgrade = 0 "DO_NOT_UPGRADE",
        Upgrade = 1 "UPGRADE",
    }
}

api_enum! {
    /// Defaults of connection settings.
    ConnectionProfile {
        Unspecified = 0 "PROFILE_UNSPECIFIED",
        Sidecar = 1 "SIDECAR",
        Edge = 2 "EDGE",
    }
}

api_enum! {
    /// What becomes of header names with underscores.
    UnderscoresAction {
        Unspecified = 0 "HEADERS_WITH_UNDERSCORES_UNSPECIFIED",
        Allow = 1 "HEADERS_WITH_UNDERSCORES_ALLOW",
        RejectRequest = 2 "HEADERS_WITH_UNDERSCORES_REJECT_REQUEST",
        DropHeader = 3 "HEADERS_WITH_UNDERSCORES_DROP_HEADER",
    }
}

api_enum! {
    /// What becomes of escaped slashes.
    EscapedSlashesAction {
        Unspecified = 0 "PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED",
        KeepUnchanged = 1 "KEEP_UNCHANGED",
        RejectRequest = 2 "REJECT_REQUEST",
        UnescapeAndRedirect = 3 "UNESCAPE_AND_REDIRECT",
        UnescapeAndForward = 4 "UNESCAPE_AND_FORWARD",
    }
}

api_enum! {
    /// Which Ingresses are taken.
    IngressControllerMode {
        Unspecified = 0 "UNSPECIFIED",
        Off = 1 "OFF",
        Default = 2 "DEFAULT",
        Strict = 3 "STRICT",
    }
}

api_enum! {
    /// What becomes of `x-forwarded-client-cert`.
    ForwardClientCertDetails {
        Undefined = 0 "UNDEFINED",
        Sanitize = 1 "SANITIZE",
        ForwardOnly = 2 "FORWARD_ONLY",
        AppendForward = 3 "APPEND_FORWARD",
        SanitizeSet = 4 "SANITIZE_SET",
        AlwaysForwardOnly = 5 "ALWAYS_FORWARD_ONLY",
    }
}
