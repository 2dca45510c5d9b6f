//! Limits and outlier detection of DestinationRules (DR-20, DR-21, DR-30).

use super::rules::{cluster, rule, with, with_settings};
use super::world::findings;
use crate::Settings;
use ir::{PoolLimits, RetryLimit, TcpKeepalive};
use std::time::Duration;

#[test]
fn dr_30_outlier_detection_is_off_unless_present_and_has_the_defaults_of_istio() {
    let of_subset = |subset: &str, policy: &str| {
        let own = rule("name: own, namespace: default", &format!("host: b.test, {policy}"));
        let compiled = with(subset, &[own]);
        assert!(findings(&compiled).is_empty());
        cluster(&compiled).outlier.clone()
    };
    let outlier = |policy: &str| of_subset("", &format!("trafficPolicy: {{{policy}}}"));
    let seconds = Duration::from_secs;
    assert_eq!(outlier("loadBalancer: {simple: RANDOM}"), None);
    let of = outlier("outlierDetection: {}").unwrap();
    assert_eq!((of.consecutive_5xx, of.consecutive_gateway_failure, of.consecutive_local_origin_failure), (5, 0, None));
    assert_eq!((of.interval, of.base_ejection_time, of.max_ejection_time), (seconds(10), seconds(30), seconds(300)));
    assert_eq!(of.max_ejection_percent, 10);
    let of = outlier(
        "outlierDetection: {consecutive5xxErrors: 0, consecutiveGatewayErrors: 7, splitExternalLocalOriginErrors: true, \
         baseEjectionTime: 10m, maxEjectionPercent: 100, minHealthPercent: 40, outlierDetectionHttpErrorCodes: [429, 404]}",
    )
    .unwrap();
    assert_eq!(
        (of.consecutive_5xx, of.consecutive_gateway_failure, of.consecutive_local_origin_failure),
        (0, 7, Some(5))
    );
    assert_eq!((of.base_ejection_time, of.max_ejection_time), (seconds(600), seconds(600)));
    assert_eq!((of.max_ejection_percent, &*of.error_statuses), (100, &[404, 429][..]));
    // DR-07: a subset's block replaces that of the whole.
    let both = "trafficPolicy: {outlierDetection: {interval: 1s, maxEjectionPercent: 50}}, subsets: [{name: v1, labels: \
                {version: v1}, trafficPolicy: {outlierDetection: {interval: 2s}}}]";
    let of = of_subset("v1", both).unwrap();
    assert_eq!((of.interval, of.max_ejection_percent), (seconds(2), 10));
}

#[test]
fn dr_20_and_dr_21_limits_are_none_unless_written_and_the_mesh_is_under_them() {
    let limits = |policy: &str, settings: &Settings| {
        let own = rule("name: own, namespace: default", &format!("host: b.test, trafficPolicy: {{{policy}}}"));
        let compiled = with_settings("", &[own], settings);
        // A count beside a budget is reported.
        assert_eq!(findings(&compiled).is_empty(), !policy.contains("retryBudget"));
        cluster(&compiled).limits.as_deref().cloned()
    };
    let plain = Settings::default();
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(limits("loadBalancer: {simple: RANDOM}", &plain), None);
    let zeros = "connectionPool: {tcp: {maxConnections: 0}, http: {http2MaxRequests: 0, maxRetries: 0}}";
    assert_eq!(limits(zeros, &plain), None);
    let all = "connectionPool: {tcp: {maxConnections: 1, maxConnectionDuration: 5s, tcpKeepalive: {probes: 3, interval: 7s}}, \
               http: {http1MaxPendingRequests: 2, http2MaxRequests: 3, maxRequestsPerConnection: 4, maxRetries: 5}}";
    let tcp_keepalive = Some(TcpKeepalive { probes: Some(3), time: None, interval: seconds(7) });
    let written = PoolLimits {
        max_connections: Some(1),
        max_pending_requests: Some(2),
        max_requests: Some(3),
        max_requests_per_connection: Some(4),
        max_retries: Some(RetryLimit::Count(5)),
        max_connection_duration: seconds(5),
        tcp_keepalive,
    };
    assert_eq!(limits(all, &plain), Some(written));
    // DR-08: field by field.
    let mut mesh = plain.clone();
    mesh.mesh.tcp_keepalive = Some(resources::spec::destination_rule::TcpKeepalive {
        probes: 9,
        time: resources::spec::scalar::Duration::parse("90s"),
        interval: None,
    });
    let kept = |policy: &str| limits(policy, &mesh).unwrap().tcp_keepalive.unwrap();
    assert_eq!(kept(all), TcpKeepalive { probes: Some(3), time: seconds(90), interval: seconds(7) });
    let of_mesh = TcpKeepalive { probes: Some(9), time: seconds(90), interval: None };
    assert_eq!(kept("loadBalancer: {simple: RANDOM}"), of_mesh);
    // A budget takes the place of a count.
    let budget =
        |of: &str| limits(&format!("{of}, connectionPool: {{http: {{maxRetries: 5}}}}"), &plain).unwrap().max_retries;
    let of = |percent, min_concurrency| {
        Some(RetryLimit::Budget { percent: ir::Share::of_percent(percent), min_concurrency })
    };
    assert_eq!(budget("retryBudget: {}"), of(20.0, 3));
    assert_eq!(budget("retryBudget: {percent: 12.5, minRetryConcurrency: 7}"), of(12.5, 7));
}

#[test]
fn dr_21_the_idle_time_of_tcp_is_under_that_of_http() {
    let idle = |pool: &str| {
        let own = rule(
            "name: own, namespace: default",
            &format!("host: b.test, trafficPolicy: {{connectionPool: {{{pool}}}}}"),
        );
        cluster(&with("", &[own])).timeouts.idle.as_secs()
    };
    assert_eq!(idle("tcp: {idleTimeout: 7s}"), 7);
    assert_eq!(idle("tcp: {idleTimeout: 7s}, http: {idleTimeout: 9s}"), 9);
    assert_eq!(idle("tcp: {idleTimeout: 0s}, http: {idleTimeout: 9s}"), 9);
    assert_eq!(idle("tcp: {idleTimeout: 0s}"), u64::MAX, "it is never closed for being idle");
}

#[test]
fn dr_12_dr_21_fields_that_others_leave_without_effect_are_told() {
    let told = |policy: &str| {
        let own = rule("name: own, namespace: default", &format!("host: b.test, trafficPolicy: {{{policy}}}"));
        with("", &[own]).report.iter().map(|found| format!("{} {}", found.code, found.field)).collect::<Vec<_>>()
    };
    let warmup = ["MG8009 spec.trafficPolicy.loadBalancer.warmup"];
    assert_eq!(told("loadBalancer: {consistentHash: {useSourceIp: true}, warmup: {duration: 9s}}"), warmup);
    assert_eq!(told("loadBalancer: {simple: RANDOM, warmup: {duration: 9s}}"), warmup);
    assert_eq!(told("loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 9s}}"), [""; 0]);
    let retries = "connectionPool: {http: {maxRetries: 3}}";
    assert_eq!(
        told(&format!("{retries}, retryBudget: {{}}")),
        ["MG8009 spec.trafficPolicy.connectionPool.http.maxRetries"]
    );
    assert_eq!(told(retries), [""; 0]);
}
