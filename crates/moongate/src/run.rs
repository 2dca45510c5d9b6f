//! `moongate run`: everything put together, from start to end.

use crate::access_log::AccessLog;
use crate::admin;
use crate::applier::Applier;
use crate::audit::DecisionLog;
use crate::cli::{ClusterArgs, LogStyle, RunArgs, ServeArgs, WorkloadArgs};
use crate::current::Shared;
use crate::handover::{Predecessor, TakeoverSocket, TrustedUsers};
use crate::pipeline::Pipeline;
use crate::privileges::{self, RunAs};
use crate::readiness::{Health, Readiness};
use crate::report_log::ReportLog;
use crate::signals::{EndingSignals, on_signal};
use crate::sink::ReportSink;
use crate::start_up::{Input, StartUp};
use crate::statuses::{self, StatusSink};
use crate::{descriptors, handover, limits, logging, process, service_manager, settings, start_up};
use anyhow::{Context, Result};
use compiler::Workload;
use dataplane::{DataPlane, Inherited, Limits, Options, TrustedProxies};
use ir::LogFormat;
use rustix::process::Uid;
use sources::{Access, FileSource, KubernetesSettings, KubernetesSource, Pace, Reload, Statuses, Watch, Writer};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::SignalKind;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use upstream::{Blocked, Upstream};

/// Serves until the process is asked to end.
pub(crate) fn run(args: &RunArgs) -> Result<()> {
    logging::start(&args.serve.log, args.serve.log_format)?;
    let origin = match &args.cluster {
        cluster @ ClusterArgs { kubernetes: true, kubeconfig, context, state, certificate_files, .. } => {
            Origin::Cluster(Box::new(KubernetesSettings {
                access: Access { kubeconfig: kubeconfig.clone(), context: context.clone() },
                namespace: args.workload.namespace.as_str().into(),
                mesh: args.workload.mesh_config.clone(),
                certificates: certificate_files.clone(),
                with_nodes: args.workload.locality.is_some() || args.workload.node_name.is_some(),
                state: state.clone(),
                pace: Pace::default(),
                write: statuses::settings(cluster, &settings::settings(&args.workload)?.workloads),
            }))
        }
        _ => Origin::Files(args.paths.clone()),
    };
    serve(origin, &args.workload, &args.serve, None, Inherited::default(), |_| Ok(()))
}

/// Where the configuration comes from.
pub(crate) enum Origin {
    Files(Vec<PathBuf>),
    Cluster(Box<KubernetesSettings>),
}

/// A source that is not watched yet.
enum Opened {
    Files(Box<FileSource>),
    Cluster(Box<KubernetesSource>),
}

impl Origin {
    /// Opens the source; what is logged of it.
    fn open(self, workload: &WorkloadArgs, runtime: &Runtime) -> Result<(Opened, Input)> {
        match self {
            Self::Files(paths) => {
                let source = FileSource::new(paths.clone(), workload.mesh_config.clone())?;
                let check = (!source.has_streams()).then(|| start_up::check_command(&paths, workload));
                Ok((Opened::Files(Box::new(source)), Input { paths, check }))
            }
            Self::Cluster(settings) => {
                let source = runtime.block_on(KubernetesSource::new(*settings))?;
                let input = Input { paths: vec![source.url().into()], check: None };
                Ok((Opened::Cluster(Box::new(source)), input))
            }
        }
    }
}

impl Opened {
    fn reload(&self) -> Reload {
        match self {
            Self::Files(source) => source.reload(),
            Self::Cluster(source) => source.reload(),
        }
    }

    /// What writes statuses.
    fn writing(&mut self) -> Option<(Writer, Statuses)> {
        match self {
            Self::Files(_) => None,
            Self::Cluster(source) => source.writer(),
        }
    }

    fn watch(self) -> Watch {
        match self {
            Self::Files(source) => sources::watch(*source),
            Self::Cluster(source) => sources::watch(*source),
        }
    }
}

/// Serves, and calls `started` with what is listened on once the first configuration serves. `bound` are sockets that the caller has opened
/// for addresses of `args` or of the configuration.
pub(crate) fn serve(
    origin: Origin,
    workload: &WorkloadArgs,
    args: &ServeArgs,
    default_log: Option<&str>,
    bound: Inherited,
    started: impl FnOnce(&[SocketAddr]) -> Result<()> + Send + 'static,
) -> Result<()> {
    let descriptors = descriptors::raise_limit();
    let run_as = args.user.as_deref().map(RunAs::parse).transpose()?;
    privileges::warn_of_root(run_as.as_ref());
    let users = TrustedUsers { later: run_as.as_ref().map(|run_as| Uid::from_raw(run_as.uid())) };
    let settings = settings::settings(workload)?;
    let workloads: Arc<[Workload]> = settings.workloads.as_slice().into();
    let runtime = process::control_runtime()?;
    let (mut source, input) = origin.open(workload, &runtime)?;
    let log_target = args.access_log.clone().or_else(|| default_log.map(str::to_owned));
    let (log, access_log) = AccessLog::open(log_target, args.access_log_format.map(log_format))?;
    let log = Arc::new(log);
    let decisions = args.decision_log.open()?;
    let (mut inherited, predecessor) = handover::inherit(args.takeover.as_deref(), users)?;
    inherited.extend(bound);
    let sockets = admin::Sockets::open(args, &mut inherited)?;
    let own = sockets.to_hand_over()?;
    let start_up = StartUp::new(input, sockets.addresses()?);
    let workers = args.workers.unwrap_or_else(process::workers);
    let bounds = limits::bounds(&args.limits, descriptors, workers, own.len())?;
    let of_upstream = upstream::Settings {
        connections: Some(bounds.backends),
        name_servers: args.name_servers.clone(),
        blocked: blocked(&args.jwks_blocked_ranges),
    };
    let upstream = Upstream::new(&of_upstream, runtime.handle().clone());
    let options = Options {
        access_log,
        decision_log: decisions.as_ref().map(DecisionLog::target),
        inherited,
        ..options(args, workers, bounds.plane)
    };
    let data_plane = Arc::new(DataPlane::start(options, upstream).context("the data plane cannot start")?);
    runtime.block_on(async {
        let mut ending = EndingSignals::install()?;
        let (plane, reopened) = (Arc::clone(&data_plane), Arc::clone(&log));
        // Owns the tasks of the process, and ends them with this block.
        let mut tasks = JoinSet::new();
        let reopened_decisions = decisions.clone();
        tasks.spawn(on_signal(SignalKind::user_defined1(), move || {
            reopened.reopen(&plane);
            if let Some(decisions) = &reopened_decisions {
                decisions.reopen();
            }
        })?);
        let (shared, health) = (Shared::default(), Health::default());
        let mut of_operators = sockets.serve(
            bounds.operators,
            shared.clone(),
            health.clone(),
            Arc::clone(&data_plane),
            Arc::clone(&workloads),
        )?;
        let reload = source.reload();
        let (writing, statuses) = source.writing().unzip();
        let source = source.watch();
        let on_request = reload.clone();
        tasks.spawn(on_signal(SignalKind::hangup(), move || {
            tracing::info!("reading the configuration again");
            service_manager::reloading();
            on_request.request();
        })?);
        let (first, first_served) = on_first(run_as, reload, health.clone(), Arc::clone(&data_plane), started);
        // Readiness does not wait for the log.
        let mut sinks: Vec<Box<dyn ReportSink>> = vec![
            Box::new(shared),
            Box::new(Readiness::new(health.clone(), first)),
            Box::new(ReportLog),
            Box::new(start_up),
            Box::new(service_manager::Reloads),
        ];
        if let Some(statuses) = &statuses {
            sinks.push(Box::new(StatusSink::new(statuses.clone(), workloads, Arc::clone(&settings.domain))));
        }
        let mut writer = writing.map(|writer| tokio::spawn(writer.run()));
        let appliers: Vec<Arc<dyn Applier>> = vec![Arc::clone(&data_plane) as _];
        let plane = Arc::clone(&data_plane);
        let pipeline = Pipeline::new(settings, workload.certificate_warning(), appliers, sinks)
            .with_mesh(move |mesh| log.apply(mesh, &plane));
        tasks.spawn(pipeline.run(source));
        let followed = follow(args.takeover.clone(), users, predecessor, first_served, own, Arc::clone(&data_plane));
        let leave = || statuses.iter().for_each(Statuses::stop);
        let ended = end(&mut ending, &health, &data_plane, &mut of_operators, args, followed, leave).await;
        if let Some(writer) = &mut writer {
            // What it has left is to give up the Lease.
            let _ = tokio::time::timeout(RELEASE, writer).await;
        }
        if let Some(decisions) = &decisions {
            decisions.stop(data_plane.decisions_overflowed());
        }
        ended
    })
}

/// How the data plane serves, without a log and inherited sockets.
fn options(args: &ServeArgs, workers: usize, limits: Limits) -> Options {
    Options {
        workers,
        limits,
        trusted_proxies: trusted_proxies(&args.trusted_proxies),
        access_log: None,
        decision_log: None,
        reasons: args.reason_header.into(),
        inherited: Inherited::default(),
        handover: args.takeover.is_some(),
        seed: None,
    }
}

/// What happens once the first configuration serves: the privileges are dropped, the process becomes ready, and `started` is called. The receiver
/// has the result.
fn on_first(
    run_as: Option<RunAs>,
    reload: Reload,
    health: Health,
    data_plane: Arc<DataPlane>,
    started: impl FnOnce(&[SocketAddr]) -> Result<()> + Send + 'static,
) -> (impl FnOnce() + Send + 'static, oneshot::Receiver<Result<()>>) {
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

/// How long the process waits at its end for the Lease to be given up.
const RELEASE: Duration = Duration::from_secs(2);

/// Waits until the process is asked to end, or until another process has taken over, and drains.
async fn end(
    ending: &mut EndingSignals,
    health: &Health,
    data_plane: &DataPlane,
    of_operators: &mut JoinSet<()>,
    args: &ServeArgs,
    followed: impl Future<Output = Result<()>>,
    leave: impl Fn(),
) -> Result<()> {
    tokio::select! {
        asked = ending.next() => {
            leave();
            health.set_ready(false);
            service_manager::stopping();
            let delay = asked.delay(Duration::from_secs(args.drain_delay));
            tracing::info!("draining for {} s; signal again to exit now", delay.as_secs() + args.drain);
            if !delay.is_zero() {
                data_plane.announce_drain();
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    _ = ending.next() => return Ok(()),
                }
            }
        }
        result = followed => {
            leave();
            result?;
            tracing::info!("another process serves the listeners; draining for {} s", args.drain);
            // The other process answers for readiness and metrics now.
            of_operators.abort_all();
        }
    }
    tokio::select! {
        () = data_plane.drain(Duration::from_secs(args.drain)) => {}
        _ = ending.next() => {}
    }
    Ok(())
}

/// Relieves the process before this one once the first configuration serves, and returns when another has taken over from this one.
async fn follow(
    path: Option<PathBuf>,
    users: TrustedUsers,
    predecessor: Option<Predecessor>,
    first_served: oneshot::Receiver<Result<()>>,
    own: Vec<TcpListener>,
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
    let Some(path) = path.filter(|_| served) else { return std::future::pending().await };
    let (over, taken_over) = oneshot::channel();
    let wait = move || {
        let takeover_socket = TakeoverSocket::bind(&path)?;
        if let Some(predecessor) = predecessor {
            // One that has ended meanwhile needs no relief.
            let _ = predecessor.report_serving();
            tracing::info!(path = %takeover_socket.path().display(), "took over from the process before");
        }
        let sockets = || {
            let mut sockets = data_plane.sockets()?;
            for socket in &own {
                sockets.push(socket.try_clone()?);
            }
            Ok(sockets)
        };
        takeover_socket.serve(users, sockets);
        Ok(())
    };
    // A thread of its own, which the end of the process does not wait for.
    std::thread::Builder::new().name("takeover".to_owned()).spawn(move || drop(over.send(wait())))?;
    taken_over.await?
}

/// What was given, `none` among it; nothing at all is what is usual.
fn trusted_proxies(given: &[Option<ir::IpRange>]) -> TrustedProxies {
    match given {
        [] => TrustedProxies::default(),
        given => TrustedProxies::of(given.iter().copied().flatten()),
    }
}

fn blocked(given: &[Option<ir::IpRange>]) -> Blocked {
    match given {
        [] => Blocked::default(),
        given => Blocked::of(given.iter().copied().flatten()),
    }
}

fn log_format(style: LogStyle) -> LogFormat {
    match style {
        LogStyle::Text => LogFormat::istio_text(),
        LogStyle::Json => LogFormat::istio_json(),
    }
}
