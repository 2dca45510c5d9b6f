//! The policies of a DestinationRule: DR-10 to DR-51.

use super::names::check_port;
use crate::code;
use crate::diagnostic::Findings;
use crate::spec::destination_rule::{
    ClientTls, ClientTlsMode, ConnectionPool, LoadBalancer, OutlierDetection, SimpleBalancer, TrafficPolicy,
};
use crate::spec::scalar::Duration;

pub(super) fn check_policy(policy: &TrafficPolicy, findings: &mut Findings) {
    check_parts(
        policy.load_balancer.as_deref(),
        policy.connection_pool.as_deref(),
        policy.outlier_detection.as_deref(),
        policy.tls.as_deref(),
        findings,
    );
    for (at, settings) in policy.port_level_settings.iter().enumerate() {
        findings.at(format!("portLevelSettings[{at}]"), |findings| {
            match settings.port {
                None => findings.error(
                    "port",
                    code::PORT_LEVEL_SETTINGS,
                    "the settings are for no port",
                    "set `port.number`",
                ),
                Some(port) => check_port(port.number, "port.number", code::PORT_LEVEL_SETTINGS, findings),
            }
            check_parts(
                settings.load_balancer.as_deref(),
                settings.connection_pool.as_deref(),
                settings.outlier_detection.as_deref(),
                settings.tls.as_deref(),
                findings,
            );
        });
    }
}

fn check_parts(
    balancer: Option<&LoadBalancer>,
    pool: Option<&ConnectionPool>,
    outlier: Option<&OutlierDetection>,
    tls: Option<&ClientTls>,
    findings: &mut Findings,
) {
    if let Some(balancer) = balancer {
        findings.at("loadBalancer", |findings| check_balancer(balancer, findings));
    }
    if let Some(pool) = pool {
        findings.at("connectionPool", |findings| check_pool(pool, findings));
    }
    if let Some(outlier) = outlier {
        findings.at("outlierDetection", |findings| check_outlier(outlier, findings));
    }
    if let Some(tls) = tls {
        findings.at("tls", |findings| check_tls(tls, findings));
    }
}

/// DR-10 to DR-13.
fn check_balancer(balancer: &LoadBalancer, findings: &mut Findings) {
    let hashed = balancer.consistent_hash.as_deref();
    if balancer.simple.is_some_and(|simple| simple != SimpleBalancer::Unspecified) && hashed.is_some() {
        findings.error(
            "simple",
            code::LOAD_BALANCER,
            "`simple` and `consistentHash` exclude each other",
            "keep one of them",
        );
    }
    if let Some(hash) = hashed {
        let keys = [
            hash.http_header_name.is_some(),
            hash.http_cookie.is_some(),
            hash.use_source_ip.is_some(),
            hash.http_query_parameter_name.is_some(),
        ];
        if keys.iter().filter(|given| **given).count() != 1 {
            let help = "set one of `httpHeaderName`, `httpCookie`, `useSourceIp` and `httpQueryParameterName`";
            findings.error("consistentHash", code::LOAD_BALANCER, "exactly one key is needed", help);
        }
        if hash.http_cookie.as_ref().is_some_and(|cookie| cookie.name.is_empty()) {
            findings.error("consistentHash.httpCookie.name", code::LOAD_BALANCER, "the cookie has no name", "name it");
        }
        if hash.maglev.as_ref().is_some_and(|maglev| maglev.table_size >= 5_000_011) {
            findings.error(
                "consistentHash.maglev.tableSize",
                code::LOAD_BALANCER,
                "the table is too large",
                "use a prime below 5000011",
            );
        }
    }
    if let Some(locality) = &balancer.locality_lb_setting {
        let modes = [!locality.distribute.is_empty(), !locality.failover.is_empty()];
        if modes.iter().all(|given| *given) {
            findings.error(
                "localityLbSetting",
                code::LOAD_BALANCER,
                "`distribute` and `failover` exclude each other",
                "keep one of them",
            );
        }
        for (at, distribute) in locality.distribute.iter().enumerate() {
            if distribute.to.values().sum::<u32>() != 100 {
                let field = format!("localityLbSetting.distribute[{at}].to");
                findings.error(&field, code::LOAD_BALANCER, "the shares do not sum up to 100", "mend the shares");
            }
        }
    }
}

/// DR-20 to DR-23.
fn check_pool(pool: &ConnectionPool, findings: &mut Findings) {
    let mut negative = |field: &str, value: i32| {
        if value < 0 {
            findings.error(field, code::CONNECTION_POOL, format!("{value} is negative"), "use 0 or more");
        }
    };
    if let Some(tcp) = &pool.tcp {
        negative("tcp.maxConnections", tcp.max_connections);
    }
    if let Some(http) = &pool.http {
        negative("http.http1MaxPendingRequests", http.http1_max_pending_requests);
        negative("http.http2MaxRequests", http.http2_max_requests);
        negative("http.maxRequestsPerConnection", http.max_requests_per_connection);
        negative("http.maxRetries", http.max_retries);
        negative("http.maxConcurrentStreams", http.max_concurrent_streams);
    }
    let times = [
        ("tcp.connectTimeout", pool.tcp.as_ref().and_then(|tcp| tcp.connect_timeout)),
        ("tcp.idleTimeout", pool.tcp.as_ref().and_then(|tcp| tcp.idle_timeout)),
        ("tcp.maxConnectionDuration", pool.tcp.as_ref().and_then(|tcp| tcp.max_connection_duration)),
        ("http.idleTimeout", pool.http.as_ref().and_then(|http| http.idle_timeout)),
    ];
    for (field, time) in times {
        check_time(time, field, code::CONNECTION_POOL, findings);
    }
}

/// DR-30.
fn check_outlier(outlier: &OutlierDetection, findings: &mut Findings) {
    check_time(outlier.interval, "interval", code::OUTLIER_DETECTION, findings);
    check_time(outlier.base_ejection_time, "baseEjectionTime", code::OUTLIER_DETECTION, findings);
    for (field, percent) in
        [("maxEjectionPercent", outlier.max_ejection_percent), ("minHealthPercent", outlier.min_health_percent)]
    {
        if !(0..=100).contains(&percent) {
            findings.error(field, code::OUTLIER_DETECTION, format!("{percent} is no percentage"), "use 0 to 100");
        }
    }
    if !outlier.split_external_local_origin_errors
        && outlier.consecutive_local_origin_failures.is_some_and(|count| count > 0)
    {
        let help = "set `splitExternalLocalOriginErrors`, or remove it";
        findings.error(
            "consecutiveLocalOriginFailures",
            code::OUTLIER_DETECTION,
            "local failures are not told apart",
            help,
        );
    }
}

/// DR-40 to DR-45.
fn check_tls(tls: &ClientTls, findings: &mut Findings) {
    if tls.mode == Some(ClientTlsMode::Mutual) && tls.credential_name.is_empty() {
        for (field, value) in [("clientCertificate", &tls.client_certificate), ("privateKey", &tls.private_key)] {
            if value.is_empty() {
                findings.error(
                    field,
                    code::CLIENT_TLS,
                    "MUTUAL needs a certificate and its key",
                    "set them, or `credentialName`",
                );
            }
        }
    }
    let files = [&tls.client_certificate, &tls.private_key, &tls.ca_certificates];
    if !tls.credential_name.is_empty() && files.iter().any(|file| !file.is_empty()) {
        findings.error(
            "credentialName",
            code::CLIENT_TLS,
            "`credentialName` and files exclude each other",
            "keep one of them",
        );
    }
}

fn check_time(time: Option<Duration>, field: &str, code: &'static str, findings: &mut Findings) {
    if time.is_some_and(|time| time.get().is_none_or(|length| length.as_millis() == 0)) {
        findings.error(field, code, "a time is at least 1 ms", "use 1ms or more");
    }
}
