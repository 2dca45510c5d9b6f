//! The decision log: who asked for what, what was decided and what came of it, chained so that a change or a gap shows; and
//! `moongate audit verify`, which finds both.

mod chain;
mod file;
mod record;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

use crate::output::{self, Output};
use crate::words::counted;
use anyhow::{Context, Result};
use chain::Seal;
use clap::{Args, Subcommand};
pub(crate) use file::DecisionLog;
pub(crate) use record::Record;
use std::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;
use verify::{Accepted, Verified, Verifier};

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum AuditCommand {
    /// Find changes, gaps and other orders in decision logs
    Verify(VerifyArgs),
}

/// Where decisions are logged.
#[derive(Debug, Clone, Args)]
pub(crate) struct DecisionLogArgs {
    /// A file for a record of each request and connection: who, what was asked, which rule decided and what came of it, chained so that a
    /// change or a gap shows (`moongate audit verify`)
    #[arg(long = "decision-log", env = "MOONGATE_DECISION_LOG", value_name = "FILE")]
    file: Option<PathBuf>,
    /// A file with the key that seals these records
    #[arg(long = "decision-log-key", env = "MOONGATE_DECISION_LOG_KEY", value_name = "FILE", requires = "file")]
    file_key: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Exit code: 0 for a whole log, 1 for one with faults, 2 when the command itself failed.

Examples:
  moongate audit verify decisions.log
  moongate audit verify decisions.log.2 decisions.log.1 decisions.log     rotated, the oldest first
  moongate audit verify --key /etc/moongate/decisions.key decisions.log")]
pub(crate) struct VerifyArgs {
    /// The files of the log, the oldest first
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The file with the key of `--decision-log-key`
    #[arg(long, env = "MOONGATE_DECISION_LOG_KEY", value_name = "FILE")]
    key: Option<PathBuf>,
    /// Accept that the first file continues one that is not given
    #[arg(long)]
    continues: bool,
    /// Accept that the last record of a process is missing: it was killed. A log that a process has open needs no such flag
    #[arg(long)]
    unfinished: bool,
    /// The hash of a record that has to be there, as the process's own log has it; may be given again
    #[arg(long = "anchor", value_name = "HASH", value_parser = seal)]
    anchors: Vec<Seal>,
    /// How the result looks
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

impl DecisionLogArgs {
    /// The log in this file, unless the flags name another; the file that is logged to.
    pub(crate) fn or_file(&mut self, file: &std::path::Path) -> PathBuf {
        self.file.get_or_insert_with(|| file.to_owned()).clone()
    }

    /// Opens the log that the flags ask for.
    ///
    /// # Errors
    ///
    /// The file or the key cannot be read or written, or the key is too short.
    pub(crate) fn open(&self) -> Result<Option<DecisionLog>> {
        self.file.as_deref().map(|file| DecisionLog::open(file, self.file_key.as_deref())).transpose()
    }
}

fn seal(text: &str) -> Result<Seal, String> {
    Seal::read(text.as_bytes()).ok_or_else(|| format!("`{text}` is not a hash of 64 hexadecimal digits in lower case"))
}

/// Runs `moongate audit`.
pub(crate) fn command(command: &AuditCommand) -> Result<ExitCode> {
    let AuditCommand::Verify(args) = command;
    let accepted = Accepted { continues: args.continues, unfinished: args.unfinished, anchors: args.anchors.clone() };
    let mut verifier = Verifier::new(file::sealer(args.key.as_deref())?, accepted);
    let mut is_being_written = false;
    for path in &args.files {
        let context = || format!("cannot read {}", path.display());
        let file = File::open(path).with_context(context)?;
        // Asked before reading: a process that ends meanwhile has written its last record by then.
        is_being_written = file::is_being_written(&file);
        verifier.read(&path.to_string_lossy(), BufReader::new(file)).with_context(context)?;
    }
    let verified = verifier.finish(is_being_written);
    output::print(&match args.output {
        Output::Json => format!("{}\n", serde_json::to_string_pretty(&verified)?),
        Output::Text => report(&verified, args.key.is_some()),
    })?;
    Ok(ExitCode::from(u8::from(!verified.faults.is_empty())))
}

fn report(verified: &Verified, has_key: bool) -> String {
    let mut out = String::new();
    for fault in &verified.faults {
        let _ = writeln!(out, "{fault}");
    }
    for chain in &verified.chains {
        let _ = writeln!(
            out,
            "chain {}: records {} to {}, {}; last hash {}",
            chain.chain, chain.first, chain.last, chain.state, chain.hash
        );
    }
    let count = |number: u64, what| counted(usize::try_from(number).unwrap_or(usize::MAX), what);
    let _ = write!(out, "{}, {}", count(verified.records, "record"), counted(verified.faults.len(), "fault"));
    if verified.lost > 0 {
        let _ = write!(out, "; the gateway could not write {}", count(verified.lost, "further record"));
    }
    let _ = writeln!(out);
    if !has_key && verified.faults.is_empty() {
        out.push_str("without a key, this finds changes by who did not compute the hashes anew: compare the last hash with one that was kept elsewhere\n");
    }
    out
}
