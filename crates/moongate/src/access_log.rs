//! The access log of the process: by flags, or by the mesh settings where a flag is not given (TE-03, TE-05).
//!
//! `--access-log` names the target and `--access-log-format` the format; each overrides the mesh settings. `accessLogFile`, `accessLogFormat` and
//! `accessLogEncoding` may change while the process runs.

use anyhow::{Context, Result};
use dataplane::{DataPlane, LogTarget};
use ir::LogFormat;
use resources::spec::mesh_config::MeshConfig;
use std::sync::{Mutex, PoisonError};

/// The target that means no log.
const OFF: &str = "off";

/// The access log and the flags that decide about it.
#[derive(Debug)]
pub(crate) struct AccessLog {
    /// The target that a flag names.
    target: Option<String>,
    /// The format that a flag names.
    format: Option<LogFormat>,
    /// The target and format in use; `None` while the log is off.
    current: Mutex<Option<(String, LogFormat)>>,
}

impl AccessLog {
    /// The access log of a process with these flags, and its target at the start. A target that cannot be opened is an error only here.
    pub(crate) fn open(
        target: Option<String>,
        format: Option<LogFormat>,
    ) -> Result<(Self, Option<(LogTarget, LogFormat)>)> {
        let opened = match &target {
            Some(target) if target != OFF => {
                let format = format.clone().unwrap_or_else(LogFormat::istio_text);
                Some((target.clone(), open(target)?, format))
            }
            Some(_) | None => None,
        };
        let current = opened.as_ref().map(|(target, _, format)| (target.clone(), format.clone()));
        let log = Self { target, format, current: Mutex::new(current) };
        Ok((log, opened.map(|(_, target, format)| (target, format))))
    }

    /// Applies the mesh settings, which have no errors. Where the target cannot be opened, the log before stays in use, and the next
    /// configuration tries again.
    pub(crate) fn apply(&self, mesh: &MeshConfig, data_plane: &DataPlane) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let of_mesh = || Some(mesh.access_log_file.to_string()).filter(|file| !file.is_empty());
        let target = self.target.clone().or_else(of_mesh).filter(|target| target != OFF);
        let format =
            self.format.clone().unwrap_or_else(|| mesh.log_format().unwrap_or_else(|_| LogFormat::istio_text()));
        let wanted = target.map(|target| (target, format));
        match (&*current, &wanted) {
            (before, wanted) if before == wanted => return,
            (_, None) => {
                data_plane.stop_access_log();
                tracing::info!("access log stopped");
            }
            (Some((before, _)), Some((target, format))) if before == target => {
                data_plane.set_access_log_format(format.clone());
                tracing::info!("access log has another format");
            }
            (_, Some((target, format))) => {
                let started = open(target).and_then(|opened| {
                    data_plane.start_access_log(opened, format.clone()).context("the access log cannot start")
                });
                if let Err(error) = started {
                    tracing::error!("{error:#}; the access log stays as it was");
                    return;
                }
                tracing::info!(file = target, "access log started");
            }
        }
        *current = wanted;
    }

    /// Opens the file again, under its name. Where that fails, the file before stays in use.
    pub(crate) fn reopen(&self, data_plane: &DataPlane) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((target, _)) = &*current else { return };
        match open(target) {
            Ok(file) => {
                data_plane.switch_access_log(file);
                tracing::info!(file = target, "access log reopened");
            }
            Err(error) => tracing::error!("access log not reopened, the file before is still in use: {error:#}"),
        }
    }
}

/// Opens a target: `-` and `/dev/stdout` are the standard output, whatever it is connected to.
fn open(target: &str) -> Result<LogTarget> {
    Ok(match target {
        "-" | "/dev/stdout" => Box::new(std::io::stdout()),
        "/dev/stderr" => Box::new(std::io::stderr()),
        path => {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            Box::new(file.with_context(|| format!("cannot write the access log to {path}"))?)
        }
    })
}
