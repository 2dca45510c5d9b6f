//! Which objects are kept, and for which references: every object that the API server reports passes here, and becomes events. Not how
//! it is asked, which is the followers'.

use super::claim::Claim;
use super::local_files::LocalFiles;
use super::object::{kind, name, service, strip, version};
use super::references::{Reference, References};
use super::slices::Slices;
use super::state::{State, Text};
use super::status::Seen;
use super::statuses::Statuses;
use crate::event::{ObjectVersion, Rejection, SourceEvent, Upsert};
use resources::api::ApiResource;
use resources::key::{Key, Kind, ObjectRef};
use resources::read::{self, Rejected};
use resources::set::AnyObject;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// The ConfigMap of the mesh settings (MC-01).
const MESH: &str = "istio";

/// The objects that are kept.
pub(super) struct Keeper {
    /// The namespace of the gateway.
    pub(super) namespace: Arc<str>,
    pub(super) state: Option<State>,
    /// Objects that the source has reported, by kind.
    kept: BTreeMap<Kind, HashSet<Key>>,
    /// Those of them that have no version without errors.
    rejected: HashSet<ObjectRef>,
    /// What listings under way have reported.
    seen: BTreeMap<Kind, HashSet<Key>>,
    /// Kinds with a listing under way that misses objects.
    spoiled: BTreeSet<Kind>,
    pub(super) references: References,
    slices: Slices,
    /// Learns what statuses say.
    pub(super) statuses: Option<Statuses>,
    pub(super) files: LocalFiles,
}

impl Keeper {
    pub(super) fn new(
        namespace: Arc<str>,
        references: References,
        state: Option<State>,
        statuses: Option<Statuses>,
        files: LocalFiles,
    ) -> Self {
        let (kept, rejected, seen, spoiled, slices) = Default::default();
        Self { namespace, state, kept, rejected, seen, spoiled, references, slices, statuses, files }
    }

    /// What is known from before.
    pub(super) fn restore(&mut self, objects: &[Text], events: &mut Vec<SourceEvent>) {
        // Twice: what refers to an object may stand behind it.
        let values = || objects.iter().filter_map(|text| serde_json::from_slice::<Value>(text).ok());
        for value in values() {
            if let Some(object) = read::read_value(value).objects.first() {
                self.references.update(object, &self.namespace, None);
            }
        }
        values().for_each(|value| self.put(value, events, false));
    }

    /// Whether any object of a kind is kept.
    pub(super) fn has_any(&self, kind: Kind) -> bool {
        self.kept.get(&kind).is_some_and(|kept| !kept.is_empty())
    }

    /// A listing of a kind begins.
    pub(super) fn begin_listing(&mut self, kind: Kind) {
        self.seen.insert(kind, HashSet::new());
        self.spoiled.remove(&kind);
    }

    /// The listing under way misses objects, and does not tell which are gone.
    pub(super) fn spoil_listing(&mut self, kind: Kind) {
        self.spoiled.insert(kind);
    }

    pub(super) fn is_spoiled(&self, kind: Kind) -> bool {
        self.spoiled.contains(&kind)
    }

    /// A kind has been listed, or is not installed: what it does not have any more refers to nothing.
    pub(super) fn end_listing(&mut self, kind: Kind) {
        let seen = self.seen.remove(&kind).unwrap_or_default();
        let kept = self.kept.remove(&kind).unwrap_or_default();
        let (stay, gone): (HashSet<Key>, HashSet<Key>) = kept.into_iter().partition(|key| seen.contains(key));
        self.kept.insert(kind, stay);
        for key in gone {
            self.forget(&ObjectRef { kind, key });
        }
    }

    /// Nothing refers to it any more: the objects that are kept for no other reason go.
    pub(super) fn release(&mut self, reference: &Reference, events: &mut Vec<SourceEvent>) {
        let (kind, keys) = match reference {
            Reference::Slices(service) if !self.references.wants(&Reference::AllSlices) => {
                (Kind::EndpointSlice, self.slices.of(service))
            }
            Reference::AllSlices => {
                let services = self.slices.services();
                let unwanted = services.iter().filter(|one| !self.references.wants(&Reference::Slices((*one).clone())));
                (Kind::EndpointSlice, unwanted.flat_map(|service| self.slices.of(service)).collect())
            }
            Reference::Secret(name) => (Kind::Secret, vec![Key::new(Arc::clone(&self.namespace), Arc::clone(name))]),
            Reference::ConfigMap(name) if &**name != MESH => {
                (Kind::ConfigMap, vec![Key::new(Arc::clone(&self.namespace), Arc::clone(name))])
            }
            Reference::ConfigMap(_) => return,
            Reference::Pod(key) => (Kind::Pod, vec![key.clone()]),
            // The kind is listed again, or not followed any more.
            Reference::Slices(_) | Reference::Pods | Reference::Nodes => return,
        };
        for key in keys {
            if self.kept.get(&kind).is_some_and(|kept| kept.contains(&key)) {
                self.delete(ObjectRef { kind, key }, events);
            }
        }
    }

    pub(super) fn delete(&mut self, object: ObjectRef, events: &mut Vec<SourceEvent>) {
        self.forget(&object);
        events.push(SourceEvent::Delete(object));
    }

    fn forget(&mut self, object: &ObjectRef) {
        self.references.remove(object);
        if let Some(kept) = self.kept.get_mut(&object.kind) {
            kept.remove(&object.key);
        }
        if object.kind == Kind::EndpointSlice {
            self.slices.remove(&object.key);
        }
        self.rejected.remove(object);
        self.files.forget(object);
        if let Some(statuses) = self.statuses.as_ref().filter(|_| is_written(object.kind)) {
            statuses.forget(object);
        }
        if let Some(state) = &self.state {
            state.delete(object.clone());
        }
    }

    /// An object as it is now, if it is kept at all. `is_new`: it came from the API server.
    pub(super) fn put(&mut self, mut value: Value, events: &mut Vec<SourceEvent>, is_new: bool) {
        let Some(object) = kind(&value).and_then(|kind| name(kind, &value)) else { return };
        let service = (object.kind == Kind::EndpointSlice).then(|| service(&object, &value));
        if !self.is_wanted(&object, service.as_ref()) {
            if self.kept.get(&object.kind).is_some_and(|kept| kept.contains(&object.key)) {
                self.delete(object, events);
            } else if let (false, Some(state)) = (is_new, &self.state) {
                // What was kept once and is not needed would be taken for the present one when it is needed.
                state.delete(object);
            }
            return;
        }
        let version = version(&value, self.statuses.is_some());
        let status = if is_new { self.status_of(&object, version, &value) } else { None };
        let claim = self.statuses.as_ref().and_then(|_| Claim::of(object.kind, &value));
        strip(object.kind, &mut value);
        let to_keep = (is_new && self.state.is_some()).then(|| value.to_string());
        let reading = read::read_value(value);
        let findings: Arc<[_]> = reading.diagnostics.into();
        let mut read = reading.objects.into_iter().next();
        if let (Some(read), Some(name)) = (&mut read, self.known_name(&object)) {
            read.share_key(&name);
        }
        let object = read.as_ref().map_or(object, AnyObject::object_ref);
        if let (Some(statuses), Some((generation, seen))) = (&self.statuses, status) {
            statuses.observe(&object, generation, seen);
        }
        if let Some(seen) = self.seen.get_mut(&object.kind) {
            seen.insert(object.key.clone());
        }
        let is_first = self.kept.entry(object.kind).or_default().insert(object.key.clone());
        if let Some(service) = service {
            self.slices.insert(&object.key, self.references.slices_of(service));
        }
        if let Some(rejected) = reading.rejected.into_iter().next() {
            let Rejected { code, guard, selector, .. } = rejected;
            let rejection = Rejection { object, version, code, guard, selector, findings };
            let has_no_good_version = if is_first {
                self.rejected.insert(rejection.object.clone())
            } else {
                self.rejected.contains(&rejection.object)
            };
            if has_no_good_version {
                // A start without a server has to reject it again, and to guard what it would have guarded.
                if let (Some(state), Some(value)) = (&self.state, to_keep) {
                    state.put(rejection.object.clone(), value.as_bytes());
                }
                if let Some(statuses) = self.statuses.as_ref().filter(|_| is_written(rejection.object.kind)) {
                    statuses.claim(&rejection.object, claim);
                }
            }
            events.push(SourceEvent::Reject(Box::new(rejection)));
            return;
        }
        let Some(read) = read else { return };
        self.rejected.remove(&object);
        self.references.update(&read, &self.namespace, self.kept.get(&Kind::Service));
        self.files.put(&read);
        if let (Some(state), Some(value)) = (&self.state, to_keep) {
            state.put(object, value.as_bytes());
        }
        events.push(SourceEvent::Upsert(Upsert { object: read, version, findings }));
    }

    /// The name of an object, as it is kept already: names are not kept twice.
    fn known_name(&self, object: &ObjectRef) -> Option<Key> {
        let kept = self.kept.get(&object.kind).and_then(|kept| kept.get(&object.key)).cloned();
        kept.or_else(|| (object.kind == Kind::Service).then(|| self.references.slices_of(object.key.clone())))
    }

    /// What the status of one of Istio's objects says, and the generation that this is read with. What a Service says is noted.
    fn status_of(&self, object: &ObjectRef, version: Option<ObjectVersion>, value: &Value) -> Option<(i64, Seen)> {
        let statuses = self.statuses.as_ref().filter(|_| is_written(object.kind))?;
        if object.kind == Kind::Service {
            if object.key.namespace == self.namespace {
                statuses.observe_service(&object.key, value);
            }
            return None;
        }
        Some((version?.generation?, statuses.seen(value)))
    }

    /// Whether an object is kept; `service` is that of an EndpointSlice.
    fn is_wanted(&self, object: &ObjectRef, service: Option<&Key>) -> bool {
        let wants = |reference: Reference| self.references.wants(&reference);
        match object.kind {
            Kind::EndpointSlice => {
                service.is_some_and(|service| wants(Reference::Slices(service.clone()))) || wants(Reference::AllSlices)
            }
            Kind::Secret => wants(Reference::Secret(Arc::clone(&object.key.name))),
            Kind::ConfigMap => &*object.key.name == MESH || wants(Reference::ConfigMap(Arc::clone(&object.key.name))),
            Kind::Pod => wants(Reference::Pods) && wants(Reference::Pod(object.key.clone())),
            Kind::Node => wants(Reference::Nodes),
            _ => true,
        }
    }
}

/// Whether statuses of a kind are written.
fn is_written(kind: Kind) -> bool {
    kind == Kind::Service || ApiResource::of(kind).is_some_and(ApiResource::is_istio)
}

#[cfg(test)]
mod tests;
