//! For hosts with many rules: which of them can take a path at all, in their order, without looking at each.

use crate::route::RouteEntry;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use ir::{MatchPath, StringMatch};
use smallvec::SmallVec;
use std::sync::Arc;

/// Hosts with fewer rules are looked through from the first to the last, which is quicker than any index.
pub(crate) const FEW: usize = 12;

type Numbers = SmallVec<[u32; 4]>;

/// Rules by the exact path and by the prefix that they demand. All others are candidates for every path.
#[derive(Debug)]
pub(crate) struct Candidates {
    exact: HashMap<Box<[u8]>, Numbers, RandomState>,
    prefixes: HashMap<Box<[u8]>, Numbers, RandomState>,
    /// The lengths of prefixes that occur, ascending: as many look-ups as there are lengths.
    lengths: Box<[usize]>,
    others: Box<[u32]>,
}

impl Candidates {
    /// The index of a host's rules.
    pub(crate) fn build(rules: &[Arc<RouteEntry>]) -> Self {
        let mut exact: HashMap<Box<[u8]>, Numbers, RandomState> = HashMap::default();
        let mut prefixes: HashMap<Box<[u8]>, Numbers, RandomState> = HashMap::default();
        let mut others = Vec::new();
        for (number, rule) in rules.iter().enumerate() {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            match &rule.route.matches.path {
                MatchPath::Text { text: StringMatch::Exact(path), ignore_case: false } => {
                    exact.entry(path.as_bytes().into()).or_default().push(number);
                }
                MatchPath::Text { text: StringMatch::Prefix(path), ignore_case: false } => {
                    prefixes.entry(path.as_bytes().into()).or_default().push(number);
                }
                MatchPath::Any | MatchPath::Text { .. } => others.push(number),
            }
        }
        let mut lengths: Vec<usize> = prefixes.keys().map(|prefix| prefix.len()).collect();
        lengths.sort_unstable();
        lengths.dedup();
        Self { exact, prefixes, lengths: lengths.into(), others: others.into() }
    }

    /// The first candidate, in the order of the rules, that `takes` says yes to.
    pub(crate) fn first(&self, path: &[u8], mut takes: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut lists: SmallVec<[&[u32]; 16]> = SmallVec::new();
        if let Some(numbers) = self.exact.get(path) {
            lists.push(numbers);
        }
        for length in self.lengths.iter().take_while(|length| **length <= path.len()) {
            if let Some(numbers) = path.get(..*length).and_then(|prefix| self.prefixes.get(prefix)) {
                lists.push(numbers);
            }
        }
        lists.push(&self.others);
        // Every list ascends, so that the next candidate is the least of their heads.
        loop {
            let next = lists.iter_mut().filter(|list| !list.is_empty()).min_by_key(|list| list.first().copied());
            let (number, rest) = next.and_then(|list| list.split_first().map(|(n, rest)| (*n, (list, rest))))?;
            *rest.0 = rest.1;
            if takes(number) {
                return Some(number);
            }
        }
    }
}
