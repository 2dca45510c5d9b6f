//! The policies of a DestinationRule: DR-07, DR-20 to DR-51. Balancers are in `balancer`.

mod balancer;

use super::fields::{check_port, check_time};
use super::names::{is_address, is_name};
use crate::code;
use crate::diagnostic::Findings;
use crate::spec::destination_rule::{
    ClientTls, ClientTlsMode, ConnectionPool, H2UpgradePolicy, HttpPool, LoadBalancer, OutlierDetection, TcpPool,
    TrafficPolicy, Tunnel,
};

/// What a policy has for the whole host and for a port alike.
struct Parts<'a> {
    balancer: Option<&'a LoadBalancer>,
    pool: Option<&'a ConnectionPool>,
    outlier: Option<&'a OutlierDetection>,
    tls: Option<&'a ClientTls>,
}

pub(super) fn check_policy(policy: &TrafficPolicy, findings: &mut Findings) {
    if *policy == TrafficPolicy::default() {
        let help = "add a block, for example `loadBalancer`, or remove it";
        findings.error("", code::TRAFFIC_POLICY, "the policy says nothing", help);
    }
    let parts = Parts {
        balancer: policy.load_balancer.as_deref(),
        pool: policy.connection_pool.as_deref(),
        outlier: policy.outlier_detection.as_deref(),
        tls: policy.tls.as_deref(),
    };
    check_parts(&parts, findings);
    check_ports(policy, findings);
    if let Some(tunnel) = &policy.tunnel {
        findings.at("tunnel", |findings| check_tunnel(tunnel, findings));
        if policy.proxy_protocol.is_some() {
            let help = "keep one of them";
            findings.error("proxyProtocol", code::TUNNEL, "`tunnel` and `proxyProtocol` exclude each other", help);
        }
    }
    if let Some(percent) = policy.retry_budget.as_ref().and_then(|budget| budget.percent)
        && !(0.0..=100.0).contains(&percent)
    {
        let message = format!("must be between 0 and 100, is {percent}");
        findings.error("retryBudget.percent", code::CONNECTION_POOL, message, "use a number from 0 to 100");
    }
}

/// DR-07.
fn check_ports(policy: &TrafficPolicy, findings: &mut Findings) {
    for (at, settings) in policy.port_level_settings.iter().enumerate() {
        findings.at(format_args!("portLevelSettings[{at}]"), |findings| {
            match settings.port {
                None => {
                    let help = "set `port.number`";
                    findings.error("port", code::PORT_LEVEL_SETTINGS, "the settings are for no port", help);
                }
                Some(port) if !(1..=65535).contains(&port.number) => {
                    let message =
                        format!("{} is not a valid port number, so that the settings are not used", port.number);
                    let help = "use a number from 1 to 65535";
                    findings.warning("port.number", code::PORT_LEVEL_SETTINGS, message, help);
                }
                Some(_) => {}
            }
            let parts = Parts {
                balancer: settings.load_balancer.as_deref(),
                pool: settings.connection_pool.as_deref(),
                outlier: settings.outlier_detection.as_deref(),
                tls: settings.tls.as_deref(),
            };
            if let Parts { balancer: None, pool: None, outlier: None, tls: None } = parts {
                let help = "add a block, for example `loadBalancer`, or remove the settings";
                findings.error("", code::PORT_LEVEL_SETTINGS, "the settings say nothing", help);
            }
            check_parts(&parts, findings);
        });
    }
}

fn check_parts(parts: &Parts<'_>, findings: &mut Findings) {
    if let Some(balancer) = parts.balancer {
        let outlier = parts.outlier.is_some();
        findings.at("loadBalancer", |findings| balancer::check(balancer, outlier, findings));
    }
    if let Some(pool) = parts.pool {
        findings.at("connectionPool", |findings| check_pool(pool, findings));
    }
    if let Some(outlier) = parts.outlier {
        findings.at("outlierDetection", |findings| check_outlier(outlier, findings));
    }
    if let Some(tls) = parts.tls {
        findings.at("tls", |findings| check_tls(tls, findings));
    }
}

/// DR-20 to DR-23.
fn check_pool(pool: &ConnectionPool, findings: &mut Findings) {
    if pool.tcp.is_none() && pool.http.is_none() {
        let help = "add `tcp` or `http`, or remove it";
        findings.error("", code::CONNECTION_POOL, "the pool has neither `tcp` nor `http`", help);
    }
    if let Some(tcp) = &pool.tcp {
        findings.at("tcp", |findings| check_tcp(tcp, findings));
    }
    if let Some(http) = &pool.http {
        findings.at("http", |findings| check_http(http, findings));
    }
}

fn check_count(count: i32, field: &str, findings: &mut Findings) {
    if count < 0 {
        findings.error(field, code::CONNECTION_POOL, format!("{count} is negative"), "use 0 or more");
    }
}

fn check_tcp(tcp: &TcpPool, findings: &mut Findings) {
    let code = code::CONNECTION_POOL;
    check_count(tcp.max_connections, "maxConnections", findings);
    check_time(tcp.connect_timeout, "connectTimeout", code, findings);
    check_time(tcp.max_connection_duration, "maxConnectionDuration", code, findings);
    // Zero is no timeout at all.
    let idle = tcp.idle_timeout.filter(|time| time.get().is_none_or(|length| !length.is_zero()));
    check_time(idle, "idleTimeout", code, findings);
    if let Some(probes) = &tcp.tcp_keepalive {
        check_time(probes.time, "tcpKeepalive.time", code, findings);
        check_time(probes.interval, "tcpKeepalive.interval", code, findings);
    }
}

fn check_http(http: &HttpPool, findings: &mut Findings) {
    let code = code::CONNECTION_POOL;
    check_count(http.http1_max_pending_requests, "http1MaxPendingRequests", findings);
    check_count(http.http2_max_requests, "http2MaxRequests", findings);
    check_count(http.max_requests_per_connection, "maxRequestsPerConnection", findings);
    check_count(http.max_retries, "maxRetries", findings);
    check_count(http.max_concurrent_streams, "maxConcurrentStreams", findings);
    check_time(http.idle_timeout, "idleTimeout", code, findings);
    if http.h2_upgrade_policy == Some(H2UpgradePolicy::Upgrade) && http.use_client_protocol {
        let message = "`useClientProtocol` and an upgrade to HTTP/2 exclude each other";
        findings.error("useClientProtocol", code, message, "keep one of them");
    }
    // DR-23: both are needed.
    if let Some(pings) = &http.http2_keep_alive {
        for (field, time) in [("interval", pings.interval), ("timeout", pings.timeout)] {
            let field = format!("http2KeepAlive.{field}");
            if time.is_none() {
                findings.error(&field, code, "pings need `interval` and `timeout`", "set both of them");
            }
            check_time(time, &field, code, findings);
        }
    }
}

/// DR-30.
fn check_outlier(outlier: &OutlierDetection, findings: &mut Findings) {
    let code = code::OUTLIER_DETECTION;
    check_time(outlier.interval, "interval", code, findings);
    check_time(outlier.base_ejection_time, "baseEjectionTime", code, findings);
    for (field, percent) in
        [("maxEjectionPercent", outlier.max_ejection_percent), ("minHealthPercent", outlier.min_health_percent)]
    {
        if !(0..=100).contains(&percent) {
            findings.error(field, code, format!("{percent} is not a valid percentage"), "use 0 to 100");
        }
    }
    for (at, status) in outlier.outlier_detection_http_error_codes.iter().enumerate() {
        if !(100..600).contains(status) {
            let field = format!("outlierDetectionHttpErrorCodes[{at}]");
            findings.error(&field, code, format!("`{status}` is not an HTTP status"), "use 100 to 599");
        }
    }
    if outlier.consecutive_errors != 0 {
        let help = "use `consecutiveGatewayErrors` or `consecutive5xxErrors`";
        findings.warning("consecutiveErrors", code, "`consecutiveErrors` is deprecated", help);
    }
    if !outlier.split_external_local_origin_errors
        && outlier.consecutive_local_origin_failures.is_some_and(|count| count > 0)
    {
        let help = "set `splitExternalLocalOriginErrors`, or remove it";
        findings.error("consecutiveLocalOriginFailures", code, "local failures are not told apart", help);
    }
}

/// DR-40 to DR-45.
fn check_tls(tls: &ClientTls, findings: &mut Findings) {
    let Some(mode) = tls.mode else {
        if *tls != ClientTls::default() {
            let message = "without `mode` TLS is off, and requests are sent in clear text";
            findings.warning("mode", code::CLIENT_TLS, message, "set SIMPLE or MUTUAL; DISABLE says that it is meant");
        }
        return;
    };
    if !matches!(mode, ClientTlsMode::Simple | ClientTlsMode::Mutual) {
        return;
    }
    let named = !tls.credential_name.is_empty();
    let trusts =
        [!tls.ca_certificates.is_empty(), !tls.subject_alt_names.is_empty(), !tls.ca_crl.is_empty()].contains(&true);
    if tls.insecure_skip_verify == Some(true) && (trusts || (named && mode == ClientTlsMode::Simple)) {
        let message = "nothing is verified, and yet a CA or names to verify are there";
        findings.error("insecureSkipVerify", code::CLIENT_TLS, message, "keep one of them");
    }
    if named {
        let files = [&tls.client_certificate, &tls.private_key, &tls.ca_certificates, &tls.ca_crl];
        if files.iter().any(|file| !file.is_empty()) {
            let message = "`credentialName` and files exclude each other";
            findings.error("credentialName", code::CLIENT_TLS, message, "keep one of them");
        }
    } else if mode == ClientTlsMode::Mutual {
        for (field, file) in [("clientCertificate", &tls.client_certificate), ("privateKey", &tls.private_key)] {
            if file.is_empty() {
                let help = "set them, or `credentialName`";
                findings.error(field, code::CLIENT_TLS, "MUTUAL needs a certificate and its key", help);
            }
        }
    }
}

/// DR-50.
fn check_tunnel(tunnel: &Tunnel, findings: &mut Findings) {
    if !matches!(&*tunnel.protocol, "" | "CONNECT" | "POST") {
        let message = format!("`{}` opens no tunnel", tunnel.protocol);
        findings.error("protocol", code::TUNNEL, message, "use CONNECT or POST");
    }
    if !(is_name(&tunnel.target_host) || is_address(&tunnel.target_host)) {
        let message = format!("`{}` is not a valid host", tunnel.target_host);
        findings.error("targetHost", code::TUNNEL, message, "use a name or an IP address");
    }
    check_port(tunnel.target_port, "targetPort", code::TUNNEL, findings);
}
