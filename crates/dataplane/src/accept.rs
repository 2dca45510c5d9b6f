//! The thread of a worker: accepts connections on its sockets and serves them until it is stopped.

use crate::conn::{Accepting, ListenerPermit, ListenerState, Tracked, Worker, boxed, catch};
use crate::entry;
use crate::limits::{ACCEPT_PAUSE, LONGEST_ACCEPT_PAUSE};
use crate::log::AccessLog;
use crate::metrics::{Rejected, add};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::LocalSet;

/// A command of the control side to a worker.
pub(crate) enum Command {
    /// Accept connections on this socket, which counts as accepting until it is closed.
    Listen(Arc<ListenerState>, std::net::TcpListener, Accepting),
    /// All snapshots up to this generation are applied.
    Generation(u64),
    /// Write to this access log from now on, or to none.
    Log(Option<AccessLog>),
    /// The drain state changed: wake all connections to check it.
    Wake,
    /// Stop, and close all connections.
    Stop,
}

/// Runs a worker on this thread until it is stopped.
pub(crate) fn run(make: impl FnOnce() -> Rc<Worker>, mut commands: UnboundedReceiver<Command>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().event_interval(61).build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "a worker cannot start");
            return;
        }
    };
    // Owns every task of the worker, those of connections, streams and mirrors too: they end with it.
    let local = LocalSet::new();
    local.block_on(&runtime, async move {
        let worker = make();
        tokio::task::spawn_local(Rc::clone(&worker).tick());
        tokio::task::spawn_local(Rc::clone(&worker).serve_evictions());
        while let Some(command) = commands.recv().await {
            match command {
                Command::Listen(listener, socket, accepting) => {
                    let _inside = tokio::task::spawn_local(accept(Rc::clone(&worker), listener, socket, accepting));
                }
                Command::Generation(generation) => worker.metrics.generation.store(generation, Ordering::Release),
                Command::Log(log) => worker.set_log(log),
                Command::Wake => worker.wake_all(),
                Command::Stop => break,
            }
        }
        worker.flush_log();
    });
}

/// Accepts connections while the listener is open, and later closes its idle connections.
async fn accept(worker: Rc<Worker>, listener: Arc<ListenerState>, socket: std::net::TcpListener, accepting: Accepting) {
    match TcpListener::from_std(socket) {
        Ok(socket) => accept_until_closed(&worker, &listener, socket).await,
        Err(error) => tracing::error!(%error, listener = %listener.id, "a worker cannot listen"),
    }
    drop(accepting);
    tokio::time::sleep(worker.limits.retire_grace).await;
    listener.drain.close_idle();
    worker.wake_all();
}

async fn accept_until_closed(worker: &Rc<Worker>, listener: &Arc<ListenerState>, socket: TcpListener) {
    let mut closing = listener.closing();
    let mut failures = Failures::default();
    loop {
        let accepted = poll_fn(|context| match socket.poll_accept(context) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if closing.is_closed(context) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        match accepted.await {
            None => break,
            Some(Ok((stream, remote))) => {
                failures = Failures::default();
                accept_connection(worker, listener, stream, remote).await;
            }
            Some(Err(error)) if is_of_one_connection(&error) => {}
            Some(Err(error)) => failures.wait(worker, &error).await,
        }
    }
    // Connections in the queue of the closed socket would be reset, so they are accepted.
    let Ok(socket) = socket.into_std() else { return };
    while let Ok((stream, remote)) = socket.accept() {
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            accept_connection(worker, listener, stream, remote).await;
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// Consecutive errors of `accept`: no descriptors or no memory. The connections stay in the system's queue. (A reserve descriptor to accept and
/// close them would fail clients that can be served a moment later.)
#[derive(Default)]
struct Failures {
    count: u32,
}

impl Failures {
    /// The first errors evict an idle connection each, which frees a descriptor; further errors pause, each twice as long.
    async fn wait(&mut self, worker: &Worker, error: &io::Error) {
        const EVICTIONS: u32 = 4;
        add(&worker.metrics.accept_errors);
        worker.admission.notices.add_error(error);
        if self.count < EVICTIONS && worker.tracker.evict().is_some() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(self.pause()).await;
        }
        self.count = self.count.saturating_add(1);
    }

    fn pause(&self) -> Duration {
        ACCEPT_PAUSE.saturating_mul(1 << self.count.min(16)).min(LONGEST_ACCEPT_PAUSE)
    }
}

/// Serves a connection, or rejects it at a limit.
async fn accept_connection(worker: &Rc<Worker>, listener: &Arc<ListenerState>, stream: TcpStream, remote: SocketAddr) {
    let (tracked, permit) = match admit(worker, listener, remote).await {
        Ok(admitted) => admitted,
        Err(rejected) => return entry::reject(worker, rejected),
    };
    add(&worker.metrics.accepted);
    add(&worker.metrics.open);
    // Boxed here, so that the task is small: the runtime moves a task several times.
    let serving = boxed(|| entry::serve(Rc::clone(worker), Arc::clone(listener), stream, remote, tracked));
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        catch(&worker, serving).await;
        worker.metrics.open.fetch_sub(1, Ordering::Relaxed);
        drop(permit);
    });
}

/// The limit of the address comes first: a client with too many connections evicts no connections of others.
async fn admit(
    worker: &Rc<Worker>,
    listener: &Arc<ListenerState>,
    remote: SocketAddr,
) -> Result<(Rc<Tracked>, ListenerPermit), Rejected> {
    let mesh_settings = Arc::clone(&listener.services().mesh_settings);
    // With a PROXY header, the client's address is not known yet.
    let address = match mesh_settings.proxy_protocol {
        Some(_) => None,
        None => worker.addresses.admit(remote.ip(), &mesh_settings)?,
    };
    let permit = listener.acquire(worker.limits.listener_connections).ok_or(Rejected::Listener)?;
    let process_permit = worker.admit(mesh_settings.connections.most).await.ok_or(Rejected::Limit)?;
    Ok((worker.tracker.track(process_permit, address), permit))
}
