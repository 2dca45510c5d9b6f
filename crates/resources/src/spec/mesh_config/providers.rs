//! `extensionProviders[]` of MeshConfig: the services that AuthorizationPolicies with the action `CUSTOM` ask (AP-13).
//!
//! Providers of telemetry are known by their names alone.

use super::super::scalar::{Duration, Text, Unread};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A provider. It has one kind.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExtensionProvider {
    /// The name by which policies refer to it.
    pub name: Text,
    /// External authorization by HTTP.
    #[serde(alias = "envoy_ext_authz_http", skip_serializing_if = "Option::is_none")]
    pub envoy_ext_authz_http: Option<Box<ExtAuthzHttp>>,
    /// External authorization by Envoy's gRPC service.
    #[serde(alias = "envoy_ext_authz_grpc", skip_serializing_if = "Option::is_none")]
    pub envoy_ext_authz_grpc: Option<Box<ExtAuthzGrpc>>,
    #[serde(skip_serializing)]
    zipkin: Unread,
    #[serde(skip_serializing)]
    lightstep: Unread,
    #[serde(skip_serializing)]
    datadog: Unread,
    #[serde(skip_serializing)]
    stackdriver: Unread,
    #[serde(skip_serializing)]
    opencensus: Unread,
    #[serde(skip_serializing)]
    skywalking: Unread,
    #[serde(skip_serializing)]
    opentelemetry: Unread,
    #[serde(skip_serializing)]
    prometheus: Unread,
    #[serde(alias = "envoy_file_access_log", skip_serializing)]
    envoy_file_access_log: Unread,
    #[serde(alias = "envoy_http_als", skip_serializing)]
    envoy_http_als: Unread,
    #[serde(alias = "envoy_tcp_als", skip_serializing)]
    envoy_tcp_als: Unread,
    #[serde(alias = "envoy_otel_als", skip_serializing)]
    envoy_otel_als: Unread,
    #[serde(skip_serializing)]
    sds: Unread,
}

impl ExtensionProvider {
    /// The kinds that the document gives, by the names of their fields.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        [
            (self.envoy_ext_authz_http.is_some(), "envoyExtAuthzHttp"),
            (self.envoy_ext_authz_grpc.is_some(), "envoyExtAuthzGrpc"),
            (self.zipkin.0, "zipkin"),
            (self.lightstep.0, "lightstep"),
            (self.datadog.0, "datadog"),
            (self.stackdriver.0, "stackdriver"),
            (self.opencensus.0, "opencensus"),
            (self.skywalking.0, "skywalking"),
            (self.opentelemetry.0, "opentelemetry"),
            (self.prometheus.0, "prometheus"),
            (self.envoy_file_access_log.0, "envoyFileAccessLog"),
            (self.envoy_http_als.0, "envoyHttpAls"),
            (self.envoy_tcp_als.0, "envoyTcpAls"),
            (self.envoy_otel_als.0, "envoyOtelAls"),
            (self.sds.0, "sds"),
        ]
        .into_iter()
        .filter_map(|(is_given, kind)| is_given.then_some(kind))
    }

    /// Whether it is for external authorization.
    pub fn authorizes(&self) -> bool {
        self.envoy_ext_authz_http.is_some() || self.envoy_ext_authz_grpc.is_some()
    }
}

/// External authorization by HTTP.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExtAuthzHttp {
    /// The service: `[<namespace>/]<host name>`.
    pub service: Text,
    /// Its port.
    pub port: u32,
    /// How long the response may take.
    pub timeout: Option<Duration>,
    /// What is written before the path of the request.
    #[serde(alias = "path_prefix")]
    pub path_prefix: Text,
    /// Whether requests are allowed when there is no decision.
    #[serde(alias = "fail_open")]
    pub fail_open: bool,
    /// The status when there is no decision; 403 when empty.
    #[serde(alias = "status_on_error")]
    pub status_on_error: Text,
    /// Whether the route is chosen by the request as the service has changed it.
    #[serde(alias = "clear_route_cache")]
    pub clear_route_cache: bool,
    /// The old name of `includeRequestHeadersInCheck`.
    #[serde(alias = "include_headers_in_check")]
    pub include_headers_in_check: Vec<Text>,
    /// Headers of the request that the service gets: `name`, `prefix*`, `*suffix`.
    #[serde(alias = "include_request_headers_in_check")]
    pub include_request_headers_in_check: Vec<Text>,
    /// Headers that the service gets besides.
    #[serde(alias = "include_additional_headers_in_check")]
    pub include_additional_headers_in_check: BTreeMap<Text, Text>,
    /// Whether the service gets the body.
    #[serde(alias = "include_request_body_in_check")]
    pub include_request_body_in_check: Option<ExtAuthzBody>,
    /// Headers of an allowing response that are set in the request.
    #[serde(alias = "headers_to_upstream_on_allow")]
    pub headers_to_upstream_on_allow: Vec<Text>,
    /// Headers of a denying response that the client gets; all when empty.
    #[serde(alias = "headers_to_downstream_on_deny")]
    pub headers_to_downstream_on_deny: Vec<Text>,
    /// Headers of an allowing response that the client gets.
    #[serde(alias = "headers_to_downstream_on_allow")]
    pub headers_to_downstream_on_allow: Vec<Text>,
}

/// External authorization by Envoy's gRPC service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExtAuthzGrpc {
    /// The service: `[<namespace>/]<host name>`.
    pub service: Text,
    /// Its port.
    pub port: u32,
    /// How long the response may take.
    pub timeout: Option<Duration>,
    /// Whether requests are allowed when there is no decision.
    #[serde(alias = "fail_open")]
    pub fail_open: bool,
    /// The status when there is no decision; 403 when empty.
    #[serde(alias = "status_on_error")]
    pub status_on_error: Text,
    /// Whether the route is chosen by the request as the service has changed it.
    #[serde(alias = "clear_route_cache")]
    pub clear_route_cache: bool,
    /// Whether the service gets the body.
    #[serde(alias = "include_request_body_in_check")]
    pub include_request_body_in_check: Option<ExtAuthzBody>,
}

/// How much of the body of a request the service gets.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExtAuthzBody {
    /// At most so many octets.
    #[serde(alias = "max_request_bytes")]
    pub max_request_bytes: u32,
    /// Whether the service gets the first octets of a longer body; else the request is answered 413.
    #[serde(alias = "allow_partial_message")]
    pub allow_partial_message: bool,
    /// Whether the service gets octets, not text (gRPC).
    #[serde(alias = "pack_as_bytes")]
    pub pack_as_bytes: bool,
}
