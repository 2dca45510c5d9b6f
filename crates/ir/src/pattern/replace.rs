//! Parts of a value that match a pattern, replaced as RE2's `GlobalReplace` does (VS-37), with every step counted.

use super::bounds::{InvalidPattern, MAX_STEPS, MAX_VALUE, check_steps, too_large};
use super::table::{PartMatch, Table, nfa};
use regex_automata::dfa::onepass;
use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::Hir;

/// How many steps through the table one value may take. One takes about 5 ns.
const MAX_TABLE_STEPS: usize = 800_000;
/// Upper bound of the table that finds groups, in bytes.
const MAX_GROUPS: usize = 256 << 10;
/// The groups that a substitution can name, `\0` being the whole.
const GROUPS: usize = 10;

/// A pattern that matches parts.
pub(super) struct Parts {
    table: Table,
    groups: Groups,
}

/// What finds the groups of a part.
enum Groups {
    /// There are none.
    None,
    /// One step a byte.
    Table(Box<onepass::DFA>),
    /// A search through so many states for each byte.
    Search(Box<PikeVM>, usize),
}

type Slots = [Option<NonMaxUsize>; 2 * GROUPS];

impl Parts {
    pub(super) fn build(hir: &Hir) -> Result<Self, InvalidPattern> {
        let states = nfa(hir, false).map_err(too_large)?;
        let table = Table::build(&states)
            .ok_or_else(|| InvalidPattern::TooCostly(states.states().len().saturating_mul(MAX_VALUE)))?;
        Ok(Self { table, groups: Groups::build(hir)? })
    }

    /// `None` where it would take too many steps.
    pub(super) fn replace_all(&self, value: &[u8], substitution: &str) -> Option<Vec<u8>> {
        let with_groups = names_groups(substitution);
        let (mut table_steps, mut steps) = (MAX_TABLE_STEPS, MAX_STEPS);
        let mut out = Vec::with_capacity(value.len() + substitution.len());
        let (mut at, mut last_end) = (0, None);
        while at <= value.len() {
            let end = match self.table.part_at(value, at, &mut table_steps) {
                PartMatch::TooMuch => return None,
                // Nothing at all right behind a part is no part of its own.
                PartMatch::To(end) if end > at || last_end != Some(at) => end,
                PartMatch::To(_) | PartMatch::None => {
                    out.extend(value.get(at));
                    at += 1;
                    continue;
                }
            };
            let slots = if with_groups { self.groups.find(value, at, end, &mut steps)? } else { Slots::default() };
            substitute(&mut out, substitution, |group| {
                let slot = |at: usize| slots.get(at).copied().flatten().map(NonMaxUsize::get);
                let span = if group == 0 { Some((at, end)) } else { slot(2 * group).zip(slot(2 * group + 1)) };
                span.and_then(|(start, end)| value.get(start..end)).unwrap_or_default()
            });
            last_end = Some(end);
            if end == at {
                out.extend(value.get(at));
                at += 1;
            } else {
                at = end;
            }
        }
        Some(out)
    }
}

impl Groups {
    fn build(hir: &Hir) -> Result<Self, InvalidPattern> {
        if hir.properties().explicit_captures_len() == 0 {
            return Ok(Self::None);
        }
        let states = nfa(hir, true).map_err(too_large)?;
        let config = onepass::Config::new().size_limit(Some(MAX_GROUPS));
        if let Ok(table) = onepass::Builder::new().configure(config).build_from_nfa(states.clone()) {
            return Ok(Self::Table(Box::new(table)));
        }
        let count = states.states().len();
        // Parts of common length have to be possible.
        check_steps(count, COMMON_LENGTH)?;
        let search = PikeVM::new_from_nfa(states).map_err(|error| too_large(Box::new(error)))?;
        Ok(Self::Search(Box::new(search), count))
    }

    /// The groups of the part from `at` to `end`. `None` where it would take too many of `steps`.
    fn find(&self, value: &[u8], at: usize, end: usize, steps: &mut usize) -> Option<Slots> {
        let mut slots = Slots::default();
        let input = Input::new(value).range(at..end).anchored(Anchored::Yes);
        match self {
            Self::None => {}
            Self::Table(table) => {
                let _ = table.try_search_slots(&mut table.create_cache(), &input, &mut slots);
            }
            Self::Search(search, states) => {
                *steps = steps.checked_sub((end - at).saturating_add(1).saturating_mul(*states))?;
                search.search_slots(&mut search.create_cache(), &input, &mut slots);
            }
        }
        Some(slots)
    }
}

/// A length that paths seldom have more of.
const COMMON_LENGTH: usize = 512;

/// Whether a substitution names a group besides the whole.
fn names_groups(substitution: &str) -> bool {
    substitution.as_bytes().windows(2).any(|pair| matches!(pair, [b'\\', b'1'..=b'9']))
}

/// Appends a substitution with its groups put in.
fn substitute<'v>(out: &mut Vec<u8>, substitution: &str, group: impl Fn(usize) -> &'v [u8]) {
    let mut bytes = substitution.bytes();
    while let Some(byte) = bytes.next() {
        match (byte, if byte == b'\\' { bytes.next() } else { None }) {
            (b'\\', Some(digit @ b'0'..=b'9')) => out.extend_from_slice(group(usize::from(digit - b'0'))),
            (b'\\', Some(other)) => out.push(other),
            (byte, _) => out.push(byte),
        }
    }
}
