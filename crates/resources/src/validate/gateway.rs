//! `Gateway`: GW-02 to GW-20.

use super::names::{is_address, is_label, is_name_or_wildcard};
use crate::code;
use crate::diagnostic::Findings;
use crate::key::Kind;
use crate::spec::Spec;
use crate::spec::gateway::{Gateway, Port, Protocol, Server, ServerTls, TlsMode};
use std::collections::BTreeMap;

impl Spec for Gateway {
    const KIND: Kind = Kind::Gateway;

    fn validate(&self, findings: &mut Findings) {
        findings.at("spec", |findings| {
            if self.servers.is_empty() {
                let help = "add a server with a port and hosts";
                findings.error("servers", code::GATEWAY_NO_SERVERS, "the Gateway has no servers", help);
            }
            let mut names: BTreeMap<&str, usize> = BTreeMap::new();
            for (at, server) in self.servers.iter().enumerate() {
                findings.at(format!("servers[{at}]"), |findings| {
                    check_server(server, findings);
                    let name = server.port.as_ref().map_or("", |port| &port.name);
                    if let Some(before) = names.insert(name, at).filter(|_| !name.is_empty()) {
                        let message = format!("`{name}` is the name of the port of servers[{before}] already");
                        findings.error(
                            "port.name",
                            code::GATEWAY_PORT_NAME,
                            message,
                            "give each port a name of its own",
                        );
                    }
                });
            }
        });
    }
}

fn check_server(server: &Server, findings: &mut Findings) {
    match &server.port {
        None => findings.error(
            "port",
            code::GATEWAY_NO_PORT,
            "the server has no port",
            "add `port` with number, name and protocol",
        ),
        Some(port) => check_port(server, port, findings),
    }
    if server.hosts.is_empty() {
        findings.error("hosts", code::GATEWAY_NO_HOSTS, "the server has no hosts", "add hosts, or `*` for all of them");
    }
    for (at, host) in server.hosts.iter().enumerate() {
        check_host(host, &format!("hosts[{at}]"), findings);
    }
    let unix = server.bind.starts_with("unix://");
    if !server.bind.is_empty() && !unix && !is_address(&server.bind) {
        let message = format!("`{}` is no address", server.bind);
        findings.error("bind", code::GATEWAY_BIND, message, "use an IP address, or `unix://` and a path");
    }
}

fn check_port(server: &Server, port: &Port, findings: &mut Findings) {
    if server.bind.starts_with("unix://") {
        if port.number != 0 {
            findings.error(
                "port.number",
                code::GATEWAY_PORT_NUMBER,
                "a unix socket has no port",
                "use 0 as the number",
            );
        }
    } else {
        super::names::check_port(port.number, "port.number", code::GATEWAY_PORT_NUMBER, findings);
    }
    if port.name.is_empty() {
        findings.error("port.name", code::GATEWAY_PORT_NAME, "the port has no name", "name it, for example `http`");
    }
    if port.target_port != 0 {
        let help = "remove it; a Service of the gateway translates ports";
        findings.warning("port.targetPort", code::GATEWAY_TARGET_PORT, "`targetPort` has no effect", help);
    }
    match Protocol::parse(&port.protocol) {
        None => {
            let message = format!("`{}` is no protocol", port.protocol);
            let help = "use one of HTTP, HTTP2, GRPC, GRPC-WEB, HTTPS, TLS, TCP";
            findings.error("port.protocol", code::GATEWAY_PROTOCOL, message, help);
        }
        Some(protocol) => check_tls(protocol, server.tls.as_deref(), findings),
    }
}

/// GW-20.
fn check_tls(protocol: Protocol, tls: Option<&ServerTls>, findings: &mut Findings) {
    let needs = matches!(protocol, Protocol::Https | Protocol::Tls);
    match (needs, tls) {
        (true, None) => {
            findings.error(
                "tls",
                code::GATEWAY_TLS,
                "a server for HTTPS or TLS needs `tls`",
                "add `tls` with a mode and a certificate",
            );
        }
        (false, Some(tls)) if protocol == Protocol::Http => {
            if tls.mode.is_some_and(|mode| mode != TlsMode::Passthrough) || has_certificate(tls) {
                let help = "use the protocol HTTPS, or keep `httpsRedirect` alone";
                findings.warning(
                    "tls",
                    code::GATEWAY_TLS,
                    "a server for HTTP does not end TLS: only `httpsRedirect` counts",
                    help,
                );
            }
        }
        (false, Some(_)) => {
            findings.error("tls", code::GATEWAY_TLS, "a server for TCP may not have `tls`", "use the protocol TLS");
        }
        (true, Some(tls)) => check_mode(tls, findings),
        (false, None) => {}
    }
}

fn has_certificate(tls: &ServerTls) -> bool {
    !tls.server_certificate.is_empty()
        || !tls.credential_name.is_empty()
        || !tls.credential_names.is_empty()
        || !tls.tls_certificates.is_empty()
}

fn check_mode(tls: &ServerTls, findings: &mut Findings) {
    let mode = tls.mode.unwrap_or(TlsMode::Passthrough);
    let sources = [
        !tls.server_certificate.is_empty(),
        !tls.credential_name.is_empty(),
        !tls.credential_names.is_empty(),
        !tls.tls_certificates.is_empty(),
    ];
    let sources = sources.iter().filter(|given| **given).count();
    findings.at("tls", |findings| match mode {
        TlsMode::Passthrough | TlsMode::AutoPassthrough if sources > 0 => {
            findings.warning(
                "mode",
                code::GATEWAY_TLS,
                "TLS is passed through, so that the certificate is not used",
                "use SIMPLE to end TLS here",
            );
        }
        TlsMode::IstioMutual if sources > 0 => {
            findings.error(
                "mode",
                code::GATEWAY_TLS,
                "ISTIO_MUTUAL uses the workload's own certificate",
                "remove the certificate, or use MUTUAL",
            );
        }
        TlsMode::Simple | TlsMode::Mutual | TlsMode::OptionalMutual if sources != 1 => {
            let message = if sources == 0 {
                "the server has no certificate"
            } else {
                "the server has more than one source of certificates"
            };
            findings.error(
                "",
                code::GATEWAY_TLS,
                message,
                "set one of `credentialName`, `credentialNames`, `serverCertificate` and `tlsCertificates`",
            );
        }
        TlsMode::Mutual | TlsMode::OptionalMutual
            if !tls.server_certificate.is_empty()
                && tls.ca_certificates.is_empty()
                && tls.ca_cert_credential_name.is_empty() =>
        {
            findings.error(
                "caCertificates",
                code::GATEWAY_TLS,
                "client certificates cannot be checked without a CA",
                "set `caCertificates`",
            );
        }
        _ => {
            if !tls.server_certificate.is_empty() && tls.private_key.is_empty() {
                findings.error(
                    "privateKey",
                    code::GATEWAY_TLS,
                    "the certificate has no private key",
                    "set `privateKey`",
                );
            }
        }
    });
}

/// GW-06.
fn check_host(host: &str, field: &str, findings: &mut Findings) {
    let (namespace, name) = match host.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, host),
    };
    let namespace_fits = namespace.is_none_or(|namespace| matches!(namespace, "*" | ".") || is_label(namespace));
    if !namespace_fits || !(is_name_or_wildcard(name) || is_address(name)) {
        let help = "write `name`, `*.suffix` or `*`, with `namespace/`, `./` or `*/` before it if need be";
        findings.error(field, code::GATEWAY_HOST, format!("`{host}` is no host"), help);
    }
}
