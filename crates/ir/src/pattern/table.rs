//! A pattern as a table, through which each byte of a value is one step: a DFA that is built whole when the pattern is read, or not at all.

use super::bounds::MAX_COMPILED_BYTES;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_automata::{Anchored, Input};
use regex_syntax::hir::Hir;

/// Upper bound of a table, in bytes. Patterns of paths and headers take a few thousand.
const MAX_TABLE: usize = 1 << 20;
/// Upper bound of what is kept while a table is built, which bounds the time that it takes.
const MAX_BUILDING: usize = 1 << 20;

/// A table.
pub(super) struct Table(dense::DFA<Vec<u32>>);

/// The result of a search for a part.
pub(super) enum PartMatch {
    /// A part begins at the position, and ends here.
    To(usize),
    /// No part begins at the position.
    None,
    /// The steps were used up before the end of the search.
    TooMuch,
}

/// The states of a pattern, with those of its groups if `groups` are asked for.
pub(super) fn nfa(hir: &Hir, groups: bool) -> Result<NFA, Box<thompson::BuildError>> {
    let captures = if groups { WhichCaptures::All } else { WhichCaptures::None };
    let config = NFA::config().utf8(false).nfa_size_limit(Some(MAX_COMPILED_BYTES)).which_captures(captures);
    NFA::compiler().configure(config).build_from_hir(hir).map_err(Box::new)
}

impl Table {
    /// `None` where the table would be too large.
    pub(super) fn build(nfa: &NFA) -> Option<Self> {
        let config = dense::Config::new()
            .start_kind(StartKind::Anchored)
            .dfa_size_limit(Some(MAX_TABLE))
            .determinize_size_limit(Some(MAX_BUILDING));
        dense::Builder::new().configure(config).build_from_nfa(nfa).ok().map(Self)
    }

    /// Whether the pattern, which ends with `$`, matches a whole value.
    pub(super) fn is_match(&self, value: &[u8]) -> bool {
        matches!(self.0.try_search_fwd(&Input::new(value).anchored(Anchored::Yes)), Ok(Some(_)))
    }

    /// The end of the part that begins at `at`, as RE2 prefers it. Takes what it needs from `steps`.
    pub(super) fn part_at(&self, value: &[u8], at: usize, steps: &mut usize) -> PartMatch {
        let input = Input::new(value).range(at..).anchored(Anchored::Yes);
        let Ok(mut state) = self.0.start_state_forward(&input) else { return PartMatch::None };
        let mut end = None;
        for (index, byte) in value.iter().enumerate().skip(at) {
            let Some(left) = steps.checked_sub(1) else { return PartMatch::TooMuch };
            *steps = left;
            state = self.0.next_state(state, *byte);
            if self.0.is_special_state(state) {
                // Matches are known a byte late.
                if self.0.is_match_state(state) {
                    end = Some(index);
                } else if self.0.is_dead_state(state) {
                    return end.map_or(PartMatch::None, PartMatch::To);
                }
            }
        }
        if self.0.is_match_state(self.0.next_eoi_state(state)) {
            end = Some(value.len());
        }
        end.map_or(PartMatch::None, PartMatch::To)
    }
}
