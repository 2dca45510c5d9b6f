//! Chores of the workspace, run as `cargo xtask <chore>`: what no compiler checks and no person should have to.

mod layers;
mod licences;
mod rows;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask <chore>

  layers     hold the floors of ARCHITECTURE.md against the crates' dependencies and the modules' imports
  licences   hold every dependency's licence against deny.toml
  rows       list the row ids of the behaviour reference that cases and tests cite";

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("layers") => layers::check(),
        Some("licences") => licences::check(),
        Some("rows") => rows::list(),
        Some("help" | "--help" | "-h") | None => {
            println!("{USAGE}");
            Ok(())
        }
        Some(other) => bail!("there is no chore `{other}`\n\n{USAGE}"),
    }
}
