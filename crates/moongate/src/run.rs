//! `moongate run`: everything put together, from start to end.

use crate::admin::{self, Health};
use crate::cli::{LogStyle, RunArgs, ServeArgs, WorkloadArgs};
use crate::handover::{Elder, Meeting};
use crate::pipeline::{self, Shared};
use crate::{handover, limits, logging, process, settings};
use anyhow::{Context, Result};
use dataplane::{DataPlane, LogFormat, LogTarget, Options};
use sources::FileSource;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use upstream::Upstream;

/// Serves until the process is asked to end.
pub(crate) fn run(args: &RunArgs) -> Result<()> {
    logging::start(&args.serve.log)?;
    serve(&args.config.paths, &args.config.workload, &args.serve, "off", |_| {})
}

/// Serves, and calls `started` with what is listened on once the first configuration serves.
pub(crate) fn serve(
    paths: &[PathBuf],
    workload: &WorkloadArgs,
    args: &ServeArgs,
    default_log: &str,
    started: impl FnOnce(&[SocketAddr]) + Send + 'static,
) -> Result<()> {
    process::raise_file_limit();
    let settings = settings::settings(workload)?;
    let source = FileSource::new(paths.to_vec())?.with_mesh(workload.mesh_config.clone());
    let access_log = access_log(args.access_log.as_deref().unwrap_or(default_log), args.access_log_format)?;
    let (mut inherited, elder) = handover::inherit(args.takeover.as_deref())?;
    let ready = admin::listen(args.ready, "--ready", &mut inherited)?;
    let pages = admin::listen(args.admin, "--admin", &mut inherited)?;
    let own = [ready.try_clone()?, pages.try_clone()?];
    let runtime = process::control_runtime()?;
    let upstream = Upstream::new(&upstream::Settings::default(), runtime.handle().clone());
    let workers = args.workers.unwrap_or_else(process::workers);
    let handover = args.takeover.is_some();
    let options = Options {
        workers,
        limits: limits::limits(&args.limits)?,
        access_log,
        reasons: args.reason_header.into(),
        inherited,
        handover,
        seed: None,
    };
    let data_plane = Arc::new(DataPlane::start(options, upstream).context("the data plane cannot start")?);
    runtime.block_on(async {
        let (shared, health) = (Shared::default(), Health::default());
        let of_admin = [
            admin::serve_ready(ready, health.clone())?,
            admin::serve_admin(pages, shared.clone(), health.clone(), Arc::clone(&data_plane))?,
        ];
        let changes = sources::watch(source);
        let (served, first_served) = tokio::sync::oneshot::channel();
        let first = {
            let (health, data_plane) = (health.clone(), Arc::clone(&data_plane));
            move || {
                health.set_ready(true);
                let addresses: Vec<SocketAddr> =
                    data_plane.listening().into_iter().map(|(_, address)| address).collect();
                started(&addresses);
                let _ = served.send(());
            }
        };
        tokio::spawn(pipeline::run(
            changes,
            (settings, workload.certificate_warning()),
            Arc::clone(&data_plane),
            shared,
            health.clone(),
            first,
        ));
        let followed = follow(args.takeover.clone(), elder, first_served, own, Arc::clone(&data_plane));
        tokio::select! {
            () = process::asked_to_end() => {
                tracing::info!(seconds = args.drain, "draining; asked once more, the process ends at once");
                // First whoever sends traffic here has to learn that it is to go elsewhere.
                health.set_ready(false);
            }
            result = followed => {
                result?;
                tracing::info!(seconds = args.drain, "another process has taken over; draining");
                // Whether traffic is to be sent here is for the other to say now.
                of_admin.iter().for_each(tokio::task::JoinHandle::abort);
            }
        }
        tokio::select! {
            () = data_plane.drain(Duration::from_secs(args.drain)) => {}
            () = process::asked_to_end() => {}
        }
        Ok(())
    })
}

/// Relieves the process before this one once the first configuration serves, and returns when another has taken over from this one.
async fn follow(
    path: Option<PathBuf>,
    elder: Option<Elder>,
    first_served: tokio::sync::oneshot::Receiver<()>,
    own: [TcpListener; 2],
    data_plane: Arc<DataPlane>,
) -> Result<()> {
    // The way of the first configuration ends with the process alone.
    let served = first_served.await.is_ok();
    for address in data_plane.close_unwanted() {
        tracing::warn!(%address, "nothing of the configuration listens on a socket that was given; it is closed");
    }
    let Some(path) = path.filter(|_| served) else { return std::future::pending().await };
    let (over, taken_over) = tokio::sync::oneshot::channel();
    let wait = move || {
        let meeting = Meeting::at(&path)?;
        if let Some(elder) = elder {
            // One that has ended meanwhile needs no relief.
            let _ = elder.relieve();
            tracing::info!(path = %meeting.path().display(), "took over from the process before");
        }
        let sockets = || {
            let mut sockets = data_plane.sockets()?;
            for socket in &own {
                sockets.push(socket.try_clone()?);
            }
            Ok(sockets)
        };
        meeting.wait(sockets);
        Ok(())
    };
    // A thread of its own, which the end of the process does not wait for.
    std::thread::Builder::new().name("takeover".to_owned()).spawn(move || drop(over.send(wait())))?;
    taken_over.await?
}

fn access_log(target: &str, style: LogStyle) -> Result<Option<(LogTarget, LogFormat)>> {
    let format = match style {
        LogStyle::Text => LogFormat::Text,
        LogStyle::Json => LogFormat::Json,
    };
    let target: LogTarget = match target {
        "off" => return Ok(None),
        "-" => Box::new(std::io::stdout()),
        path => {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            Box::new(file.with_context(|| format!("cannot write the access log to {path}"))?)
        }
    };
    Ok(Some((target, format)))
}
