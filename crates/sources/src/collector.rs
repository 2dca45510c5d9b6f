//! Events to sets: what has been observed so far, as one set with everything that was found, and what changed since the last one that
//! was taken. `watch` calls it for each batch; a caller that reads once uses it by `FileReader`.

use crate::event::{Batch, ObjectVersion, Rejection, Scope, SourceEvent, Timing, Upsert};
use crate::findings;
use crate::mesh::MeshText;
use crate::stream::StreamTexts;
use resources::Map;
use resources::api::ApiResource;
use resources::diagnostic::{Diagnostic, SourceLocation};
use resources::key::{Kind, ObjectRef};
use resources::set::{Absence, AnyObject, Change, ResourceSet};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Instant;

/// A set, and how it came to be.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The objects.
    pub set: Arc<ResourceSet>,
    /// The versions of Istio's objects, to which their statuses refer, where they have one; also of objects whose present version has errors.
    pub versions: Map<ObjectRef, ObjectVersion>,
    /// Whether every part of the source has been read once. Before that, objects may be missing, and the set must not be served.
    pub complete: bool,
    /// Findings of reading, of all parts, sorted by place.
    pub diagnostics: Arc<[Diagnostic]>,
    /// Reasons why parts cannot be listed or read at present; what they held before is in the set.
    pub unavailable: usize,
    /// The mesh settings, where there is a file of them.
    pub mesh: Option<MeshText>,
    /// Texts of input that cannot be read a second time.
    pub streams: StreamTexts,
    /// Whether everything was read again on request.
    pub requested: bool,
    /// Whether nothing is new but what is shown of objects: what is served stays as it is.
    pub only_shown: bool,
    /// How long it took.
    pub timing: Timing,
}

/// Everything that a source has reported.
#[derive(Debug, Default)]
pub struct Collector {
    set: Arc<ResourceSet>,
    /// Whether the set is a generation that no reader has seen.
    is_gathering: bool,
    /// Whether objects, their versions or findings are new. It counts once the configuration is complete.
    objects_changed: bool,
    /// Whether anything else is new.
    source_changed: bool,
    /// Whether something else is to be shown of objects that are as they were.
    shown_changed: bool,
    complete: bool,
    /// Whether a complete set has been taken.
    is_begun: bool,
    versions: Map<ObjectRef, ObjectVersion>,
    /// Objects whose present version has errors.
    rejected: BTreeSet<ObjectRef>,
    /// Objects that are in the set only as guards.
    guards: BTreeSet<ObjectRef>,
    /// Listings that have begun, with the objects that they have reported.
    listings: BTreeMap<Scope, HashSet<ObjectRef>>,
    unavailable: BTreeMap<Scope, Arc<[Diagnostic]>>,
    of_source: Arc<[Diagnostic]>,
    of_objects: BTreeMap<ObjectRef, Arc<[Diagnostic]>>,
    mesh: Option<MeshText>,
    streams: StreamTexts,
    requested: bool,
    timing: Timing,
}

/// What events mean for the set, until it is put there.
#[derive(Default)]
struct Pending {
    changes: Vec<Change>,
    absent: Option<Map<ObjectRef, Absence>>,
    /// Whether the changes count even if every object means the same: an object may be elsewhere in its file.
    counts: bool,
}

impl Collector {
    /// The objects as of now.
    pub fn set(&self) -> &Arc<ResourceSet> {
        &self.set
    }

    /// Whether there is something to take. While the configuration is incomplete, objects alone are nothing to report.
    pub fn has_news(&self) -> bool {
        self.source_changed || self.complete && self.objects_changed
    }

    /// Whether there is something to take that is only shown, and may wait until more of it has come.
    pub fn has_more_to_show(&self) -> bool {
        self.complete && self.shown_changed
    }

    /// Applies events.
    pub fn apply(&mut self, batch: Batch) {
        let begun = Instant::now();
        let mut pending = Pending::default();
        for event in batch.events {
            self.event(event, &mut pending);
        }
        self.flush(&mut pending);
        self.timing.parse += batch.timing.parse;
        self.timing.collect += batch.timing.collect + begun.elapsed();
    }

    /// What there is now. Its set has as changed what differs from that of the last call; the first complete one has nothing, as all of it
    /// is new.
    pub fn take(&mut self) -> Loaded {
        if !self.is_gathering {
            self.set = Arc::new(self.set.with([]));
        }
        // An incomplete set is not compiled: its changes are changes of the next set, too.
        self.is_gathering = !self.complete;
        if self.complete && !std::mem::replace(&mut self.is_begun, true) {
            // All of it is new to those who read it, and a list that says so once more would stay until the next change.
            self.set = Arc::new(ResourceSet { changed: Arc::default(), ..ResourceSet::clone(&self.set) });
        }
        let only_shown = self.has_more_to_show() && !self.has_news();
        (self.objects_changed, self.source_changed, self.shown_changed) = (false, false, false);
        Loaded {
            set: Arc::clone(&self.set),
            versions: self.versions.clone(),
            complete: self.complete,
            diagnostics: self.diagnostics(),
            unavailable: self.unavailable.values().map(|findings| findings.len()).sum(),
            mesh: self.mesh.clone(),
            streams: Arc::clone(&self.streams),
            requested: std::mem::take(&mut self.requested),
            only_shown,
            timing: std::mem::take(&mut self.timing),
        }
    }

    fn event(&mut self, event: SourceEvent, pending: &mut Pending) {
        match event {
            SourceEvent::Upsert(upsert) => self.upsert(upsert, pending),
            SourceEvent::Reject(rejection) => {
                self.flush(pending);
                self.reject(*rejection, pending);
            }
            SourceEvent::Delete(object) => self.delete(object, pending),
            SourceEvent::Restart(scope) => drop(self.listings.insert(scope, HashSet::new())),
            SourceEvent::Complete(scope) => {
                self.flush(pending);
                self.finish(&scope, pending);
            }
            SourceEvent::Unavailable(scope, findings) => {
                let before = self.unavailable.insert(scope, Arc::clone(&findings));
                self.source_changed |= before.is_none_or(|before| before != findings);
            }
            SourceEvent::Available(scope) => self.source_changed |= self.unavailable.remove(&scope).is_some(),
            SourceEvent::Findings(findings) => {
                self.source_changed |= self.of_source != findings;
                self.of_source = findings;
            }
            SourceEvent::Absent(object, absence) => self.set_absence(object, absence, pending),
            SourceEvent::Files(files) => self.change_set(|set| set.clone().with_files(files)),
            SourceEvent::Mesh(mesh) => {
                self.source_changed |= self.mesh != mesh;
                self.mesh = mesh;
            }
            SourceEvent::Streams(streams) => self.streams = streams,
            SourceEvent::Reloaded => (self.requested, self.source_changed) = (true, true),
        }
    }

    fn upsert(&mut self, upsert: Upsert, pending: &mut Pending) {
        let Upsert { object, version, findings } = upsert;
        pending.counts |= version.is_none();
        if version.is_some() || !findings.is_empty() || !self.is_plain() {
            let name = object.object_ref();
            self.report_to_listings(&name, object.source());
            if self.is_known(&name, version) {
                return;
            }
            self.set_version(&name, version, pending);
            self.set_findings(&name, findings);
            self.objects_changed |= self.rejected.remove(&name);
            self.guards.remove(&name);
            self.set_absence(name, None, pending);
        }
        pending.changes.push(Change::Put(object));
    }

    /// Whether no object has any state besides the set.
    fn is_plain(&self) -> bool {
        self.versions.is_empty() && self.of_objects.is_empty() && self.rejected.is_empty() && self.listings.is_empty()
    }

    fn reject(&mut self, rejection: Rejection, pending: &mut Pending) {
        let Rejection { object, version, code, guard, selector, findings } = rejection;
        let location = guard.as_ref().and_then(AnyObject::source).or_else(|| self.set.source(&object)).cloned();
        self.report_to_listings(&object, location.as_ref());
        if self.is_known(&object, version) {
            return;
        }
        self.set_version(&object, version, pending);
        self.set_findings(&object, findings);
        // A listing repeats rejections, too: versions are not kept of every kind.
        self.objects_changed |= self.rejected.insert(object.clone());
        let is_there = self.set.contains(&object);
        if is_there && !self.guards.contains(&object) {
            return;
        }
        if let Some(guard) = guard {
            self.guards.insert(object);
            pending.changes.push(Change::Put(guard));
        } else if !is_there && object.kind == Kind::Gateway {
            self.set_absence(object, Some(Absence::Invalid { code, selector }), pending);
        }
    }

    fn delete(&mut self, object: ObjectRef, pending: &mut Pending) {
        if !self.is_plain() {
            self.set_version(&object, None, pending);
            self.set_findings(&object, Arc::default());
            self.guards.remove(&object);
            if self.rejected.remove(&object) {
                self.objects_changed = true;
                self.set_absence(object.clone(), None, pending);
            }
        }
        pending.changes.push(Change::Delete(object));
    }

    /// A listing ends: what it has not reported is gone.
    fn finish(&mut self, scope: &Scope, pending: &mut Pending) {
        if let Some(seen) = self.listings.remove(scope) {
            let rejected = self.rejected.iter().filter(|object| !self.set.contains(object)).cloned();
            let all = self.set.objects().chain(rejected);
            let gone = all.filter(|object| !seen.contains(object) && scope.covers(object, self.set.source(object)));
            for object in gone.collect::<Vec<_>>() {
                self.delete(object, pending);
            }
        }
        self.source_changed |= self.unavailable.remove(scope).is_some();
        if *scope == Scope::All {
            self.source_changed |= !std::mem::replace(&mut self.complete, true);
        }
    }

    /// Listings under way have found an object.
    fn report_to_listings(&mut self, object: &ObjectRef, location: Option<&SourceLocation>) {
        for (scope, seen) in &mut self.listings {
            if scope.covers(object, location) {
                seen.insert(object.clone());
            }
        }
    }

    /// Whether this version of an object has been applied: a listing repeats what is known.
    fn is_known(&self, object: &ObjectRef, version: Option<ObjectVersion>) -> bool {
        let before = self.versions.get(object);
        version.is_some_and(|version| before.is_some_and(|before| before.resource_version == version.resource_version))
    }

    /// A version with another generation counts: the status of its object refers to that. Versions without one are not kept, and neither are
    /// those that differ in nothing else, as after each write of a status: readers keep those of before, and all would be kept twice.
    fn set_version(&mut self, object: &ObjectRef, version: Option<ObjectVersion>, pending: &mut Pending) {
        if !ApiResource::of(object.kind).is_some_and(ApiResource::is_istio) {
            return;
        }
        let version = version.filter(|version| version.generation.is_some());
        let before = self.versions.get(object).map(|before| before.generation);
        let is_new = before != version.map(|version| version.generation);
        // Whose a rejected object is may be another with each version, also of one that was made anew while no watch saw it.
        if !is_new && !self.rejected.contains(object) {
            return;
        }
        pending.counts |= is_new;
        match version {
            Some(version) => self.versions.insert_mut(object.clone(), version),
            None => drop(self.versions.remove_mut(object)),
        }
    }

    fn set_findings(&mut self, object: &ObjectRef, findings: Arc<[Diagnostic]>) {
        let before = self.of_objects.get(object).map_or(&[][..], |before| before);
        if *before == *findings {
            return;
        }
        self.objects_changed = true;
        if findings.is_empty() {
            self.of_objects.remove(object);
        } else {
            self.of_objects.insert(object.clone(), findings);
        }
    }

    fn set_absence(&self, object: ObjectRef, absence: Option<Absence>, pending: &mut Pending) {
        let before = pending.absent.as_ref().unwrap_or(&self.set.absent);
        if before.get(&object) == absence.as_ref() {
            return;
        }
        let absent = pending.absent.get_or_insert_with(|| self.set.absent.clone());
        match absence {
            Some(absence) => absent.insert_mut(object, absence),
            None => drop(absent.remove_mut(&object)),
        }
    }

    /// Puts into the set what is pending. Versions that mean the same as those before are no change of it.
    fn flush(&mut self, pending: &mut Pending) {
        let Pending { changes, absent, counts } = std::mem::take(pending);
        if changes.is_empty() && absent.is_none() && !counts {
            return;
        }
        let (mut next, is_shown_anew) = self.set.with_and_shown(changes);
        self.shown_changed |= is_shown_anew;
        if let Some(absent) = absent {
            next = next.with_absent(absent);
        }
        if counts || !next.changed.is_empty() {
            self.change_set(|_| next);
        } else {
            self.set = Arc::new(next.gathered_with(&self.set));
        }
    }

    /// Replaces the set, as part of the generation that is being gathered.
    fn change_set(&mut self, change: impl FnOnce(&ResourceSet) -> ResourceSet) {
        let before = if self.is_gathering { Arc::clone(&self.set) } else { Arc::new(self.set.with([])) };
        self.set = Arc::new(change(&before).gathered_with(&before));
        (self.is_gathering, self.objects_changed) = (true, true);
    }

    /// Everything that was found, sorted by place.
    fn diagnostics(&self) -> Arc<[Diagnostic]> {
        if self.unavailable.is_empty() && self.of_objects.is_empty() && self.rejected.is_empty() {
            return Arc::clone(&self.of_source);
        }
        let kept = self.rejected.iter().filter(|object| self.set.contains(object) && !self.guards.contains(*object));
        let mut all: Vec<Diagnostic> = self.of_source.to_vec();
        all.extend(self.of_objects.values().flat_map(|found| found.iter()).cloned());
        all.extend(self.unavailable.values().flat_map(|found| found.iter()).cloned());
        all.extend(kept.map(|object| findings::last_good(self.set.source(object), object)));
        findings::sort(&mut all);
        all.into()
    }
}

#[cfg(test)]
mod tests;
