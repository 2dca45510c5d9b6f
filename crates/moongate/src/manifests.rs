//! `moongate manifests`: the objects that run the gateway in a cluster. The rights are made from the table of what is watched, so that they
//! are neither more nor less than that; `deploy/` is what this prints.

mod autoscale;
mod chart;
mod gateway;
#[cfg(test)]
mod tests;

use crate::cli::ManifestsArgs;
use crate::{output, yaml};
use anyhow::Result;
use gateway::objects;

/// Prints the manifests.
pub(crate) fn manifests(args: &ManifestsArgs) -> Result<()> {
    if args.chart {
        return output::print(&args.roles.iter().map(|role| chart::chart(*role)).collect::<String>());
    }
    output::print(&text(args))
}

fn text(args: &ManifestsArgs) -> String {
    objects(args).iter().map(yaml::to_yaml).collect::<Vec<_>>().join("---\n")
}
