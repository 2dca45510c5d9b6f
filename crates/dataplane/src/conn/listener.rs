//! A listener as connections see it: its services, and whether it is closed. The control side creates and updates it; its sockets are in
//! `listeners`.

use super::Drain;
use super::service::{Service, TlsService};
use arc_swap::{ArcSwap, Guard};
use ir::{ListenerId, MeshConnectionSettings, OriginalDestination};
use routing::Servers;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;
use tokio::sync::watch;

/// A listener as workers see it.
#[derive(Debug)]
pub(crate) struct ListenerState {
    pub(crate) id: ListenerId,
    pub(crate) drain: Drain,
    services: ArcSwap<Services>,
    closed: watch::Sender<bool>,
    /// The number of connections, if it is limited.
    open: AtomicUsize,
}

/// A slot within the listener's limit on connections.
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
    /// The plaintext service.
    pub(crate) plain: Option<Service>,
    /// The TLS servers by name.
    pub(crate) servers: Servers,
    pub(crate) tls: Vec<Arc<TlsService>>,
    /// The mesh's connection settings.
    pub(crate) mesh_settings: Arc<MeshConnectionSettings>,
    /// The port that policies know the listener by.
    pub(crate) policy_port: u16,
    /// Where the destination of clients is learned that do not know of the gateway.
    pub(crate) original_destination: Option<OriginalDestination>,
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

    /// A permit for a connection, within the limit. Without a limit, connections are not counted.
    pub(crate) fn acquire(self: &Arc<Self>, most: Option<usize>) -> Option<ListenerPermit> {
        let Some(most) = most else { return Some(ListenerPermit(None)) };
        let more = |open: usize| (open < most).then_some(open + 1);
        let entered = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        entered.ok().map(|_| ListenerPermit(Some(Arc::clone(self))))
    }

    /// The current services; hold them only while a connection or request is decided.
    pub(crate) fn services(&self) -> Guard<Arc<Services>> {
        self.services.load()
    }

    /// Replaces the services.
    pub(crate) fn replace(&self, services: Services) {
        self.services.store(Arc::new(services));
    }

    /// Stops accepting once the queue is empty; open connections close with their next response.
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

/// Notifies when a listener is closed.
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
