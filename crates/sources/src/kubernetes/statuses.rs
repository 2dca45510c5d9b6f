//! What statuses should say beside what they say: which objects have to be written. The source notes what it sees, the program what it wants,
//! and the writer takes what differs. A status that says what is wanted is never written.

use super::claim::Claim;
use super::lease::LeaseProblem;
use super::published::{Published, Service};
use super::status::{self, Own, Seen, Status};
use crate::event::ObjectVersion;
use resources::Map;
use resources::key::{Key, Kind, ObjectRef};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Receives what statuses should say; shared with the source and the writer.
#[derive(Debug, Clone)]
pub struct Statuses(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The gateway, as `namespace/name`: the owner of entries.
    owner: Arc<str>,
    /// The Service of that name, whose address is written first.
    service: Option<Key>,
    /// Whether statuses of Istio's objects are written.
    statuses: bool,
    /// Addresses for the Services of the gateway.
    publish: Vec<Published>,
    state: Mutex<State>,
    /// There is something to write.
    work: Notify,
    /// What stands in the way of writing is another.
    problems: Notify,
    /// The process ends.
    stop: Notify,
}

#[derive(Debug, Default)]
struct State {
    objects: HashMap<ObjectRef, Box<Entry>>,
    /// The versions of objects that the program has served.
    served: Map<ObjectRef, ObjectVersion>,
    /// Whether the program has said what it wants at all.
    is_reported: bool,
    /// Objects that may have to be written.
    dirty: BTreeSet<ObjectRef>,
    /// Objects that are newer in the API server than what the program has served.
    ahead: BTreeSet<ObjectRef>,
    /// The Services of the gateway.
    services: BTreeSet<Key>,
    /// Services of its namespace as they were seen.
    seen_services: BTreeMap<Key, Service>,
    /// Services of which the API server has refused the address, as they were then.
    refused: BTreeMap<Key, Service>,
    dirty_services: BTreeSet<Key>,
    /// What the API server denies, by object, with its words.
    denied: BTreeMap<Right, BTreeMap<ObjectRef, String>>,
    lease: Option<LeaseProblem>,
}

#[derive(Debug, Default)]
struct Entry {
    seen: Option<(i64, Seen)>,
    wanted: Option<Arc<Status>>,
    /// What this process has written last.
    written: Option<Own>,
    /// What few objects have.
    rare: Option<Box<Rare>>,
}

#[derive(Debug, Default)]
struct Rare {
    /// The generation in which another writer takes away messages that this process writes.
    without_messages: Option<i64>,
    /// Whose the object is, if it has no version without errors.
    claim: Option<Claim>,
}

/// What a right is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Right {
    /// To hold the Lease of the leader.
    Lease,
    /// To write the statuses of a kind.
    Status(Kind),
    /// To write the addresses of Services.
    Addresses,
}

impl Right {
    /// The right that it takes to write about an object.
    pub(super) fn of(object: &ObjectRef) -> Self {
        if object.kind == Kind::Service { Self::Addresses } else { Self::Status(object.kind) }
    }
}

/// What to do about an object.
#[derive(Debug, Clone, PartialEq)]
enum Decision {
    /// Nothing: its status says what it should.
    Nothing,
    /// Nothing yet: the program has not served this version.
    Ahead,
    Write(Write),
}

/// A status to write.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Write {
    pub(super) object: ObjectRef,
    /// `None`: the entries of this gateway are taken away.
    pub(super) wanted: Option<Arc<Status>>,
    pub(super) generation: i64,
}

/// Something to write.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Task {
    Status(Write),
    /// The address of a Service.
    Service(Key),
}

impl Task {
    /// The object that is written.
    pub(super) fn object(&self) -> ObjectRef {
        match self {
            Self::Status(write) => write.object.clone(),
            Self::Service(key) => ObjectRef { kind: Kind::Service, key: key.clone() },
        }
    }
}

impl Statuses {
    pub(super) fn new(owner: Arc<str>, statuses: bool, publish: Vec<Published>) -> Self {
        let (state, work, problems, stop) = Default::default();
        let service = owner.split_once('/');
        let service = service.map(|(namespace, name)| Key::new(namespace, name));
        Self(Arc::new(Shared { owner, service, statuses, publish, state, work, problems, stop }))
    }

    pub(super) fn owner(&self) -> &str {
        &self.0.owner
    }

    pub(super) fn published(&self) -> &[Published] {
        &self.0.publish
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process ends: nothing is written any more, and another may lead.
    pub fn stop(&self) {
        self.0.stop.notify_one();
    }

    pub(super) async fn stopped(&self) {
        self.0.stop.notified().await;
    }

    /// Objects of `wanted` should say that, or, with `None`, nothing of this gateway; others as before. `served` are the versions that this
    /// is about.
    pub fn want(
        &self,
        served: &Map<ObjectRef, ObjectVersion>,
        wanted: impl IntoIterator<Item = (ObjectRef, Option<Arc<Status>>)>,
    ) {
        if !self.0.statuses {
            return;
        }
        // The caller may ask what objects claim meanwhile.
        let wanted: Vec<_> = wanted.into_iter().collect();
        let mut state = self.state();
        state.served = served.clone();
        state.is_reported = true;
        for (object, wanted) in wanted {
            match state.objects.get_mut(&object) {
                Some(entry) => entry.wanted = wanted,
                None if wanted.is_none() => continue,
                None => drop(state.objects.insert(object.clone(), Box::new(Entry { wanted, ..Entry::default() }))),
            }
            state.dirty.insert(object);
        }
        let ahead = std::mem::take(&mut state.ahead);
        state.dirty.extend(ahead);
        if !state.dirty.is_empty() {
            self.0.work.notify_one();
        }
    }

    /// These are the Services of the gateway.
    pub fn want_services(&self, services: BTreeSet<Key>) {
        if self.0.publish.is_empty() {
            return;
        }
        let mut state = self.state();
        state.dirty_services.extend(services.iter().cloned());
        state.services = services;
        self.0.work.notify_one();
    }

    /// What the status of an object says.
    pub(super) fn seen(&self, object: &Value) -> Seen {
        status::seen(object.get("status"), &self.0.owner)
    }

    /// The API server has an object in this version, whose status says this.
    pub(super) fn observe(&self, object: &ObjectRef, generation: i64, seen: Seen) {
        if !self.0.statuses {
            return;
        }
        let seen = (generation, seen);
        let mut state = self.state();
        let entry = state.objects.entry(object.clone()).or_default();
        if entry.seen.replace(seen) != Some(seen) {
            state.dirty.insert(object.clone());
            self.0.work.notify_one();
        }
    }

    /// An object that has no version without errors claims this, if that can be read.
    pub(super) fn claim(&self, object: &ObjectRef, claim: Option<Claim>) {
        if self.0.statuses {
            let mut state = self.state();
            let entry = state.objects.entry(object.clone()).or_default();
            if entry.rare.is_some() || claim.is_some() {
                entry.rare.get_or_insert_default().claim = claim;
            }
        }
    }

    /// What an object claims that has no version without errors; `None`: nothing that can be read.
    pub fn claim_of(&self, object: &ObjectRef) -> Option<Claim> {
        self.state().objects.get(object)?.rare.as_ref()?.claim.clone()
    }

    /// This process has written a status: whether it had written the same before, so that another writer has undone it.
    pub(super) fn wrote(&self, write: &Write) -> bool {
        let wanted = write.wanted.as_deref();
        let own = wanted.map(|wanted| status::wanted(wanted, &self.0.owner, write.generation));
        let mut state = self.state();
        let Some(entry) = state.objects.get_mut(&write.object) else { return false };
        std::mem::replace(&mut entry.written, own) == own && own.is_some()
    }

    /// The API server has a Service of the gateway's namespace.
    pub(super) fn observe_service(&self, key: &Key, value: &Value) {
        if self.0.publish.is_empty() {
            return;
        }
        let seen = Service::of(value);
        let mut state = self.state();
        if state.seen_services.insert(key.clone(), seen.clone()) != Some(seen) {
            state.dirty_services.insert(key.clone());
            self.0.work.notify_one();
        }
    }

    /// The object is gone.
    pub(super) fn forget(&self, object: &ObjectRef) {
        let mut state = self.state();
        state.objects.remove(object);
        state.dirty.remove(object);
        state.ahead.remove(object);
        if object.kind == Kind::Service {
            state.seen_services.remove(&object.key);
            state.refused.remove(&object.key);
        }
        self.solve(&mut state, object);
    }

    /// Everything has to be looked at: this process leads now.
    pub(super) fn look_at_all(&self) {
        let mut state = self.state();
        let all: Vec<ObjectRef> = state.objects.keys().cloned().collect();
        state.dirty.extend(all);
        state.refused.clear();
        let services = state.services.clone();
        state.dirty_services.extend(services);
    }

    /// The next thing to write, if there is any.
    pub(super) fn take(&self) -> Option<Task> {
        let mut state = self.state();
        while let Some(key) = state.next_service(self.0.service.as_ref()) {
            if let Some(task) = self.look(&mut state, ObjectRef { kind: Kind::Service, key }) {
                return Some(task);
            }
        }
        // What is wanted at the start is not known before the first report.
        while let Some(object) = if state.is_reported { state.dirty.pop_first() } else { None } {
            if let Some(task) = self.look(&mut state, object) {
                return Some(task);
            }
        }
        None
    }

    /// What is to be written about an object, if anything.
    pub(super) fn take_one(&self, object: ObjectRef) -> Option<Task> {
        let mut state = self.state();
        if object.kind == Kind::Service {
            state.dirty_services.remove(&object.key);
        } else {
            state.dirty.remove(&object);
        }
        self.look(&mut state, object)
    }

    fn look(&self, state: &mut State, object: ObjectRef) -> Option<Task> {
        if object.kind == Kind::Service && state.needs_address(&object.key, &self.0.publish) {
            return Some(Task::Service(object.key));
        }
        match state.decide(&object, &self.0.owner) {
            Decision::Write(write) => return Some(Task::Status(write)),
            Decision::Ahead => drop(state.ahead.insert(object)),
            Decision::Nothing => {
                self.solve(state, &object);
            }
        }
        None
    }

    /// Another controller has the address of a Service: it is not tried again while the Service stays as it is.
    pub(super) fn refuse(&self, key: &Key) {
        let mut state = self.state();
        if let Some(seen) = state.seen_services.get(key).cloned() {
            state.refused.insert(key.clone(), seen);
        }
    }

    /// Waits until there may be something to write.
    pub(super) async fn work(&self) {
        self.0.work.notified().await;
    }

    /// The API server denies writing about an object, or allows it. Whether it denied that before.
    pub(super) fn deny(&self, object: &ObjectRef, message: Option<&str>) -> bool {
        let mut state = self.state();
        let Some(message) = message else { return self.solve(&mut state, object) };
        let denied = state.denied.entry(Right::of(object)).or_default();
        let before = denied.first_key_value().map(|(first, _)| first.clone());
        let was_denied = denied.insert(object.clone(), message.to_owned()).is_some();
        if denied.first_key_value().map(|(first, _)| first) != before.as_ref() {
            self.0.problems.notify_one();
        }
        was_denied
    }

    /// Nothing about the object is denied any more. Whether something was.
    fn solve(&self, state: &mut State, object: &ObjectRef) -> bool {
        let right = Right::of(object);
        let Some(denied) = state.denied.get_mut(&right) else { return false };
        if denied.remove(object).is_none() {
            return false;
        }
        if denied.is_empty() {
            state.denied.remove(&right);
        }
        self.0.problems.notify_one();
        true
    }

    /// Why this process can neither lead nor learn who does, or that it can.
    pub(super) fn set_lease(&self, problem: Option<LeaseProblem>) {
        let mut state = self.state();
        if state.lease != problem {
            state.lease = problem;
            self.0.problems.notify_one();
        }
    }

    /// This process does not lead, and needs no rights but that to the Lease.
    pub(super) fn rest(&self) {
        if !std::mem::take(&mut self.state().denied).is_empty() {
            self.0.problems.notify_one();
        }
    }

    /// What is denied, with the words about the first object of each kind.
    pub(super) fn denied(&self) -> Vec<(Right, String)> {
        let state = self.state();
        let lease = match &state.lease {
            Some(LeaseProblem::Denied(message)) => Some((Right::Lease, message.clone())),
            _ => None,
        };
        let first = |(right, denied): (&Right, &BTreeMap<ObjectRef, String>)| {
            denied.values().next().map(|message| (*right, message.clone()))
        };
        lease.into_iter().chain(state.denied.iter().filter_map(first)).collect()
    }

    /// Why the Lease cannot be held although it is not denied.
    pub(super) fn lease_failure(&self) -> Option<String> {
        match &self.state().lease {
            Some(LeaseProblem::Failing(message)) => Some(message.clone()),
            _ => None,
        }
    }

    /// Waits until [`Self::denied`] or [`Self::lease_failure`] says something else.
    pub(super) async fn problems(&self) {
        self.0.problems.notified().await;
    }
}

impl State {
    /// The next Service to look at: `own`, that of the gateway's name, before others that select it.
    fn next_service(&mut self, own: Option<&Key>) -> Option<Key> {
        let own = own.and_then(|own| self.dirty_services.take(own));
        own.or_else(|| self.dirty_services.pop_first())
    }

    fn needs_address(&self, key: &Key, publish: &[Published]) -> bool {
        let Some(seen) = self.seen_services.get(key).filter(|_| self.services.contains(key)) else { return false };
        seen.may_have(publish) && self.refused.get(key) != Some(seen)
    }

    fn decide(&mut self, object: &ObjectRef, owner: &str) -> Decision {
        let Some(entry) = self.objects.get_mut(object) else { return Decision::Nothing };
        let Some((generation, seen)) = entry.seen else { return Decision::Nothing };
        if seen.is_foreign {
            return Decision::Nothing;
        }
        let write = |wanted| Decision::Write(Write { object: object.clone(), wanted, generation });
        let Some(wanted) = &entry.wanted else {
            return if seen.own.is_some() { write(None) } else { Decision::Nothing };
        };
        if self.served.get(object).and_then(|version| version.generation) != Some(generation) {
            return Decision::Ahead;
        }
        let mut own = status::wanted(wanted, owner, generation);
        // Istio's analysis replaces all messages with its own whenever the object has an event, and every write is one: that would go on for
        // good. The condition has the same in words.
        if entry.written == Some(own) && seen.own.is_some_and(|now| own.lost_messages(now)) {
            entry.rare.get_or_insert_default().without_messages = Some(generation);
        }
        let mut wanted = Arc::clone(wanted);
        if entry.rare.as_ref().and_then(|rare| rare.without_messages) == Some(generation) {
            wanted = Arc::new(wanted.without_messages());
            own = status::wanted(&wanted, owner, generation);
        }
        if seen.own.is_none() && !wanted.always || seen.own == Some(own) {
            return Decision::Nothing;
        }
        write(Some(wanted))
    }
}

#[cfg(test)]
mod tests;
