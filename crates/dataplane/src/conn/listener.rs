//! A listener as connections see it: its table and settings of now, and whether it is to close. The control side makes and
//! changes it; sockets are not here but in `listeners`.

use super::Drain;
use arc_swap::{ArcSwap, Guard};
use ir::{HostPattern, HttpListener, Listener, ListenerId, ListenerKind};
use routing::{Slots, Table};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;
use tokio::sync::watch;

/// Between two looks whether a worker still reads a table that is to be dropped.
const RELEASE_STEP: Duration = Duration::from_micros(50);

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

    /// What it does now; to be held while a request is decided, and no longer.
    pub(crate) fn version(&self) -> Guard<Arc<Version>> {
        self.version.load()
    }

    /// Takes over a listener that differs in more than some hosts.
    pub(crate) fn replace(&self, listener: &Listener, slots: Slots<'_>) {
        self.publish(Version::build(listener, slots));
    }

    /// Takes over changed hosts.
    pub(crate) fn update(&self, listener: &Listener, changed: &[HostPattern], slots: Slots<'_>) {
        let ListenerKind::Http(http) = &listener.kind;
        let table = self.version.load().table.update(http, changed, slots);
        self.publish(Version { http: http.clone(), table });
    }

    /// Puts a version in place of the last one, which is dropped here: tearing down a large table would stop a worker for a while.
    fn publish(&self, version: Version) {
        let last = self.version.swap(Arc::new(version));
        while Arc::strong_count(&last) > 1 {
            std::thread::sleep(RELEASE_STEP);
        }
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
