//! The values of operators that headers and lines of the access log have in common (VS-47, TE-05).

use crate::date::push_time;
use crate::reasons::Flags;
use crate::tls::NegotiatedTls;
use ir::{AddressOf, AddressPart, Fact, Operator, TimeFormat};
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

/// Facts that are known when a request is decided, or a connection is accepted. Texts are empty where there is no value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamFacts<'a> {
    pub(crate) remote: SocketAddr,
    pub(crate) local: Option<SocketAddr>,
    /// The client's address as trusted proxies name it, if it is not that of the connection.
    pub(crate) client: Option<IpAddr>,
    pub(crate) server_name: &'a str,
    pub(crate) tls: Option<&'a NegotiatedTls>,
    /// As clients name it: `HTTP/1.1`, `HTTP/2`.
    pub(crate) protocol: &'static str,
    pub(crate) route_name: &'a str,
    pub(crate) cluster: &'a str,
}

/// Facts that are known once there is a response, or that there is none.
#[derive(Clone, Copy)]
pub(crate) struct OutcomeFacts<'a> {
    pub(crate) started: Instant,
    pub(crate) flags: Flags,
    pub(crate) detail: &'a str,
    pub(crate) transport_failure: &'a str,
    pub(crate) upstream: Option<SocketAddr>,
    pub(crate) upstream_local: &'a dyn Fn() -> Option<SocketAddr>,
}

impl<'a> StreamFacts<'a> {
    /// The facts of a connection without a protocol and a route.
    pub(crate) fn of_connection(
        remote: SocketAddr,
        local: Option<SocketAddr>,
        server_name: &'a str,
        tls: Option<&'a NegotiatedTls>,
    ) -> Self {
        Self { remote, local, client: None, server_name, tls, protocol: "", route_name: "", cluster: "" }
    }

    /// Appends the value of an operator, if it is one of these facts.
    pub(crate) fn put(&self, operator: &Operator, out: &mut Vec<u8>) {
        match operator {
            Operator::Address(of, part) => put_address(self.address(*of), *part, out),
            Operator::EmitTime(format) => put_time(SystemTime::now(), format, out),
            Operator::Environment(name) => {
                let value = std::env::var_os(&**name).unwrap_or_default();
                out.extend_from_slice(value.as_encoded_bytes());
            }
            Operator::Fact(fact) => self.put_fact(*fact, out),
            _ => {}
        }
    }

    fn put_fact(&self, fact: Fact, out: &mut Vec<u8>) {
        let text = match fact {
            Fact::Protocol => self.protocol,
            Fact::RequestedServerName => self.server_name,
            Fact::RouteName => self.route_name,
            Fact::UpstreamCluster | Fact::UpstreamClusterRaw => self.cluster,
            Fact::HostName => host_name(),
            Fact::TlsVersion => self.tls.map_or("", NegotiatedTls::version),
            Fact::TlsCipher => self.tls.map_or("", NegotiatedTls::cipher),
            fact => {
                let peer = fact.of_peer().and_then(|fact| Some(self.tls?.peer(fact)));
                return out.extend_from_slice(peer.unwrap_or_default().as_bytes());
            }
        };
        out.extend_from_slice(text.as_bytes());
        if fact == Fact::UpstreamCluster && !text.is_empty() {
            // The name in Istio's statistics.
            out.push(b';');
        }
    }

    fn address(&self, of: AddressOf) -> Option<SocketAddr> {
        match of {
            // An address from a proxy's header has no port.
            AddressOf::Client => Some(self.client.map_or(self.remote, |client| SocketAddr::new(client, 0))),
            AddressOf::Peer => Some(self.remote),
            AddressOf::Local => self.local,
            AddressOf::Upstream | AddressOf::UpstreamLocal => None,
        }
    }
}

impl OutcomeFacts<'_> {
    /// Appends the value of an operator, if it is one of these facts; whether it is.
    pub(crate) fn put(&self, operator: &Operator, out: &mut Vec<u8>) -> bool {
        match operator {
            Operator::Fact(Fact::ResponseFlags) => out.extend_from_slice(self.flags.text().as_str().as_bytes()),
            Operator::Fact(Fact::ResponseFlagsLong) => {
                out.extend_from_slice(self.flags.long_text().as_str().as_bytes())
            }
            Operator::Fact(Fact::ResponseCodeDetails) => self.put_detail(out),
            Operator::Fact(Fact::UpstreamTransportFailure) => put_word(self.transport_failure, out),
            Operator::Address(AddressOf::Upstream, part) => put_address(self.upstream, *part, out),
            Operator::Address(AddressOf::UpstreamLocal, part) => put_address((self.upstream_local)(), *part, out),
            Operator::StartTime(format) => {
                let started = SystemTime::now().checked_sub(self.started.elapsed());
                put_time(started.unwrap_or(SystemTime::UNIX_EPOCH), format, out);
            }
            _ => return false,
        }
        true
    }

    /// As in Envoy, the detail of a connection that failed has the reason.
    fn put_detail(&self, out: &mut Vec<u8>) {
        match self.detail.strip_suffix("{remote_connection_failure}") {
            Some(before) if !self.transport_failure.is_empty() => {
                out.extend_from_slice(before.as_bytes());
                out.extend_from_slice(b"{remote_connection_failure|");
                put_word(self.transport_failure, out);
                out.push(b'}');
            }
            _ => out.extend_from_slice(self.detail.as_bytes()),
        }
    }
}

/// As in Envoy, blanks become underscores, so that the value is one word.
fn put_word(text: &str, out: &mut Vec<u8>) {
    out.extend(text.bytes().map(|byte| if byte == b' ' { b'_' } else { byte }));
}

fn put_address(address: Option<SocketAddr>, part: AddressPart, out: &mut Vec<u8>) {
    let Some(address) = address else { return };
    let ip = wire::forwarded::plain_address(address);
    // Writing to memory does not fail.
    let _ = match part {
        AddressPart::Whole => write!(out, "{}", SocketAddr::new(ip, address.port())),
        AddressPart::Ip => write!(out, "{ip}"),
        AddressPart::Port => write!(out, "{}", address.port()),
    };
}

fn put_time(time: SystemTime, format: &TimeFormat, out: &mut Vec<u8>) {
    if format.is_default() { push_time(out, time) } else { format.write(time, out) }
}

fn host_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}
