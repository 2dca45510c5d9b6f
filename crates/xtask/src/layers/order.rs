//! The order of modules: a module imports from those that stand before it, never from those behind it.

use super::circles;
use super::imports::Import;
use std::collections::{BTreeMap, BTreeSet};

/// The word by which a list says where the file of the module itself stands. Without it, the file stands last.
pub(super) const ITSELF: &str = "self";

/// A module and its children, lowest first.
pub(super) type List<'a> = (&'a str, &'a [&'a str]);

/// Compares lists with the modules that there are and the imports among them.
pub(super) fn faults(modules: &BTreeSet<String>, imports: &[Import], lists: &[List<'_>]) -> Vec<String> {
    let mut faults = list_faults(modules, lists);
    for import in imports {
        let (parent, from, to) = sides(import);
        let Some((_, list)) = lists.iter().find(|(listed, _)| *listed == parent) else { continue };
        if let (Some(low), Some(high)) = (rank(list, from), rank(list, to))
            && low < high
        {
            let above = if to == ITSELF { parent } else { to };
            let below = if from == ITSELF { parent } else { from };
            faults.push(format!("{}, but {above} stands above {below} in the list of {parent}", circles::line(import)));
        }
    }
    faults
}

/// Compares lists with the modules that there are.
fn list_faults(modules: &BTreeSet<String>, lists: &[List<'_>]) -> Vec<String> {
    let mut faults = Vec::new();
    let children = children(modules);
    for (parent, present) in &children {
        if !lists.iter().any(|(listed, _)| listed == parent) && present.len() > 1 {
            faults.push(format!(
                "{parent} has {} modules and no list of their order: {}",
                present.len(),
                to_do(parent)
            ));
        }
    }
    for (index, (parent, list)) in lists.iter().enumerate() {
        if lists[..index].iter().any(|(before, _)| before == parent) {
            faults.push(format!("{parent} has two lists in {}: remove one", file_of(parent)));
        }
        let Some(present) = children.get(parent) else {
            faults.push(format!("{parent} has no modules: remove its list from {}", file_of(parent)));
            continue;
        };
        for missing in present.iter().filter(|child| !list.contains(*child)) {
            faults.push(format!("{parent}::{missing} is in no list: {}", to_do(parent)));
        }
        for (index, child) in list.iter().enumerate() {
            if *child != ITSELF && !present.contains(child) {
                let file = file_of(parent);
                faults.push(format!("{parent}::{child} does not exist: remove it from the list of {parent} in {file}"));
            }
            if list[..index].contains(child) {
                faults.push(format!("{parent}::{child} is in the list of {parent} twice"));
            }
        }
    }
    faults
}

/// An order of a module's children that holds for most imports: for all of them, unless there is a circle. It keeps to the
/// list that there is as far as it can. The second value has the imports against it.
pub(super) fn propose<'a>(
    parent: &str,
    modules: &'a BTreeSet<String>,
    imports: &'a [Import],
    lists: &[List<'a>],
) -> (Vec<&'a str>, Vec<&'a Import>) {
    let before: &[&str] = lists.iter().find(|(listed, _)| *listed == parent).map_or(&[], |(_, list)| list);
    let mut left: Vec<&str> = children(modules).remove(parent).unwrap_or_default().into_iter().collect();
    left.push(ITSELF);
    left.sort_by_key(|child| (*child == ITSELF, rank(before, child).unwrap_or(0), *child));
    let edges: Vec<_> = imports
        .iter()
        .map(|import| (sides(import), import))
        .filter(|((common, _, _), _)| *common == parent)
        .map(|((_, from, to), import)| (from, to, import))
        .collect();
    let (mut order, mut against) = (Vec::new(), Vec::new());
    while !left.is_empty() {
        let needs = |child: &str| edges.iter().filter(|(from, to, _)| *from == child && left.contains(to)).count();
        // The first without needs, or else the one with the fewest.
        let Some((index, _)) = left.iter().enumerate().min_by_key(|(_, child)| needs(child)) else { break };
        let child = left[index];
        against.extend(
            edges.iter().filter(|(from, to, _)| *from == child && left.contains(to)).map(|(_, _, import)| *import),
        );
        left.remove(index);
        order.push(child);
    }
    (order, against)
}

fn to_do(parent: &str) -> String {
    format!("add it to {} (`cargo xtask layers {parent}` prints an order that holds)", file_of(parent))
}

/// The file with the lists of a module's crate.
fn file_of(module: &str) -> String {
    let name = module.split([':', '(']).next().unwrap_or(module);
    format!("crates/xtask/src/layers/table/{name}.rs")
}

/// The names of the children of each module that has some.
fn children(modules: &BTreeSet<String>) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut children: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (parent, child) in modules.iter().filter_map(|module| module.rsplit_once("::")) {
        children.entry(parent).or_default().insert(child);
    }
    children
}

/// The lowest module that both ends of an import are in, and the two children of it that they are in or are.
fn sides(import: &Import) -> (&str, &str, &str) {
    let mut common = 0;
    for (end, _) in import.from.match_indices("::").chain([(import.from.len(), "")]) {
        let prefix = &import.from[..end];
        if import.to.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")) {
            common = end;
        }
    }
    let side = |name: &str| -> std::ops::Range<usize> {
        let start = (common + 2).min(name.len());
        let rest = &name[start..];
        start..start + rest.find("::").unwrap_or(rest.len())
    };
    let (from, to) = (&import.from[side(&import.from)], &import.to[side(&import.to)]);
    let or_itself = |child| if str::is_empty(child) { ITSELF } else { child };
    (&import.from[..common], or_itself(from), or_itself(to))
}

fn rank(list: &[&str], child: &str) -> Option<usize> {
    let found = list.iter().position(|listed| *listed == child);
    found.or_else(|| (child == ITSELF).then_some(list.len()))
}
