//! How the process becomes ready with its first configuration, and how it ends: by a signal, or since another process serves its listeners.

use crate::cli::ServeArgs;
use crate::handover::{Predecessor, TakeoverSocket, TrustedUsers};
use crate::privileges::RunAs;
use crate::readiness::Health;
use crate::service_manager;
use crate::signals::EndingSignals;
use anyhow::Result;
use dataplane::DataPlane;
use sources::{Reload, Statuses};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// What happens once the first configuration serves.
pub(super) struct FirstServed {
    pub(super) run_as: Option<RunAs>,
    pub(super) reload: Reload,
    pub(super) health: Health,
    pub(super) data_plane: Arc<DataPlane>,
}

impl FirstServed {
    /// The privileges are dropped, the process becomes ready, and `started` is called with the addresses that are listened on. The receiver
    /// has the result.
    pub(super) fn act(
        self,
        started: impl FnOnce(&[SocketAddr]) -> Result<()> + Send + 'static,
    ) -> (impl FnOnce() + Send + 'static, oneshot::Receiver<Result<()>>) {
        let Self { run_as, reload, health, data_plane } = self;
        let (served, first_served) = oneshot::channel();
        let first = move || {
            let dropped = run_as.as_ref().map_or(Ok(()), RunAs::apply);
            if dropped.is_err() {
                let _ = served.send(dropped);
                return;
            }
            if run_as.is_some() {
                // What the new user may not read shows now, not with the next edit.
                reload.request();
            }
            health.set_ready(true);
            service_manager::ready();
            let addresses: Vec<SocketAddr> = data_plane.listening().into_iter().map(|(_, address)| address).collect();
            let _ = served.send(started(&addresses));
        };
        (first, first_served)
    }
}

/// What has to be done at the end of the process.
pub(super) struct Ending<'a> {
    pub(super) args: &'a ServeArgs,
    pub(super) health: Health,
    pub(super) data_plane: Arc<DataPlane>,
    /// The ports for operators.
    pub(super) of_operators: JoinSet<()>,
    pub(super) statuses: Option<Statuses>,
}

impl Ending<'_> {
    /// Waits until the process is asked to end, or until another process serves its listeners as `followed` reports, and drains. The ports for
    /// operators stay open as long as this lives, unless another process has them.
    pub(super) async fn wait(
        &mut self,
        mut signals: EndingSignals,
        followed: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        tokio::select! {
            asked = signals.next() => {
                self.stop_writing();
                self.health.set_ready(false);
                service_manager::stopping();
                let delay = asked.delay(Duration::from_secs(self.args.drain_delay));
                tracing::info!("draining for {} s; signal again to exit now", delay.as_secs() + self.args.drain);
                if !delay.is_zero() {
                    self.data_plane.announce_drain();
                    tokio::select! {
                        () = tokio::time::sleep(delay) => {}
                        _ = signals.next() => return Ok(()),
                    }
                }
            }
            result = followed => {
                self.stop_writing();
                result?;
                tracing::info!("another process serves the listeners; draining for {} s", self.args.drain);
                // The other process answers for readiness and metrics now.
                self.of_operators.abort_all();
            }
        }
        tokio::select! {
            () = self.data_plane.drain(Duration::from_secs(self.args.drain)) => {}
            _ = signals.next() => {}
        }
        Ok(())
    }

    /// Another replica may write statuses from now on.
    fn stop_writing(&self) {
        if let Some(statuses) = &self.statuses {
            statuses.stop();
        }
    }
}

/// How the listeners pass from the process before, and to the next one.
pub(super) struct Takeover {
    /// The socket on which the next process asks; `None`: there is no next one.
    pub(super) path: Option<PathBuf>,
    pub(super) users: TrustedUsers,
    pub(super) predecessor: Option<Predecessor>,
    /// The sockets of the ports for operators.
    pub(super) own: Vec<TcpListener>,
}

impl Takeover {
    /// Relieves the process before this one once the first configuration serves, and returns when another serves the listeners of this one.
    pub(super) async fn follow(
        self,
        first_served: oneshot::Receiver<Result<()>>,
        data_plane: Arc<DataPlane>,
    ) -> Result<()> {
        // The way of the first configuration ends with the process alone.
        let served = match first_served.await {
            Ok(dropped) => dropped.map(|()| true)?,
            Err(_) => false,
        };
        for address in data_plane.close_unwanted() {
            tracing::warn!(%address, "nothing of the configuration listens on a socket that was given; it is closed");
        }
        if self.path.is_none() || !served {
            return std::future::pending().await;
        }
        let (over, taken_over) = oneshot::channel();
        let serve = move || drop(over.send(self.serve(&data_plane)));
        // A thread of its own, which the end of the process does not wait for.
        std::thread::Builder::new().name("takeover".to_owned()).spawn(serve)?;
        taken_over.await?
    }

    /// Hands the sockets to the next process; blocks until that serves.
    fn serve(self, data_plane: &DataPlane) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let takeover_socket = TakeoverSocket::bind(path)?;
        if let Some(predecessor) = self.predecessor {
            // One that has ended meanwhile needs no relief.
            let _ = predecessor.report_serving();
            tracing::info!(path = %takeover_socket.path().display(), "took over from the process before");
        }
        let sockets = || {
            let mut sockets = data_plane.sockets()?;
            for socket in &self.own {
                sockets.push(socket.try_clone()?);
            }
            Ok(sockets)
        };
        takeover_socket.serve(self.users, sockets);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::current::Shared;
    use crate::process;
    use crate::run::{Given, Opened, Origin};
    use clap::Parser;
    use dataplane::Inherited;
    use rustix::process::{Signal, getpid, kill_process};
    use std::net::TcpStream;

    #[test]
    fn ports_for_operators_are_open_after_draining() {
        let folder = tempfile::tempdir().unwrap();
        let bounds = ["--admin=127.0.0.1:0", "--ready=127.0.0.1:0", "--workers=1", "--drain=0"];
        let arguments = ["moongate", "run", folder.path().to_str().unwrap()].into_iter().chain(bounds);
        let Cli { command: Command::Run(args) } = Cli::try_parse_from(arguments).unwrap() else { unreachable!() };
        let runtime = process::control_runtime().unwrap();
        let given = Given { access_log: None, bound: Inherited::default() };
        let origin = Origin::of(&args).unwrap();
        let opened = Opened::open(origin, &args.workload, &args.serve, given, &runtime).unwrap();
        let (data_plane, health) = (opened.data_plane, Health::default());
        let ports: Vec<SocketAddr> = opened.takeover.own.iter().map(|port| port.local_addr().unwrap()).collect();
        // The copies for the next process are open, too.
        drop(opened.takeover);
        runtime.block_on(async {
            let signals = EndingSignals::install().unwrap();
            let (sockets, plane) = (opened.operators.sockets, Arc::clone(&data_plane));
            let pages = sockets.serve(opened.operators.limits, Shared::default(), health.clone(), plane, Arc::from([]));
            let of_operators = pages.unwrap();
            let mut ending = Ending { args: &args.serve, health, data_plane, of_operators, statuses: None };
            kill_process(getpid(), Signal::INT).unwrap();
            ending.wait(signals, std::future::pending()).await.unwrap();
            assert!(!ports.is_empty());
            for port in ports {
                TcpStream::connect(port).unwrap();
            }
            assert!(!ending.of_operators.is_empty() && ending.of_operators.try_join_next().is_none());
        });
    }
}
