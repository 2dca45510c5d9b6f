//! The properties of a client's connection, shared by its requests.

use super::{ListenerState, TableState, Timer, TlsService, Tracked, Worker};
use crate::stream_info::StreamFacts;
use crate::tls::NegotiatedTls;
use ir::{CertificateHeader, MeshConnectionSettings};
use routing::authorization::ConnectionAccess;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use text::AddressText;
use wire::forwarded::Certificate;
use wire::proxy_protocol::Ends;

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Client {
    /// The client's address, without the port.
    pub(crate) peer: AddressText,
    pub(crate) remote: SocketAddr,
    /// The local address.
    pub(crate) local: Option<SocketAddr>,
    /// The address of the peer, which is a proxy's where connections begin with a PROXY header.
    source: IpAddr,
    /// The port that policies know the local address by (AP-08).
    port: u16,
    /// The port that the client has connected to, if it sends requests and does not know of the gateway.
    pub(crate) original_port: Option<u16>,
    pub(crate) listener: Arc<ListenerState>,
    /// The mesh's connection settings when it was accepted.
    pub(crate) mesh_settings: Arc<MeshConnectionSettings>,
    /// Its TLS session, if it uses TLS.
    pub(crate) tls: Option<DownstreamTls>,
    /// Its entry in the tracker.
    pub(crate) tracked: Rc<Tracked>,
    /// When it accepts no further request, if connections have a maximum age (PC-04).
    expires: Option<Instant>,
}

/// The addresses of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientEnds {
    /// The peer.
    pub(crate) source: IpAddr,
    /// The client: the peer, or what a PROXY header says.
    pub(crate) remote: SocketAddr,
    /// What the client connected to.
    pub(crate) local: Option<SocketAddr>,
    /// Whether a PROXY header names the last two.
    pub(crate) named: bool,
    /// The port that the client has connected to, if it sends requests and does not know of the gateway.
    pub(crate) original_port: Option<u16>,
}

/// The TLS session of a client.
#[derive(Debug)]
pub(crate) struct DownstreamTls {
    /// The SNI.
    pub(crate) sni: Option<Box<str>>,
    pub(crate) service: Arc<TlsService>,
    /// The value of `x-forwarded-client-cert`, if the client presented a certificate that was verified.
    pub(crate) certificate: Option<Box<str>>,
    pub(crate) negotiated: NegotiatedTls,
}

impl Client {
    /// The SNI; empty if there is none.
    pub(crate) fn server_name(&self) -> &str {
        self.tls.as_ref().and_then(|tls| tls.sni.as_deref()).unwrap_or_default()
    }

    pub(crate) fn new(
        listener: &Arc<ListenerState>,
        ends: ClientEnds,
        tls: Option<DownstreamTls>,
        tracked: Rc<Tracked>,
    ) -> Self {
        let services = listener.services();
        let mesh_settings = Arc::clone(&services.mesh_settings);
        let ClientEnds { source, remote, local, named, original_port } = ends;
        let age = mesh_settings.connections.max_age.filter(|age| !age.is_zero());
        Self {
            expires: age.and_then(|age| Instant::now().checked_add(age)),
            peer: wire::forwarded::plain_address(remote).into(),
            remote,
            local,
            source: source.to_canonical(),
            port: local.filter(|_| named).map_or(services.policy_port, |local| local.port()),
            original_port,
            listener: Arc::clone(listener),
            mesh_settings,
            tls,
            tracked,
        }
    }

    /// Its facts for header values and the access log.
    pub(crate) fn facts(&self) -> StreamFacts<'_> {
        let tls = self.tls.as_ref().map(|tls| &tls.negotiated);
        StreamFacts::of_connection(self.remote, self.local, self.server_name(), tls)
    }

    /// Its facts for policies.
    pub(crate) fn access(&self) -> ConnectionAccess<'_> {
        ConnectionAccess {
            source: self.source,
            destination: self.local.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |local| local.ip().to_canonical()),
            port: self.port,
            server_name: self.server_name(),
            identity: self.tls.as_ref().map_or(&[], |tls| tls.negotiated.identity()),
        }
    }

    /// Its identity for services for authorization: the URI in its certificate, its DNS name, or its subject; empty without one.
    pub(crate) fn principal(&self) -> &str {
        self.access().identity.first().map_or("", |name| name)
    }

    /// The identity of the gateway for services for authorization: the URI in the certificate that it has shown; empty without one.
    pub(crate) fn own_principal(&self) -> &str {
        let acceptor = self.tls.as_ref().and_then(|tls| tls.service.acceptor.as_ref());
        acceptor.and_then(|acceptor| acceptor.uri.as_deref()).unwrap_or_default()
    }

    /// The addresses of both peers, if they are known.
    pub(crate) fn ends(&self) -> Option<Ends> {
        Some(Ends { source: self.remote, destination: self.local? })
    }

    /// The scheme of its requests, unless a trusted proxy says otherwise.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// What happens to `x-forwarded-client-cert` (S-113).
    pub(crate) fn certificate_header(&self, setting: CertificateHeader) -> Certificate<'_> {
        let own = self.tls.as_ref().and_then(|tls| tls.certificate.as_deref());
        match (setting, own) {
            (CertificateHeader::AlwaysForwardOnly, _) | (CertificateHeader::ForwardOnly, Some(_)) => Certificate::Keep,
            (CertificateHeader::SanitizeSet, Some(own)) => Certificate::Set(own),
            (CertificateHeader::AppendForward, Some(own)) => Certificate::Append(own),
            (CertificateHeader::Sanitize, Some(_)) | (_, None) => Certificate::Drop,
        }
    }

    /// Whether the next response closes it.
    pub(crate) fn is_draining(&self, worker: &Worker, table: &TableState) -> bool {
        let own = || self.tls.as_ref().is_some_and(|tls| tls.service.is_draining()) || self.is_outdated();
        let is_old = || self.expires.is_some_and(|end| Instant::now() >= end);
        worker.drain.has_begun() || self.listener.drain.has_begun() || table.drain.has_begun() || own() || is_old()
    }

    /// Whether the current server for its SNI would reject the client: then it accepts no further request, and answers none.
    pub(crate) fn is_outdated(&self) -> bool {
        let Some(tls) = self.tls.as_ref().filter(|tls| tls.service.needs_review()) else { return false };
        let services = self.listener.services();
        let now = services.servers.pick(tls.sni.as_deref()).and_then(|place| services.tls.get(place));
        now.is_some_and(|now| now.is_stricter_than(&tls.service))
    }

    /// Sets the idle timeout (S-121), limited by the maximum age.
    pub(crate) fn set_idle(&self, worker: &Worker, timer: &Timer) {
        match limit(self.mesh_settings.connections.idle_timeout, worker.limits.idle_timeout) {
            Some(idle) => timer.set(idle),
            None => timer.clear(),
        }
        if let Some(end) = self.expires.filter(|end| *end > Instant::now()) {
            timer.set_no_later(end);
        }
    }

    /// The timeout of a head or trailer section; `None` is no timeout.
    pub(crate) fn head_limit(&self, worker: &Worker) -> Option<Duration> {
        limit(self.mesh_settings.connections.headers_timeout, worker.limits.head_timeout)
    }

    /// Sets the timeout of a head.
    pub(crate) fn set_head(&self, worker: &Worker, timer: &Timer) {
        match self.head_limit(worker) {
            Some(head) => timer.set(head),
            None => timer.clear(),
        }
    }

    /// The deadline for the end of a request that began at `begun`, if the mesh sets a timeout.
    pub(crate) fn request_end(&self, begun: Instant) -> Option<Instant> {
        begun.checked_add(self.mesh_settings.connections.request_timeout.filter(|limit| !limit.is_zero())?)
    }

    /// The mesh's stream idle timeout, or `usual` if it sets none.
    pub(crate) fn stream_idle_timeout(&self, usual: Duration) -> Option<Duration> {
        limit(self.mesh_settings.connections.stream_idle_timeout, usual)
    }

    /// Whether it is closed while idle.
    pub(crate) fn is_to_close(&self, worker: &Worker) -> bool {
        worker.drain.closes_idle() || self.listener.drain.closes_idle() || self.is_outdated()
    }
}

/// The mesh's timeout, or the usual one; zero is no timeout.
fn limit(of_mesh: Option<Duration>, usual: Duration) -> Option<Duration> {
    Some(of_mesh.unwrap_or(usual)).filter(|limit| !limit.is_zero())
}
