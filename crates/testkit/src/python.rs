//! Clients and servers in Python, with what they need from its package index.

use crate::fetch;
use crate::not_run::not_run;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Packages are fetched by one test at a time.
static FETCHING: Mutex<()> = Mutex::new(());

/// An interpreter that finds some packages.
#[derive(Debug)]
pub struct Python {
    packages: PathBuf,
}

impl Python {
    /// Python with these packages, which are fetched once and kept below the build's folder. `None`, with a line that says so, where
    /// there is no Python or no index; in CI that is an error.
    pub fn with(packages: &[&str]) -> Result<Option<Self>> {
        match fetch(packages) {
            Ok(packages) => Ok(Some(Self { packages })),
            Err(error) => {
                not_run(&format!("there is no python3 with pip and {}: {error:#}", packages.join(", ")))?;
                Ok(None)
            }
        }
    }

    /// A file of a package, such as a program that it brings.
    pub fn file(&self, path: &str) -> PathBuf {
        self.packages.join(path)
    }

    /// Runs a script.
    pub fn command(&self, script: &Path, args: &[&str]) -> Command {
        let mut command = Command::new("python3");
        command.arg(script).args(args).env("PYTHONPATH", &self.packages).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

fn fetch(packages: &[&str]) -> Result<PathBuf> {
    let _one = FETCHING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    let folder = target.join("python").join(packages.join("-"));
    // It is there once it is whole.
    if folder.is_dir() {
        return Ok(folder);
    }
    std::fs::create_dir_all(target.join("python"))?;
    let fresh = tempfile::tempdir_in(target.join("python"))?;
    fetch::run(|| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", "--target"])
            .arg(fresh.path())
            .args(packages);
        pip
    })?;
    std::fs::rename(fresh.keep(), &folder)?;
    Ok(folder)
}
