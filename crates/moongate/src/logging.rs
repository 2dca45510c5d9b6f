//! What the process says of itself, on the standard error output.

use anyhow::{Context, Result};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts saying things from `level` on.
pub(crate) fn start(level: &str) -> Result<()> {
    let filter = EnvFilter::try_new(level).with_context(|| format!("`{level}` is no level of the log"))?;
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
    started.map_err(|error| anyhow::anyhow!("the log cannot start: {error}"))
}
