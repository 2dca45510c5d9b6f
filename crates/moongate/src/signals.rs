//! Signals of the process: which of them end it and how, and which make it read its configuration or open its log file again.
//!
//! Handlers are installed before anything is served, so that no signal ends the process by the system's default.

use anyhow::{Context, Result};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What asks the process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// SIGTERM, from a service manager: load balancers first have to learn that the process goes.
    Terminate,
    /// SIGINT, from a person at a terminal.
    Interrupt,
}

impl Ending {
    /// How long listeners stay open after readiness is withdrawn, where `--drain-delay` is `configured`.
    pub(crate) fn delay(self, configured: Duration) -> Duration {
        match self {
            Self::Terminate => configured,
            Self::Interrupt => Duration::ZERO,
        }
    }
}

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub(crate) struct EndingSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl EndingSignals {
    /// Installs the handlers; to be called on the runtime.
    pub(crate) fn install() -> Result<Self> {
        Ok(Self { terminate: install(SignalKind::terminate())?, interrupt: install(SignalKind::interrupt())? })
    }

    /// Waits for one of them.
    pub(crate) async fn next(&mut self) -> Ending {
        tokio::select! {
            _ = self.terminate.recv() => Ending::Terminate,
            _ = self.interrupt.recv() => Ending::Interrupt,
        }
    }
}

/// Installs a handler; the future calls `act` whenever a signal of this kind arrives, and does not end.
pub(crate) fn on_signal(kind: SignalKind, act: impl Fn() + Send + 'static) -> Result<impl Future<Output = ()>> {
    let mut signals = install(kind)?;
    Ok(async move {
        while signals.recv().await.is_some() {
            act();
        }
    })
}

fn install(kind: SignalKind) -> Result<Signal> {
    signal(kind).with_context(|| format!("cannot install the handler of signal {}", kind.as_raw_value()))
}
