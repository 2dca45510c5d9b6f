//! One worker's thread: it takes connections from its sockets and serves them until it is told to end.

use crate::conn::{Accepting, ListenerState, Worker, catch};
use crate::entry;
use crate::limits::ACCEPT_PAUSE;
use crate::metrics::add;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::LocalSet;

/// What the control side tells a worker.
pub(crate) enum Command {
    /// Accept connections from this socket, which counts until it is closed.
    Listen(Arc<ListenerState>, std::net::TcpListener, Accepting),
    /// Everything up to this generation is published.
    Generation(u64),
    /// Something about draining changed: connections have to look.
    Wake,
    /// End, with all connections.
    Stop,
}

/// Runs a worker on this thread until it is told to stop.
pub(crate) fn run(make: impl FnOnce() -> Rc<Worker>, mut commands: UnboundedReceiver<Command>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().event_interval(61).build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "a worker cannot start");
            return;
        }
    };
    let local = LocalSet::new();
    local.block_on(&runtime, async move {
        let worker = make();
        tokio::task::spawn_local(Rc::clone(&worker).tick());
        while let Some(command) = commands.recv().await {
            match command {
                Command::Listen(listener, socket, accepting) => {
                    let _inside = tokio::task::spawn_local(accept(Rc::clone(&worker), listener, socket, accepting));
                }
                Command::Generation(generation) => worker.metrics.generation.store(generation, Ordering::Release),
                Command::Wake => worker.wake_all(),
                Command::Stop => break,
            }
        }
        worker.flush_log();
    });
}

/// Takes connections for as long as the listener is there, and after it sees that its idle ones end.
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
    loop {
        let accepted = poll_fn(|context| match socket.poll_accept(context) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if closing.is_closed(context) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        match accepted.await {
            None => break,
            Some(Ok((stream, remote))) => take(worker, listener, stream, remote),
            Some(Err(error)) if is_of_one_connection(&error) => {}
            Some(Err(error)) => {
                tracing::warn!(%error, listener = %listener.id, "connections cannot be taken for a moment");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Those that wait in the queue would be reset: nobody else can take them.
    let Ok(socket) = socket.into_std() else { return };
    while let Ok((stream, remote)) = socket.accept() {
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            take(worker, listener, stream, remote);
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

fn take(worker: &Rc<Worker>, listener: &Arc<ListenerState>, stream: TcpStream, remote: std::net::SocketAddr) {
    let metrics = &worker.metrics;
    let is_full = metrics.open.load(Ordering::Relaxed) >= worker.limits.connections as u64;
    // PC-04: workers that take one at the same moment may go beyond it by one each.
    let most = listener.services().edge.connections.most;
    let place = listener.enter(worker.limits.listener_connections);
    let (false, false, Some(place)) = (is_full, most.is_some_and(|most| metrics.open_in_all() >= most), place) else {
        add(&metrics.turned_away);
        return;
    };
    add(&metrics.accepted);
    add(&metrics.open);
    let serving = entry::serve(Rc::clone(worker), Arc::clone(listener), stream, remote);
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        catch(&worker, Box::pin(serving)).await;
        worker.metrics.open.fetch_sub(1, Ordering::Relaxed);
        drop(place);
    });
}
