//! `moongate run`: everything put together, from start to end.

use crate::admin::{self, Health};
use crate::cli::{LogStyle, RunArgs, ServeArgs, WorkloadArgs};
use crate::pipeline::{self, Shared};
use crate::{logging, process, settings};
use anyhow::{Context, Result};
use dataplane::{DataPlane, Limits, LogFormat, LogTarget, Options};
use sources::FileSource;
use std::net::SocketAddr;
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
    let (settings, mesh) = settings::settings(workload)?;
    let source = FileSource::new(paths.to_vec())?;
    let access_log = access_log(args.access_log.as_deref().unwrap_or(default_log), args.access_log_format)?;
    let runtime = process::control_runtime()?;
    let upstream = Upstream::new(&upstream::Settings::default(), runtime.handle().clone());
    let workers = args.workers.unwrap_or_else(process::workers);
    let options = Options { workers, limits: Limits::default(), access_log };
    let data_plane = Arc::new(DataPlane::start(options, upstream).context("the data plane cannot start")?);
    runtime.block_on(async {
        let (shared, health) = (Shared::default(), Health::default());
        admin::serve_ready(args.ready, health.clone()).await?;
        admin::serve_admin(args.admin, shared.clone(), health.clone(), Arc::clone(&data_plane)).await?;
        let changes = sources::watch(source);
        let first = {
            let (health, data_plane) = (health.clone(), Arc::clone(&data_plane));
            move || {
                health.set_ready(true);
                let addresses: Vec<SocketAddr> =
                    data_plane.listening().into_iter().map(|(_, address)| address).collect();
                started(&addresses);
            }
        };
        tokio::spawn(pipeline::run(changes, settings, mesh, Arc::clone(&data_plane), shared, first));
        process::asked_to_end().await;
        tracing::info!(seconds = args.drain, "draining; asked once more, the process ends at once");
        // First whoever sends traffic here has to learn that it is to go elsewhere.
        health.set_ready(false);
        tokio::select! {
            () = data_plane.drain(Duration::from_secs(args.drain)) => {}
            () = process::asked_to_end() => {}
        }
        Ok(())
    })
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
