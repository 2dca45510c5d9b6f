//! `moongate egress`: what an egress gateway denied, or would deny, and the objects that would allow it.

mod additions;
mod denials;
mod entries;
mod report;

use crate::audit::Record;
use crate::output;
use crate::written;
use additions::Known;
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use denials::Denials;
use resources::key::Kind;
use sources::FileReader;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Octets of the longest line that is read; the gateway writes none that is longer.
const LONGEST: u64 = 1 << 20;

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum EgressCommand {
    /// Print the ServiceEntries that would allow what a decision log has as denied
    Suggest(SuggestArgs),
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The output is YAML: what was denied stands in comments, and so does what needs a decision of a person, such as private addresses.
A ServiceEntry that has the host without the port is printed with the port where -f has it, and is named with the port to add otherwise.
Denied is also what policies in a dry run would deny, and what clients of a forward proxy reach only because of ALLOW_ANY.

Examples:
  moongate egress suggest decisions.log                  read it first
  moongate egress suggest decisions.log > allowed.yaml
  moongate egress suggest decisions.log -f ./config      ServiceEntries that lack a port as they are, with the port
  kubectl get serviceentries -A -o yaml | moongate egress suggest decisions.log -f -
  moongate egress suggest decisions.log.1 decisions.log --wildcards
  tail -n 1000 decisions.log | moongate egress suggest -")]
pub(crate) struct SuggestArgs {
    /// Decision logs (`moongate run --decision-log`), the oldest first; `-` is standard input
    #[arg(required = true, value_name = "LOG")]
    files: Vec<PathBuf>,
    /// Suggest a wildcard where several names of one domain were denied, such as `*.example.com` for `a.example.com` and `b.example.com`
    #[arg(long)]
    wildcards: bool,
    /// Files and folders with the ServiceEntries that there are; may be given again, and `-` is standard input
    #[arg(long = "filename", short = 'f', value_name = "PATH")]
    config: Vec<PathBuf>,
    /// The namespace of the ServiceEntries that are new
    #[arg(long, short, value_name = "NAMESPACE", default_value = "default")]
    namespace: String,
}

/// Runs `moongate egress`.
pub(crate) fn command(command: &EgressCommand) -> Result<ExitCode> {
    let EgressCommand::Suggest(args) = command;
    let mut denials = Denials::default();
    for file in &args.files {
        let context = || format!("cannot read {}", file.display());
        if file == Path::new("-") {
            read(io::stdin().lock(), &mut denials).context("cannot read the standard input")?;
        } else {
            read(BufReader::new(File::open(file).with_context(context)?), &mut denials).with_context(context)?;
        }
    }
    output::print(&report::text(&denials, &known(&args.config)?, &args.namespace, args.wildcards))?;
    Ok(ExitCode::SUCCESS)
}

/// The ServiceEntries of files and folders, as they are written.
fn known(config: &[PathBuf]) -> Result<Known> {
    if config.is_empty() {
        return Ok(Known::default());
    }
    let Some(loaded) = FileReader::new(config.to_vec())?.refresh() else { return Ok(Known::default()) };
    let objects = written::objects(&loaded.set, &loaded.streams, &BTreeSet::from([Kind::ServiceEntry]));
    Ok(Known(objects.into_iter().map(|(object, value)| (object.key, value)).collect()))
}

fn read(mut log: impl BufRead, denials: &mut Denials) -> io::Result<()> {
    let mut line = Vec::new();
    while log.by_ref().take(LONGEST).read_until(b'\n', &mut line)? > 0 {
        match std::str::from_utf8(&line).ok().map(Record::parse) {
            Some(Ok(record)) => denials.add(&record),
            Some(Err(_)) | None => denials.unreadable += 1,
        }
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
