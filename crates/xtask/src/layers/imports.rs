//! Which module imports which: paths resolved to the module that defines what they name.

use super::modules::Module;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// One file uses an item of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Import {
    /// The module that has the path.
    pub(super) from: String,
    /// The module that defines what the path names.
    pub(super) to: String,
    /// The file of `from`.
    pub(super) file: PathBuf,
    /// The line in it.
    pub(super) line: usize,
    /// The path as resolved from, joined by `::`.
    pub(super) path: String,
}

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    /// A module.
    Module(usize),
    /// An item, by the module that defines it. What a module re-exports from another crate is an item of the module.
    Item(usize),
    /// Something of another crate, or no path from a name in scope.
    Outside,
}

/// More re-exports in a row than any sensible path has; ends a circle of them.
const LONGEST_CHAIN: usize = 32;

/// The imports among the files of one crate, one for each line, without those within a file.
///
/// To name a module is no import by itself: the paths that go through it are. A glob imports from the module it names.
pub(super) fn of(modules: &[Module]) -> Vec<Import> {
    let mut found = BTreeSet::new();
    for (id, module) in modules.iter().enumerate() {
        for mention in &module.mentions {
            let to = match resolve(modules, id, &mention.path, 0) {
                Named::Item(to) => to,
                Named::Module(to) if mention.glob => to,
                Named::Module(_) | Named::Outside => continue,
            };
            let (from, to) = (module.node, modules[to].node);
            if from != to {
                found.insert(Import {
                    from: modules[from].name.clone(),
                    to: modules[to].name.clone(),
                    file: module.file.clone(),
                    line: mention.line,
                    path: mention.path.join("::"),
                });
            }
        }
    }
    found.into_iter().collect()
}

fn resolve(modules: &[Module], scope: usize, path: &[String], depth: usize) -> Named {
    if depth > LONGEST_CHAIN {
        return Named::Outside;
    }
    let mut at = Named::Module(scope);
    for (position, segment) in path.iter().enumerate() {
        let Named::Module(module) = at else { return at };
        at = match segment.as_str() {
            "crate" if position == 0 => Named::Module(0),
            "self" => at,
            "super" => match modules[module].parent {
                Some(parent) => Named::Module(parent),
                None => return Named::Outside,
            },
            name => match (look_up(modules, module, name, depth), position) {
                (Some(Named::Outside), 0) | (None, 0) => return Named::Outside,
                // A macro may have made it, or it comes from another crate.
                (Some(Named::Outside), _) | (None, _) => Named::Item(module),
                (Some(named), _) => named,
            },
        };
    }
    at
}

/// What a name means in a module.
fn look_up(modules: &[Module], id: usize, name: &str, depth: usize) -> Option<Named> {
    let module = &modules[id];
    if let Some(child) = module.children.get(name) {
        return Some(Named::Module(*child));
    }
    if module.defined.contains(name) {
        return Some(Named::Item(id));
    }
    if let Some(path) = module.imported.get(name) {
        return Some(resolve(modules, id, path, depth + 1));
    }
    module.globs.iter().find_map(|path| match resolve(modules, id, path, depth + 1) {
        Named::Module(from) if from != id && depth < LONGEST_CHAIN => look_up(modules, from, name, depth + 1),
        _ => None,
    })
}
