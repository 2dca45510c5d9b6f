//! Chores of the workspace, run as `cargo xtask <chore>`: what no compiler checks and no person should have to.

mod layers;
mod licences;
mod promises;
mod rows;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask <chore>

  layers     compare the crates' dependencies and the modules' imports with the layers of ARCHITECTURE.md
  layers MODULE
             print an order of the modules in MODULE (such as `dataplane::http`) that their imports allow
  licences   hold every dependency's licence against deny.toml
  promises   check that every test that docs/threat-model.md names exists
  rows       compare the row ids (such as `S-62`) that are cited with those that docs/rows.md explains
  rows ID    print the files that cite an id";

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("layers") => std::env::args().nth(2).map_or_else(layers::check, |module| layers::propose(&module)),
        Some("licences") => licences::check(),
        Some("promises") => promises::check(),
        Some("rows") => std::env::args().nth(2).map_or_else(rows::check, |id| rows::find(&id)),
        Some("help" | "--help" | "-h") | None => {
            println!("{USAGE}");
            Ok(())
        }
        Some(other) => bail!("there is no chore `{other}`\n\n{USAGE}"),
    }
}
