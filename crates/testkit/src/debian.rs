//! Programs that tests use and that Debian has a package of.

use crate::fetch;
use crate::not_run::not_run;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Packages are fetched by one test at a time.
static FETCHING: Mutex<()> = Mutex::new(());

/// A program, such as `promtool`: the one that is installed, or that of a Debian package, which is fetched once and unpacked, not installed,
/// below the build's folder; so it may need only what is on every Debian. `None`, with a line that says so, where there is no such package;
/// in CI that is an error.
pub fn program(package: &str, name: &str) -> Result<Option<PathBuf>> {
    if let Some(installed) = installed(name) {
        return Ok(Some(installed));
    }
    match unpacked(package) {
        Ok(folder) => Ok(Some(folder.join("usr/bin").join(name))),
        Err(error) => {
            not_run(&format!("there is no {name} of Debian's package {package}: {error:#}"))?;
            Ok(None)
        }
    }
}

/// A program that is in one of the folders of `PATH`.
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn unpacked(package: &str) -> Result<PathBuf> {
    let _one = FETCHING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    let folder = target.join("debian").join(package);
    // It is there once it is whole.
    if folder.is_dir() {
        return Ok(folder);
    }
    std::fs::create_dir_all(target.join("debian"))?;
    let fresh = tempfile::tempdir_in(target.join("debian"))?;
    // The lists of packages may be missing or out of date; only root can fetch them anew.
    if let Err(error) = download(package, fresh.path()) {
        fetch::run(|| {
            let mut update = Command::new("apt-get");
            update.args(["update", "-qq"]);
            update
        })
        .map_err(|_| error)?;
        download(package, fresh.path())?;
    }
    let files = std::fs::read_dir(fresh.path())?.filter_map(|entry| Some(entry.ok()?.path()));
    let archive = files.into_iter().find(|file| file.extension().is_some_and(|end| end == "deb"));
    let archive = archive.context("apt-get has downloaded nothing")?;
    let content = fresh.path().join("content");
    fetch::run_once(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&content))?;
    std::fs::rename(&content, &folder)?;
    Ok(folder)
}

fn download(package: &str, into: &Path) -> Result<()> {
    // As root, apt-get would give the folder to a user that may not write there.
    fetch::run_once(
        Command::new("apt-get").args(["download", "-q", "-o", "APT::Sandbox::User=root", package]).current_dir(into),
    )
}
