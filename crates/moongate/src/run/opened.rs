//! What a process opens before it serves. An error here ends the process while nothing has been served.

use super::ending::Takeover;
use super::origin::{OpenedSource, Origin};
use crate::access_log::AccessLog;
use crate::admin;
use crate::audit::DecisionLog;
use crate::cli::{LogStyle, ServeArgs, WorkloadArgs};
use crate::handover::{self, TrustedUsers};
use crate::operators::OperatorLimits;
use crate::privileges::{self, RunAs};
use crate::start_up::StartUp;
use crate::{descriptors, limits, process, settings};
use anyhow::{Context, Result};
use compiler::Settings;
use dataplane::{DataPlane, Inherited, Limits, Options, TrustedProxies};
use ir::LogFormat;
use rustix::process::Uid;
use std::sync::Arc;
use tokio::runtime::Runtime;
use upstream::{Blocked, UpstreamStore};

/// A process that does not serve yet.
pub(super) struct Opened<'a> {
    pub(super) args: &'a ServeArgs,
    pub(super) workload: &'a WorkloadArgs,
    pub(super) settings: Settings,
    pub(super) source: OpenedSource,
    pub(super) start_up: StartUp,
    pub(super) run_as: Option<RunAs>,
    pub(super) logs: Arc<Logs>,
    pub(super) operators: Operators,
    pub(super) takeover: Takeover,
    pub(super) data_plane: Arc<DataPlane>,
}

/// The logs of requests.
pub(super) struct Logs {
    pub(super) access: AccessLog,
    pub(super) decisions: Option<DecisionLog>,
}

/// The ports for operators.
pub(super) struct Operators {
    pub(super) sockets: admin::Sockets,
    pub(super) limits: OperatorLimits,
}

/// What the caller gives a process besides its arguments.
pub(crate) struct Given<'a> {
    /// The target of the access log where no argument names one.
    pub(crate) access_log: Option<&'a str>,
    /// Sockets that the caller has opened for addresses of the arguments or of the configuration.
    pub(crate) bound: Inherited,
}

impl<'a> Opened<'a> {
    /// Opens the source, logs and ports, and starts the workers of the data plane, which listen on nothing yet.
    pub(super) fn open(
        origin: Origin,
        workload: &'a WorkloadArgs,
        args: &'a ServeArgs,
        given: Given<'_>,
        runtime: &Runtime,
    ) -> Result<Self> {
        let descriptors = descriptors::raise_limit();
        let run_as = args.user.as_deref().map(RunAs::parse).transpose()?;
        privileges::warn_of_root(run_as.as_ref());
        let settings = settings::settings(workload)?;
        let (source, input) = origin.open(workload, runtime)?;
        let log_target = args.access_log.clone().or_else(|| given.access_log.map(str::to_owned));
        let (access, access_log) = AccessLog::open(log_target, args.access_log_format.map(log_format))?;
        let decisions = args.decision_log.open()?;
        let users = TrustedUsers { later: run_as.as_ref().map(|run_as| Uid::from_raw(run_as.uid())) };
        let (mut inherited, predecessor) = handover::inherit(args.takeover.as_deref(), users)?;
        inherited.extend(given.bound);
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
        let options = Options {
            access_log,
            decision_log: decisions.as_ref().map(DecisionLog::target),
            inherited,
            ..options(args, workers, bounds.plane)
        };
        let upstream = UpstreamStore::new(&of_upstream, runtime.handle().clone());
        let data_plane = Arc::new(DataPlane::start(options, upstream).context("the data plane cannot start")?);
        Ok(Self {
            args,
            workload,
            settings,
            source,
            start_up,
            run_as,
            logs: Arc::new(Logs { access, decisions }),
            operators: Operators { sockets, limits: bounds.operators },
            takeover: Takeover { path: args.takeover.clone(), users, predecessor, own },
            data_plane,
        })
    }
}

impl Logs {
    /// Opens their files again, under their names.
    pub(super) fn reopen(&self, data_plane: &DataPlane) {
        self.access.reopen(data_plane);
        if let Some(decisions) = &self.decisions {
            decisions.reopen();
        }
    }

    /// Ends the chain of decisions, once no request is served any more.
    pub(super) fn stop(&self, data_plane: &DataPlane) {
        if let Some(decisions) = &self.decisions {
            decisions.stop(data_plane.decisions_overflowed());
        }
    }
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
