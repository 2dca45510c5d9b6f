//! An index for hosts with many rules: the rules that can match a path, in order, without a check of each.

use crate::route::RouteEntry;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use ir::{MatchPath, StringMatch};
use smallvec::SmallVec;
use std::sync::Arc;

/// Hosts with fewer rules are searched linearly, which is faster than an index.
pub(crate) const FEW: usize = 12;

/// Numbers of rules, ascending.
type Numbers = SmallVec<[u32; 4]>;
/// All lists with candidates.
type Lists<'a> = SmallVec<[&'a [u32]; 16]>;
type ByPath = HashMap<Box<[u8]>, Numbers, RandomState>;

/// Rules by exact path and by prefix. All others are candidates for every path.
#[derive(Debug)]
pub(crate) struct Candidates {
    as_written: Paths,
    /// Rules that ignore case (VS-13), by the path in lower case; they are rare.
    any_case: Option<Box<Paths>>,
    others: Box<[u32]>,
}

/// Rules by path.
#[derive(Debug, Default)]
struct Paths {
    exact: ByPath,
    prefixes: ByPath,
    /// The lengths of all prefixes, ascending: one look-up for each length.
    lengths: Vec<usize>,
}

impl Paths {
    fn add(&mut self, text: &StringMatch, number: u32, lower: bool) -> bool {
        let (paths, path) = match text {
            StringMatch::Exact(path) => (&mut self.exact, path),
            StringMatch::Prefix(path) => (&mut self.prefixes, path),
            StringMatch::Regex(_) => return false,
        };
        let path = if lower { path.as_bytes().to_ascii_lowercase() } else { path.as_bytes().to_vec() };
        paths.entry(path.into()).or_default().push(number);
        true
    }

    fn finish(&mut self) {
        self.lengths = self.prefixes.keys().map(|prefix| prefix.len()).collect();
        self.lengths.sort_unstable();
        self.lengths.dedup();
    }

    fn find<'a>(&'a self, path: &[u8], lists: &mut Lists<'a>) {
        if let Some(numbers) = self.exact.get(path) {
            lists.push(numbers);
        }
        for length in self.lengths.iter().take_while(|length| **length <= path.len()) {
            if let Some(numbers) = path.get(..*length).and_then(|prefix| self.prefixes.get(prefix)) {
                lists.push(numbers);
            }
        }
    }
}

impl Candidates {
    /// The index of a host's rules.
    pub(crate) fn build(rules: &[Arc<RouteEntry>]) -> Self {
        let (mut as_written, mut any_case, mut others) = (Paths::default(), Paths::default(), Vec::new());
        for (number, rule) in (0..).zip(rules) {
            let indexed = match &rule.config.matches.path {
                MatchPath::Any => false,
                MatchPath::Text { text, ignore_case: false } => as_written.add(text, number, false),
                MatchPath::Text { text, ignore_case: true } => any_case.add(text, number, true),
            };
            if !indexed {
                others.push(number);
            }
        }
        as_written.finish();
        any_case.finish();
        let ignores_case = !any_case.exact.is_empty() || !any_case.prefixes.is_empty();
        Self { as_written, any_case: ignores_case.then(|| Box::new(any_case)), others: others.into() }
    }

    /// The first candidate, in the order of the rules, for which `takes` is true.
    pub(crate) fn first(&self, path: &[u8], takes: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut lists = Lists::new();
        self.as_written.find(path, &mut lists);
        if let Some(any_case) = &self.any_case {
            let mut lower: SmallVec<[u8; 256]> = SmallVec::from_slice(path);
            lower.make_ascii_lowercase();
            any_case.find(&lower, &mut lists);
        }
        if !self.others.is_empty() {
            lists.push(&self.others);
        }
        in_order(lists, takes)
    }
}

/// The smallest number in all lists for which `takes` is true. Every list ascends, so the next number is the smallest of their heads.
fn in_order(mut lists: Lists<'_>, mut takes: impl FnMut(u32) -> bool) -> Option<u32> {
    loop {
        let heads = lists.iter_mut().filter_map(|list| list.split_first().map(|(number, rest)| (*number, rest, list)));
        let (number, rest, list) = heads.min_by_key(|(number, ..)| *number)?;
        *list = rest;
        if takes(number) {
            return Some(number);
        }
    }
}

#[cfg(test)]
mod tests;
