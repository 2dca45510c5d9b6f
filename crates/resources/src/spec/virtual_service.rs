//! `VirtualService` of networking.istio.io (VS-01 to VS-67).

use super::destination_rule::Destination;
use super::pairs::Pairs;
use super::scalar::{Duration, Percent, Text, api_enum};
use super::text_match::{Labels, StringMatch};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How requests to some hosts are routed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct VirtualService {
    /// The hosts.
    pub hosts: Box<[Text]>,
    /// The Gateways; none is the mesh alone.
    pub gateways: Box<[Text]>,
    /// HTTP rules in their order.
    pub http: Box<[HttpRoute]>,
    /// Rules by SNI.
    pub tls: Box<[TlsRoute]>,
    /// Rules for TCP.
    pub tcp: Box<[TcpRoute]>,
    /// Namespaces that see it.
    #[serde(alias = "export_to")]
    pub export_to: Box<[Text]>,
}

/// One HTTP rule.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpRoute {
    /// A name for logs.
    pub name: Text,
    /// One of them has to match; none matches all.
    #[serde(rename = "match")]
    pub matches: Box<[HttpMatch]>,
    /// Where to.
    pub route: Box<[RouteDestination]>,
    /// A redirect instead.
    pub redirect: Option<Box<HttpRedirect>>,
    /// Fixed content instead.
    #[serde(alias = "direct_response")]
    pub direct_response: Option<Box<DirectResponse>>,
    /// Another VirtualService's rules instead.
    pub delegate: Option<Box<Delegate>>,
    /// Changes of path and authority.
    pub rewrite: Option<Box<HttpRewrite>>,
    /// Until the response is complete.
    pub timeout: Option<Duration>,
    /// Further attempts.
    pub retries: Option<Box<HttpRetry>>,
    /// Faults put in on purpose.
    pub fault: Option<Box<HttpFault>>,
    /// A copy to another destination.
    pub mirror: Option<Box<Destination>>,
    /// Copies to others.
    pub mirrors: Box<[Mirror]>,
    /// The share that is copied; deprecated.
    #[serde(alias = "mirror_percent")]
    pub mirror_percent: Option<u32>,
    /// The share that is copied.
    #[serde(alias = "mirror_percentage")]
    pub mirror_percentage: Option<Box<Percent>>,
    /// CORS.
    #[serde(alias = "cors_policy")]
    pub cors_policy: Option<Box<CorsPolicy>>,
    /// Changes of headers.
    pub headers: Option<Box<Headers>>,
}

/// Conditions, all of which have to hold.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpMatch {
    /// A name for logs.
    pub name: Text,
    /// On the path.
    pub uri: Option<StringMatch>,
    /// Exact and prefix paths without case.
    #[serde(alias = "ignore_uri_case")]
    pub ignore_uri_case: bool,
    /// On the scheme.
    pub scheme: Option<StringMatch>,
    /// On the method.
    pub method: Option<StringMatch>,
    /// On the Host as it was sent.
    pub authority: Option<StringMatch>,
    /// On headers.
    pub headers: Pairs<StringMatch>,
    /// On headers, turned round.
    #[serde(alias = "without_headers")]
    pub without_headers: Pairs<StringMatch>,
    /// On query parameters.
    #[serde(alias = "query_params")]
    pub query_params: Pairs<StringMatch>,
    /// The number of the server.
    pub port: Option<u32>,
    /// In place of the list above.
    pub gateways: Box<[Text]>,
    /// Labels of the client's workload.
    #[serde(alias = "source_labels")]
    pub source_labels: Labels,
    /// Namespace of the client's workload.
    #[serde(alias = "source_namespace")]
    pub source_namespace: Text,
    /// A prefix for statistics.
    #[serde(alias = "stat_prefix")]
    pub stat_prefix: Text,
}

/// One destination and its share.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RouteDestination {
    /// Where.
    pub destination: Option<Destination>,
    /// Its share.
    pub weight: i32,
    /// Changes of headers for it.
    pub headers: Option<Box<Headers>>,
}

/// Changes of headers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Headers {
    /// Of the request.
    pub request: Option<HeaderOperations>,
    /// Of the response.
    pub response: Option<HeaderOperations>,
}

/// What is changed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HeaderOperations {
    /// Overwritten.
    pub set: BTreeMap<Text, Text>,
    /// Added.
    pub add: BTreeMap<Text, Text>,
    /// Removed.
    pub remove: Vec<Text>,
}

/// A redirect.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpRedirect {
    /// The new path.
    pub uri: Text,
    /// What takes the place of the matched prefix.
    #[serde(alias = "prefix_rewrite")]
    pub prefix_rewrite: Text,
    /// The new host.
    pub authority: Text,
    /// The new port.
    pub port: Option<u32>,
    /// Where the port comes from.
    #[serde(alias = "derive_port")]
    pub derive_port: Option<DerivePort>,
    /// The new scheme.
    pub scheme: Text,
    /// 301 when 0.
    #[serde(alias = "redirect_code")]
    pub redirect_code: u32,
}

api_enum! {
    /// Where a redirect's port comes from.
    DerivePort {
        FromProtocolDefault = 0 "FROM_PROTOCOL_DEFAULT",
        FromRequestPort = 1 "FROM_REQUEST_PORT",
    }
}

/// Fixed content.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DirectResponse {
    /// 200 to 599.
    pub status: u32,
    /// The body.
    pub body: Option<HttpBody>,
}

/// A body as text or bytes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpBody {
    /// Text.
    pub string: Option<Text>,
    /// Base64.
    pub bytes: Option<Text>,
}

/// A VirtualService whose rules are put in.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Delegate {
    /// Its name.
    pub name: Text,
    /// Its namespace; that of the root when empty.
    pub namespace: Text,
}

/// Changes of path and authority.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpRewrite {
    /// The new path or prefix.
    pub uri: Text,
    /// The new Host.
    pub authority: Text,
    /// A pattern in the path and what takes its place.
    #[serde(alias = "uri_regex_rewrite")]
    pub uri_regex_rewrite: Option<RegexRewrite>,
}

/// A pattern and what takes its place.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RegexRewrite {
    /// RE2.
    #[serde(rename = "match")]
    pub pattern: Text,
    /// With `\1` for groups.
    pub rewrite: Text,
}

/// Further attempts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpRetry {
    /// How many.
    pub attempts: i32,
    /// For each of them.
    #[serde(alias = "per_try_timeout")]
    pub per_try_timeout: Option<Duration>,
    /// Words and status codes, by commas.
    #[serde(alias = "retry_on")]
    pub retry_on: Text,
    /// Also in other localities.
    #[serde(alias = "retry_remote_localities")]
    pub retry_remote_localities: Option<bool>,
    /// Not on hosts that were tried.
    #[serde(alias = "retry_ignore_previous_hosts")]
    pub retry_ignore_previous_hosts: Option<bool>,
    /// Between attempts.
    pub backoff: Option<Duration>,
}

/// gRPC's statuses as `grpcStatus` names them, each at its number.
pub const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Faults put in on purpose.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpFault {
    /// Waiting.
    pub delay: Option<FaultDelay>,
    /// Answering with an error.
    pub abort: Option<FaultAbort>,
}

/// Waiting before the request is sent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FaultDelay {
    /// The share; deprecated.
    pub percent: i32,
    /// How long.
    #[serde(alias = "fixed_delay")]
    pub fixed_delay: Option<Duration>,
    /// Never implemented by Istio.
    #[serde(alias = "exponential_delay")]
    pub exponential_delay: Option<Duration>,
    /// The share.
    pub percentage: Option<Percent>,
}

/// Answering with an error.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FaultAbort {
    /// A status.
    #[serde(alias = "http_status")]
    pub http_status: Option<i32>,
    /// A gRPC status.
    #[serde(alias = "grpc_status")]
    pub grpc_status: Option<Text>,
    /// Not supported by Istio.
    #[serde(alias = "http2_error")]
    pub http2_error: Option<Text>,
    /// The share.
    pub percentage: Option<Percent>,
}

/// A copy to another destination.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Mirror {
    /// Where.
    pub destination: Option<Destination>,
    /// The share.
    pub percentage: Option<Percent>,
}

/// CORS.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CorsPolicy {
    /// Exact origins; deprecated.
    #[serde(alias = "allow_origin")]
    pub allow_origin: Vec<Text>,
    /// Origins.
    #[serde(alias = "allow_origins")]
    pub allow_origins: Vec<StringMatch>,
    /// Methods.
    #[serde(alias = "allow_methods")]
    pub allow_methods: Vec<Text>,
    /// Request headers.
    #[serde(alias = "allow_headers")]
    pub allow_headers: Vec<Text>,
    /// Response headers.
    #[serde(alias = "expose_headers")]
    pub expose_headers: Vec<Text>,
    /// How long an answer may be kept.
    #[serde(alias = "max_age")]
    pub max_age: Option<Duration>,
    /// With cookies.
    #[serde(alias = "allow_credentials")]
    pub allow_credentials: Option<bool>,
    /// What becomes of preflights that match nothing.
    #[serde(alias = "unmatched_preflights")]
    pub unmatched_preflights: Option<UnmatchedPreflights>,
}

api_enum! {
    /// What becomes of preflights that match nothing.
    UnmatchedPreflights {
        Unspecified = 0 "UNSPECIFIED",
        Forward = 1 "FORWARD",
        Ignore = 2 "IGNORE",
    }
}

/// A rule by SNI.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TlsRoute {
    /// Conditions.
    #[serde(rename = "match")]
    pub matches: Vec<TlsMatch>,
    /// Where to.
    pub route: Vec<L4Destination>,
}

/// Conditions on a TLS connection.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TlsMatch {
    /// Names.
    #[serde(alias = "sni_hosts")]
    pub sni_hosts: Vec<Text>,
    /// Act at sidecars alone.
    #[serde(alias = "destination_subnets")]
    pub destination_subnets: Vec<Text>,
    /// The number of the server.
    pub port: Option<u32>,
    /// Labels of the client's workload.
    #[serde(alias = "source_labels")]
    pub source_labels: Labels,
    /// In place of the list above.
    pub gateways: Vec<Text>,
    /// Namespace of the client's workload.
    #[serde(alias = "source_namespace")]
    pub source_namespace: Text,
}

/// A rule for TCP.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TcpRoute {
    /// Conditions.
    #[serde(rename = "match")]
    pub matches: Vec<L4Match>,
    /// Where to.
    pub route: Vec<L4Destination>,
}

/// Conditions on a TCP connection.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct L4Match {
    /// Act at sidecars alone.
    #[serde(alias = "destination_subnets")]
    pub destination_subnets: Vec<Text>,
    /// The number of the server.
    pub port: Option<u32>,
    /// Acts at sidecars alone.
    #[serde(alias = "source_subnet")]
    pub source_subnet: Text,
    /// Labels of the client's workload.
    #[serde(alias = "source_labels")]
    pub source_labels: Labels,
    /// In place of the list above.
    pub gateways: Vec<Text>,
    /// Namespace of the client's workload.
    #[serde(alias = "source_namespace")]
    pub source_namespace: Text,
}

/// One destination of a connection and its share.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct L4Destination {
    /// Where.
    pub destination: Option<Destination>,
    /// Its share.
    pub weight: i32,
}
