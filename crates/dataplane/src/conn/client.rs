//! What is known of a client's connection; all requests on it share it.

use super::{ListenerState, TableState, Timer, TlsService, Tracked, Worker};
use crate::tls::NegotiatedTls;
use ir::{CertificateHeader, MeshConnectionSettings};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::forwarded::Certificate;
use wire::proxy_protocol::Ends;

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Client {
    /// Its address as text, without the port.
    pub(crate) peer: Box<str>,
    pub(crate) remote: SocketAddr,
    /// The address that it reached.
    pub(crate) local: Option<SocketAddr>,
    pub(crate) listener: Arc<ListenerState>,
    /// What the mesh said of connections when it was taken.
    pub(crate) mesh_settings: Arc<MeshConnectionSettings>,
    /// How it came in, if by TLS.
    pub(crate) tls: Option<ClientTls>,
    /// Whether it waits for its client.
    pub(crate) tracked: Rc<Tracked>,
    /// When it takes no further request, where connections have an age (PC-04).
    expires: Option<Instant>,
}

/// How a client came in by TLS.
#[derive(Debug)]
pub(crate) struct ClientTls {
    /// The name that it asked for.
    pub(crate) sni: Option<Box<str>>,
    pub(crate) service: Arc<TlsService>,
    /// What `x-forwarded-client-cert` says of its certificate, if it showed one that was verified.
    pub(crate) certificate: Option<Box<str>>,
    pub(crate) negotiated: NegotiatedTls,
}

impl Client {
    /// The name that the client's TLS asked for; empty if it did not.
    pub(crate) fn server_name(&self) -> &str {
        self.tls.as_ref().and_then(|tls| tls.sni.as_deref()).unwrap_or_default()
    }

    pub(crate) fn new(
        listener: &Arc<ListenerState>,
        (remote, local): (SocketAddr, Option<SocketAddr>),
        tls: Option<ClientTls>,
        tracked: Rc<Tracked>,
    ) -> Self {
        let mesh_settings = Arc::clone(&listener.services().mesh_settings);
        let age = mesh_settings.connections.max_age.filter(|age| !age.is_zero());
        Self {
            expires: age.and_then(|age| Instant::now().checked_add(age)),
            peer: wire::forwarded::plain_address(remote).to_string().into(),
            remote,
            local,
            listener: Arc::clone(listener),
            mesh_settings,
            tls,
            tracked,
        }
    }

    /// Both ends of it, where they are known.
    pub(crate) fn ends(&self) -> Option<Ends> {
        Some(Ends { source: self.remote, destination: self.local? })
    }

    /// The scheme of its requests, unless a trusted proxy says otherwise.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// What becomes of the header that tells of the client's certificate (S-113).
    pub(crate) fn certificate_header(&self, setting: CertificateHeader) -> Certificate<'_> {
        let own = self.tls.as_ref().and_then(|tls| tls.certificate.as_deref());
        match (setting, own) {
            (CertificateHeader::AlwaysForwardOnly, _) | (CertificateHeader::ForwardOnly, Some(_)) => Certificate::Keep,
            (CertificateHeader::SanitizeSet, Some(own)) => Certificate::Set(own),
            (CertificateHeader::AppendForward, Some(own)) => Certificate::Append(own),
            (CertificateHeader::Sanitize, Some(_)) | (_, None) => Certificate::Drop,
        }
    }

    /// Whether it is asked to close with the next answer, as far as the connection itself tells.
    pub(crate) fn is_draining(&self, worker: &Worker, table: &TableState) -> bool {
        let own = || self.tls.as_ref().is_some_and(|tls| tls.service.is_draining()) || self.is_outdated();
        let is_old = || self.expires.is_some_and(|end| Instant::now() >= end);
        worker.drain.has_begun() || self.listener.drain.has_begun() || table.drain.has_begun() || own() || is_old()
    }

    /// Whether the server that its name has now would reject the client: then it takes no further request, and none that has come is
    /// answered.
    pub(crate) fn is_outdated(&self) -> bool {
        let Some(tls) = self.tls.as_ref().filter(|tls| tls.service.needs_review()) else { return false };
        let services = self.listener.services();
        let now = services.servers.pick(tls.sni.as_deref()).and_then(|place| services.tls.get(place));
        now.is_some_and(|now| now.is_stricter_than(&tls.service))
    }

    /// Gives it the time that a connection may be without a request (S-121), and no more than it has left.
    pub(crate) fn set_idle(&self, worker: &Worker, timer: &Timer) {
        match limit(self.mesh_settings.connections.idle_timeout, worker.limits.idle_timeout) {
            Some(idle) => timer.set(idle),
            None => timer.clear(),
        }
        if let Some(end) = self.expires.filter(|end| *end > Instant::now()) {
            timer.set_no_later(end);
        }
    }

    /// The time that a head, or the trailers of a body, may take; `None` is any.
    pub(crate) fn head_limit(&self, worker: &Worker) -> Option<Duration> {
        limit(self.mesh_settings.connections.headers_timeout, worker.limits.head_timeout)
    }

    /// Gives it the time that a head may take.
    pub(crate) fn set_head(&self, worker: &Worker, timer: &Timer) {
        match self.head_limit(worker) {
            Some(head) => timer.set(head),
            None => timer.clear(),
        }
    }

    /// When a request that began then has to have come as a whole, where the mesh gives it a time.
    pub(crate) fn request_end(&self, begun: Instant) -> Option<Instant> {
        begun.checked_add(self.mesh_settings.connections.request_timeout.filter(|limit| !limit.is_zero())?)
    }

    /// How long an exchange may be without a byte, where `usual` holds unless the mesh says otherwise.
    pub(crate) fn stream_idle_timeout(&self, usual: Duration) -> Option<Duration> {
        limit(self.mesh_settings.connections.stream_idle_timeout, usual)
    }

    /// Whether it is closed even while idle.
    pub(crate) fn is_to_close(&self, worker: &Worker) -> bool {
        worker.drain.closes_idle() || self.listener.drain.closes_idle() || self.is_outdated()
    }
}

/// The mesh's time where it has one, else the usual one; zero is none at all.
fn limit(of_mesh: Option<Duration>, usual: Duration) -> Option<Duration> {
    Some(of_mesh.unwrap_or(usual)).filter(|limit| !limit.is_zero())
}
