//! One server of a Gateway by itself: its port, address, hosts, and what of it does not act.

use crate::code;
use crate::hosts::{ServerHost, ServerHosts};
use crate::report::Notes;
use crate::settings::Workload;
use resources::set::Object;
use resources::spec::gateway::{Gateway, Protocol, Server};
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
        notes.add(code::NOT_SERVED, format!("{field}.bind"), "unix sockets are not listened on yet");
        return None;
    }
    let number = u16::try_from(port.number).ok().filter(|number| *number > 0);
    let protocol = Protocol::parse(&port.protocol);
    if number.is_none() {
        notes.add(code::BAD_SERVER_PORT, format!("{field}.port.number"), format!("{} is no port", port.number));
    }
    if protocol.is_none() {
        let message = format!("`{}` is no protocol that Istio knows", port.protocol);
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
        notes.add(code::BAD_BIND, format!("{field}.bind"), format!("`{}` is no IP address", written.bind));
    }
    bind
}

/// Whether the server's port is opened. One whose protocol is not served stays closed, and so does one that is to redirect to
/// HTTPS: to serve in clear text what was meant to be sent away would be worse than a closed port.
pub(super) fn is_served(written: &Server, protocol: Protocol, field: &str, notes: &mut Notes) -> bool {
    let name = match protocol {
        Protocol::Http if written.tls.as_ref().is_some_and(|tls| tls.https_redirect) => {
            let message = "`httpsRedirect` does not act yet, and the port stays closed rather than serve in clear text";
            notes.add(code::NOT_SERVED, format!("{field}.tls.httpsRedirect"), message);
            return false;
        }
        Protocol::Http => return true,
        Protocol::Https => "HTTPS",
        Protocol::Tls => "TLS",
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    };
    let message = format!("servers with {name} are not served yet; the port stays closed");
    notes.add(code::NOT_SERVED, format!("{field}.port.protocol"), message);
    false
}

/// The hosts; those that are none are said and left out.
pub(super) fn hosts(written: &Server, gateway: &Object<Gateway>, field: &str, notes: &mut Notes) -> ServerHosts {
    let mut hosts = Vec::with_capacity(written.hosts.len());
    for (index, text) in written.hosts.iter().enumerate() {
        match ServerHost::parse(text, &gateway.key.namespace) {
            Ok(host) => hosts.push(host),
            Err(why) => notes.add(code::BAD_SERVER_HOST, format!("{field}.hosts[{index}]"), why.to_string()),
        }
    }
    ServerHosts::new(hosts)
}

/// Says once what of a Gateway has no effect.
pub(super) fn inert_fields(gateway: &Object<Gateway>, notes: &mut Notes) {
    type Has = fn(&Server) -> bool;
    let inert: [(Has, &str, &str); 2] = [
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
    for (has, name, message) in inert {
        if let Some(index) = gateway.spec.servers.iter().position(has) {
            notes.add(code::GATEWAY_FIELD_INERT, format!("spec.servers[{index}].{name}"), message);
        }
    }
}
