//! What the listeners serve, as plain values: for the admin page and for the log at start-up.

use ir::{Credential, HostPattern, HttpTable, Listener, Origin, Service, Snapshot, TlsServer};

/// What is spoken on a connection, as far as the gateway takes part in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Http,
    /// HTTP behind TLS that ends here.
    Https,
    /// A forward proxy in clear text.
    HttpProxy,
    /// A forward proxy in TLS.
    HttpsProxy,
    Tcp,
    /// Bytes behind TLS that ends here.
    TlsTermination,
    TlsPassthrough,
}

impl Protocol {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::HttpProxy => "HTTP proxy",
            Self::HttpsProxy => "HTTPS proxy",
            Self::Tcp => "TCP",
            Self::TlsTermination => "TLS termination",
            Self::TlsPassthrough => "TLS passthrough",
        }
    }
}

/// What becomes of the connections that a listener takes in one way: in clear text, or by one of its TLS servers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Served<'a> {
    pub(crate) protocol: Protocol,
    /// The names that clients ask for in TLS; empty for clear text.
    pub(crate) names: &'a [HostPattern],
    pub(crate) by: By<'a>,
    /// Whether TLS ends here and the server has no certificate that can be used, so that every handshake fails.
    pub(crate) lacks_certificate: bool,
}

/// What decides where requests or bytes go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By<'a> {
    Hosts(&'a HttpTable),
    /// The rule of a VirtualService.
    Route(&'a Origin),
}

/// What a listener of the snapshot serves: clear text first, then its TLS servers in their order.
pub(crate) fn of<'a>(listener: &'a Listener, snapshot: &'a Snapshot) -> Vec<Served<'a>> {
    let plain = listener.plain.as_ref().and_then(|service| {
        let by = by(service, snapshot)?;
        let protocol = match by {
            By::Hosts(table) if table.forward.is_some() => Protocol::HttpProxy,
            By::Hosts(_) => Protocol::Http,
            By::Route(_) => Protocol::Tcp,
        };
        Some(Served { protocol, names: &[], by, lacks_certificate: false })
    });
    plain.into_iter().chain(listener.tls.iter().filter_map(|server| of_tls(server, snapshot))).collect()
}

fn of_tls<'a>(server: &'a TlsServer, snapshot: &'a Snapshot) -> Option<Served<'a>> {
    let by = by(&server.service, snapshot)?;
    let protocol = match (&server.termination, by) {
        (None, _) => Protocol::TlsPassthrough,
        (Some(_), By::Hosts(table)) if table.forward.is_some() => Protocol::HttpsProxy,
        (Some(_), By::Hosts(_)) => Protocol::Https,
        (Some(_), By::Route(_)) => Protocol::TlsTermination,
    };
    let ready = |credential: &Credential| matches!(credential, Credential::Ready(_));
    let lacks_certificate = server.termination.as_ref().is_some_and(|termination| !ready(&termination.credential));
    Some(Served { protocol, names: &server.names, by, lacks_certificate })
}

fn by<'a>(service: &'a Service, snapshot: &'a Snapshot) -> Option<By<'a>> {
    match service {
        Service::Http(id) => snapshot.tables.get(id).map(|table| By::Hosts(table)),
        Service::Tcp(route) => Some(By::Route(&route.origin)),
    }
}
