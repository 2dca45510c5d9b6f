//! When a change of files counts. A file is read once its writer closed it or it was renamed into place; where the system reports
//! neither, once it has been the same for [`SETTLE`]. What would withdraw objects has to be so for [`SETTLE`] as well: a file that is
//! removed and made again, or that grows line by line, withdraws nothing. Not what the files hold; `files`, `mesh` and `named` ask here.
//!
//! Only time that was observed counts. Of the time between two looks at most [`STEP`] counts, since the process or the machine may have
//! been stopped; and none counts towards the absence of an object if files came in between that no look has seen, since one of them may
//! have held the object.

use crate::folder::{self, Stamp};
use crate::inotify::{Interest, State, Watches};
use crate::listing::{Listed, Listing};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a state has to last that would withdraw objects, or that the system did not report as complete.
pub(crate) const SETTLE: Duration = Duration::from_millis(500);
/// How much of the time between two looks counts at most.
const STEP: Duration = Duration::from_millis(250);
/// How long files that no look has seen can postpone the removal of an object.
const POSTPONED: Duration = Duration::from_secs(30);
/// How soon it is looked again where a look came to no conclusion.
const AGAIN: Duration = Duration::from_millis(100);
/// How long a file may be open for writing before that is a finding.
const OPEN: Duration = Duration::from_secs(5);

/// How changes are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Files are complete as they are: whoever reads once takes what there is.
    Once,
    /// Files change while they are watched; this is the time.
    Watched(Instant),
}

/// Changes that do not count yet.
#[derive(Debug, Default)]
pub(crate) struct Settling {
    watches: Option<Watches>,
    /// Whether every folder could be watched.
    complete: bool,
    waiting: HashMap<PathBuf, Waiting>,
    round: u64,
    /// Whether a file is there in a version that was not read in this look: it may hold what others do not hold any more.
    unread: bool,
    /// When something that waits may count.
    due: Option<Instant>,
    /// The time of the last look.
    looked: Option<Instant>,
    /// For how long every file that came has been seen.
    overview: Duration,
}

#[derive(Debug)]
struct Waiting {
    stamp: Option<Stamp>,
    /// When the file was first seen as it is.
    first: Instant,
    /// The last look at it.
    looked: Instant,
    /// For how long it has been as it is, as far as that was observed.
    age: Duration,
    /// Whether the system reported this version as complete.
    is_closed: bool,
    is_replaced: bool,
    open: Option<Instant>,
    /// The number of the last change that was known when it was asked for.
    clock: u64,
    round: u64,
}

impl Settling {
    /// Begins to watch, where the system can.
    pub(crate) fn start(&mut self) {
        self.watches = Watches::new()
            .inspect_err(
                |error| tracing::warn!(%error, "changes cannot be watched; files are looked at twice a second"),
            )
            .ok();
        self.complete = self.watches.is_some();
    }

    pub(crate) fn watches(&self) -> Option<&Watches> {
        self.watches.as_ref()
    }

    /// Whether the system reports every change.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Begins a look at all files.
    pub(crate) fn begin(&mut self, pace: Pace) {
        (self.due, self.unread) = (None, false);
        self.round += 1;
        if let Pace::Watched(now) = pace {
            self.overview = self.looked.map_or(SETTLE, |before| self.overview + observed(before, now));
            self.looked = Some(now);
        }
    }

    /// Takes note of the files that there are now: one that came since the last look and is not among them, or that came more than
    /// once, may have held any object in between.
    pub(crate) fn compare(&mut self, listing: &Listing) {
        let Some(watches) = &self.watches else { return };
        let mut there: Option<HashSet<PathBuf>> = None;
        let mut is_there = |path: &Path| there.get_or_insert_with(|| listing.real_paths().collect()).contains(path);
        if watches.has_unseen_arrivals(&mut is_there) {
            self.overview = Duration::ZERO;
        }
    }

    /// Ends a look: what was not asked for waits no more, and events up to `clock` have been taken account of.
    pub(crate) fn end(&mut self, clock: u64) {
        let round = self.round;
        self.waiting.retain(|_, waiting| waiting.round == round);
        if let Some(watches) = &mut self.watches {
            watches.forget_until(clock);
        }
    }

    /// When to look again, if something waits.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Something may count at that time.
    fn wait_until(&mut self, time: Instant) {
        self.due = Some(self.due.map_or(time, |due| due.min(time)));
    }

    /// It is looked again after that time.
    pub(crate) fn wait(&mut self, pace: Pace, time: Duration) {
        if let Pace::Watched(now) = pace {
            self.wait_until(now + time);
        }
    }

    /// A file could not be read for what it is, and is looked at again soon.
    pub(crate) fn again(&mut self, pace: Pace) {
        self.unread = true;
        self.wait(pace, AGAIN);
    }

    /// Reads what the system reported. Whether there was anything.
    pub(crate) fn observe(&mut self) -> bool {
        self.watches.as_mut().is_some_and(Watches::observe)
    }

    /// Watches these folders. Whether one of them was not watched before.
    pub(crate) fn watch(&mut self, wanted: BTreeMap<Arc<Path>, Interest>) -> bool {
        let Some(watches) = &mut self.watches else { return false };
        let (added, failed) = watches.set(wanted);
        if let Some(error) = &failed
            && self.complete
        {
            tracing::warn!(%error, "not every folder can be watched; files are looked at twice a second");
        }
        self.complete = failed.is_none();
        added
    }

    pub(crate) fn clock(&self) -> u64 {
        self.watches.as_ref().map_or(0, Watches::clock)
    }

    /// Whether files came or went since then, as far as the system reports it.
    pub(crate) fn is_restructured_since(&self, clock: u64) -> bool {
        self.watches.as_ref().is_some_and(|watches| watches.is_restructured_since(clock))
    }

    /// Whether the system reported a version of a file as complete that was not asked for yet.
    pub(crate) fn is_reported(&self, listed: &Listed) -> bool {
        let state = |watches: &Watches| watches.state(&listed.real());
        self.watches.as_ref().is_some_and(|watches| matches!(state(watches), State::Closed | State::Replaced))
    }

    /// Whether a file is what was listed, and did not change after the change of that number.
    pub(crate) fn is_same(&self, pace: Pace, listed: &Listed, clock: u64) -> bool {
        let unchanged = || {
            let reported = self.watches.as_ref().is_some_and(|watches| watches.is_changed_since(&listed.real(), clock));
            !reported && fs::metadata(&listed.path).is_ok_and(|metadata| folder::stamp(&metadata) == listed.stamp)
        };
        pace == Pace::Once || unchanged()
    }

    /// Whether a version of a file may be read; `before` is the one that counts now.
    pub(crate) fn may_read(
        &mut self,
        pace: Pace,
        path: &Path,
        real: &Path,
        stamp: Stamp,
        before: Option<Stamp>,
    ) -> bool {
        let Pace::Watched(now) = pace else { return true };
        let state = self.watches.as_ref().map_or(State::Unknown, |watches| watches.state(real));
        let waiting = self.waiting(path, Some(real), Some(stamp), now);
        if state == State::Writing {
            let open = *waiting.open.get_or_insert(now);
            if now < open + OPEN {
                self.unread = true;
                self.wait_until(open + OPEN);
            }
            return false;
        }
        waiting.open = None;
        waiting.is_replaced |= state == State::Replaced;
        waiting.is_closed |= matches!(state, State::Replaced | State::Closed);
        // Another file in its place was complete before it got there, or is one that is new.
        if waiting.is_closed || before.is_none_or(|before| !before.is_same_file(&stamp)) {
            return true;
        }
        let settled = self.is_settled(now, path);
        self.unread |= !settled;
        settled
    }

    /// Whether a version that was read, and that may be the beginning of a longer one, is whole.
    pub(crate) fn is_whole(&mut self, pace: Pace, path: &Path) -> bool {
        let Pace::Watched(now) = pace else { return true };
        let whole = self.waiting.get(path).is_some_and(|waiting| waiting.is_replaced) || self.is_settled(now, path);
        self.unread |= !whole;
        whole
    }

    /// Whether a version that was read has been there for long enough to withdraw objects.
    pub(crate) fn may_withdraw(&mut self, pace: Pace, path: &Path) -> bool {
        match pace {
            Pace::Once => true,
            Pace::Watched(now) => self.is_absence_settled(now, path) && self.is_all_read(pace),
        }
    }

    /// Whether every file was read: one that was not may hold what is missing, and is looked at again. One that has been open for long
    /// holds up nothing.
    fn is_all_read(&mut self, pace: Pace) -> bool {
        if self.unread {
            self.wait(pace, AGAIN);
        }
        !self.unread
    }

    /// Whether a file that is gone has been so for long enough; `place` is where it would come back.
    pub(crate) fn may_go(&mut self, pace: Pace, path: &Path, place: Option<&Path>) -> bool {
        let Pace::Watched(now) = pace else { return true };
        // It may have been there in between, and be gone anew.
        self.waiting(path, place, None, now);
        self.is_absence_settled(now, path) && self.is_all_read(pace)
    }

    /// Files that have been open for writing for long.
    pub(crate) fn open(&self, pace: Pace) -> Vec<&Path> {
        let Pace::Watched(now) = pace else { return Vec::new() };
        let long = |waiting: &Waiting| waiting.open.is_some_and(|open| now >= open + OPEN);
        let mut found: Vec<&Path> =
            self.waiting.iter().filter(|(_, waiting)| long(waiting)).map(|(path, _)| path.as_path()).collect();
        found.sort_unstable();
        found
    }

    /// The state of a file, which is at `place` once links are followed, as it is now.
    fn waiting(&mut self, path: &Path, place: Option<&Path>, stamp: Option<Stamp>, now: Instant) -> &mut Waiting {
        let (round, clock) = (self.round, self.clock());
        let new = |open| Waiting {
            stamp,
            first: now,
            looked: now,
            age: Duration::ZERO,
            is_closed: false,
            is_replaced: false,
            open,
            clock,
            round,
        };
        let changed = |since: u64| {
            self.watches.as_ref().zip(place).is_some_and(|(watches, place)| watches.is_changed_since(place, since))
        };
        let waiting = self.waiting.entry(path.to_owned()).or_insert_with(|| new(None));
        if waiting.stamp != stamp {
            *waiting = new(waiting.open);
        }
        waiting.age += observed(waiting.looked, now);
        if changed(waiting.clock) {
            // Another version may have been there in between, and this one be back.
            waiting.age = Duration::ZERO;
        }
        (waiting.looked, waiting.round, waiting.clock) = (now, round, clock);
        waiting
    }

    fn is_settled(&mut self, now: Instant, path: &Path) -> bool {
        let age = self.waiting.get(path).map_or(SETTLE, |waiting| waiting.age);
        self.is_reached(now, age)
    }

    /// Whether a file has been as it is for long enough to prove that what it does not hold is nowhere.
    fn is_absence_settled(&mut self, now: Instant, path: &Path) -> bool {
        let Some(waiting) = self.waiting.get(path) else { return self.is_reached(now, self.overview) };
        let is_postponed = now < waiting.first + POSTPONED;
        let age = if is_postponed { waiting.age.min(self.overview) } else { waiting.age };
        self.is_reached(now, age)
    }

    fn is_reached(&mut self, now: Instant, age: Duration) -> bool {
        let rest = SETTLE.saturating_sub(age);
        if !rest.is_zero() {
            self.wait_until(now + rest.min(STEP));
        }
        rest.is_zero()
    }
}

/// How much of the time between two looks counts.
fn observed(before: Instant, now: Instant) -> Duration {
    now.saturating_duration_since(before).min(STEP)
}
