//! A listener as connections see it: what it serves now, and whether it is to close. The control side makes and changes it; sockets are
//! not here but in `listeners`.

use super::Drain;
use super::service::{Service, TlsService};
use arc_swap::{ArcSwap, Guard};
use ir::{ListenerId, MeshConnectionSettings};
use routing::Servers;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;
use tokio::sync::watch;

/// One listener as workers see it.
#[derive(Debug)]
pub(crate) struct ListenerState {
    pub(crate) id: ListenerId,
    pub(crate) drain: Drain,
    services: ArcSwap<Services>,
    closed: watch::Sender<bool>,
    /// Connections, where they are limited.
    open: AtomicUsize,
}

/// The place of a connection among those of its listener.
pub(crate) struct ListenerPermit(Option<Arc<ListenerState>>);

impl Drop for ListenerPermit {
    fn drop(&mut self) {
        if let Some(listener) = &self.0 {
            listener.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What a listener serves.
#[derive(Debug, Default)]
pub(crate) struct Services {
    /// In clear text.
    pub(crate) plain: Option<Service>,
    /// In TLS, by name.
    pub(crate) servers: Servers,
    pub(crate) tls: Vec<Arc<TlsService>>,
    /// What the mesh says of its connections.
    pub(crate) mesh_settings: Arc<MeshConnectionSettings>,
}

impl ListenerState {
    pub(crate) fn new(id: &ListenerId, services: Services) -> Arc<Self> {
        Arc::new(Self {
            id: id.clone(),
            drain: Drain::default(),
            services: ArcSwap::from_pointee(services),
            closed: watch::Sender::new(false),
            open: AtomicUsize::new(0),
        })
    }

    /// A place for a connection, unless there are as many as there may be. Where there may be any number, they are not counted.
    pub(crate) fn acquire(self: &Arc<Self>, most: Option<usize>) -> Option<ListenerPermit> {
        let Some(most) = most else { return Some(ListenerPermit(None)) };
        let more = |open: usize| (open < most).then_some(open + 1);
        let entered = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        entered.ok().map(|_| ListenerPermit(Some(Arc::clone(self))))
    }

    /// What it serves now; to be held while a connection or a request is judged, and no longer.
    pub(crate) fn services(&self) -> Guard<Arc<Services>> {
        self.services.load()
    }

    /// Serves something else from now on.
    pub(crate) fn replace(&self, services: Services) {
        self.services.store(Arc::new(services));
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
