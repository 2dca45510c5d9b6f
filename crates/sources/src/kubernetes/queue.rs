//! What is written next, and what becomes of it: objects that failed wait, each by itself, and the others go on. Pure: who asks the API server
//! is `writer`.

use super::follow::Pace;
use super::retries::Retries;
use super::statuses::{Right, Statuses, Task};
use resources::key::ObjectRef;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// The shortest time between two writes.
pub(super) const INTERVAL: Duration = Duration::from_millis(20);
/// The longest wait of an object that may not be written.
const DENIED: Duration = Duration::from_secs(300);

/// What is written, one object after the other.
pub(super) struct Queue {
    pub(super) statuses: Statuses,
    pace: Pace,
    retries: Retries,
    /// Rights that something was written with since the last object that they did not suffice for.
    granted: BTreeSet<Right>,
    /// Requests in a row that the API server has not answered.
    silent: u32,
    /// Whether an object that failed comes before those that did not: they take turns, so that neither hold up the others.
    is_turn_of_failed: bool,
}

/// What became of an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was written.
    Done,
    /// It is as it should be: nothing was written, which says nothing about the right to.
    Current,
    /// The same, again: another writer had undone it.
    Repaired,
    /// There is no such object.
    Gone,
    /// Another process has written it meanwhile.
    Conflict,
    Denied(String),
    /// The server does not take what was written.
    Refused(String),
    Unavailable(String),
}

impl Queue {
    pub(super) fn new(statuses: Statuses, pace: Pace) -> Self {
        let (retries, granted, silent, is_turn_of_failed) = Default::default();
        Self { statuses, pace, retries, granted, silent, is_turn_of_failed }
    }

    /// This process leads now.
    pub(super) fn begin(&mut self) {
        (self.retries, self.granted, self.silent) = Default::default();
        self.statuses.look_at_all();
    }

    /// The next thing to write.
    pub(super) fn next(&mut self, now: Instant) -> Option<Task> {
        let task = match self.is_turn_of_failed {
            true => self.next_failed(now).or_else(|| self.next_new()),
            false => self.next_new().or_else(|| self.next_failed(now)),
        };
        self.is_turn_of_failed = !self.is_turn_of_failed;
        if task.is_none() {
            self.retries.settle();
        }
        task
    }

    fn next_failed(&mut self, now: Instant) -> Option<Task> {
        while let Some(object) = self.retries.take_due(now) {
            if let Some(task) = self.statuses.take_one(object) {
                return Some(task);
            }
        }
        None
    }

    fn next_new(&mut self) -> Option<Task> {
        while let Some(task) = self.statuses.take() {
            // What waits is looked at when it is due, whatever is to be written then.
            if !self.retries.waits(&task.object()) {
                return Some(task);
            }
        }
        None
    }

    /// When something is tried again next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.retries.due()
    }

    /// Takes note of what became of an object; how long nothing else is to be written.
    pub(super) fn settle(&mut self, object: &ObjectRef, outcome: Outcome, now: Instant) -> Duration {
        let pace = self.pace;
        let silent = std::mem::take(&mut self.silent);
        match outcome {
            Outcome::Done => {
                self.retries.solve(object);
                self.grant(object, now);
            }
            Outcome::Repaired => {
                // A writer that answers each write with one of its own gets slower answers.
                self.retries.fail(object, now, |count| pace.after(count));
                self.grant(object, now);
            }
            Outcome::Current | Outcome::Gone => self.solve(object),
            Outcome::Conflict => self.retries.fail(object, now, |count| pace.after(count)),
            Outcome::Denied(message) => {
                let pace = Pace { first: pace.install, longest: DENIED.max(pace.longest), ..pace };
                self.retries.fail(object, now, |count| pace.after(count));
                if !self.statuses.deny(object, Some(&message)) {
                    self.granted.remove(&Right::of(object));
                }
            }
            Outcome::Refused(error) => {
                tracing::warn!(error, "the API server refuses a status");
                self.solve(object);
            }
            Outcome::Unavailable(error) => {
                tracing::debug!(error, "a status cannot be written; it is tried again");
                self.retries.fail(object, now, |count| pace.after(count));
                self.silent = silent.saturating_add(1);
                return INTERVAL.max(pace.after(silent));
            }
        }
        INTERVAL
    }

    fn solve(&mut self, object: &ObjectRef) {
        self.retries.solve(object);
        self.statuses.deny(object, None);
    }

    /// The object may be written. If that was denied before, it may be allowed for others of its kind by now, too; if it was not, one of those
    /// that wait shows whether it is.
    fn grant(&mut self, object: &ObjectRef, now: Instant) {
        let right = Right::of(object);
        let is_alike = |other: &ObjectRef| Right::of(other) == right;
        let is_first = self.granted.insert(right);
        if self.statuses.deny(object, None) {
            self.retries.hurry(is_alike, usize::MAX, now);
        } else if is_first {
            self.retries.hurry(is_alike, 1, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::published::Published;
    use super::super::status::{self, Seen, Stamp, Status};
    use super::*;
    use crate::event::ObjectVersion;
    use resources::key::{Key, Kind};
    use serde_json::json;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    const OWNER: &str = "istio-system/m";

    fn key(name: &str) -> Key {
        Key::new("istio-system", name)
    }

    fn pace() -> Pace {
        Pace { first: Duration::from_secs(1), install: Duration::from_secs(5), ..Pace::default() }
    }

    /// A queue with a Gateway and a Service of each name to write.
    fn queue(names: &[&str]) -> Queue {
        let statuses = Statuses::new(OWNER.into(), true, vec![Published::parse("192.0.2.1")]);
        let wanted =
            Status { reconciled: true, reason: "Applied", message: "applied".into(), messages: vec![], always: true };
        let gateway = |name: &&str| ObjectRef { kind: Kind::Gateway, key: key(name) };
        for name in names {
            statuses.observe_service(&key(name), &json!({"spec": {"type": "LoadBalancer"}}));
            statuses.observe(&gateway(name), 1, Seen::default());
        }
        let version = ObjectVersion::new("1", Some(1));
        let served = names.iter().map(|name| (gateway(name), version)).collect();
        statuses.want(&served, names.iter().map(|name| (gateway(name), Some(Arc::new(wanted.clone())))));
        statuses.want_services(names.iter().map(|name| key(name)).collect());
        let mut queue = Queue::new(statuses, pace());
        queue.begin();
        queue
    }

    /// Writes one after the other until a time, by an API server that answers so; how often each object was tried.
    fn write(
        queue: &mut Queue,
        from: Instant,
        until: Instant,
        answer: impl Fn(&ObjectRef) -> Outcome,
    ) -> BTreeMap<String, usize> {
        let (mut tried, mut now) = (BTreeMap::new(), from);
        while now < until {
            let Some(task) = queue.next(now) else {
                now = queue.due().unwrap_or(until).max(now);
                continue;
            };
            let object = task.object();
            *tried.entry(format!("{} {}", object.kind, object.key.name)).or_default() += 1;
            let outcome = answer(&object);
            if outcome == Outcome::Done {
                match &task {
                    Task::Service(key) => queue.statuses.refuse(key),
                    Task::Status(write) => {
                        let stamp = Stamp { owner: OWNER, generation: 1, now: "now" };
                        let status = status::merge(None, write.wanted.as_deref(), stamp);
                        queue.statuses.observe(&object, 1, queue.statuses.seen(&json!({"status": status})));
                    }
                }
            }
            now += queue.settle(&object, outcome, now);
        }
        tried
    }

    #[test]
    fn what_is_denied_of_one_object_holds_up_no_other() {
        let mut queue = queue(&["a", "m", "z"]);
        let begun = Instant::now();
        let answer = |object: &ObjectRef| match &*object.key.name {
            "a" => Outcome::Denied(format!("{object} is denied")),
            _ => Outcome::Done,
        };
        let tried = write(&mut queue, begun, begun + Duration::from_secs(4), answer);
        // The first that may be written has the one of its kind tried again that was denied, as all of them may have been until then.
        let expected = [("Gateway a", 2), ("Gateway m", 1), ("Gateway z", 1)];
        let services = [("Service a", 2), ("Service m", 1), ("Service z", 1)];
        let expected = expected.into_iter().chain(services).map(|(name, count)| (name.to_owned(), count));
        assert_eq!(tried, expected.collect());
        let denied = queue.statuses.denied();
        assert_eq!(denied.len(), 2, "{denied:?}");
        // It is tried again, less and less often, and the finding goes with the denial.
        let hour = Duration::from_secs(3600);
        let tried = write(&mut queue, begun + Duration::from_secs(4), begun + hour, answer);
        assert_eq!(tried.keys().collect::<Vec<_>>(), ["Gateway a", "Service a"]);
        assert!(tried.values().all(|count| (12..=20).contains(count)), "{tried:?}");
        write(&mut queue, begun + hour, begun + 2 * hour, |_| Outcome::Done);
        assert_eq!((queue.statuses.denied(), queue.due()), (vec![], None));
    }

    #[test]
    fn a_kind_that_was_denied_is_written_at_once_when_it_is_allowed() {
        let mut queue = queue(&["a", "b", "c"]);
        let begun = Instant::now();
        let denies = |_: &ObjectRef| Outcome::Denied("denied".to_owned());
        let denied = begun + Duration::from_secs(3600);
        write(&mut queue, begun, denied, denies);
        let due = queue.due().unwrap();
        write(&mut queue, denied, due + Duration::from_secs(1), |_| Outcome::Done);
        assert_eq!((queue.statuses.denied(), queue.due()), (vec![], None));
    }

    /// The objects are as they should be when they are read, while another may not be written; or roles change more than once.
    #[test]
    fn denials_that_come_later_end_for_all_objects_at_once_too() {
        let mut queue = queue(&["a", "b", "c"]);
        let (begun, hour) = (Instant::now(), Duration::from_secs(3600));
        let current = |object: &ObjectRef| match &*object.key.name {
            "c" => Outcome::Current,
            _ => Outcome::Denied("denied".to_owned()),
        };
        write(&mut queue, begun, begun + hour, current);
        assert_eq!((queue.statuses.denied().len(), queue.granted.len()), (2, 0));
        for count in [4, 2] {
            let due = queue.due().unwrap();
            let tried = write(&mut queue, due, due + Duration::from_secs(1), |_| Outcome::Done);
            assert_eq!(tried.values().sum::<usize>(), count, "{tried:?}");
            assert_eq!((queue.statuses.denied(), queue.due()), (vec![], None));
            // Their statuses are removed, and may not be written again.
            for name in ["a", "b"] {
                queue.statuses.observe(&ObjectRef { kind: Kind::Gateway, key: key(name) }, 1, Seen::default());
            }
            write(&mut queue, due, due + hour, |_| Outcome::Denied("denied".to_owned()));
        }
    }

    #[test]
    fn one_object_that_fails_each_time_holds_up_no_other() {
        let mut queue = queue(&["a", "b", "c"]);
        let begun = Instant::now();
        let answer = |object: &ObjectRef| match &*object.key.name {
            "a" => Outcome::Unavailable("500".to_owned()),
            _ => Outcome::Done,
        };
        let tried = write(&mut queue, begun, begun + Duration::from_secs(60), answer);
        assert_eq!(["Gateway b", "Gateway c", "Service b", "Service c"].map(|name| tried[name]), [1; 4]);
        assert!(queue.due().is_some());
    }

    /// Each change asked for by others would put off the time of the next try otherwise.
    #[test]
    fn what_failed_is_tried_again_in_time_whatever_else_is_to_be_done() {
        let mut queue = queue(&["a"]);
        let begun = Instant::now();
        let at = |tenths: u32| begun + Duration::from_millis(100) * tenths;
        while let Some(task) = queue.next(begun) {
            queue.settle(&task.object(), Outcome::Conflict, begun);
        }
        for tenth in 1..10 {
            queue.statuses.look_at_all();
            assert_eq!((queue.next(at(tenth)), queue.due()), (None, Some(at(10))), "it waits");
        }
        assert!(queue.next(at(10)).is_some());
    }

    #[test]
    fn a_writer_that_undoes_each_write_is_answered_less_and_less_often() {
        let mut queue = queue(&["a"]);
        let begun = Instant::now();
        let hour = Duration::from_secs(3600);
        let tried = write(&mut queue, begun, begun + hour, |_| Outcome::Repaired);
        assert!(tried.values().all(|count| (100..=140).contains(count)), "at most every 30 s: {tried:?}");
    }
}
