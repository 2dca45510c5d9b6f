//! The process's own log, on the standard error output.

use crate::output::Output;
use anyhow::{Context, Result};
use std::io::IsTerminal;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// Checks the value of `--log`: a level, or `TARGET=LEVEL`, or several of them separated by commas.
pub(crate) fn level(text: &str) -> Result<String, String> {
    for part in text.split(',') {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        // `LevelFilter` has numbers as well, and takes nothing for a level.
        let is_word = !level.is_empty() && level.bytes().all(|byte| byte.is_ascii_alphabetic());
        if !is_word || level.parse::<LevelFilter>().is_err() {
            return Err(format!("unknown level `{level}`; use off, error, warn, info, debug or trace"));
        }
    }
    Ok(text.to_owned())
}

/// Starts the log, from `level` on.
pub(crate) fn start(level: &str, format: Output) -> Result<()> {
    // The client of Kubernetes logs each request that fails; `sources` says once what is wrong. A level of its own overrides this.
    let filter = EnvFilter::try_new(format!("kube_client=off,{level}"))
        .with_context(|| format!("`{level}` is not a level of the log"))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        // Where the log cannot be written, a panic by a message about that would end what serves.
        .log_internal_errors(false);
    let started = match format {
        Output::Text => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
        Output::Json => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("the log cannot start: {error}"))
}

#[cfg(test)]
mod tests {
    use super::level;

    #[test]
    fn records_of_log_are_removed_at_compile_time() {
        assert_eq!(log::STATIC_MAX_LEVEL, log::LevelFilter::Off);
    }

    #[test]
    fn unknown_levels_are_refused() {
        for known in ["off", "error", "WARN", "info", "debug", "trace", "info,upstream=debug", "h2=off"] {
            assert!(level(known).is_ok(), "{known}");
        }
        for unknown in ["", "inof", "verbose", "info,upstream=loud", "info,", "3"] {
            assert!(level(unknown).is_err(), "{unknown}");
        }
    }
}
