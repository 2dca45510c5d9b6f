//! The control side: it takes snapshots over, makes and closes listeners, and ends the whole.

use crate::accept::{self, Command};
use crate::conn::{Drain, Worker};
use crate::limits::Limits;
use crate::listeners::{self, ListenerState};
use crate::log::{AccessLog, LogFormat, LogTarget};
use crate::metrics::{self, WorkerMetrics};
use ir::{Changes, ClusterId, Delta, HostPattern, Listener, ListenerId, Snapshot};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use upstream::Upstream;

/// How long an address counts as ours after its listener was closed: its sockets may still be open.
const RECENT: Duration = Duration::from_secs(5);
/// How often it is looked whether the last connection has ended.
const DRAIN_STEP: Duration = Duration::from_millis(20);

/// How the data plane is started.
pub struct Options {
    /// Threads that serve; at least one.
    pub workers: usize,
    /// Bounds.
    pub limits: Limits,
    /// Where the access log goes, and how it is written.
    pub access_log: Option<(LogTarget, LogFormat)>,
}

/// A listener that cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindProblem {
    /// The listener.
    pub listener: ListenerId,
    /// What the system said.
    pub message: String,
}

/// What came of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApplyOutcome {
    /// Listeners that are not open; they are tried again with each snapshot and by [`DataPlane::retry`].
    pub problems: Vec<BindProblem>,
    /// The number of this snapshot, which `/metrics` shows for each worker.
    pub generation: u64,
}

/// The whole data plane of the process.
pub struct DataPlane {
    workers: Vec<WorkerHandle>,
    upstream: Arc<Upstream>,
    log: Option<AccessLog>,
    drain: Arc<Drain>,
    generation: AtomicU64,
    listeners: Mutex<Listeners>,
}

struct WorkerHandle {
    commands: UnboundedSender<Command>,
    metrics: Arc<WorkerMetrics>,
}

#[derive(Default)]
struct Listeners {
    open: BTreeMap<ListenerId, Open>,
    closed: BTreeMap<SocketAddr, Instant>,
}

struct Open {
    state: Arc<ListenerState>,
    /// What is really bound; the reason when nothing is.
    bound: Result<SocketAddr, String>,
}

impl DataPlane {
    /// Starts the workers. Nothing is listened on before the first snapshot.
    pub fn start(options: Options, upstream: Arc<Upstream>) -> io::Result<Self> {
        let Options { workers, limits, access_log } = options;
        let log = access_log.map(|(target, format)| AccessLog::start(target, format, limits.log_lines)).transpose()?;
        let drain = Arc::new(Drain::default());
        let start = |at: usize| {
            let (commands, receiver) = unbounded_channel();
            let metrics = Arc::new(WorkerMetrics::new(&limits));
            let parts = (Arc::clone(&upstream), Arc::clone(&metrics), log.clone(), Arc::clone(&drain));
            let make = move || Worker::new(limits, parts.0, parts.1, parts.2, parts.3);
            std::thread::Builder::new().name(format!("worker-{at}")).spawn(move || accept::run(make, receiver))?;
            Ok(WorkerHandle { commands, metrics })
        };
        let workers = (0..workers.max(1)).map(start).collect::<io::Result<_>>()?;
        let (generation, listeners) = (AtomicU64::new(0), Mutex::default());
        Ok(Self { workers, upstream, log, drain, generation, listeners })
    }

    /// Takes a snapshot over: new tables are built, then swapped in; new listeners are opened, then old ones closed. `delta` is what
    /// is different from the snapshot applied before.
    pub fn apply(&self, snapshot: &Snapshot, delta: &Delta) -> ApplyOutcome {
        self.upstream.apply(snapshot, delta);
        let mut listeners = self.listeners();
        match &delta.changes {
            Some(changes) => self.apply_changes(&mut listeners, snapshot, changes),
            None => self.apply_all(&mut listeners, snapshot),
        }
        self.bind_missing(&mut listeners);
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        self.tell(|| Command::Generation(generation));
        ApplyOutcome { problems: problems(&listeners), generation }
    }

    /// Tries once more to open what could not be opened.
    pub fn retry(&self) -> Vec<BindProblem> {
        let mut listeners = self.listeners();
        self.bind_missing(&mut listeners);
        problems(&listeners)
    }

    fn apply_all(&self, listeners: &mut Listeners, snapshot: &Snapshot) {
        for (id, listener) in &snapshot.listeners {
            self.put(listeners, id, Some(listener));
        }
        let gone: Vec<_> = listeners.open.keys().filter(|id| !snapshot.listeners.contains_key(*id)).cloned().collect();
        for id in gone {
            self.put(listeners, &id, None);
        }
    }

    fn apply_changes(&self, listeners: &mut Listeners, snapshot: &Snapshot, changes: &Changes) {
        for id in &changes.listeners {
            self.put(listeners, id, snapshot.listeners.get(id).map(AsRef::as_ref));
        }
        let mut hosts: BTreeMap<&ListenerId, Vec<HostPattern>> = BTreeMap::new();
        for (id, host) in &changes.hosts {
            hosts.entry(id).or_default().push(host.clone());
        }
        for (id, changed) in hosts {
            if let (Some(open), Some(listener)) = (listeners.open.get(id), snapshot.listeners.get(id)) {
                open.state.update(listener, &changed, &mut |id: &ClusterId| self.upstream.slot(id));
            }
        }
    }

    fn put(&self, listeners: &mut Listeners, id: &ListenerId, listener: Option<&Listener>) {
        let mut slots = |id: &ClusterId| self.upstream.slot(id);
        match (listener, listeners.open.get(id)) {
            (Some(listener), Some(open)) => open.state.replace(listener, &mut slots),
            (Some(listener), None) => {
                let state = ListenerState::new(listener, &mut slots);
                listeners.open.insert(id.clone(), Open { state, bound: Err(String::new()) });
            }
            (None, _) => {
                if let Some(open) = listeners.open.remove(id) {
                    open.state.close();
                    listeners.closed.insert(id.address, Instant::now());
                    self.tell(|| Command::Wake);
                }
            }
        }
    }

    fn bind_missing(&self, listeners: &mut Listeners) {
        listeners.closed.retain(|_, since| since.elapsed() < RECENT);
        for (id, open) in &mut listeners.open {
            if open.bound.is_ok() || self.drain.has_begun() {
                continue;
            }
            let ours = listeners.closed.contains_key(&id.address);
            open.bound = self.bind(&open.state, ours).map_err(|error| error.to_string());
        }
    }

    fn bind(&self, state: &Arc<ListenerState>, ours: bool) -> io::Result<SocketAddr> {
        let sockets = listeners::bind(state.id.address, self.workers.len(), ours)?;
        let address = sockets.first().map_or(Ok(state.id.address), std::net::TcpListener::local_addr)?;
        for (worker, socket) in self.workers.iter().zip(sockets) {
            // A worker that is gone takes no commands; the others serve.
            let _ = worker.commands.send(Command::Listen(Arc::clone(state), socket));
        }
        Ok(address)
    }

    /// What is listened on: each listener and the address that is really bound.
    pub fn listening(&self) -> Vec<(ListenerId, SocketAddr)> {
        let listeners = self.listeners();
        let bound = |(id, open): (&ListenerId, &Open)| Some((id.clone(), *open.bound.as_ref().ok()?));
        listeners.open.iter().filter_map(bound).collect()
    }

    /// The generation that each worker serves.
    pub fn generations(&self) -> Vec<u64> {
        self.workers.iter().map(|worker| worker.metrics.generation.load(Ordering::Acquire)).collect()
    }

    /// Counters in Prometheus' text format.
    pub fn metrics(&self) -> String {
        let workers: Vec<_> = self.workers.iter().map(|worker| Arc::clone(&worker.metrics)).collect();
        metrics::render(&workers, self.log.as_ref().map_or(0, AccessLog::dropped))
    }

    /// Takes no further connections, lets those there are end with their next answer, and closes idle ones after half of `grace`. Returns
    /// when all have ended, or `grace` is over; then the rest is cut.
    pub async fn drain(&self, grace: Duration) {
        self.drain.begin();
        for open in self.listeners().open.values() {
            open.state.close();
        }
        self.tell(|| Command::Wake);
        let begun = Instant::now();
        let mut idle_closed = false;
        while begun.elapsed() < grace && self.open_connections() > 0 {
            if !idle_closed && begun.elapsed() >= grace / 2 {
                idle_closed = true;
                self.drain.close_idle();
                self.tell(|| Command::Wake);
            }
            tokio::time::sleep(DRAIN_STEP).await;
        }
        self.tell(|| Command::Stop);
    }

    fn open_connections(&self) -> u64 {
        self.workers.iter().map(|worker| worker.metrics.open.load(Ordering::Relaxed)).sum()
    }

    fn tell(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            let _ = worker.commands.send(command());
        }
    }

    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn problems(listeners: &Listeners) -> Vec<BindProblem> {
    let problem = |(id, open): (&ListenerId, &Open)| {
        let message = open.bound.as_ref().err()?.clone();
        Some(BindProblem { listener: id.clone(), message })
    };
    listeners.open.iter().filter_map(problem).collect()
}
