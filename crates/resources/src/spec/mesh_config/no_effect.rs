//! Which mesh settings have no effect at a gateway of this kind, and why (MC-01 to MC-05, PC-01 to PC-05).

use super::{MeshConfig, ProxyConfig};

const OF_TELEMETRY: &str = "Istio's telemetry settings are not supported yet, except for `accessLogFile`";
const OF_MUTUAL_TLS: &str = "mutual TLS within a mesh is not supported yet";
const OF_ISTIOD: &str = "it is for Istio's control plane, which has no part here";
const OF_SIDECARS: &str = "it is for sidecars";
const OF_PROXIES: &str = "it is for sidecars and forward proxies (protocol HTTP_PROXY)";
const OF_ENVOY: &str = "it is for Envoy or the way that it is started";
const OF_INGRESS: &str = "Ingresses are not read";

impl MeshConfig {
    /// Fields that are written and have no effect, with the cause.
    pub fn without_effect(&self) -> Vec<(&'static str, &'static str)> {
        let fields = [
            (self.default_providers.0, "defaultProviders", OF_TELEMETRY),
            (self.enable_tracing.0, "enableTracing", OF_TELEMETRY),
            (self.enable_envoy_access_log_service.0, "enableEnvoyAccessLogService", OF_TELEMETRY),
            (self.disable_envoy_listener_log.0, "disableEnvoyListenerLog", OF_TELEMETRY),
            (self.enable_prometheus_merge.0, "enablePrometheusMerge", OF_TELEMETRY),
            (self.inbound_cluster_stat_name.0, "inboundClusterStatName", OF_TELEMETRY),
            (self.outbound_cluster_stat_name.0, "outboundClusterStatName", OF_TELEMETRY),
            (!self.trust_domain.is_empty(), "trustDomain", OF_MUTUAL_TLS),
            (!self.trust_domain_aliases.is_empty(), "trustDomainAliases", OF_MUTUAL_TLS),
            (self.mesh_mtls.is_some(), "meshMTLS", OF_MUTUAL_TLS),
            (self.enable_auto_mtls.is_some(), "enableAutoMtls", OF_MUTUAL_TLS),
            (self.ca_certificates.0, "caCertificates", OF_MUTUAL_TLS),
            (self.certificates.0, "certificates", OF_MUTUAL_TLS),
            (self.ca.0, "ca", OF_MUTUAL_TLS),
            (self.verify_certificate_at_client.0, "verifyCertificateAtClient", OF_MUTUAL_TLS),
            (self.config_sources.0, "configSources", OF_ISTIOD),
            (self.discovery_selectors.0, "discoverySelectors", "whatever is in the given files and folders is read"),
            (self.service_scope_configs.0, "serviceScopeConfigs", OF_ISTIOD),
            (self.service_settings.0, "serviceSettings", "there is one cluster, whose endpoints are all its own"),
            (self.dns_refresh_rate.0, "dnsRefreshRate", "names are resolved again when their time to live is over"),
            (self.outbound_traffic_policy.mode.is_some(), "outboundTrafficPolicy", OF_PROXIES),
            (self.inbound_traffic_policy.0, "inboundTrafficPolicy", OF_SIDECARS),
            (self.protocol_detection_timeout.0, "protocolDetectionTimeout", OF_SIDECARS),
            (self.proxy_http_port.0, "proxyHttpPort", OF_SIDECARS),
            (self.proxy_inbound_listen_port.0, "proxyInboundListenPort", OF_SIDECARS),
            (self.proxy_listen_port.0, "proxyListenPort", OF_SIDECARS),
            (!self.ingress_class.is_empty(), "ingressClass", OF_INGRESS),
            (!self.ingress_service.is_empty(), "ingressService", OF_INGRESS),
            (!self.ingress_selector.is_empty(), "ingressSelector", OF_INGRESS),
            (self.ingress_controller_mode.is_some(), "ingressControllerMode", OF_INGRESS),
        ];
        let fields = fields.into_iter().filter_map(|(there, field, cause)| there.then_some((field, cause)));
        fields.chain(self.default_config.without_effect()).collect()
    }
}

impl ProxyConfig {
    fn without_effect(&self) -> Vec<(&'static str, &'static str)> {
        const OF_DRAIN: &str = "`--drain` says how long connections have to end";
        let limits = self.connection_settings.as_deref();
        let buffers = "buffers have bounds of their own";
        let listener = limits.is_some_and(|of| of.listener_per_connection_buffer_limit_bytes.is_some());
        let cluster = limits.is_some_and(|of| of.cluster_per_connection_buffer_limit_bytes.is_some());
        let drain = limits.is_some_and(|of| of.http_drain_timeout.is_some());
        let exchange = self.proxy_headers.as_ref().is_some_and(|headers| headers.metadata_exchange_headers.0);
        let started = [
            self.binary_path.0,
            self.ca_certificates_pem.0,
            self.config_path.0,
            self.control_plane_auth_policy.0,
            self.custom_config_file.0,
            self.discovery_address.0,
            self.image.0,
            self.mesh_id.0,
            self.private_key_provider.0,
            self.proxy_admin_port.0,
            self.proxy_bootstrap_template_path.0,
            self.readiness_probe.0,
            self.runtime_values.0,
            self.service_cluster.0,
            self.status_port.0,
            self.availability_zone.0,
        ];
        let observed = [
            self.envoy_access_log_service.0,
            self.envoy_metrics_service.0,
            self.envoy_metrics_service_address.0,
            self.extra_stat_tags.0,
            self.file_flush_interval.0,
            self.file_flush_min_size_kb.0,
            self.proxy_stats_matcher.0,
            self.stat_name_length.0,
            self.stats_compression.0,
            self.statsd_udp_address.0,
            self.tracing.0,
            self.tracing_service_name.0,
            self.zipkin_address.0,
        ];
        let sidecars = self.hold_application_until_proxy_starts.0 || self.interception_mode.0;
        let fields = [
            (self.concurrency.is_some(), "defaultConfig.concurrency", "`--workers` says how many threads serve"),
            (self.drain_duration.is_some(), "defaultConfig.drainDuration", OF_DRAIN),
            (self.termination_drain_duration.is_some(), "defaultConfig.terminationDrainDuration", OF_DRAIN),
            (exchange, "defaultConfig.proxyHeaders.metadataExchangeHeaders", "no such headers are written"),
            (listener, "defaultConfig.connectionSettings.listenerPerConnectionBufferLimitBytes", buffers),
            (cluster, "defaultConfig.connectionSettings.clusterPerConnectionBufferLimitBytes", buffers),
            (drain, "defaultConfig.connectionSettings.httpDrainTimeout", OF_DRAIN),
            (observed.contains(&true), "defaultConfig", OF_TELEMETRY),
            (started.contains(&true), "defaultConfig", OF_ENVOY),
            (sidecars, "defaultConfig", OF_SIDECARS),
        ];
        fields.into_iter().filter_map(|(there, field, cause)| there.then_some((field, cause))).collect()
    }
}
