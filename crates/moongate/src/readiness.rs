//! Whether traffic may be sent here, for the pages that load balancers read, and what happens when that is so for the first time.

use crate::sink::{ReportSink, Update};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether traffic may be sent here: both the process and its configuration have to be ready.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// From the first configuration that serves until the process drains.
    process: AtomicBool,
    /// Whether the listeners that the configuration asks for are open.
    serving: AtomicBool,
}

impl Health {
    /// The process begins, or ceases, to want traffic.
    pub(crate) fn set_ready(&self, ready: bool) {
        self.0.process.store(ready, Ordering::Release);
    }

    /// The configuration has a listener that serves, or asks for none.
    pub(crate) fn set_serving(&self, serving: bool) {
        self.0.serving.store(serving, Ordering::Release);
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.0.process.load(Ordering::Acquire) && self.0.serving.load(Ordering::Acquire)
    }
}

/// Sets the readiness of each configuration, and calls a function once one serves.
pub(crate) struct Readiness {
    health: Health,
    first: Option<Box<dyn FnOnce() + Send>>,
}

impl Readiness {
    pub(crate) fn new(health: Health, first: impl FnOnce() + Send + 'static) -> Self {
        Self { health, first: Some(Box::new(first)) }
    }
}

impl ReportSink for Readiness {
    fn receive(&mut self, update: &Update<'_>) {
        let serves = update.current.serves;
        self.health.set_serving(serves);
        if serves && let Some(first) = self.first.take() {
            first();
        }
    }
}
