//! What the mesh's settings say of all listeners and tables.

use crate::{Memo, Settings, compile};
use ir::{CertificateDetails, CertificateHeader, Edge, HeaderSettings, Http10};
use resources::read::read_mesh_config;
use resources::set::ResourceSet;
use std::path::Path;
use std::sync::Arc;

fn settings(mesh: &str) -> Settings {
    let (mesh, found) = read_mesh_config(&Arc::from(Path::new("mesh.yaml")), mesh);
    assert_eq!(found, []);
    Settings { mesh, ..Settings::default() }
}

fn edge(mesh: &str) -> Edge {
    crate::edge::compile(&settings(mesh))
}

#[test]
fn s_112_a_header_is_expected_where_the_topology_says_so() {
    assert_eq!(edge("{}").proxy_protocol, None);
    let mut settings = settings("defaultConfig: {gatewayTopology: {proxyProtocol: {}}}");
    settings.proxy_protocol_from = vec!["10.0.0.0/8".parse().unwrap()];
    let found = crate::edge::compile(&settings).proxy_protocol.unwrap();
    assert_eq!(found.from, settings.proxy_protocol_from);
}

#[test]
fn s_113_the_topologys_mode_comes_before_that_of_all_proxies() {
    let mode = |mesh: &str| crate::edge::certificate_header(&settings(mesh));
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
    assert_eq!(edge("{}").certificate_details, CertificateDetails::default());
    let written = edge("defaultConfig: {proxyHeaders: {setCurrentClientCertDetails: {chain: true, dns: false}}}");
    let wanted = CertificateDetails { subject: true, cert: false, chain: true, dns: false, uri: true };
    assert_eq!(written.certificate_details, wanted);
}

#[test]
fn pc_03_headers_are_written_unless_they_are_disabled_or_need_to_be_asked_for() {
    assert_eq!(edge("{}").headers, HeaderSettings::default());
    assert_eq!(edge("defaultConfig: {proxyHeaders: {server: {disabled: false}}}").headers, HeaderSettings::default());
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
    assert_eq!(edge(&format!("defaultConfig: {{proxyHeaders: {{{written}}}}}")).headers, wanted);
    let named = edge("defaultConfig: {proxyHeaders: {server: {value: edge}}}").headers.server;
    assert_eq!(named.as_deref(), Some("edge"));
}

#[test]
fn s_120_http_1_0_is_switched_on_by_metadata_or_by_the_process() {
    assert_eq!(edge("{}").http10, None);
    assert_eq!(edge("defaultConfig: {proxyMetadata: {ISTIO_META_HTTP10: '0'}}").http10, None);
    let by_metadata = "defaultConfig: {proxyMetadata: {ISTIO_META_HTTP10: '1'}}";
    assert_eq!(edge(by_metadata).http10, Some(Http10::default()));
    let own = Http10 { default_host: Some("a.test".into()) };
    let settings = Settings { http10: Some(own.clone()), ..settings(by_metadata) };
    assert_eq!(crate::edge::compile(&settings).http10, Some(own));
}

#[test]
fn other_settings_are_another_compilation() {
    let (set, mut memo) = (ResourceSet::default(), Memo::default());
    compile(&set, &settings("{}"), &mut memo);
    let other = settings("defaultConfig: {gatewayTopology: {proxyProtocol: {}}}");
    assert_eq!(compile(&set, &other, &mut memo).delta.changes, None);
}
