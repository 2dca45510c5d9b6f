//! From an accepted socket to what is spoken on it: whose it is, clear text or TLS, and which of the listener's servers takes it.

mod proxied;

use crate::conn::{Buffer, Client, ListenerState, Secured, Service, Services, Timer, TlsService, Worker};
use crate::http::{self, Downstream, Side};
use crate::metrics::add;
use crate::tcp;
use crate::tls;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsStream};
use upstream::{Replay, Stream};
use wire::hello::{self, Asked, Hello};

/// A connection that was accepted.
struct Accepted {
    worker: Rc<Worker>,
    listener: Arc<ListenerState>,
    stream: TcpStream,
    remote: SocketAddr,
    /// What the client reached, where somebody in front says so.
    local: Option<SocketAddr>,
}

/// Serves a connection to its end.
pub(crate) async fn serve(worker: Rc<Worker>, listener: Arc<ListenerState>, stream: TcpStream, remote: SocketAddr) {
    let services = listener.services();
    let accepted = Accepted { worker, listener: Arc::clone(&listener), stream, remote, local: None };
    if services.edge.proxy_protocol.is_some() {
        drop(services);
        return Box::pin(accepted.proxied()).await;
    }
    if !services.servers.is_empty() {
        drop(services);
        // Boxed, so that what comes after the handshake does not carry it.
        return Box::pin(accepted.by_first_bytes()).await;
    }
    let plain = services.plain.clone();
    drop(services);
    let (input, timer) = (accepted.worker.buffer(), accepted.worker.timer());
    accepted.in_clear_text(plain, input, timer).await;
}

impl Accepted {
    /// Looks at the first bytes to find out what the client speaks, and whose name it asks for.
    async fn by_first_bytes(self) {
        let (input, timer) = (self.worker.buffer(), self.worker.timer());
        timer.set(self.worker.limits.handshake_timeout);
        match UnderWay::begin(&self.worker) {
            Some(under_way) => self.told_apart(input, timer, under_way).await,
            None => add(&self.worker.metrics.turned_away),
        }
    }

    async fn told_apart(mut self, mut input: Buffer, timer: Timer, under_way: UnderWay) {
        match self.first_bytes(&mut input, &timer).await {
            Some(Hello::Clear) => {
                let plain = self.listener.services().plain.clone();
                drop(under_way);
                self.in_clear_text(plain, input, timer).await;
            }
            Some(Hello::Tls(Asked { name: sni, mesh })) => {
                let found = find(&self.listener.services(), sni.as_deref());
                let Some(service) = found.filter(|service| mesh || !service.server.mesh_only) else {
                    // §2.7: no server has the name, so that there is nobody to answer.
                    add(&self.worker.metrics.unknown_names);
                    return;
                };
                self.in_tls((sni, service), input, timer, under_way).await;
            }
            Some(Hello::Malformed | Hello::Partial) | None => add(&self.worker.metrics.handshakes_failed),
        }
    }

    /// Reads until the first message is told apart; `None` when it does not come.
    async fn first_bytes(&mut self, input: &mut Buffer, timer: &Timer) -> Option<Hello> {
        poll_fn(|context| {
            loop {
                match hello::peek(input.filled()) {
                    Hello::Partial => {}
                    told => return Poll::Ready(Some(told)),
                }
                if input.is_full() {
                    input.grow();
                }
                let polled = poll_read(&mut self.stream, input, context);
                match polled {
                    Poll::Ready(true) => {}
                    Poll::Ready(false) => return Poll::Ready(None),
                    Poll::Pending if timer.expired(context) => return Poll::Ready(None),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }

    /// The client's address, and the one that it reached.
    fn ends(&self) -> (SocketAddr, Option<SocketAddr>) {
        (self.remote, self.local.or_else(|| self.stream.local_addr().ok()))
    }

    async fn in_clear_text(self, service: Option<Service>, input: Buffer, timer: Timer) {
        let Some(service) = service else { return };
        let client = Client::new(&self.listener, self.ends(), None);
        speak(self.worker, client, service, Stream::Tcp(self.stream), input, timer).await;
    }

    async fn in_tls(
        self,
        (sni, service): (Option<Box<str>>, Arc<TlsService>),
        mut input: Buffer,
        timer: Timer,
        under_way: UnderWay,
    ) {
        let ends = self.ends();
        let (mut certificate, mut agreed) = (None, tls::Agreed::default());
        let stream = match &service.acceptor {
            None => Stream::Tcp(self.stream),
            Some(acceptor) => {
                // S-96: without a certificate there is nothing to say.
                let Some(config) = acceptor.config.clone() else {
                    return add(&self.worker.metrics.handshakes_failed);
                };
                let accepting = TlsAcceptor::from(config).accept(Replay::new(self.stream, input.filled()));
                input.release();
                let Some(stream) = within(accepting, &timer).await else {
                    return add(&self.worker.metrics.handshakes_failed);
                };
                add(&self.worker.metrics.handshakes);
                let details = self.listener.services().edge.certificate_details;
                let by = acceptor.uri.as_deref();
                agreed = tls::Agreed::of(&acceptor.termination, stream.get_ref().1);
                certificate = tls::told(&acceptor.termination, stream.get_ref().1, details, by);
                Stream::Tls(Box::new(TlsStream::Server(stream)))
            }
        };
        drop(under_way);
        let what = service.service.clone();
        let tls = Secured { sni, service, certificate, agreed };
        let client = Client::new(&self.listener, ends, Some(tls));
        speak(self.worker, client, what, stream, input, timer).await;
    }
}

/// The server of a name.
fn find(services: &Services, name: Option<&str>) -> Option<Arc<TlsService>> {
    services.servers.pick(name).and_then(|place| services.tls.get(place)).cloned()
}

fn poll_read(stream: &mut TcpStream, input: &mut Buffer, context: &mut std::task::Context<'_>) -> Poll<bool> {
    let mut read = tokio::io::ReadBuf::new(input.room());
    let polled = tokio::io::AsyncRead::poll_read(std::pin::Pin::new(stream), context, &mut read);
    let count = read.filled().len();
    input.fill(count);
    polled.map(|result| result.is_ok() && count > 0)
}

/// What a future gives before the timer's deadline; `None` too where it fails.
async fn within<T, E>(future: impl Future<Output = Result<T, E>>, timer: &Timer) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(result.ok()),
        Poll::Pending if timer.expired(context) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Speaks what the service has the connection speak.
async fn speak(worker: Rc<Worker>, client: Client, service: Service, stream: Stream, input: Buffer, timer: Timer) {
    let client = Rc::new(client);
    match service {
        Service::Http(table) => {
            http::serve(worker, Downstream { side: Side::H1(stream), input, timer, client, table }).await
        }
        Service::Tcp(entry) => {
            Box::pin(tcp::serve(worker, tcp::Bytes { stream, input, timer, client, entry })).await;
        }
    }
}

/// Counts a connection among those whose handshake is under way.
struct UnderWay(Rc<Worker>);

impl UnderWay {
    fn begin(worker: &Rc<Worker>) -> Option<Self> {
        let count: &Cell<usize> = &worker.handshakes;
        if count.get() >= worker.limits.handshakes {
            return None;
        }
        count.set(count.get() + 1);
        Some(Self(Rc::clone(worker)))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let count = &self.0.handshakes;
        count.set(count.get().saturating_sub(1));
    }
}
