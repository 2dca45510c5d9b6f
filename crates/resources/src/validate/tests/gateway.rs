//! GW-02 to GW-21.

use super::{diagnostics, holds, short};

const HTTP: &str = "{number: 80, name: http, protocol: HTTP}";
const HTTPS: &str = "{number: 443, name: https, protocol: HTTPS}";

fn server(port: &str, rest: &str) -> String {
    format!("servers:\n- port: {port}\n  hosts: [a.test]\n{rest}")
}

#[track_caller]
fn tls(port: &str, settings: &str, wanted: &[&str]) {
    holds("Gateway", &server(port, &format!("  tls: {settings}")), wanted);
}

#[test]
fn gw_02_servers_ports_and_hosts_are_needed() {
    holds("Gateway", "selector: {a: b}", &["E MG1001 spec.servers"]);
    holds("Gateway", "servers: [{}]", &["E MG1002 spec.servers[0].port", "E MG1006 spec.servers[0].hosts"]);
}

#[test]
fn gw_03_a_port_has_number_name_and_protocol() {
    holds("Gateway", &server(HTTP, ""), &[]);
    for protocol in ["http2", "GRPC-WEB", "grpc", "TCP", "mongo", "HTTP_PROXY"] {
        holds("Gateway", &server(&format!("{{number: 1, name: a, protocol: {protocol}}}"), ""), &[]);
    }
    for number in ["0", "65536"] {
        let port = format!("{{number: {number}, name: a, protocol: HTTP}}");
        holds("Gateway", &server(&port, ""), &["E MG1003 spec.servers[0].port.number"]);
    }
    holds("Gateway", &server("{number: 80, protocol: HTTP}", ""), &["E MG1005 spec.servers[0].port.name"]);
    holds("Gateway", &server("{number: 80, name: a, protocol: SMTP}", ""), &["E MG1004 spec.servers[0].port.protocol"]);
}

#[test]
fn gw_03_names_of_ports_are_unique() {
    let two = format!("{}- port: {HTTP}\n  hosts: [b.test]", server(HTTP, ""));
    holds("Gateway", &two, &["E MG1005 spec.servers[1].port.name"]);
}

#[test]
fn gw_04_target_port_has_no_effect() {
    let port = "{number: 80, name: a, protocol: HTTP, targetPort: 8080}";
    holds("Gateway", &server(port, ""), &["W MG1010 spec.servers[0].port.targetPort"]);
}

#[test]
fn gw_05_bind_is_an_address_or_a_socket() {
    for good in ["127.0.0.1", "'::'"] {
        holds("Gateway", &server(HTTP, &format!("  bind: {good}")), &[]);
    }
    let socket = "{number: 0, name: http, protocol: HTTP}";
    holds("Gateway", &server(socket, "  bind: unix:///run/a"), &[]);
    holds("Gateway", &server(socket, "  bind: unix://@a"), &[]);
    holds("Gateway", &server(socket, "  bind: unix://a"), &["E MG1009 spec.servers[0].bind"]);
    holds("Gateway", &server(HTTP, "  bind: unix:///run/a"), &["E MG1003 spec.servers[0].port.number"]);
    holds("Gateway", &server(HTTP, "  bind: web.test"), &["E MG1009 spec.servers[0].bind"]);
}

#[test]
fn gw_06_hosts_are_full_names_and_whole_wildcards() {
    let host = |host: &str| format!("servers:\n- port: {HTTP}\n  hosts: ['{host}']");
    for good in ["a.test", "*", "*.a.test", "10.0.0.1", "ns/a.test", "./a.test", "*/a.test", "*/*", "./*"] {
        holds("Gateway", &host(good), &[]);
    }
    for bad in [
        "*a.test",
        "a*.test",
        "a.*.test",
        "localhost",
        "ns/",
        "/a.test",
        "a/b/c.test",
        "n_s/a.test",
        "a_b.test",
        "~/a.test",
    ] {
        holds("Gateway", &host(bad), &["E MG1007 spec.servers[0].hosts[0]"]);
    }
}

#[test]
fn gw_07_servers_better_have_names_of_their_own() {
    let two = format!("{}- port: {HTTPS}\n  hosts: [b.test]\n  name: x\n  tls: {{}}", server(HTTP, "  name: x\n"));
    holds("Gateway", &two, &["W MG1012 spec.servers[1].name"]);
}

#[test]
fn gw_09_only_plain_http_is_redirected() {
    tls(HTTP, "{httpsRedirect: true}", &[]);
    tls(HTTPS, "{httpsRedirect: true}", &["W MG1008 spec.servers[0].tls.httpsRedirect"]);
}

#[test]
fn gw_10_an_empty_tls_block_is_passthrough() {
    tls(HTTPS, "{}", &[]);
    tls(HTTPS, "{mode: AUTO_PASSTHROUGH}", &[]);
    tls(HTTPS, "{credentialName: x}", &["W MG1008 spec.servers[0].tls.mode"]);
    tls(HTTPS, "{mode: 1, credentialName: x}", &[]);
}

#[test]
fn gw_11_certificates_come_from_one_source() {
    tls(HTTPS, "{mode: SIMPLE, credentialName: x}", &[]);
    tls(HTTPS, "{mode: SIMPLE, serverCertificate: /a, privateKey: /b}", &[]);
    tls(HTTPS, "{mode: SIMPLE}", &["E MG1008 spec.servers[0].tls"]);
    tls(HTTPS, "{mode: SIMPLE, serverCertificate: /a}", &["E MG1008 spec.servers[0].tls.privateKey"]);
    let both = "{mode: SIMPLE, serverCertificate: /a, privateKey: /b, credentialName: x}";
    tls(HTTPS, both, &["E MG1008 spec.servers[0].tls"]);
    tls(HTTPS, "{mode: MUTUAL, credentialName: x}", &[]);
    let files = "{mode: MUTUAL, serverCertificate: /a, privateKey: /b}";
    tls(HTTPS, files, &["E MG1008 spec.servers[0].tls.caCertificates"]);
}

#[test]
fn gw_12_istio_mutual_has_its_own_certificate() {
    tls(HTTPS, "{mode: ISTIO_MUTUAL}", &[]);
    tls(HTTPS, "{mode: ISTIO_MUTUAL, credentialName: x}", &["E MG1008 spec.servers[0].tls.mode"]);
    tls(HTTPS, "{mode: ISTIO_MUTUAL, caCertificates: /a}", &["E MG1008 spec.servers[0].tls.mode"]);
}

#[test]
fn gw_13_there_are_two_certificates_at_most() {
    tls(HTTPS, "{mode: SIMPLE, credentialNames: [a, b]}", &[]);
    tls(HTTPS, "{mode: SIMPLE, credentialNames: [a, b, c]}", &["E MG1008 spec.servers[0].tls.credentialNames"]);
    let half = "{mode: SIMPLE, tlsCertificates: [{serverCertificate: /a}]}";
    tls(HTTPS, half, &["E MG1008 spec.servers[0].tls.tlsCertificates[0].privateKey"]);
}

#[test]
fn gw_16_old_versions_need_cipher_suites() {
    let old = "{mode: SIMPLE, credentialName: x, minProtocolVersion: TLSV1_0}";
    tls(HTTPS, old, &["W MG1013 spec.servers[0].tls.minProtocolVersion"]);
}

#[test]
fn gw_17_unknown_and_repeated_suites_are_left_out() {
    let suites = "{mode: SIMPLE, credentialName: x, cipherSuites: [AES128-SHA, X, AES128-SHA]}";
    tls(
        HTTPS,
        suites,
        &["W MG1013 spec.servers[0].tls.cipherSuites[1]", "W MG1013 spec.servers[0].tls.cipherSuites[2]"],
    );
}

#[test]
fn gw_20_protocol_and_tls_fit_together() {
    holds("Gateway", &server(HTTPS, ""), &["E MG1008 spec.servers[0].tls"]);
    tls(HTTP, "{mode: SIMPLE, credentialName: x}", &["E MG1008 spec.servers[0].tls"]);
    tls(HTTP, "{credentialName: x}", &["W MG1008 spec.servers[0].tls"]);
    tls(HTTP, "{serverCertificate: /a}", &["E MG1008 spec.servers[0].tls"]);
    tls("{number: 1, name: a, protocol: TCP}", "{mode: SIMPLE}", &["E MG1008 spec.servers[0].tls"]);
    let simple = "{mode: SIMPLE, serverCertificate: /a, privateKey: /b, caCrl: /c}";
    tls(HTTPS, simple, &["E MG1008 spec.servers[0].tls.caCrl"]);
    tls(HTTPS, "{mode: MUTUAL, credentialName: x, caCrl: /c}", &["E MG1008 spec.servers[0].tls.caCrl"]);
}

#[test]
fn gw_21_the_name_is_a_label() {
    let found = diagnostics("Gateway", "a.b", &server(HTTP, ""));
    assert_eq!(found.iter().map(short).collect::<Vec<_>>(), ["E MG1011 metadata.name"]);
}
