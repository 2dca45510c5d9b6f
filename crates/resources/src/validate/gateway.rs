//! `Gateway`: GW-02 to GW-21. TLS settings are in `gateway::tls`.

mod tls;

use super::fields::check_port as check_number;
use super::lower_case;
use super::names::{is_address, is_host, is_label, is_partial_wildcard, is_socket_path};
use crate::code;
use crate::diagnostic::Findings;
use crate::key::{Key, Kind};
use crate::spec::Spec;
use crate::spec::gateway::{Gateway, Port, Protocol, Server};
use crate::spec::text_match::Labels;
use crate::suggest;
use std::collections::BTreeMap;

impl Spec for Gateway {
    const KIND: Kind = Kind::Gateway;

    fn normalise(&mut self) {
        lower_case::gateway(self);
    }

    fn selector(&self) -> Option<&Labels> {
        Some(&self.selector)
    }

    fn validate(&self, key: &Key, findings: &mut Findings) {
        if !is_label(&key.name) {
            let message = format!("`{}` is not a valid Gateway name", key.name);
            let help = "use at most 63 letters, digits and hyphens, without dots";
            findings.error("metadata.name", code::GATEWAY_OBJECT_NAME, message, help);
        }
        findings.at("spec", |findings| {
            if self.servers.is_empty() {
                let help = "add a server with a port and hosts";
                findings.error("servers", code::GATEWAY_NO_SERVERS, "the Gateway has no servers", help);
            }
            for (at, server) in self.servers.iter().enumerate() {
                findings.at(format_args!("servers[{at}]"), |findings| check_server(server, findings));
            }
            check_names(&self.servers, findings);
        });
    }
}

/// Names of ports are unique (GW-03), and those of servers better are (GW-07).
fn check_names(servers: &[Server], findings: &mut Findings) {
    let (mut ports, mut names) = (BTreeMap::new(), BTreeMap::new());
    for (at, server) in servers.iter().enumerate() {
        let port = server.port.as_ref().map_or("", |port| &port.name);
        if let Some(before) = ports.insert(port, at).filter(|_| !port.is_empty()) {
            let message = format!("`{port}` is the name of the port of servers[{before}] already");
            let help = "give each port a name of its own";
            findings.error(&format!("servers[{at}].port.name"), code::GATEWAY_PORT_NAME, message, help);
        }
        if let Some(before) = names.insert(&*server.name, at).filter(|_| !server.name.is_empty()) {
            let message = format!("`{}` is the name of servers[{before}] already", server.name);
            let help = "give each server a name of its own";
            findings.warning(&format!("servers[{at}].name"), code::GATEWAY_SERVER_NAME, message, help);
        }
    }
}

fn check_server(server: &Server, findings: &mut Findings) {
    match &server.port {
        None => {
            let help = "add `port` with number, name and protocol";
            findings.error("port", code::GATEWAY_NO_PORT, "the server has no port", help);
        }
        Some(port) => check_port(server, port, findings),
    }
    if server.hosts.is_empty() {
        findings.error("hosts", code::GATEWAY_NO_HOSTS, "the server has no hosts", "add hosts, or `*` for all of them");
    }
    for (at, host) in server.hosts.iter().enumerate() {
        check_host(host, &format!("hosts[{at}]"), findings);
    }
    let good = match server.bind.strip_prefix("unix://") {
        Some(path) => is_socket_path(path),
        None => server.bind.is_empty() || is_address(&server.bind),
    };
    if !good {
        let message = format!("`{}` is not a valid address", server.bind);
        findings.error("bind", code::GATEWAY_BIND, message, "use an IP address, or `unix://` and an absolute path");
    }
}

fn check_port(server: &Server, port: &Port, findings: &mut Findings) {
    if !server.bind.starts_with("unix://") {
        check_number(port.number, "port.number", code::GATEWAY_PORT_NUMBER, findings);
    } else if port.number != 0 {
        let help = "use 0 as the number";
        findings.error("port.number", code::GATEWAY_PORT_NUMBER, "a unix socket has no port", help);
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
            let message = format!("unknown protocol `{}`", port.protocol);
            let known = ["HTTP", "HTTP2", "GRPC", "GRPC-WEB", "HTTPS", "TLS", "TCP", "HTTP_PROXY"];
            let help = suggest::help(&port.protocol, &known, "use one of");
            findings.error("port.protocol", code::GATEWAY_PROTOCOL, message, help);
        }
        Some(protocol) => tls::check(protocol, server.tls.as_deref(), findings),
    }
}

/// GW-06.
fn check_host(host: &str, field: &str, findings: &mut Findings) {
    let (namespace, name) = host.split_once('/').map_or((None, host), |(namespace, name)| (Some(namespace), name));
    let mut refuse = |message: String, help: &str| findings.error(field, code::GATEWAY_HOST, message, help);
    if namespace.is_some_and(|namespace| !matches!(namespace, "*" | ".") && !is_label(namespace)) {
        let message = format!("`{host}` names no namespace before the `/`");
        refuse(message, "write a namespace, `.` for the Gateway's own or `*` for any");
    } else if is_partial_wildcard(name) && is_host(name) {
        refuse(format!("in `{host}` the `*` is part of a label"), "write `*.` and the rest of the name");
    } else if !(is_host(name) || is_address(name)) {
        refuse(format!("`{host}` is not a valid host"), "write a name, an address, `*.suffix` or `*`");
    } else if name != "*" && !name.contains('.') && !is_address(name) {
        refuse(format!("`{host}` is a short name"), "write the full name, for example `web.default.svc.cluster.local`");
    }
}
