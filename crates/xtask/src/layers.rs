//! `layers`: the directions between crates, and between the modules of each.
//!
//! `table` has what is allowed, so that a new edge is a decision that a change states. `modules` parses the files,
//! `imports` resolves the paths in them, `order` and `circles` judge the result, and `boundary` holds the versions of HTTP
//! inside `dataplane::codec`.

mod boundary;
mod circles;
mod imports;
mod modules;
mod order;
mod table;
#[cfg(test)]
mod tests;

use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, TargetKind};
use imports::Import;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use table::{BANNED, CRATES};

/// Compares the tables with the workspace.
pub(crate) fn check() -> Result<()> {
    let metadata = MetadataCommand::new().no_deps().exec().context("`cargo metadata` failed")?;
    let Workspace { modules, imports, outside_codec } = read(&metadata)?;
    let (found, lists) = (circles::find(&imports), table::order());
    let mut faults = crate_faults(&metadata);
    faults.extend(outside_codec);
    faults.extend(circles::faults(&found, &imports));
    faults.extend(order::faults(&modules, &imports, &lists));
    if !faults.is_empty() {
        bail!("the layers do not hold:\n  {}", faults.join("\n  "));
    }
    println!(
        "layers hold: {} crates, {} modules, {} lists of order, no circle",
        CRATES.len(),
        modules.len(),
        lists.len()
    );
    Ok(())
}

/// Prints an order of a module's children that holds, as a line for the table, and what stands in its way.
pub(crate) fn propose(module: &str) -> Result<()> {
    let metadata = MetadataCommand::new().no_deps().exec().context("`cargo metadata` failed")?;
    let Workspace { modules, imports, .. } = read(&metadata)?;
    if !modules.contains(module) {
        bail!("there is no module {module} in the workspace (names are as `dataplane::http`)");
    }
    let (mut order, against) = order::propose(module, &modules, &imports, &table::order());
    if order.last() == Some(&order::ITSELF) {
        order.pop();
    }
    println!("(\"{module}\", &{order:?}),");
    for import in against {
        println!("against it: {}", circles::line(import));
    }
    Ok(())
}

/// What the checks compare.
struct Workspace {
    /// The modules that have a file, by name.
    modules: BTreeSet<String>,
    imports: Vec<Import>,
    /// Where modules outside the codec depend on a version of HTTP.
    outside_codec: Vec<String>,
}

/// Reads the modules of every library and program of the workspace; tests, examples and benches are not read.
fn read(metadata: &Metadata) -> Result<Workspace> {
    let root = metadata.workspace_root.as_std_path();
    let mut workspace = Workspace { modules: BTreeSet::new(), imports: Vec::new(), outside_codec: Vec::new() };
    for package in metadata.workspace_packages() {
        let library = package.targets.iter().find(|target| target.kind.contains(&TargetKind::Lib));
        let programs = package.targets.iter().filter(|target| target.kind.contains(&TargetKind::Bin));
        for target in library.into_iter().chain(programs) {
            let name = match library {
                Some(library) if !std::ptr::eq(library, target) => format!("{}(bin {})", package.name, target.name),
                _ => package.name.to_string(),
            };
            let source = target.src_path.as_std_path();
            let source = source.strip_prefix(root).unwrap_or(source);
            let tree = modules::load(&name, source, &|path| fs::read_to_string(root.join(path)).ok())?;
            workspace.imports.extend(imports::of(&tree));
            workspace.outside_codec.extend(boundary::faults(&tree));
            workspace.modules.extend(
                tree.into_iter().enumerate().filter(|(id, module)| *id == module.node).map(|(_, module)| module.name),
            );
        }
    }
    Ok(workspace)
}

fn crate_faults(metadata: &Metadata) -> Vec<String> {
    let allowed: BTreeMap<_, _> = CRATES.iter().copied().collect();
    let mut faults = Vec::new();
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        let Some(may) = allowed.get(name) else {
            faults.push(format!("{name} has no floor: add it to CRATES in crates/xtask/src/layers/table.rs"));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development) {
            let used = dependency.name.as_str();
            if allowed.contains_key(used) && !may.contains(&used) {
                faults.push(format!("{name} may not import {used}"));
            }
            for (_, banned, why) in BANNED.iter().filter(|(who, banned, _)| *who == name && banned.contains(&used)) {
                debug_assert!(!banned.is_empty());
                faults.push(format!("{name} may not import {used}: {why}"));
            }
        }
    }
    faults
}
