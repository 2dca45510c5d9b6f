//! One server of a Gateway by itself: its port, address, hosts, and what of it does not act.

use crate::code;
use crate::hosts::ServerHost;
use crate::report::Notes;
use crate::settings::Workload;
use resources::set::Object;
use resources::spec::gateway::{Gateway, Protocol, Server, ServerTls, TlsMode};
use std::net::IpAddr;

/// A port that can be listened on.
pub(super) struct ServerPort {
    pub(super) number: u16,
    pub(super) protocol: Protocol,
}

/// The port, or `None` with the reason said. A port 0 belongs to a unix socket (GW-03).
pub(super) fn port(written: &Server, field: &str, notes: &mut Notes) -> Option<ServerPort> {
    let Some(port) = &written.port else {
        notes.add(code::BAD_SERVER_PORT, format!("{field}.port"), "the server has no port");
        return None;
    };
    if written.bind.starts_with("unix://") {
        notes.add(
            code::NOT_SERVED,
            format!("{field}.bind"),
            "unix sockets are not supported; the server is not opened",
        );
        return None;
    }
    let number = u16::try_from(port.number).ok().filter(|number| *number > 0);
    let protocol = Protocol::parse(&port.protocol);
    if number.is_none() {
        notes.add(
            code::BAD_SERVER_PORT,
            format!("{field}.port.number"),
            format!("{} is not a valid port", port.number),
        );
    }
    if protocol.is_none() {
        let message = format!("unknown protocol `{}`", port.protocol);
        notes.add(code::BAD_SERVER_PORT, format!("{field}.port.protocol"), message);
    }
    Some(ServerPort { number: number?, protocol: protocol? })
}

/// GW-05: the address, by default the workload's.
pub(super) fn bind(written: &Server, workload: &Workload, field: &str, notes: &mut Notes) -> Option<IpAddr> {
    if written.bind.is_empty() {
        return Some(workload.bind);
    }
    let bind = written.bind.parse().ok();
    if bind.is_none() {
        notes.add(code::BAD_BIND, format!("{field}.bind"), format!("`{}` is not an IP address", written.bind));
    }
    bind
}

/// What a server does, before its certificates are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Http,
    Https,
    Tls,
    Passthrough,
    AutoPassthrough,
    Tcp,
    Proxy,
}

/// What a server does, with its TLS settings where there are any; `None` with the reason said where its port stays closed.
pub(super) fn kind<'a>(
    written: &'a Server,
    protocol: Protocol,
    field: &str,
    notes: &mut Notes,
) -> Option<(Kind, Option<&'a ServerTls>)> {
    let tls = written.tls.as_deref();
    let secured = match protocol {
        Protocol::Http => return Some((Kind::Http, tls)),
        Protocol::Tcp => return Some((Kind::Tcp, tls)),
        Protocol::Https => Kind::Https,
        Protocol::HttpProxy if tls.is_none() => return Some((Kind::Proxy, None)),
        Protocol::HttpProxy => Kind::Proxy,
        Protocol::Tls => Kind::Tls,
        Protocol::Udp => {
            let message = "UDP is not supported; the port stays closed";
            notes.add(code::NOT_SERVED, format!("{field}.port.protocol"), message);
            return None;
        }
    };
    let mode = tls.and_then(|tls| tls.mode);
    match mode {
        None | Some(TlsMode::Passthrough | TlsMode::AutoPassthrough) if secured == Kind::Proxy => {
            let message = "a forward proxy cannot pass TLS through; the port stays closed";
            notes.add(code::NOT_SERVED, format!("{field}.tls.mode"), message);
            None
        }
        // GW-10: no mode is PASSTHROUGH.
        None | Some(TlsMode::Passthrough) => Some((Kind::Passthrough, tls)),
        // GW-10: ISTIO_MUTUAL takes its names and lets nobody in, so that no other server of the port answers for them.
        Some(TlsMode::Simple | TlsMode::Mutual | TlsMode::OptionalMutual | TlsMode::IstioMutual) => {
            Some((secured, tls))
        }
        Some(TlsMode::AutoPassthrough) => Some((Kind::AutoPassthrough, tls)),
    }
}

/// The hosts; those that are none are said and left out.
pub(super) fn hosts(written: &Server, gateway: &Object<Gateway>, field: &str, notes: &mut Notes) -> Vec<ServerHost> {
    let mut hosts = Vec::with_capacity(written.hosts.len());
    for (index, text) in written.hosts.iter().enumerate() {
        match ServerHost::parse(text, &gateway.key.namespace) {
            Ok(host) => hosts.push(host),
            Err(why) => notes.add(code::BAD_SERVER_HOST, format!("{field}.hosts[{index}]"), why.to_string()),
        }
    }
    hosts
}

/// Says once what of a Gateway has no effect.
pub(super) fn fields_without_effect(gateway: &Object<Gateway>, notes: &mut Notes) {
    type Has = fn(&Server) -> bool;
    let without_effect: [(Has, &str, &str); 2] = [
        (
            |server| !server.default_endpoint.is_empty(),
            "defaultEndpoint",
            "Istio declares `defaultEndpoint` and does nothing by it",
        ),
        (
            |server| server.port.as_ref().is_some_and(|port| port.target_port != 0),
            "port.targetPort",
            "`targetPort` of a server has no effect; a Service of the gateway says what is listened on",
        ),
    ];
    for (has, name, message) in without_effect {
        if let Some(index) = gateway.spec.servers.iter().position(has) {
            notes.add(code::GATEWAY_FIELD_NO_EFFECT, format!("spec.servers[{index}].{name}"), message);
        }
    }
}
