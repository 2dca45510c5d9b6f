//! What systemd, or another service manager with its protocol, learns of this process (`sd_notify`): that it is ready, reads its
//! configuration again, or stops. Where no manager asks, nothing is sent.

use crate::sink::{ReportSink, Update};
use sd_notify::NotifyState;

/// Reports to the manager that the configuration has been read again.
pub(crate) struct Reloads;

impl ReportSink for Reloads {
    fn receive(&mut self, update: &Update<'_>) {
        if update.requested && update.current.generation > 0 {
            tracing::info!("the configuration was read again");
            ready();
        }
    }
}

/// The process serves its first configuration, or has read it again. The id is sent too, since after a take-over the manager knows the
/// process before.
pub(crate) fn ready() {
    send(&[NotifyState::Ready, NotifyState::MainPid(std::process::id())]);
}

/// The configuration is being read again; [`ready`] follows.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the service manager is not told of the reload"),
    }
}

/// The process drains, and ends afterwards.
pub(crate) fn stopping() {
    send(&[NotifyState::Stopping]);
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be notified");
    }
}
