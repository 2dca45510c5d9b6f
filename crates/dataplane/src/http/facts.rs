//! The values of variables in header values (VS-47), for one exchange.

use super::downstream::Downstream;
use crate::conn::Client;
use crate::reasons::Flags;
use ir::{AddressOf, AddressPart, FieldName, Variable};
use jiff::Timestamp;
use routing::{Facts, RouteEntry, substitute};
use std::borrow::Cow;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::{Instant, SystemTime};
use wire::h1::Version;
use wire::view::{Fields, RequestView};

/// Values common to request and response.
#[derive(Clone, Copy)]
pub(in crate::http) struct Common<'a> {
    pub(in crate::http) client: &'a Client,
    /// The client's address behind trusted proxies; empty if no edit uses it.
    pub(in crate::http) address: &'a str,
    pub(in crate::http) protocol: &'static str,
    pub(in crate::http) route: &'a RouteEntry,
    /// The cluster of the request.
    pub(in crate::http) cluster: &'a str,
}

/// Values for the edits of a request.
pub(in crate::http) struct OfRequest<'a> {
    pub(in crate::http) common: Common<'a>,
    pub(in crate::http) view: &'a RequestView<'a>,
}

/// Values for the edits of a response.
pub(in crate::http) struct OfResponse<'a> {
    pub(in crate::http) common: Common<'a>,
    /// The captured headers of the request.
    pub(in crate::http) captured_headers: &'a [(FieldName, Vec<u8>)],
    pub(in crate::http) status: u16,
    pub(in crate::http) fields: Fields<'a>,
    pub(in crate::http) flags: Flags,
    pub(in crate::http) detail: &'a str,
    pub(in crate::http) begun: Instant,
    pub(in crate::http) upstream: Option<SocketAddr>,
    /// A function, because it costs a system call.
    pub(in crate::http) upstream_local: &'a dyn Fn() -> Option<SocketAddr>,
    pub(in crate::http) transport_failure: &'a str,
}

impl Facts for OfRequest<'_> {
    fn request(&self, name: &FieldName) -> Option<Cow<'_, [u8]>> {
        substitute::of_request(self.view, name)
    }

    fn response(&self) -> Option<(u16, Fields<'_>)> {
        None
    }

    fn put(&self, variable: &Variable, out: &mut Vec<u8>) {
        match variable {
            Variable::StartTime(format) => put_time(SystemTime::now(), format, out),
            other => self.common.put(other, out),
        }
    }
}

impl Facts for OfResponse<'_> {
    fn request(&self, name: &FieldName) -> Option<Cow<'_, [u8]>> {
        self.captured_headers
            .iter()
            .find(|(captured, _)| captured == name)
            .map(|(_, value)| Cow::Borrowed(value.as_slice()))
    }

    fn response(&self) -> Option<(u16, Fields<'_>)> {
        Some((self.status, self.fields))
    }

    fn put(&self, variable: &Variable, out: &mut Vec<u8>) {
        match variable {
            Variable::ResponseFlags => out.extend_from_slice(self.flags.text().as_str().as_bytes()),
            Variable::ResponseCodeDetails => out.extend_from_slice(self.detail.as_bytes()),
            Variable::UpstreamTransportFailure => out.extend_from_slice(self.transport_failure.as_bytes()),
            Variable::Address(AddressOf::Upstream, part) => put_address(self.upstream, *part, out),
            Variable::Address(AddressOf::UpstreamLocal, part) => put_address((self.upstream_local)(), *part, out),
            Variable::StartTime(format) => {
                let begun = SystemTime::now().checked_sub(self.begun.elapsed());
                put_time(begun.unwrap_or(SystemTime::UNIX_EPOCH), format, out);
            }
            Variable::Address(AddressOf::Client, part) => {
                let external = self.captured_headers.iter().find_map(|(name, value)| match name {
                    FieldName::Header(name) if name.as_str() == substitute::EXTERNAL_ADDRESS => Some(value),
                    _ => None,
                });
                let address = external.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
                Common { address, ..self.common }.put(&Variable::Address(AddressOf::Client, *part), out);
            }
            other => self.common.put(other, out),
        }
    }
}

impl Common<'_> {
    fn put(&self, variable: &Variable, out: &mut Vec<u8>) {
        let text: &[u8] = match variable {
            Variable::Protocol => self.protocol.as_bytes(),
            Variable::RequestedServerName => self.client.server_name().as_bytes(),
            Variable::RouteName => self.route.config.name.as_bytes(),
            Variable::UpstreamCluster => self.cluster.as_bytes(),
            Variable::HostName => host_name().as_bytes(),
            Variable::Address(of, part) => return put_address(self.address(*of), *part, out),
            Variable::TlsVersion => self.client.tls.as_ref().map_or("", |tls| tls.negotiated.version()).as_bytes(),
            Variable::TlsCipher => self.client.tls.as_ref().map_or("", |tls| tls.negotiated.cipher()).as_bytes(),
            Variable::Peer(fact) => {
                let peer = self.client.tls.as_ref().map(|tls| tls.negotiated.peer(*fact));
                return out.extend_from_slice(peer.unwrap_or_default().as_bytes());
            }
            // Variables of the response, or handled by the caller.
            _ => &[],
        };
        out.extend_from_slice(text);
    }

    fn address(&self, of: AddressOf) -> Option<SocketAddr> {
        match of {
            AddressOf::Client if !self.address.is_empty() && self.address != self.client.peer.as_str() => {
                // An address from a proxy's header has no port.
                self.address.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, 0))
            }
            AddressOf::Client | AddressOf::Peer => Some(self.client.remote),
            AddressOf::Local => self.client.local,
            AddressOf::Upstream | AddressOf::UpstreamLocal => None,
        }
    }
}

/// The protocol as clients name it.
pub(super) fn protocol(downstream: &Downstream, version: Version) -> &'static str {
    match (downstream, version) {
        (Downstream::H1(_), Version::Http10) => "HTTP/1.0",
        (Downstream::H1(_), Version::Http11) => "HTTP/1.1",
        (Downstream::H2(_), _) => "HTTP/2",
    }
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

/// The format was validated by the compiler.
fn put_time(time: SystemTime, format: &str, out: &mut Vec<u8>) {
    let text = Timestamp::try_from(time).ok().and_then(|time| jiff::fmt::strtime::format(format, time).ok());
    out.extend_from_slice(text.unwrap_or_default().as_bytes());
}

fn host_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}
