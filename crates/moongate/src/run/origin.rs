//! Where the configuration of `moongate run` comes from, until it is watched.

use crate::cli::{RunArgs, WorkloadArgs};
use crate::start_up::{self, Input};
use crate::{settings, statuses};
use anyhow::Result;
use sources::{Access, FileSource, KubernetesSettings, KubernetesSource, Pace, Reload, Statuses, Watch, Writer};
use std::path::PathBuf;
use tokio::runtime::Runtime;

/// Where the configuration comes from.
pub(crate) enum Origin {
    Files(Vec<PathBuf>),
    Cluster(Box<KubernetesSettings>),
}

/// A source that is not watched yet.
pub(super) enum OpenedSource {
    Files(Box<FileSource>),
    Cluster(Box<KubernetesSource>),
}

impl Origin {
    /// The API server or the paths that the arguments name.
    pub(super) fn of(args: &RunArgs) -> Result<Self> {
        let (cluster, workload) = (&args.cluster, &args.workload);
        if !cluster.kubernetes {
            return Ok(Self::Files(args.paths.clone()));
        }
        Ok(Self::Cluster(Box::new(KubernetesSettings {
            access: Access { kubeconfig: cluster.kubeconfig.clone(), context: cluster.context.clone() },
            namespace: workload.namespace.as_str().into(),
            mesh: workload.mesh_config.clone(),
            certificates: cluster.certificate_files.clone(),
            with_nodes: workload.locality.is_some() || workload.node_name.is_some(),
            state: cluster.state.clone(),
            pace: Pace::default(),
            write: statuses::settings(cluster, &settings::settings(workload)?.workloads),
        })))
    }

    /// Opens the source; what is logged of it.
    pub(super) fn open(self, workload: &WorkloadArgs, runtime: &Runtime) -> Result<(OpenedSource, Input)> {
        match self {
            Self::Files(paths) => {
                let source = FileSource::new(paths.clone(), workload.mesh_config.clone())?;
                let check = (!source.has_streams()).then(|| start_up::check_command(&paths, workload));
                Ok((OpenedSource::Files(Box::new(source)), Input { paths, check }))
            }
            Self::Cluster(settings) => {
                let source = runtime.block_on(KubernetesSource::new(*settings))?;
                let input = Input { paths: vec![source.url().into()], check: None };
                Ok((OpenedSource::Cluster(Box::new(source)), input))
            }
        }
    }
}

impl OpenedSource {
    pub(super) fn reload(&self) -> Reload {
        match self {
            Self::Files(source) => source.reload(),
            Self::Cluster(source) => source.reload(),
        }
    }

    /// Whether the objects are those of a cluster.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// What writes statuses.
    pub(super) fn writing(&mut self) -> Option<(Writer, Statuses)> {
        match self {
            Self::Files(_) => None,
            Self::Cluster(source) => source.writer(),
        }
    }

    pub(super) fn watch(self) -> Watch {
        match self {
            Self::Files(source) => sources::watch(*source),
            Self::Cluster(source) => sources::watch(*source),
        }
    }
}
