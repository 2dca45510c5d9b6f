//! Circles of imports: sets of modules each of which reaches all others.

use super::imports::Import;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

type Graph<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// The strongly connected components with more than one module, by Tarjan's algorithm.
pub(super) fn find(imports: &[Import]) -> Vec<BTreeSet<String>> {
    let graph = graph(imports);
    let mut search = Search { graph: &graph, seen: BTreeMap::new(), stack: Vec::new(), found: Vec::new() };
    for module in graph.keys() {
        if !search.seen.contains_key(module) {
            search.visit(module);
        }
    }
    search.found.sort();
    search.found
}

/// Reports each circle with a shortest way around.
pub(super) fn faults(found: &[BTreeSet<String>], imports: &[Import]) -> Vec<String> {
    let fault = |circle: &BTreeSet<String>| {
        let mut text = format!("a circle of imports among {} modules: {}", circle.len(), list(circle));
        for import in shortest(circle, imports) {
            let _ = write!(text, "\n    {}", line(import));
        }
        text
    };
    found.iter().map(fault).collect()
}

/// An import as a line of a report.
pub(super) fn line(import: &Import) -> String {
    format!("{}:{}: {} imports {} (`{}`)", import.file.display(), import.line, import.from, import.to, import.path)
}

fn list<'a>(modules: impl IntoIterator<Item = &'a String>) -> String {
    modules.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn graph(imports: &[Import]) -> Graph<'_> {
    let mut graph = Graph::new();
    for import in imports {
        graph.entry(&import.from).or_default().insert(&import.to);
        graph.entry(&import.to).or_default();
    }
    graph
}

struct Search<'a> {
    graph: &'a Graph<'a>,
    /// Of each module that was reached: its number, and whether it is on the stack.
    seen: BTreeMap<&'a str, (usize, bool)>,
    stack: Vec<&'a str>,
    found: Vec<BTreeSet<String>>,
}

impl<'a> Search<'a> {
    /// Returns the lowest number that the module reaches.
    fn visit(&mut self, module: &'a str) -> usize {
        let number = self.seen.len();
        let mut low = number;
        self.seen.insert(module, (number, true));
        self.stack.push(module);
        for next in self.graph.get(module).into_iter().flatten().copied() {
            match self.seen.get(next) {
                None => low = low.min(self.visit(next)),
                Some((number, true)) => low = low.min(*number),
                Some((_, false)) => {}
            }
        }
        if low == number {
            let mut circle = BTreeSet::new();
            while let Some(last) = self.stack.pop() {
                if let Some(seen) = self.seen.get_mut(last) {
                    seen.1 = false;
                }
                circle.insert(last.to_owned());
                if last == module {
                    break;
                }
            }
            if circle.len() > 1 {
                self.found.push(circle);
            }
        }
        low
    }
}

/// The imports of a shortest way around inside a component, the first line of each.
fn shortest<'a>(circle: &BTreeSet<String>, imports: &'a [Import]) -> Vec<&'a Import> {
    let inside: Vec<&Import> =
        imports.iter().filter(|import| circle.contains(&import.from) && circle.contains(&import.to)).collect();
    let ways = circle.iter().filter_map(|start| {
        let mut came: BTreeMap<&str, &Import> = BTreeMap::new();
        let mut open = VecDeque::from([start.as_str()]);
        while let Some(module) = open.pop_front() {
            for import in inside.iter().filter(|import| import.from == module) {
                if !came.contains_key(import.to.as_str()) {
                    came.insert(&import.to, import);
                    open.push_back(&import.to);
                }
            }
        }
        let mut way = vec![*came.get(start.as_str())?];
        while let Some(last) = way.last().filter(|last| last.from != *start) {
            way.push(*came.get(last.from.as_str())?);
        }
        way.reverse();
        Some(way)
    });
    ways.min_by_key(Vec::len).unwrap_or_default()
}
