//! Programs that tests use and that come as Go modules.

use crate::fetch;
use crate::not_run::not_run;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Programs are built by one test at a time.
static BUILDING: Mutex<()> = Mutex::new(());

/// A program: the one that is installed, or that of a module's package, such as `github.com/summerwind/h2spec/cmd/h2spec@v2.2.1`, which is built
/// once below the build's folder. `None`, with a line that says so, where there is no Go; in CI that is an error.
pub fn program(package: &str, name: &str) -> Result<Option<PathBuf>> {
    if let Some(installed) = crate::debian::installed(name) {
        return Ok(Some(installed));
    }
    if crate::debian::installed("go").is_none() {
        not_run(&format!("{name} is not installed, and there is no Go to build it"))?;
        return Ok(None);
    }
    let _one = BUILDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    std::fs::create_dir_all(target.join("go"))?;
    let folder = target.join("go").canonicalize()?;
    let built = folder.join("bin").join(name);
    if built.is_file() {
        return Ok(Some(built));
    }
    fetch::run(|| {
        let mut command = Command::new("go");
        command.args(["install", package]).env("GOPATH", &folder).env("GOBIN", folder.join("bin"));
        // Its downloads can be removed like other files.
        command.env("GOFLAGS", "-modcacherw");
        command
    })?;
    Ok(Some(built))
}
