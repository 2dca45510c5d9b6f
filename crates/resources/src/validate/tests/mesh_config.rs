//! MC-01 to MC-05, PC-02, PC-03.

use super::short;
use crate::read::read_mesh_config;
use crate::spec::mesh_config::{
    AccessLogEncoding, ConnectionProfile, ForwardClientCertDetails, MeshConfig, Normalization,
};
use std::path::Path;
use std::sync::Arc;
use text::format::LogFormat;

fn mesh(text: &str) -> (MeshConfig, Vec<String>) {
    let (config, found) = read_mesh_config(&Arc::from(Path::new("mesh.yaml")), text);
    (config, found.iter().map(short).filter(|found| !found.contains("MG0012")).collect())
}

/// Fields that are reported to have no effect.
fn without_effect(text: &str) -> Vec<String> {
    let (_, found) = read_mesh_config(&Arc::from(Path::new("mesh.yaml")), text);
    found.iter().map(short).filter(|found| found.contains("MG0012")).collect()
}

#[test]
fn mc_05_settings_without_effect_are_told_of() {
    assert_eq!(without_effect("connectTimeout: 5s\nrootNamespace: a\nh2UpgradePolicy: UPGRADE\n"), [""; 0]);
    let text = "accessLogFile: /dev/stdout\naccessLogFormat: x\naccessLogEncoding: TEXT\ntrustDomain: a.test\ndiscoverySelectors: []\n\
                defaultConfig: {discoveryAddress: a, image: {}, drainDuration: 5s, tracing: {}}\n";
    assert_eq!(
        without_effect(text),
        [
            "W MG0012 trustDomain",
            "W MG0012 discoverySelectors",
            "W MG0012 defaultConfig.drainDuration",
            "W MG0012 defaultConfig",
            "W MG0012 defaultConfig"
        ]
    );
}

#[test]
fn mc_02_paths_are_normalised_by_name_or_number() {
    for (text, wanted) in [
        ("pathNormalization: {normalization: NONE}", Normalization::None),
        ("path_normalization: {normalization: 4}", Normalization::DecodeAndMergeSlashes),
        (r#"{"pathNormalization": {"normalization": "MERGE_SLASHES"}}"#, Normalization::MergeSlashes),
    ] {
        let (config, found) = mesh(text);
        assert_eq!((config.path_normalization.normalization, found), (Some(wanted), vec![]), "{text}");
    }
}

#[test]
fn mc_04_and_mc_05_settings_of_all_gateways_are_read() {
    let (config, found) = mesh(
        "accessLogFile: /dev/stdout\naccessLogEncoding: JSON\nconnectTimeout: 5s\nrootNamespace: root\n\
         trustDomain: a.test\ndefaultServiceExportTo: ['.']\ndefaultHttpRetryPolicy: {attempts: 0}\n\
         tcpKeepalive: {probes: 3, time: 10s}\nmeshMTLS: {minProtocolVersion: TLSV1_3}\nenableAutoMtls: false\n",
    );
    assert_eq!(found, [""; 0]);
    assert_eq!(config.access_log_encoding, Some(AccessLogEncoding::Json));
    assert_eq!(config.default_http_retry_policy.map(|retry| retry.attempts), Some(0));
    assert_eq!((&*config.root_namespace, &*config.trust_domain), ("root", "a.test"));
    assert_eq!(config.enable_auto_mtls, Some(false));
}

#[test]
fn te_05_a_format_is_checked_and_says_what_is_wrong_where() {
    let messages = |text: &str| {
        let (config, found) = read_mesh_config(&Arc::from(Path::new("mesh.yaml")), text);
        let said: Vec<String> = found.iter().map(|one| format!("{} {}", short(one), one.message)).collect();
        (config.log_format().unwrap(), said, found.first().and_then(|one| one.position.as_ref().map(|at| at.line)))
    };
    let (format, found, _) = messages("accessLogFile: /dev/stdout\naccessLogFormat: '%PROTOCOL%'");
    assert_eq!((format, found), (LogFormat::text("%PROTOCOL%").unwrap(), vec![]));
    let json = |format: &str| messages(&format!("accessLogEncoding: JSON\naccessLogFormat: '{format}'"));
    let (format, found, _) = json(r#"{"b": {"c": ["%PROTOCOL%", 1, null]}, "a": true}"#);
    assert_eq!((format.operators().len(), found), (1, vec![]));
    assert_eq!(messages("accessLogEncoding: JSON").0, LogFormat::istio_json());
    assert_eq!(messages("{}").0, LogFormat::istio_text());
    let at = "MG0011 accessLogFormat";
    let (format, found, line) = messages("rootNamespace: a\naccessLogFormat: 'a %PROTOCOLL%'");
    assert_eq!((format, line), (LogFormat::istio_text(), Some(2)));
    assert_eq!(found, [format!("E {at} unknown operator `PROTOCOLL` at character 3; did you mean `PROTOCOL`?")]);
    let (_, found, _) = json(r#"{"a": {"b": [1, "%REQ%"]}}"#);
    assert_eq!(found, [format!("E {at} `a.b[1]`: operator `REQ` at character 1 takes the name of a header")]);
    assert_eq!(json("[]").1, [format!("E {at} it is not a JSON object, which `accessLogEncoding` demands")]);
    assert!(
        json("%PROTOCOL%").1[0].starts_with(&format!("E {at} it is not JSON, which `accessLogEncoding` demands: "))
    );
    let absent = "the gateway has no value for the operator `FILTER_STATE`: it is written as `-` or null";
    assert_eq!(messages("accessLogFormat: '%FILTER_STATE(x)%'").1, [format!("W {at} {absent}")]);
}

#[test]
fn pc_02_and_pc_03_topology_and_headers_are_read() {
    let (config, found) = mesh(
        "defaultConfig:\n  gatewayTopology: {numTrustedProxies: 2, forwardClientCertDetails: APPEND_FORWARD, proxyProtocol: {}}\n  \
         proxyHeaders: {server: {disabled: true}, preserveHttp1HeaderCase: true, attemptCount: {disabled: true}}\n",
    );
    assert_eq!(found, [""; 0]);
    let topology = config.default_config.gateway_topology;
    assert_eq!(topology.num_trusted_proxies, 2);
    assert_eq!(topology.forward_client_cert_details, Some(ForwardClientCertDetails::AppendForward));
    assert!(topology.proxy_protocol.is_some());
}

#[test]
fn pc_04_limits_of_connections_are_read_and_none_is_below_zero() {
    let written = "profile: EDGE, httpIdleTimeout: 600s, httpMaxConcurrentStreams: 50, \
                   httpPathWithEscapedSlashesAction: UNESCAPE_AND_FORWARD, httpRequestTimeout: -1s, \
                   globalDownstreamConnectionLimit: -5, listenerPerConnectionBufferLimitBytes: 32768";
    let (config, found) = mesh(&format!("defaultConfig: {{connectionSettings: {{{written}}}}}"));
    let at = "E MG0011 defaultConfig.connectionSettings";
    assert_eq!(found, [format!("{at}.httpRequestTimeout"), format!("{at}.globalDownstreamConnectionLimit")]);
    let settings = config.default_config.connection_settings.unwrap();
    assert_eq!(settings.profile, Some(ConnectionProfile::Edge));
    assert_eq!((settings.http_max_concurrent_streams, settings.http_request_timeout), (Some(50), None));
}

#[test]
fn pc_04_what_clients_of_http2_could_not_live_with_is_told() {
    let written =
        "httpMaxConcurrentStreams: 0, http2InitialStreamWindowSize: 10, http2InitialConnectionWindowSize: 65535";
    let (config, found) = mesh(&format!("defaultConfig: {{connectionSettings: {{{written}}}}}"));
    let at = "MG0011 defaultConfig.connectionSettings";
    assert_eq!(found, [format!("E {at}.httpMaxConcurrentStreams"), format!("W {at}.http2InitialStreamWindowSize")]);
    assert_eq!(config.default_config.connection_settings.unwrap().http_max_concurrent_streams, None);
}

#[test]
fn s_120_to_s_122_metadata_without_effect_is_warned_of() {
    let of = |http10: &str, idle: &str, most: &str| {
        let written = format!("ISTIO_META_HTTP10: '{http10}', ISTIO_META_IDLE_TIMEOUT: '{idle}'");
        let most = format!("ISTIO_META_GLOBAL_DOWNSTREAM_MAX_CONNECTIONS: '{most}'");
        mesh(&format!("defaultConfig: {{proxyMetadata: {{{written}, {most}, OTHER: x}}}}")).1
    };
    assert_eq!(of("1", "5m", "9"), [""; 0]);
    let at = "W MG0011 defaultConfig.proxyMetadata.ISTIO_META_";
    let all = ["HTTP10", "IDLE_TIMEOUT", "GLOBAL_DOWNSTREAM_MAX_CONNECTIONS"].map(|name| format!("{at}{name}"));
    assert_eq!(of("true", "5", "lots"), all);
}

#[test]
fn fields_that_gateways_do_not_read_are_known() {
    let text = "extensionProviders: [{name: x, zipkin: {}}]\ndiscoverySelectors: []\ndefaultConfig: {tracing: {}, discoveryAddress: a:1}\n";
    assert_eq!(mesh(text).1, [""; 0]);
}

#[test]
fn unknown_fields_are_warned_of_and_the_rest_counts() {
    let (config, found) = mesh("rootNamespce: a\nrootNamespace: b\n");
    assert_eq!(found, ["W MG0011 rootNamespce"]);
    assert_eq!(&*config.root_namespace, "b");
}

#[test]
fn the_default_stands_in_for_what_is_wrong() {
    let (config, found) =
        mesh("connectTimeout: 0s\ndefaultServiceExportTo: ['*', a]\ntrustDomain: a b\nrootNamespace: 5\n");
    assert_eq!(
        found,
        [
            "E MG0011 rootNamespace",
            "E MG0011 connectTimeout",
            "E MG0011 defaultServiceExportTo",
            "E MG0011 trustDomain"
        ]
    );
    assert_eq!(config, MeshConfig::default());
}
