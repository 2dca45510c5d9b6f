//! From an accepted socket to its protocol: the client's address, plaintext or TLS, and the server of the listener.

mod failure;
mod first_bytes;
mod transparent;

use crate::codec::{Downstream, ImpliedTunnel};
use crate::conn::{
    Buffer, Client, ClientEnds, DownstreamTls, ListenerState, Notice, Service, Services, Stage, Timer, TlsService,
    Tracked, Worker, boxed,
};
use crate::http::{self, ClientConnection};
use crate::metrics::{Rejected, add};
use crate::reasons::HandshakeFailure;
use crate::tcp;
use crate::tls;
use failure::HandshakeAttempt;
use first_bytes::FirstOctets;
use ir::OriginalDestination;
use routing::forward::{implied_host, implied_request};
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsStream};
use upstream::{Replay, Stream};
use wire::hello::{ClientHello, Hello};

/// An accepted connection.
struct Accepted {
    worker: Rc<Worker>,
    listener: Arc<ListenerState>,
    stream: TcpStream,
    /// The address of the peer.
    source: IpAddr,
    remote: SocketAddr,
    /// The address that the client connected to, if a PROXY header says so.
    local: Option<SocketAddr>,
    tracked: Rc<Tracked>,
    begun: Instant,
}

/// Serves a connection to its end.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    listener: Arc<ListenerState>,
    stream: TcpStream,
    remote: SocketAddr,
    tracked: Rc<Tracked>,
) {
    let services = listener.services();
    let begun = Instant::now();
    let (source, local) = (remote.ip(), None);
    let accepted = Accepted { worker, listener: Arc::clone(&listener), stream, source, remote, local, tracked, begun };
    if services.mesh_settings.proxy_protocol.is_some() {
        drop(services);
        return boxed(|| accepted.serve_behind_proxy()).await;
    }
    if let Some(source) = services.original_destination {
        drop(services);
        let (input, timer) = (accepted.worker.buffer(), accepted.tracked.timer());
        return boxed(|| accepted.serve_transparent(source, input, timer)).await;
    }
    if !services.servers.is_empty() {
        drop(services);
        // Boxed, so that the future after the handshake stays small.
        return boxed(|| accepted.detect_in_time()).await;
    }
    let plain = services.plain.clone();
    drop(services);
    let (input, timer) = (accepted.worker.buffer(), accepted.tracked.timer());
    accepted.serve_plaintext(plain, input, timer).await;
}

impl Accepted {
    /// Reads the first octets within a timeout, to find the protocol and the SNI.
    async fn detect_in_time(self) {
        let (input, timer) = (self.worker.buffer(), self.tracked.timer());
        timer.set(self.worker.limits.client_hello_timeout);
        self.tracked.wait(Stage::FirstBytes);
        self.detect_protocol(input, timer).await;
    }

    async fn detect_protocol(mut self, mut input: Buffer, timer: Timer) {
        let mut attempt = HandshakeAttempt { begun: self.begun, ends: self.addresses(), sni: None };
        if !self.tracked.begin_handshake() {
            return attempt.failed(&self.worker, &self.tracked, HandshakeFailure::TooManyOfAddress);
        }
        match first_bytes::read_client_hello(&mut self.stream, &mut input, &timer).await {
            Ok(Hello::Plaintext) => {
                let Some(plain) = self.listener.services().plain.clone() else {
                    return attempt.failed(&self.worker, &self.tracked, HandshakeFailure::ClearText);
                };
                self.tracked.end_handshake();
                self.serve_plaintext(Some(plain), input, timer).await;
            }
            Ok(Hello::Tls(ClientHello { server_name: sni, istio_alpn })) => {
                let found = find_server(&self.listener.services(), sni.as_deref());
                attempt.sni = sni;
                let Some(service) = found.filter(|service| istio_alpn || !service.server.mesh_only) else {
                    // No server has the name, so the connection is closed (S-14).
                    return attempt.failed(&self.worker, &self.tracked, HandshakeFailure::NoMatchingServer);
                };
                timer.set(self.worker.limits.handshake_timeout);
                self.tracked.wait(Stage::Handshake);
                self.serve_tls(attempt, service, input, timer).await;
            }
            Ok(Hello::Malformed | Hello::Partial) => {
                attempt.failed(&self.worker, &self.tracked, HandshakeFailure::MalformedClientHello);
            }
            Err(cause) if input.is_empty() => attempt.silent(&self.worker, &self.tracked, cause),
            Err(cause) => attempt.failed(&self.worker, &self.tracked, cause),
        }
    }

    /// Serves a connection that has to begin with a PROXY header (S-112), in which the proxy in front sends the client's address. It is closed
    /// without one, or if the sender is not trusted.
    async fn serve_behind_proxy(mut self) {
        let (mut input, timer) = (self.worker.buffer(), self.tracked.timer());
        timer.set(self.worker.limits.client_hello_timeout);
        self.tracked.wait(Stage::FirstBytes);
        let header = if self.is_trusted() {
            first_bytes::read_proxy_header(&mut self.stream, &mut input, &timer).await
        } else {
            None
        };
        let Some(header) = header else {
            return add(&self.worker.metrics.headers_refused);
        };
        input.consume(header.length);
        if let Some(ends) = header.ends {
            (self.remote, self.local) = (ends.source, Some(ends.destination));
        }
        let services = self.listener.services();
        // Limits apply to the client's address, not to the proxy's.
        match self.worker.addresses.admit(self.remote.ip(), &services.mesh_settings) {
            Ok(address) => self.tracked.set_address(address),
            Err(rejected) => return reject(&self.worker, rejected),
        }
        if let Some(source) = services.original_destination {
            drop(services);
            self.serve_transparent(source, input, timer).await;
        } else if services.servers.is_empty() {
            let plain = services.plain.clone();
            drop(services);
            self.serve_plaintext(plain, input, timer).await;
        } else {
            drop(services);
            self.detect_protocol(input, timer).await;
        }
    }

    fn is_trusted(&self) -> bool {
        let services = self.listener.services();
        services.mesh_settings.proxy_protocol.as_ref().is_none_or(|setting| setting.trusts(self.remote.ip()))
    }

    /// The addresses of the client and of the gateway.
    fn addresses(&self) -> ClientEnds {
        let local = self.local.or_else(|| self.stream.local_addr().ok());
        let (source, remote, named) = (self.source, self.remote, self.local.is_some());
        ClientEnds { source, remote, local, named, original_port: None }
    }

    /// Serves a client that does not know of the gateway, by the destination that it has connected to.
    async fn serve_transparent(mut self, source: OriginalDestination, mut input: Buffer, timer: Timer) {
        let port = self.listener.id.address.port();
        let original = transparent::original_destination(&self.stream, source, self.local, port);
        self.local = original.or(self.local);
        let attempt = HandshakeAttempt { begun: self.begun, ends: self.addresses(), sni: None };
        let failed = |cause| attempt.failed(&self.worker, &self.tracked, cause);
        let Some(original) = original else { return failed(HandshakeFailure::NotRedirected) };
        let Some(Service::Http(table)) = self.listener.services().plain.clone() else { return };
        let is_raw = table.version().table.forward().is_some_and(|list| list.is_raw(original.ip(), original.port()));
        let first = if is_raw {
            // The server may be the first to send.
            FirstOctets::Other
        } else {
            timer.set(self.worker.limits.client_hello_timeout);
            self.tracked.wait(Stage::FirstBytes);
            if !self.tracked.begin_handshake() {
                return failed(HandshakeFailure::TooManyOfAddress);
            }
            let first = first_bytes::read_first(&mut self.stream, &mut input, &timer).await;
            self.tracked.end_handshake();
            match first {
                Ok(first) => first,
                Err(cause) if input.is_empty() => return attempt.silent(&self.worker, &self.tracked, cause),
                Err(cause) => return failed(cause),
            }
        };
        let (name, is_tls) = match &first {
            FirstOctets::Tls(name) => (name.as_deref(), true),
            FirstOctets::Http | FirstOctets::Other => (None, false),
        };
        let Some(host) = implied_host(name, original.ip()) else {
            return failed(HandshakeFailure::NotAName);
        };
        let is_http = first == FirstOctets::Http;
        let ends = ClientEnds { original_port: is_http.then_some(original.port()), ..attempt.ends };
        let (stream, mut received) = (Stream::Tcp(self.stream), self.worker.buffer());
        let downstream = if is_http {
            Downstream::connection(stream)
        } else {
            received.put(implied_request(host, original.port()).as_bytes());
            Downstream::implied_tunnel(stream, ImpliedTunnel { is_tls })
        };
        received.put(input.filled());
        let client = Rc::new(Client::new(&self.listener, ends, None, self.tracked));
        client.tracked.wait(Stage::Idle);
        http::serve(self.worker, ClientConnection { downstream, input: received, timer, client, table }).await;
    }

    async fn serve_plaintext(self, service: Option<Service>, input: Buffer, timer: Timer) {
        let Some(service) = service else { return };
        let client = Client::new(&self.listener, self.addresses(), None, self.tracked);
        serve_protocol(self.worker, client, service, Stream::Tcp(self.stream), input, timer).await;
    }

    async fn serve_tls(self, attempt: HandshakeAttempt, service: Arc<TlsService>, mut input: Buffer, timer: Timer) {
        let failed = |cause| attempt.failed(&self.worker, &self.tracked, cause);
        let (mut certificate, mut negotiated) = (None, tls::NegotiatedTls::default());
        let stream = match &service.acceptor {
            None => Stream::Tcp(self.stream),
            Some(acceptor) => {
                // S-96: without a certificate the handshake fails.
                let Some(config) = acceptor.config.clone() else {
                    return failed(HandshakeFailure::NoCertificate);
                };
                let accepting = TlsAcceptor::from(config).accept(Replay::new(self.stream, input.filled()));
                input.release();
                let stream = match before_deadline(accepting, &timer).await {
                    Ok(stream) => stream,
                    Err(cause) => return failed(cause),
                };
                add(&self.worker.metrics.handshakes);
                let details = self.listener.services().mesh_settings.certificate_details;
                let by = acceptor.uri.as_deref();
                negotiated = tls::NegotiatedTls::of(&acceptor.termination, stream.get_ref().1);
                certificate = tls::xfcc_header(&acceptor.termination, stream.get_ref().1, details, by);
                Stream::Tls(Box::new(TlsStream::Server(stream)))
            }
        };
        self.tracked.end_handshake();
        let what = service.service.clone();
        let tls = DownstreamTls { sni: attempt.sni, service, certificate, negotiated };
        let client = Client::new(&self.listener, attempt.ends, Some(tls), self.tracked);
        serve_protocol(self.worker, client, what, stream, input, timer).await;
    }
}

/// The server for a name.
fn find_server(services: &Services, name: Option<&str>) -> Option<Arc<TlsService>> {
    services.servers.pick(name).and_then(|place| services.tls.get(place)).cloned()
}

/// Waits for a handshake until the timer's deadline.
async fn before_deadline<T>(
    handshake: impl Future<Output = io::Result<T>>,
    timer: &Timer,
) -> Result<T, HandshakeFailure> {
    let mut handshake = pin!(handshake);
    poll_fn(|context| match handshake.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(result.map_err(|error| HandshakeFailure::of(&error))),
        Poll::Pending if timer.expired(context) => Poll::Ready(Err(HandshakeFailure::HandshakeTimeout)),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Serves a connection with the protocol of its service.
async fn serve_protocol(
    worker: Rc<Worker>,
    client: Client,
    service: Service,
    stream: Stream,
    input: Buffer,
    timer: Timer,
) {
    let client = Rc::new(client);
    match service {
        Service::Http(table) => {
            client.tracked.wait(Stage::Idle);
            http::serve(
                worker,
                ClientConnection { downstream: Downstream::connection(stream), input, timer, client, table },
            )
            .await
        }
        Service::Tcp(entry, policies) if client.tracked.begin() => {
            boxed(|| tcp::serve(worker, tcp::TcpConnection { stream, input, timer, client, entry, policies })).await;
        }
        Service::Tcp(..) => {}
    }
}

/// Counts a rejected connection.
pub(crate) fn reject(worker: &Worker, rejected: Rejected) {
    worker.metrics.arrivals.reject(rejected);
    match rejected {
        Rejected::Limit => worker.admission.notices.add(Notice::Full),
        Rejected::AddressConnections | Rejected::AddressRate => worker.admission.notices.add(Notice::Address),
        Rejected::Listener => {}
    }
}
