//! What is known of a client's connection; all requests on it share it.

use super::{ListenerState, TableState, TlsService, Worker};
use ir::{CertificateHeader, Edge};
use std::net::SocketAddr;
use std::sync::Arc;
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
    pub(crate) edge: Arc<Edge>,
    /// How it came in, if by TLS.
    pub(crate) tls: Option<Secured>,
}

/// How a client came in by TLS.
#[derive(Debug)]
pub(crate) struct Secured {
    /// The name that it asked for.
    pub(crate) sni: Option<Box<str>>,
    pub(crate) service: Arc<TlsService>,
    /// What `x-forwarded-client-cert` says of its certificate, if it showed one that was verified.
    pub(crate) certificate: Option<Box<str>>,
}

impl Client {
    /// The name that the client's TLS asked for; empty if it did not.
    pub(crate) fn server_name(&self) -> &str {
        self.tls.as_ref().and_then(|tls| tls.sni.as_deref()).unwrap_or_default()
    }

    pub(crate) fn new(
        listener: &Arc<ListenerState>,
        (remote, local): (SocketAddr, Option<SocketAddr>),
        tls: Option<Secured>,
    ) -> Self {
        Self {
            peer: wire::forwarded::plain_address(remote).to_string().into(),
            remote,
            local,
            listener: Arc::clone(listener),
            edge: Arc::clone(&listener.services().edge),
            tls,
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
        let own = || self.tls.as_ref().is_some_and(|tls| tls.service.drain.has_begun());
        worker.drain.has_begun() || self.listener.drain.has_begun() || table.drain.has_begun() || own()
    }

    /// Whether it is closed even while idle.
    pub(crate) fn is_to_close(&self, worker: &Worker) -> bool {
        worker.drain.closes_idle() || self.listener.drain.closes_idle()
    }
}
