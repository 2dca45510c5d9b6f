//! AP-13: `extensionProviders[]` of MeshConfig.

use super::short;
use crate::read::read_mesh_config;
use crate::spec::mesh_config::MeshConfig;
use std::path::Path;
use std::sync::Arc;

fn mesh(text: &str) -> (MeshConfig, Vec<String>) {
    let (config, found) = read_mesh_config(&Arc::from(Path::new("mesh.yaml")), text);
    (config, found.iter().map(short).collect())
}

#[test]
fn ap_13_every_option_of_both_kinds_is_read() {
    let text = "
extensionProviders:
- name: http
  envoyExtAuthzHttp:
    service: auth/authz.test
    port: 8000
    timeout: 250ms
    pathPrefix: /check
    failOpen: true
    statusOnError: '503'
    clearRouteCache: true
    includeHeadersInCheck: [old]
    includeRequestHeadersInCheck: [x-a, x-b*, '*-c', '*']
    includeAdditionalHeadersInCheck: {X-From: gateway}
    includeRequestBodyInCheck: {maxRequestBytes: 1024, allowPartialMessage: true}
    headersToUpstreamOnAllow: [x-user]
    headersToDownstreamOnDeny: [set-cookie]
    headersToDownstreamOnAllow: [x-seen]
- name: grpc
  envoyExtAuthzGrpc:
    service: authz.test
    port: 9000
    timeout: 1s
    failOpen: true
    statusOnError: '401'
    clearRouteCache: true
    includeRequestBodyInCheck: {maxRequestBytes: 8, packAsBytes: true}
- name: spans
  zipkin: {service: zipkin.test, port: 9411}
";
    let (config, found) = mesh(text);
    assert_eq!(found, ["W MG0011 extensionProviders[0].envoyExtAuthzHttp.includeHeadersInCheck"]);
    let kinds: Vec<Vec<&str>> = config.extension_providers.iter().map(|one| one.kinds().collect()).collect();
    assert_eq!(kinds, [vec!["envoyExtAuthzHttp"], vec!["envoyExtAuthzGrpc"], vec!["zipkin"]]);
    let http = config.extension_providers[0].envoy_ext_authz_http.as_ref().unwrap();
    assert_eq!(
        (&*http.service, http.port, http.fail_open, &*http.status_on_error),
        ("auth/authz.test", 8000, true, "503")
    );
    assert_eq!(http.include_request_headers_in_check.len(), 4);
    let grpc = config.extension_providers[1].envoy_ext_authz_grpc.as_ref().unwrap();
    assert!(grpc.fail_open && grpc.clear_route_cache && grpc.include_request_body_in_check.unwrap().pack_as_bytes);
}

/// Each of these leaves no provider, so that a policy that refers to it denies all requests.
#[test]
fn ap_13_a_provider_with_an_error_is_taken_out_and_the_field_is_named() {
    let http = |fields: &str| format!("{{name: a, envoyExtAuthzHttp: {{service: a.test, port: 1, {fields}}}}}");
    for (provider, field) in [
        ("{envoyExtAuthzGrpc: {service: a.test, port: 1}}".to_owned(), "[0].name"),
        ("{name: a}".to_owned(), "[0]"),
        ("{name: a, zipkin: {}, envoyExtAuthzGrpc: {service: a.test, port: 1}}".to_owned(), "[0]"),
        ("{name: a, envoyExtAuthzGrpc: {port: 1}}".to_owned(), "[0].envoyExtAuthzGrpc.service"),
        ("{name: a, envoyExtAuthzGrpc: {service: a/b/c, port: 1}}".to_owned(), "[0].envoyExtAuthzGrpc.service"),
        ("{name: a, envoyExtAuthzGrpc: {service: '*.a.test', port: 1}}".to_owned(), "[0].envoyExtAuthzGrpc.service"),
        ("{name: a, envoyExtAuthzGrpc: {service: a.test}}".to_owned(), "[0].envoyExtAuthzGrpc.port"),
        ("{name: a, envoyExtAuthzGrpc: {service: a.test, port: 65536}}".to_owned(), "[0].envoyExtAuthzGrpc.port"),
        (http("timeout: 0s"), "[0].envoyExtAuthzHttp.timeout"),
        (http("timeout: -1s"), "[0].envoyExtAuthzHttp.timeout"),
        (http("statusOnError: '99'"), "[0].envoyExtAuthzHttp.statusOnError"),
        (http("statusOnError: never"), "[0].envoyExtAuthzHttp.statusOnError"),
        (http("pathPrefix: check"), "[0].envoyExtAuthzHttp.pathPrefix"),
        (http("pathPrefix: '/a?b'"), "[0].envoyExtAuthzHttp.pathPrefix"),
        (http("headersToUpstreamOnAllow: [x-a, 'a b']"), "[0].envoyExtAuthzHttp.headersToUpstreamOnAllow[1]"),
        (http("headersToDownstreamOnDeny: ['a*b']"), "[0].envoyExtAuthzHttp.headersToDownstreamOnDeny[0]"),
        (http("includeRequestHeadersInCheck: ['']"), "[0].envoyExtAuthzHttp.includeRequestHeadersInCheck[0]"),
        (
            http("includeAdditionalHeadersInCheck: {host: b}"),
            "[0].envoyExtAuthzHttp.includeAdditionalHeadersInCheck.host",
        ),
        (http("includeRequestBodyInCheck: {}"), "[0].envoyExtAuthzHttp.includeRequestBodyInCheck.maxRequestBytes"),
        (
            http("includeRequestBodyInCheck: {maxRequestBytes: 8388609}"),
            "[0].envoyExtAuthzHttp.includeRequestBodyInCheck.maxRequestBytes",
        ),
    ] {
        let (config, found) = mesh(&format!("extensionProviders: [{provider}]"));
        assert_eq!(found, [format!("E MG0011 extensionProviders{field}")], "{provider}");
        assert_eq!(config.extension_providers, [], "{provider}");
    }
    let twice = "{name: a, envoyExtAuthzGrpc: {service: a.test, port: 1}}";
    let (config, found) = mesh(&format!("extensionProviders: [{twice}, {twice}]"));
    assert_eq!((found.len(), config.extension_providers.len()), (2, 0));
}
