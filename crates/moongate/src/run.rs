//! `moongate run`: everything put together, from start to end.

mod ending;
mod opened;
mod origin;

pub(crate) use opened::Given;
pub(crate) use origin::Origin;

use crate::applier::Applier;
use crate::cli::{RunArgs, ServeArgs, WorkloadArgs};
use crate::current::Shared;
use crate::pipeline::Pipeline;
use crate::readiness::{Health, Readiness};
use crate::report_log::ReportLog;
use crate::signals::{EndingSignals, on_signal};
use crate::sink::ReportSink;
use crate::statuses::StatusSink;
use crate::{logging, process, service_manager};
use anyhow::Result;
use compiler::Workload;
use dataplane::{DataPlane, Inherited};
use ending::{Ending, FirstServed};
use opened::{Logs, Opened};
use sources::{Reload, Writer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::SignalKind;
use tokio::task::JoinSet;

/// How long the process waits at its end for the Lease to be given up.
const RELEASE: Duration = Duration::from_secs(2);

/// Serves until the process is asked to end.
pub(crate) fn run(args: &RunArgs) -> Result<()> {
    logging::start(&args.serve.log, args.serve.log_format)?;
    let given = Given { access_log: None, bound: Inherited::default() };
    serve(Origin::of(args)?, &args.workload, &args.serve, given, |_| Ok(()))
}

/// Serves, and calls `started` with the addresses that are listened on once the first configuration serves.
pub(crate) fn serve(
    origin: Origin,
    workload: &WorkloadArgs,
    args: &ServeArgs,
    given: Given<'_>,
    started: impl FnOnce(&[SocketAddr]) -> Result<()> + Send + 'static,
) -> Result<()> {
    let runtime = process::control_runtime()?;
    let opened = Opened::open(origin, workload, args, given, &runtime)?;
    runtime.block_on(opened.serve(started))
}

impl Opened<'_> {
    /// Applies the configuration from now on, until the process is asked to end or another process serves its listeners.
    async fn serve(mut self, started: impl FnOnce(&[SocketAddr]) -> Result<()> + Send + 'static) -> Result<()> {
        let signals = EndingSignals::install()?;
        let workloads: Arc<[Workload]> = self.settings.workloads.as_slice().into();
        let data_plane = Arc::clone(&self.data_plane);
        let (shared, health) = (Shared::default(), Health::default());
        let of_operators = self.operators.sockets.serve(
            self.operators.limits,
            shared.clone(),
            health.clone(),
            Arc::clone(&data_plane),
            // The Services of a cluster are as they are, those of the gateway among them.
            if self.source.is_cluster() { Arc::default() } else { Arc::clone(&workloads) },
        )?;
        let reload = self.source.reload();
        let (writer, statuses) = self.source.writing().unzip();
        // Both own the tasks of the process, and end them with this function.
        let (mut tasks, mut writing) = (JoinSet::new(), spawn_writer(writer));
        reopen_logs_on_signal(&mut tasks, &self.logs, &data_plane)?;
        reload_on_signal(&mut tasks, reload.clone())?;
        let first =
            FirstServed { run_as: self.run_as, reload, health: health.clone(), data_plane: Arc::clone(&data_plane) };
        let (first, first_served) = first.act(started);
        // Readiness does not wait for the log.
        let mut sinks: Vec<Box<dyn ReportSink>> = vec![
            Box::new(shared),
            Box::new(Readiness::new(health.clone(), first)),
            Box::new(ReportLog),
            Box::new(self.start_up),
            Box::new(service_manager::Reloads),
        ];
        if let Some(statuses) = &statuses {
            sinks.push(Box::new(StatusSink::new(statuses.clone(), workloads, Arc::clone(&self.settings.domain))));
        }
        let appliers: Vec<Arc<dyn Applier>> = vec![Arc::clone(&data_plane) as _];
        let (logs, plane) = (Arc::clone(&self.logs), Arc::clone(&data_plane));
        let pipeline = Pipeline::new(self.settings, self.workload.certificate_warning(), appliers, sinks)
            .with_mesh(move |mesh| logs.access.apply(mesh, &plane));
        tasks.spawn(pipeline.run(self.source.watch()));
        let followed = self.takeover.follow(first_served, Arc::clone(&data_plane));
        // It has the ports for operators, which are open until the Lease is given up.
        let mut ending =
            Ending { args: self.args, health, data_plane: Arc::clone(&data_plane), of_operators, statuses };
        let ended = ending.wait(signals, followed).await;
        // What the writer has left is to give up the Lease.
        let _ = tokio::time::timeout(RELEASE, writing.join_next()).await;
        self.logs.stop(&data_plane);
        ended
    }
}

fn spawn_writer(writer: Option<Writer>) -> JoinSet<()> {
    let mut writing = JoinSet::new();
    if let Some(writer) = writer {
        writing.spawn(writer.run());
    }
    writing
}

fn reopen_logs_on_signal(tasks: &mut JoinSet<()>, logs: &Arc<Logs>, data_plane: &Arc<DataPlane>) -> Result<()> {
    let (logs, data_plane) = (Arc::clone(logs), Arc::clone(data_plane));
    tasks.spawn(on_signal(SignalKind::user_defined1(), move || logs.reopen(&data_plane))?);
    Ok(())
}

fn reload_on_signal(tasks: &mut JoinSet<()>, reload: Reload) -> Result<()> {
    tasks.spawn(on_signal(SignalKind::hangup(), move || {
        tracing::info!("reading the configuration again");
        service_manager::reloading();
        reload.request();
    })?);
    Ok(())
}
