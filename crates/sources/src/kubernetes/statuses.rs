//! What statuses should say beside what they say: which objects have to be written. The source notes what it sees, the program what it wants,
//! and the writer takes what differs. A status that says what is wanted is never written.

use super::published::{Published, Service};
use super::status::{self, Seen, Status};
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
    objects: HashMap<ObjectRef, Entry>,
    /// The versions of objects that the program has served.
    served: Map<ObjectRef, Arc<ObjectVersion>>,
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
    /// What the API server denies, with its words.
    denied: BTreeMap<Right, String>,
}

#[derive(Debug, Default)]
struct Entry {
    seen: Option<(i64, Seen)>,
    wanted: Option<Arc<Status>>,
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

impl Statuses {
    pub(super) fn new(owner: Arc<str>, statuses: bool, publish: Vec<Published>) -> Self {
        let (state, work, problems, stop) = Default::default();
        Self(Arc::new(Shared { owner, statuses, publish, state, work, problems, stop }))
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
        served: &Map<ObjectRef, Arc<ObjectVersion>>,
        wanted: impl IntoIterator<Item = (ObjectRef, Option<Arc<Status>>)>,
    ) {
        if !self.0.statuses {
            return;
        }
        let mut state = self.state();
        state.served = served.clone();
        state.is_reported = true;
        for (object, wanted) in wanted {
            match state.objects.get_mut(&object) {
                Some(entry) => entry.wanted = wanted,
                None if wanted.is_none() => continue,
                None => drop(state.objects.insert(object.clone(), Entry { seen: None, wanted })),
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

    /// The API server has an object in this version, with this status.
    pub(super) fn observe(&self, object: &ObjectRef, generation: i64, status: Option<&Value>) {
        if !self.0.statuses {
            return;
        }
        let seen = (generation, status::seen(status, &self.0.owner));
        let mut state = self.state();
        let entry = state.objects.entry(object.clone()).or_default();
        if entry.seen.replace(seen) != Some(seen) {
            state.dirty.insert(object.clone());
            self.0.work.notify_one();
        }
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
        state.seen_services.remove(&object.key);
        state.refused.remove(&object.key);
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
        while let Some(key) = state.dirty_services.pop_first() {
            let is_own = state.services.contains(&key);
            let Some(seen) = state.seen_services.get(&key).filter(|_| is_own) else { continue };
            if seen.may_have(&self.0.publish) && state.refused.get(&key) != Some(seen) {
                return Some(Task::Service(key));
            }
        }
        // What is wanted at the start is not known before the first report.
        while let Some(object) = if state.is_reported { state.dirty.pop_first() } else { None } {
            match state.decide(&object, &self.0.owner) {
                Decision::Nothing => {}
                Decision::Ahead => drop(state.ahead.insert(object)),
                Decision::Write(write) => return Some(Task::Status(write)),
            }
        }
        None
    }

    /// A thing could not be written, and is to be tried again.
    pub(super) fn put_back(&self, task: Task) {
        let mut state = self.state();
        match task {
            Task::Status(write) if state.objects.contains_key(&write.object) => drop(state.dirty.insert(write.object)),
            Task::Status(_) => {}
            Task::Service(key) => drop(state.dirty_services.insert(key)),
        }
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

    /// The API server denies a right, or grants it.
    pub(super) fn deny(&self, right: Right, message: Option<&str>) {
        let mut state = self.state();
        if state.denied.contains_key(&right) == message.is_some() {
            // The first message stands for all: objects have their names in them.
            return;
        }
        match message {
            Some(message) => drop(state.denied.insert(right, message.to_owned())),
            None => drop(state.denied.remove(&right)),
        }
        self.0.problems.notify_one();
    }

    /// This process does not lead, and needs no rights but that to the Lease.
    pub(super) fn rest(&self) {
        let mut state = self.state();
        let before = state.denied.len();
        state.denied.retain(|right, _| *right == Right::Lease);
        if state.denied.len() != before {
            self.0.problems.notify_one();
        }
    }

    /// What is denied.
    pub(super) fn denied(&self) -> Vec<(Right, String)> {
        self.state().denied.iter().map(|(right, message)| (*right, message.clone())).collect()
    }

    /// Waits until [`Self::denied`] says something else.
    pub(super) async fn problems(&self) {
        self.0.problems.notified().await;
    }
}

impl State {
    fn decide(&self, object: &ObjectRef, owner: &str) -> Decision {
        let Some(entry) = self.objects.get(object) else { return Decision::Nothing };
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
        if seen.own.is_none() && !wanted.always || seen.own == Some(status::wanted(wanted, owner, generation)) {
            return Decision::Nothing;
        }
        write(Some(Arc::clone(wanted)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::published;
    use super::super::status::Stamp;
    use super::*;
    use serde_json::json;

    const OWNER: &str = "istio-system/gateway";

    fn object(name: &str) -> ObjectRef {
        ObjectRef { kind: Kind::Gateway, key: Key { namespace: "a".into(), name: name.into() } }
    }

    fn served(generations: &[(&str, i64)]) -> Map<ObjectRef, Arc<ObjectVersion>> {
        let version =
            |generation| Arc::new(ObjectVersion { resource_version: "1".into(), generation: Some(generation) });
        generations.iter().map(|(name, generation)| (object(name), version(*generation))).collect()
    }

    fn status(always: bool) -> Arc<Status> {
        let (reason, message, messages) = ("Served", "served".to_owned(), Vec::new());
        Arc::new(Status { reconciled: true, reason, message, messages, always })
    }

    fn stamp(owner: &str) -> Stamp<'_> {
        Stamp { owner, generation: 1, now: "now" }
    }

    fn taken(statuses: &Statuses) -> Vec<(String, bool, i64)> {
        let mut all = Vec::new();
        while let Some(Task::Status(write)) = statuses.take() {
            all.push((write.object.key.name.to_string(), write.wanted.is_some(), write.generation));
        }
        all
    }

    #[test]
    fn only_what_differs_is_written_and_only_of_versions_that_are_served() {
        let statuses = Statuses::new(OWNER.into(), true, Vec::new());
        statuses.observe(&object("one"), 1, None);
        assert_eq!(taken(&statuses), [], "nothing is known to be wanted");
        statuses.want(
            &served(&[("one", 1), ("two", 1)]),
            [(object("one"), Some(status(true))), (object("two"), Some(status(true)))],
        );
        assert_eq!(taken(&statuses), [("one".to_owned(), true, 1)], "the other has not been seen");
        // What was written is seen, and is what is wanted.
        let patch = status::merge(None, Some(&status(true)), stamp(OWNER)).unwrap();
        statuses.observe(&object("one"), 1, Some(&patch));
        assert_eq!(taken(&statuses), []);
        // A new generation waits until it is served.
        statuses.observe(&object("one"), 2, Some(&patch));
        assert_eq!(taken(&statuses), []);
        statuses.want(&served(&[("one", 2), ("two", 1)]), []);
        assert_eq!(taken(&statuses), [("one".to_owned(), true, 2)]);
        // What could not be written is tried again, unless the object is gone.
        let write = Write { object: object("one"), wanted: Some(status(true)), generation: 2 };
        statuses.put_back(Task::Status(write.clone()));
        assert_eq!(taken(&statuses).len(), 1);
        statuses.forget(&object("one"));
        statuses.put_back(Task::Status(write));
        assert_eq!(taken(&statuses), []);
    }

    #[test]
    fn what_concerns_another_gateway_is_left_to_it() {
        let statuses = Statuses::new(OWNER.into(), true, Vec::new());
        let of = |owner: &str| status::merge(None, Some(&status(true)), stamp(owner)).unwrap();
        statuses.observe(&object("foreign"), 1, Some(&of("istio-system/other")));
        statuses.observe(&object("new"), 1, None);
        statuses.observe(&object("own"), 1, Some(&of(OWNER)));
        let all = served(&[("foreign", 1), ("new", 1), ("own", 1)]);
        // Without findings, what needs no entry gets none, and what has one keeps it.
        statuses.want(&all, ["foreign", "new", "own"].map(|name| (object(name), Some(status(false)))));
        assert_eq!(taken(&statuses), []);
        statuses.want(&all, ["foreign", "new", "own"].map(|name| (object(name), None)));
        assert_eq!(taken(&statuses), [("own".to_owned(), false, 1)]);
        statuses.look_at_all();
        assert_eq!(taken(&statuses).len(), 1, "a new leader looks at all of them");
    }

    #[test]
    fn an_address_is_published_once_where_it_may_be() {
        let statuses = Statuses::new(OWNER.into(), true, vec![Published::parse("192.0.2.1")]);
        let key = |name: &str| Key { namespace: "istio-system".into(), name: name.into() };
        let service = |ingress: Value| json!({"spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {"ingress": ingress}}});
        statuses.observe_service(&key("own"), &service(json!([])));
        statuses.observe_service(&key("other"), &service(json!([])));
        statuses.want(&Map::default(), []);
        statuses.want_services([key("own")].into());
        assert_eq!((statuses.take(), statuses.take()), (Some(Task::Service(key("own"))), None));
        statuses.observe_service(&key("own"), &service(json!([{"ip": "192.0.2.1", "ipMode": "VIP"}])));
        assert_eq!(statuses.take(), None);
        statuses.observe_service(&key("own"), &service(json!([{"ip": "192.0.2.9"}])));
        assert_eq!(statuses.take(), Some(Task::Service(key("own"))), "the API server knows whose it is");
        statuses.refuse(&key("own"));
        statuses.put_back(Task::Service(key("own")));
        assert_eq!(statuses.take(), None);
        statuses.observe_service(&key("own"), &service(Value::Null));
        assert_eq!(statuses.take(), Some(Task::Service(key("own"))));
        assert_eq!(
            published::patch(&key("own"), statuses.published())["status"]["loadBalancer"]["ingress"],
            json!([{"ip": "192.0.2.1"}])
        );
    }

    #[test]
    fn one_denial_is_reported_until_it_is_over() {
        let statuses = Statuses::new(OWNER.into(), true, Vec::new());
        let (lease, gateways) = (Right::Lease, Right::Status(Kind::Gateway));
        statuses.deny(gateways, Some("one"));
        statuses.deny(gateways, Some("two"));
        assert_eq!(statuses.denied(), [(gateways, "one".to_owned())]);
        statuses.deny(lease, Some("three"));
        statuses.rest();
        assert_eq!(statuses.denied(), [(lease, "three".to_owned())]);
        statuses.deny(lease, None);
        assert_eq!(statuses.denied(), []);
    }
}
