//! DR-01 to DR-51.

use super::{below, found, holds};

/// A rule with one policy, as flow YAML without its braces.
#[track_caller]
fn policy(text: &str, wanted: &[&str]) {
    let spec = format!("host: a.test\ntrafficPolicy: {{{text}}}");
    assert_eq!(found("DestinationRule", &spec), below("spec.trafficPolicy", wanted), "{text}");
}

#[test]
fn dr_01_the_host_is_a_name_or_a_wildcard() {
    for good in ["a", "a.test", "'*.a.test'", "'*'"] {
        holds("DestinationRule", &format!("host: {good}"), &[]);
    }
    for bad in ["''", "a b", "a.*.test", "10.0.0.1", "a_b.test"] {
        holds("DestinationRule", &format!("host: {bad}"), &["E MG3001 spec.host"]);
    }
}

#[test]
fn dr_05_a_selector_stays_in_its_namespace() {
    let rule = |rest: &str| format!("host: a.test\nworkloadSelector: {{matchLabels: {{a: b}}}}\n{rest}");
    holds("DestinationRule", &rule(""), &[]);
    holds("DestinationRule", &rule("exportTo: [apps]"), &[]);
    holds("DestinationRule", &rule("exportTo: ['*']"), &["E MG2023 spec.exportTo"]);
    holds("DestinationRule", "host: a.test\nworkloadSelector: {}", &["W MG3010 spec.workloadSelector"]);
    let star = "host: a.test\nworkloadSelector: {matchLabels: {a: '*'}}";
    holds("DestinationRule", star, &["E MG3010 spec.workloadSelector.labels"]);
}

#[test]
fn dr_06_subsets_have_names_and_labels() {
    holds("DestinationRule", "host: a.test\nsubsets: [{name: v1, labels: {v: '1'}}, {name: v2}]", &[]);
    holds("DestinationRule", "host: a.test\nsubsets: [{name: v1}, {name: v1}]", &["E MG3002 spec.subsets[1].name"]);
    holds("DestinationRule", "host: a.test\nsubsets: [{name: 'v 1'}]", &["E MG3002 spec.subsets[0].name"]);
    holds("DestinationRule", "host: a.test\nsubsets: [{labels: {v: a}}]", &["E MG3002 spec.subsets[0].name"]);
    let labels = "host: a.test\nsubsets: [{name: v1, labels: {v: 'a b'}}]";
    holds("DestinationRule", labels, &["E MG3002 spec.subsets[0].labels"]);
    let policy = "host: a.test\nsubsets: [{name: v1, trafficPolicy: {connectionPool: {}}}]";
    holds("DestinationRule", policy, &["E MG3004 spec.subsets[0].trafficPolicy.connectionPool"]);
}

#[test]
fn dr_07_policies_say_something() {
    policy("", &["E MG3008"]);
    policy("retryBudget: {percent: 20}", &[]);
    policy("retryBudget: {percent: null, minRetryConcurrency: null}", &[]);
    policy("portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}}]", &[]);
    policy("portLevelSettings: [{loadBalancer: {simple: RANDOM}}]", &["E MG3007 portLevelSettings[0].port"]);
    policy("portLevelSettings: [{port: {number: 80}}]", &["E MG3007 portLevelSettings[0]"]);
    policy(
        "portLevelSettings: [{port: {number: 0}, loadBalancer: {}}]",
        &["W MG3007 portLevelSettings[0].port.number"],
    );
}

#[test]
fn dr_10_balancers_exclude_each_other() {
    for good in ["ROUND_ROBIN", "LEAST_CONN", "LEAST_REQUEST", "RANDOM", "PASSTHROUGH"] {
        policy(&format!("loadBalancer: {{simple: {good}}}"), &[]);
    }
    policy("loadBalancer: {simple: FASTEST}", &["E MG0005 loadBalancer.simple"]);
    policy("loadBalancer: {simple: RANDOM, consistentHash: {useSourceIp: true}}", &["E MG3003 loadBalancer.simple"]);
}

#[test]
fn dr_11_a_hash_has_one_key_and_a_good_table() {
    let hash = |text: &str| format!("loadBalancer: {{consistentHash: {{{text}}}}}");
    policy(&hash("httpHeaderName: x"), &[]);
    policy(&hash("useSourceIp: true, maglev: {tableSize: 65537}"), &[]);
    policy(&hash("httpCookie: {name: x, ttl: 0s}"), &[]);
    policy(&hash(""), &["W MG3003 loadBalancer.consistentHash"]);
    policy(&hash("httpHeaderName: x, useSourceIp: true"), &["E MG3003 loadBalancer.consistentHash"]);
    policy(&hash("httpCookie: {ttl: 1s}"), &["E MG3003 loadBalancer.consistentHash.httpCookie.name"]);
    for bad in ["0", "1", "65536", "5000011"] {
        let text = hash(&format!("useSourceIp: true, maglev: {{tableSize: {bad}}}"));
        policy(&text, &["E MG3003 loadBalancer.consistentHash.maglev.tableSize"]);
    }
    let old = "useSourceIp: true, minimumRingSize: 10";
    policy(&hash(old), &["W MG3003 loadBalancer.consistentHash.minimumRingSize"]);
    let both = format!("{old}, ringHash: {{minimumRingSize: 10}}");
    policy(&hash(&both), &["E MG3003 loadBalancer.consistentHash.minimumRingSize"]);
    let two = "useSourceIp: true, ringHash: {}, maglev: {tableSize: 65537}";
    policy(&hash(two), &["E MG3003 loadBalancer.consistentHash.maglev"]);
}

#[test]
fn dr_11_what_is_written_into_a_cookie_stays_within_its_part() {
    let cookie = |text: &str| format!("loadBalancer: {{consistentHash: {{httpCookie: {{{text}}}}}}}");
    let at = "loadBalancer.consistentHash.httpCookie";
    policy(&cookie("name: a, path: /, ttl: 0s, attributes: [{name: SameSite, value: Lax}, {name: Secure}]"), &[]);
    policy(&cookie("name: a=b"), &[&format!("E MG3003 {at}.name")]);
    policy(&cookie("name: a, path: '/; Domain=x'"), &[&format!("E MG3003 {at}.path")]);
    policy(
        &cookie(r#"name: a, attributes: [{name: B, value: "c\r\nx: y"}]"#),
        &[&format!("E MG3003 {at}.attributes[0].value")],
    );
}

#[test]
fn dr_12_a_warm_up_has_a_length() {
    policy("loadBalancer: {warmup: {duration: 1s, minimumPercent: 5, aggression: 1.5}}", &[]);
    policy("loadBalancer: {warmup: {minimumPercent: 5}}", &["E MG3003 loadBalancer.warmup.duration"]);
    policy(
        "loadBalancer: {warmup: {duration: 1s, minimumPercent: 150}}",
        &["E MG3003 loadBalancer.warmup.minimumPercent"],
    );
    policy("loadBalancer: {warmup: {duration: 1s, aggression: 0.3}}", &["E MG3003 loadBalancer.warmup.aggression"]);
    policy("loadBalancer: {warmupDurationSecs: 0s}", &["E MG3003 loadBalancer.warmupDurationSecs"]);
}

#[test]
fn dr_13_localities_are_distinct_and_shares_whole() {
    let locality = |text: &str| format!("outlierDetection: {{}}, loadBalancer: {{localityLbSetting: {{{text}}}}}");
    let at = "loadBalancer.localityLbSetting";
    policy(&locality("distribute: [{from: a/b, to: {a/b: 80, a/c: 20}}, {from: a/c/*, to: {'*': 100}}]"), &[]);
    policy(&locality("failover: [{from: a, to: b}]"), &[]);
    policy(&locality("failoverPriority: [topology.kubernetes.io/region]"), &[]);
    policy(&locality("distribute: [{from: a, to: {b: 90}}]"), &[&format!("E MG3003 {at}.distribute[0].to")]);
    policy(&locality("distribute: [{from: a, to: {b: 100, c: 0}}]"), &[&format!("E MG3003 {at}.distribute[0].to.c")]);
    policy(&locality("distribute: [{from: a, to: {b: 50, b/c: 50}}]"), &[&format!("E MG3003 {at}.distribute[0].to")]);
    policy(
        &locality("distribute: [{from: a, to: {b: 100}}, {from: a/x, to: {b: 100}}]"),
        &[&format!("E MG3003 {at}.distribute")],
    );
    policy(&locality("distribute: [{from: a/*/b, to: {b: 100}}]"), &[&format!("E MG3003 {at}.distribute")]);
    for bad in ["{from: a, to: a}", "{from: a/b, to: c}", "{from: a, to: '*'}"] {
        policy(&locality(&format!("failover: [{bad}]")), &[&format!("E MG3003 {at}.failover[0]")]);
    }
    policy(
        &locality("distribute: [{from: a, to: {b: 100}}], failover: [{from: a, to: b}]"),
        &[&format!("E MG3003 {at}")],
    );
    policy(
        &locality("failover: [{from: a, to: b}], failoverPriority: [topology.kubernetes.io/region]"),
        &[&format!("E MG3003 {at}.failoverPriority")],
    );
    policy(
        "loadBalancer: {localityLbSetting: {failover: [{from: a, to: b}]}}",
        &["W MG3003 loadBalancer.localityLbSetting"],
    );
}

#[test]
fn dr_20_limits_of_tcp_are_in_range() {
    policy(
        "connectionPool: {tcp: {maxConnections: 0, connectTimeout: 1s, tcpKeepalive: {probes: 1, time: 1s, interval: 1s}}}",
        &[],
    );
    policy("connectionPool: {}", &["E MG3004 connectionPool"]);
    policy("connectionPool: {tcp: {maxConnections: -1}}", &["E MG3004 connectionPool.tcp.maxConnections"]);
    policy("connectionPool: {tcp: {idleTimeout: 0s}}", &[]);
    for (field, time) in
        [("connectTimeout", "0s"), ("idleTimeout", "1us"), ("idleTimeout", "-1s"), ("maxConnectionDuration", "0s")]
    {
        policy(
            &format!("connectionPool: {{tcp: {{{field}: {time}}}}}"),
            &[&format!("E MG3004 connectionPool.tcp.{field}")],
        );
    }
    policy(
        "connectionPool: {tcp: {tcpKeepalive: {time: 0s, interval: 1us}}}",
        &["E MG3004 connectionPool.tcp.tcpKeepalive.time", "E MG3004 connectionPool.tcp.tcpKeepalive.interval"],
    );
}

#[test]
fn dr_21_limits_of_http_are_in_range() {
    policy("connectionPool: {http: {http1MaxPendingRequests: 1, http2MaxRequests: 1, idleTimeout: 1h}}", &[]);
    for field in [
        "http1MaxPendingRequests",
        "http2MaxRequests",
        "maxRequestsPerConnection",
        "maxRetries",
        "maxConcurrentStreams",
    ] {
        policy(
            &format!("connectionPool: {{http: {{{field}: -1}}}}"),
            &[&format!("E MG3004 connectionPool.http.{field}")],
        );
    }
    policy("connectionPool: {http: {idleTimeout: 0s}}", &["E MG3004 connectionPool.http.idleTimeout"]);
    policy("retryBudget: {percent: 100.5}", &["E MG3004 retryBudget.percent"]);
}

#[test]
fn dr_22_an_upgrade_does_not_follow_the_client() {
    policy(
        "connectionPool: {http: {h2UpgradePolicy: UPGRADE, useClientProtocol: true}}",
        &["E MG3004 connectionPool.http.useClientProtocol"],
    );
}

#[test]
fn dr_23_pings_need_both_times() {
    policy("connectionPool: {http: {http2KeepAlive: {interval: 15s, timeout: 5s}}}", &[]);
    policy(
        "connectionPool: {http: {http2KeepAlive: {interval: 15s}}}",
        &["E MG3004 connectionPool.http.http2KeepAlive.timeout"],
    );
}

#[test]
fn dr_30_outliers_are_counted_within_range() {
    policy("outlierDetection: {}", &[]);
    policy(
        "outlierDetection: {consecutive5xxErrors: 3, interval: 1s, baseEjectionTime: 1s, maxEjectionPercent: 100}",
        &[],
    );
    policy("outlierDetection: {interval: 0s}", &["E MG3005 outlierDetection.interval"]);
    policy("outlierDetection: {baseEjectionTime: 1us}", &["E MG3005 outlierDetection.baseEjectionTime"]);
    policy("outlierDetection: {maxEjectionPercent: 101}", &["E MG3005 outlierDetection.maxEjectionPercent"]);
    policy("outlierDetection: {minHealthPercent: -1}", &["E MG3005 outlierDetection.minHealthPercent"]);
    policy(
        "outlierDetection: {outlierDetectionHttpErrorCodes: [429, 600, 99]}",
        &[
            "E MG3005 outlierDetection.outlierDetectionHttpErrorCodes[1]",
            "E MG3005 outlierDetection.outlierDetectionHttpErrorCodes[2]",
        ],
    );
    policy("outlierDetection: {consecutiveErrors: 5}", &["W MG3005 outlierDetection.consecutiveErrors"]);
    policy(
        "outlierDetection: {consecutiveLocalOriginFailures: 5}",
        &["E MG3005 outlierDetection.consecutiveLocalOriginFailures"],
    );
}

#[test]
fn dr_44_credentials_come_from_one_place() {
    policy("tls: {mode: SIMPLE}", &[]);
    policy("tls: {mode: MUTUAL, credentialName: x}", &[]);
    policy("tls: {mode: ISTIO_MUTUAL, sni: a.test}", &[]);
    policy("tls: {mode: MUTUAL}", &["E MG3006 tls.clientCertificate", "E MG3006 tls.privateKey"]);
    policy("tls: {mode: SIMPLE, credentialName: x, caCertificates: /a}", &["E MG3006 tls.credentialName"]);
}

#[test]
fn dr_45_what_is_not_verified_needs_no_ca() {
    policy("tls: {mode: SIMPLE, insecureSkipVerify: true}", &[]);
    for rest in ["caCertificates: /a", "credentialName: x", "subjectAltNames: [a]"] {
        policy(
            &format!("tls: {{mode: SIMPLE, insecureSkipVerify: true, {rest}}}"),
            &["E MG3006 tls.insecureSkipVerify"],
        );
    }
    policy("tls: {mode: MUTUAL, insecureSkipVerify: true, credentialName: x}", &[]);
}

#[test]
fn dr_50_tunnels_have_a_target() {
    policy("tunnel: {targetHost: a.test, targetPort: 443}", &[]);
    policy("tunnel: {protocol: PUT, targetHost: a.test, targetPort: 443}", &["E MG3009 tunnel.protocol"]);
    policy("tunnel: {}", &["E MG3009 tunnel.targetHost", "E MG3009 tunnel.targetPort"]);
    policy("tunnel: {targetHost: a.test, targetPort: 443}, proxyProtocol: {version: V2}", &["E MG3009 proxyProtocol"]);
}
