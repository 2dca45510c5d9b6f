//! What could not be written, and when it is tried again: each object by itself, so that one of them holds up no other.

use resources::key::ObjectRef;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::time::Instant;

/// Objects that wait until they are tried again.
#[derive(Debug, Default)]
pub(super) struct Retries {
    waiting: BTreeSet<(Instant, ObjectRef)>,
    failed: HashMap<ObjectRef, Failed>,
}

/// How an object has failed.
#[derive(Debug, Clone, Copy)]
struct Failed {
    /// How often in a row.
    count: u32,
    until: Instant,
}

impl Retries {
    /// The object has failed; `wait` says for how long it waits after so many failures before this one.
    pub(super) fn fail(&mut self, object: &ObjectRef, now: Instant, wait: impl FnOnce(u32) -> Duration) {
        let before = self.failed.get(object).copied();
        let count = before.map_or(0, |before| before.count);
        if let Some(before) = before {
            self.waiting.remove(&(before.until, object.clone()));
        }
        let until = now + wait(count);
        self.failed.insert(object.clone(), Failed { count: count.saturating_add(1), until });
        self.waiting.insert((until, object.clone()));
    }

    /// The object has not failed, or does not matter any more.
    pub(super) fn solve(&mut self, object: &ObjectRef) {
        if let Some(before) = self.failed.remove(object) {
            self.waiting.remove(&(before.until, object.clone()));
        }
    }

    /// Whether the object is to be left alone until [`Self::take_due`] returns it.
    pub(super) fn waits(&self, object: &ObjectRef) -> bool {
        self.failed.get(object).is_some_and(|failed| self.waiting.contains(&(failed.until, object.clone())))
    }

    /// Something that is to be tried again now, what has waited longest first.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<ObjectRef> {
        self.due().filter(|due| *due <= now)?;
        self.waiting.pop_first().map(|(_, object)| object)
    }

    /// When something is to be tried again next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.first().map(|(until, _)| *until)
    }

    /// Has objects that wait tried again at once, at most so many.
    pub(super) fn hurry(&mut self, which: impl Fn(&ObjectRef) -> bool, most: usize, now: Instant) {
        let hurried: Vec<_> = self.waiting.extract_if(.., |(_, object)| which(object)).take(most).collect();
        for (_, object) in hurried {
            if let Some(failed) = self.failed.get_mut(&object) {
                failed.until = now;
            }
            self.waiting.insert((now, object));
        }
    }

    /// Nothing else is to be written: what does not wait has no failure any more.
    pub(super) fn settle(&mut self) {
        if self.waiting.is_empty() {
            self.failed.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resources::key::{Key, Kind};

    #[test]
    fn each_object_waits_by_itself_and_longer_with_each_failure() {
        let object = |name: &str| ObjectRef { kind: Kind::Gateway, key: Key::new("a", name) };
        let (one, two) = (object("one"), object("two"));
        let begun = Instant::now();
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        let wait = |count: u32| Duration::from_secs(1 << count);
        let mut retries = Retries::default();
        retries.fail(&one, at(0), wait);
        assert!(retries.waits(&one) && !retries.waits(&two));
        assert_eq!((retries.take_due(at(0)), retries.due()), (None, Some(at(1))));
        assert_eq!((retries.take_due(at(1)), retries.waits(&one)), (Some(one.clone()), false));
        // Taken, it has failed all the same until it has not.
        retries.fail(&one, at(1), wait);
        retries.fail(&two, at(1), wait);
        assert_eq!(retries.take_due(at(2)), Some(two.clone()));
        retries.solve(&two);
        retries.settle();
        assert_eq!(retries.due(), Some(at(3)));
        retries.hurry(|object| *object == one, 1, at(2));
        assert_eq!(retries.take_due(at(2)), Some(one.clone()));
        retries.fail(&one, at(2), wait);
        assert_eq!(retries.due(), Some(at(6)));
        retries.take_due(at(6));
        retries.settle();
        retries.fail(&one, at(7), wait);
        assert_eq!(retries.due(), Some(at(8)), "it was written in between");
    }
}
