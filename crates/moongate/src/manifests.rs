//! `moongate manifests`: the objects that run the gateway in a cluster. The rights are made from the table of what is watched, so that they
//! are neither more nor less than that; `deploy/` is what this prints.

mod autoscale;
mod chart;
mod gateway;
#[cfg(test)]
mod tests;

use crate::cli::{Cli, ManifestsArgs};
use crate::{output, yaml};
use anyhow::{Result, anyhow};
use clap::Parser as _;
use gateway::objects;

/// Prints the manifests.
pub(crate) fn manifests(args: &ManifestsArgs) -> Result<()> {
    if args.chart {
        return output::print(&args.roles.iter().map(|role| chart::chart(*role)).collect::<String>());
    }
    check_arguments(args)?;
    output::print(&text(args))
}

/// The arguments of containers have to be those of the program, also the ones that the user adds.
fn check_arguments(args: &ManifestsArgs) -> Result<()> {
    for arguments in args.roles.iter().map(|role| gateway::Gateway { role: *role, args }.arguments()) {
        let arguments = std::iter::once("moongate").chain(arguments.iter().map(String::as_str));
        let run = Cli::try_parse_from(arguments);
        run.map_err(|error| anyhow!("the container would not start: {}", error.render()))?;
    }
    Ok(())
}

fn text(args: &ManifestsArgs) -> String {
    objects(args).iter().map(yaml::to_yaml).collect::<Vec<_>>().join("---\n")
}
