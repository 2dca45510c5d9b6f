//! The mesh settings in all listeners and tables.

use crate::{Memo, Settings, compile};
use ir::{
    CertificateDetails, CertificateHeader, ConnectionSettings, EscapedSlashes, HeaderSettings, Http10,
    MeshConnectionSettings, PathNormalization, Underscores,
};
use resources::diagnostic::Severity;
use resources::read::read_mesh_config;
use resources::set::ResourceSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(super) fn settings(mesh: &str) -> Settings {
    let (mesh, found) = read_mesh_config(&Arc::from(Path::new("mesh.yaml")), mesh);
    assert!(found.iter().all(|one| one.severity == Severity::Info), "{found:?}");
    Settings { mesh, ..Settings::default() }
}

fn mesh_settings(mesh: &str) -> MeshConnectionSettings {
    crate::mesh_settings::compile(&settings(mesh))
}

#[test]
fn s_112_a_header_is_expected_where_the_topology_says_so() {
    assert_eq!(mesh_settings("{}").proxy_protocol, None);
    let mut settings = settings("defaultConfig: {gatewayTopology: {proxyProtocol: {}}}");
    settings.proxy_protocol_from = vec!["10.0.0.0/8".parse().unwrap()];
    let found = crate::mesh_settings::compile(&settings).proxy_protocol.unwrap();
    assert_eq!(found.from, settings.proxy_protocol_from);
}

#[test]
fn s_113_the_topologys_mode_comes_before_that_of_all_proxies() {
    let mode = |mesh: &str| crate::mesh_settings::certificate_header(&settings(mesh));
    assert_eq!(mode("{}"), CertificateHeader::SanitizeSet);
    let all = "proxyHeaders: {forwardedClientCert: SANITIZE}";
    assert_eq!(mode(&format!("defaultConfig: {{{all}}}")), CertificateHeader::Sanitize);
    let both = format!("defaultConfig: {{gatewayTopology: {{forwardClientCertDetails: FORWARD_ONLY}}, {all}}}");
    assert_eq!(mode(&both), CertificateHeader::ForwardOnly);
    let undefined = format!("defaultConfig: {{gatewayTopology: {{forwardClientCertDetails: UNDEFINED}}, {all}}}");
    assert_eq!(mode(&undefined), CertificateHeader::Sanitize);
}

#[test]
fn pc_03_details_that_are_written_have_defaults_of_their_own() {
    assert_eq!(mesh_settings("{}").certificate_details, CertificateDetails::default());
    let written =
        mesh_settings("defaultConfig: {proxyHeaders: {setCurrentClientCertDetails: {chain: true, dns: false}}}");
    let wanted = CertificateDetails { subject: true, cert: false, chain: true, dns: false, uri: true };
    assert_eq!(written.certificate_details, wanted);
}

#[test]
fn pc_03_headers_are_written_unless_they_are_disabled_or_need_to_be_asked_for() {
    assert_eq!(mesh_settings("{}").headers, HeaderSettings::default());
    assert_eq!(
        mesh_settings("defaultConfig: {proxyHeaders: {server: {disabled: false}}}").headers,
        HeaderSettings::default()
    );
    let written = "requestId: {disabled: true}, server: {disabled: true, value: x}, attemptCount: {disabled: true}, \
                   envoyDebugHeaders: {disabled: true}, preserveHttp1HeaderCase: true, xForwardedHost: {enabled: true}, \
                   xForwardedPort: {enabled: true}";
    let wanted = HeaderSettings {
        request_id: false,
        server: None,
        attempt_count: false,
        debug: false,
        keep_case: true,
        forwarded_host: true,
        forwarded_port: true,
    };
    assert_eq!(mesh_settings(&format!("defaultConfig: {{proxyHeaders: {{{written}}}}}")).headers, wanted);
    let named = mesh_settings("defaultConfig: {proxyHeaders: {server: {value: edge}}}").headers.server;
    assert_eq!(named.as_ref().map(|name| name.as_str()), Some("edge"));
}

#[test]
fn s_120_http_1_0_is_switched_on_by_metadata_or_by_the_process() {
    assert_eq!(mesh_settings("{}").http10, None);
    assert_eq!(mesh_settings("defaultConfig: {proxyMetadata: {ISTIO_META_HTTP10: '0'}}").http10, None);
    let by_metadata = "defaultConfig: {proxyMetadata: {ISTIO_META_HTTP10: '1'}}";
    assert_eq!(mesh_settings(by_metadata).http10, Some(Http10::default()));
    let own = Http10 { default_host: ir::Authority::parse("a.test").ok() };
    let settings = Settings { http10: Some(own.clone()), ..settings(by_metadata) };
    assert_eq!(crate::mesh_settings::compile(&settings).http10, Some(own));
}

#[test]
fn pc_04_the_profile_stands_in_for_what_is_not_written() {
    assert_eq!(mesh_settings("{}").connections, ConnectionSettings::default());
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let wanted = ConnectionSettings {
        idle_timeout: seconds(3600),
        headers_timeout: seconds(60),
        request_timeout: seconds(300),
        stream_idle_timeout: seconds(300),
        streams: Some(100),
        stream_window: Some(65_536),
        connection_window: Some(1 << 20),
        underscores: Underscores::Reject,
        ..ConnectionSettings::default()
    };
    assert_eq!(mesh_settings("defaultConfig: {connectionSettings: {profile: EDGE}}").connections, wanted);
    let some = "profile: EDGE, httpMaxConcurrentStreams: 200, httpStreamIdleTimeout: 0s, \
                httpHeadersWithUnderscoresAction: HEADERS_WITH_UNDERSCORES_DROP_HEADER, globalDownstreamConnectionLimit: 7, \
                httpMaxConnectionDuration: 1h, httpMaxStreamDuration: 10s";
    let wanted = ConnectionSettings {
        most: Some(7),
        max_age: seconds(3600),
        max_stream_duration: seconds(10),
        stream_idle_timeout: seconds(0),
        streams: Some(200),
        underscores: Underscores::Drop,
        ..wanted
    };
    assert_eq!(mesh_settings(&format!("defaultConfig: {{connectionSettings: {{{some}}}}}")).connections, wanted);
}

#[test]
fn s_121_metadata_stands_in_for_settings_that_are_not_written() {
    let metadata = "proxyMetadata: {ISTIO_META_IDLE_TIMEOUT: 5m, ISTIO_META_GLOBAL_DOWNSTREAM_MAX_CONNECTIONS: '9'}";
    let found = mesh_settings(&format!("defaultConfig: {{{metadata}}}")).connections;
    assert_eq!((found.idle_timeout, found.most), (Some(Duration::from_secs(300)), Some(9)));
    let own = "connectionSettings: {httpIdleTimeout: 1m, globalDownstreamConnectionLimit: 2}";
    let found = mesh_settings(&format!("defaultConfig: {{{metadata}, {own}}}")).connections;
    assert_eq!((found.idle_timeout, found.most), (Some(Duration::from_secs(60)), Some(2)));
}

#[test]
fn mc_02_and_pc_04_paths_are_as_the_connection_settings_have_them_before_the_mesh() {
    let paths = |mesh: &str| crate::mesh_settings::paths(&settings(mesh));
    let with = |own: &str, mesh: &str| {
        paths(&format!(
            "pathNormalization: {{normalization: {mesh}}}\ndefaultConfig: {{connectionSettings: {{{own}}}}}"
        ))
    };
    assert_eq!(paths("{}"), (PathNormalization::Base, EscapedSlashes::Take));
    assert_eq!(with("", "NONE"), (PathNormalization::None, EscapedSlashes::Take));
    let edge = "profile: EDGE";
    assert_eq!(with(edge, "BASE"), (PathNormalization::DecodeAndMergeSlashes, EscapedSlashes::Redirect));
    let keep = "profile: EDGE, httpMergeSlashes: false, httpPathWithEscapedSlashesAction: KEEP_UNCHANGED";
    assert_eq!(with(keep, "DECODE_AND_MERGE_SLASHES"), (PathNormalization::Base, EscapedSlashes::Take));
    let reject = "httpPathWithEscapedSlashesAction: REJECT_REQUEST";
    assert_eq!(with(reject, "MERGE_SLASHES"), (PathNormalization::MergeSlashes, EscapedSlashes::Reject));
    let forward = "httpPathWithEscapedSlashesAction: UNESCAPE_AND_FORWARD";
    assert_eq!(with(forward, "BASE"), (PathNormalization::DecodeSlashes, EscapedSlashes::Take));
}

#[test]
fn other_settings_are_another_compilation() {
    let (set, mut memo) = (ResourceSet::default(), Memo::default());
    compile(&set, &settings("{}"), &mut memo);
    let other = settings("defaultConfig: {gatewayTopology: {proxyProtocol: {}}}");
    assert_eq!(compile(&set, &other, &mut memo).delta.changes, None);
}
