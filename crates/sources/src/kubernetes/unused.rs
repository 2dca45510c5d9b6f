//! What is followed only while something refers to it, and for a while longer: Pods and Nodes. Whoever may write a rule could have all of
//! them listed, and everything compiled, time after time otherwise.

use super::references::{Reference, References};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// What is kept so.
const KEPT: [Reference; 2] = [Reference::Pods, Reference::Nodes];

/// When what nothing refers to any more is let go.
pub(super) struct Unused {
    after: Duration,
    ends: BTreeMap<Reference, Instant>,
}

impl Unused {
    pub(super) fn new(after: Duration) -> Self {
        Self { after, ends: BTreeMap::new() }
    }

    /// Keeps what objects refer to now, and lets go of what nothing has referred to for long enough.
    pub(super) fn update(&mut self, references: &mut References, now: Instant) {
        for reference in &KEPT {
            if references.uses(reference) {
                self.ends.remove(reference);
                if !references.keeps(reference) {
                    references.keep(reference, true);
                }
            } else if references.keeps(reference) {
                let end = *self.ends.entry(reference.clone()).or_insert(now + self.after);
                if end <= now {
                    self.ends.remove(reference);
                    references.keep(reference, false);
                }
            }
        }
    }

    /// When something is to be let go next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.ends.values().min().copied()
    }
}
