//! Downloads of what tests need. In CI one that fails is repeated: a connection that breaks is not the fault of a test.

use crate::not_run::is_ci;
use anyhow::{Context, Result, ensure};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Waits between the attempts in CI.
const PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(15)];

/// Runs a command that downloads, more than once in CI if it fails.
pub(crate) fn run(command: impl Fn() -> Command) -> Result<()> {
    let pauses = if is_ci() { &PAUSES[..] } else { &[] };
    for pause in pauses {
        match run_once(&mut command()) {
            Ok(()) => return Ok(()),
            Err(error) => eprintln!("repeated after {pause:?}: {error:#}"),
        }
        std::thread::sleep(*pause);
    }
    run_once(&mut command())
}

/// Runs a command, which has to succeed.
pub(crate) fn run_once(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{name} cannot be run"))?;
    ensure!(output.status.success(), "{name} reports: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
