//! Listeners: the sockets, and the tables behind them. The control side makes, changes and closes them; workers read.

use crate::conn::Drain;
use crate::limits::BACKLOG;
use arc_swap::{ArcSwap, Guard};
use ir::{HostPattern, HttpListener, Listener, ListenerId, ListenerKind};
use routing::{Slots, Table};
use socket2::{Domain, Protocol, Socket, Type};
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use tokio::sync::watch;

/// One listener as workers see it.
#[derive(Debug)]
pub(crate) struct ListenerState {
    pub(crate) id: ListenerId,
    pub(crate) drain: Drain,
    version: ArcSwap<Version>,
    closed: watch::Sender<bool>,
}

/// One version of what a listener does.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) http: HttpListener,
    pub(crate) table: Table,
}

impl Version {
    fn build(listener: &Listener, slots: Slots<'_>) -> Self {
        let ListenerKind::Http(http) = &listener.kind;
        Self { table: Table::build(http, slots), http: http.clone() }
    }
}

impl ListenerState {
    pub(crate) fn new(listener: &Listener, slots: Slots<'_>) -> Arc<Self> {
        Arc::new(Self {
            id: listener.id.clone(),
            drain: Drain::default(),
            version: ArcSwap::from_pointee(Version::build(listener, slots)),
            closed: watch::Sender::new(false),
        })
    }

    /// What it does now.
    pub(crate) fn version(&self) -> Guard<Arc<Version>> {
        self.version.load()
    }

    /// Takes over a listener that differs in more than some hosts.
    pub(crate) fn replace(&self, listener: &Listener, slots: Slots<'_>) {
        self.version.store(Arc::new(Version::build(listener, slots)));
    }

    /// Takes over changed hosts.
    pub(crate) fn update(&self, listener: &Listener, changed: &[HostPattern], slots: Slots<'_>) {
        let ListenerKind::Http(http) = &listener.kind;
        let table = self.version.load().table.update(http, changed, slots);
        self.version.store(Arc::new(Version { http: http.clone(), table }));
    }

    /// No further connections are taken once the queue is empty; those there are end with their next answer.
    pub(crate) fn close(&self) {
        self.drain.begin();
        self.closed.send_replace(true);
    }

    /// For the tasks that accept.
    pub(crate) fn closing(&self) -> Closing {
        let mut receiver = self.closed.subscribe();
        Closing { waiting: Box::pin(async move { drop(receiver.wait_for(|closed| *closed).await) }), done: false }
    }
}

/// Tells when a listener is closed.
pub(crate) struct Closing {
    waiting: Pin<Box<dyn Future<Output = ()> + Send>>,
    done: bool,
}

impl Closing {
    /// Whether it is; the task is woken when it becomes so.
    pub(crate) fn is_closed(&mut self, context: &mut Context<'_>) -> bool {
        self.done = self.done || self.waiting.as_mut().poll(context).is_ready();
        self.done
    }
}

/// Sockets for an address, one per worker; the kernel shares connections out among them.
///
/// A port that somebody else has is an error: sockets that share ports would be let in beside another process of the same user
/// without a word. `ours` skips that probe, for an address that this process has only just given up.
pub(crate) fn bind(address: SocketAddr, workers: usize, ours: bool) -> io::Result<Vec<TcpListener>> {
    match bind_as(address, workers, ours) {
        // A system without IPv6 still has every address of IPv4.
        Err(error) if address.ip().is_unspecified() && address.is_ipv6() && lacks_ipv6(&error) => {
            bind_as(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())), workers, ours)
        }
        result => result,
    }
}

fn lacks_ipv6(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    matches!(code, Some(rustix::io::Errno::AFNOSUPPORT | rustix::io::Errno::ADDRNOTAVAIL))
}

fn bind_as(address: SocketAddr, workers: usize, ours: bool) -> io::Result<Vec<TcpListener>> {
    if !ours && address.port() != 0 {
        socket(address, false)?;
    }
    let mut sockets = Vec::with_capacity(workers);
    let mut address = address;
    for _ in 0..workers.max(1) {
        let socket = socket(address, true)?;
        socket.listen(BACKLOG)?;
        let listener: TcpListener = socket.into();
        // Port 0 is any port, and the same for all of them.
        address = listener.local_addr()?;
        sockets.push(listener);
    }
    Ok(sockets)
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
