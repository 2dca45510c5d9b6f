//! The listeners of the process, on the control side: which there are, what of them is really bound, and what workers are told.

mod sockets;

use crate::accept::Command;
use crate::conn::ListenerState;
use ir::{Changes, HostPattern, Listener, ListenerId, Snapshot};
use routing::Slots;
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// How long an address counts as ours after its listener was closed: its sockets may still be open.
const RECENT: Duration = Duration::from_secs(5);

/// The way to each worker.
pub(crate) type Workers = [UnboundedSender<Command>];

/// A listener that cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindProblem {
    /// The listener.
    pub listener: ListenerId,
    /// What the system said.
    pub message: String,
}

/// All listeners.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    open: BTreeMap<ListenerId, Open>,
    closed: BTreeMap<SocketAddr, Instant>,
}

#[derive(Debug)]
struct Open {
    state: Arc<ListenerState>,
    /// What is really bound; the reason when nothing is.
    bound: Result<SocketAddr, String>,
}

impl Listeners {
    /// Takes over what changed, or everything when that is not known. Nothing is bound yet.
    pub(crate) fn take_over(&mut self, snapshot: &Snapshot, changes: Option<&Changes>, slots: Slots<'_>) {
        match changes {
            Some(changes) => self.take_changes(snapshot, changes, slots),
            None => self.take_all(snapshot, slots),
        }
    }

    fn take_all(&mut self, snapshot: &Snapshot, slots: Slots<'_>) {
        for (id, listener) in &snapshot.listeners {
            self.put(id, Some(listener), slots);
        }
        let gone: Vec<_> = self.open.keys().filter(|id| !snapshot.listeners.contains_key(*id)).cloned().collect();
        for id in gone {
            self.put(&id, None, slots);
        }
    }

    fn take_changes(&mut self, snapshot: &Snapshot, changes: &Changes, slots: Slots<'_>) {
        for id in &changes.listeners {
            self.put(id, snapshot.listeners.get(id).map(AsRef::as_ref), slots);
        }
        let mut hosts: BTreeMap<&ListenerId, Vec<HostPattern>> = BTreeMap::new();
        for (id, host) in &changes.hosts {
            hosts.entry(id).or_default().push(host.clone());
        }
        for (id, changed) in hosts {
            if let (Some(open), Some(listener)) = (self.open.get(id), snapshot.listeners.get(id)) {
                open.state.update(listener, &changed, slots);
            }
        }
    }

    fn put(&mut self, id: &ListenerId, listener: Option<&Listener>, slots: Slots<'_>) {
        match (listener, self.open.get(id)) {
            (Some(listener), Some(open)) => open.state.replace(listener, slots),
            (Some(listener), None) => {
                let state = ListenerState::new(listener, slots);
                self.open.insert(id.clone(), Open { state, bound: Err(String::new()) });
            }
            (None, _) => {
                if let Some(open) = self.open.remove(id) {
                    open.state.close();
                    self.closed.insert(id.address, Instant::now());
                }
            }
        }
    }

    /// Binds what is not bound yet, and hands each worker its socket.
    pub(crate) fn bind_missing(&mut self, workers: &Workers) {
        self.closed.retain(|_, since| since.elapsed() < RECENT);
        for (id, open) in &mut self.open {
            if open.bound.is_err() {
                let ours = self.closed.contains_key(&id.address);
                open.bound = bind(&open.state, workers, ours).map_err(|error| error.to_string());
            }
        }
    }

    /// Those that are not open.
    pub(crate) fn problems(&self) -> Vec<BindProblem> {
        let problem = |(id, open): (&ListenerId, &Open)| {
            let message = open.bound.as_ref().err()?.clone();
            Some(BindProblem { listener: id.clone(), message })
        };
        self.open.iter().filter_map(problem).collect()
    }

    /// Those that are open, and the addresses that are really bound.
    pub(crate) fn bound(&self) -> Vec<(ListenerId, SocketAddr)> {
        let bound = |(id, open): (&ListenerId, &Open)| Some((id.clone(), *open.bound.as_ref().ok()?));
        self.open.iter().filter_map(bound).collect()
    }

    /// Closes all of them.
    pub(crate) fn close(&self) {
        self.open.values().for_each(|open| open.state.close());
    }
}

fn bind(state: &Arc<ListenerState>, workers: &Workers, ours: bool) -> io::Result<SocketAddr> {
    let sockets = sockets::bind(state.id.address, workers.len(), ours)?;
    let address = sockets.first().map_or(Ok(state.id.address), TcpListener::local_addr)?;
    for (worker, socket) in workers.iter().zip(sockets) {
        // A worker that is gone takes no commands; the others serve.
        let _ = worker.send(Command::Listen(Arc::clone(state), socket));
    }
    Ok(address)
}
