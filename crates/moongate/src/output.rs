//! What commands print on the standard output. The one place that writes there, so that a closed or full output is an error and never a panic.
//!
//! Not the process's own log (see `logging`), and not the access log, which the data plane writes.

use anyhow::{Context, Result};
use clap::ValueEnum;
use std::io::{self, ErrorKind, Write};

/// The form of what a command prints, and of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Prints a text whole; where the output is no terminal, its colours are removed. A reader that has closed the output, such as `head`,
/// needs no more of it: that is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = anstream::stdout().lock();
    settle(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// What the result of writing to the standard output means to the command.
pub(crate) fn settle(written: io::Result<()>) -> Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to the standard output"),
    }
}

/// Prints a line on the standard error output. Where that cannot be written to, nobody reads it.
pub(crate) fn print_note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints the error that ends a command. Where even the standard error output cannot be written to, the exit code has to do.
pub(crate) fn print_error(error: &anyhow::Error) {
    let style = anstyle::AnsiColor::Red.on_default().bold();
    let _ = writeln!(anstream::stderr(), "{style}error{style:#}: {error:#}");
}
