//! Which file has which object: the first by path, unless another one is there and that one is not. Objects go only with proof: their
//! file is gone, or is whole and does not hold them. Not how files are found and read; `files` reports to it what it found.

use crate::document::{FileState, Presence};
use crate::findings::{self, Ignored};
use hashbrown::{HashMap, HashSet};
use resources::Map;
use resources::diagnostic::{Diagnostic, Position, SourceLocation};
use resources::key::{Kind, ObjectRef};
use resources::read::{Foreign, Reading, Rejected};
use resources::set::{Absence, AnyObject, Change, ResourceSet};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Every file with what it held, and who has objects that are in several.
#[derive(Debug, Default, Clone)]
pub(crate) struct Inventory {
    pub(crate) files: BTreeMap<Arc<Path>, FileState>,
    /// Objects that another file has too and that do not count, with the files they are in.
    shadowed: BTreeMap<ObjectRef, BTreeSet<Arc<Path>>>,
}

/// What becomes of objects in one round; the last word on each counts.
#[derive(Debug, Default)]
pub(crate) struct Changes(HashMap<ObjectRef, Change>);

impl Changes {
    pub(crate) fn insert(&mut self, object: ObjectRef, change: Change) {
        self.0.insert(object, change);
    }

    /// Adds later changes.
    pub(crate) fn extend(&mut self, later: &Self) {
        self.0.extend(later.iter().map(|(object, change)| (object.clone(), change.clone())));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ObjectRef, &Change)> {
        self.0.iter()
    }

    pub(crate) fn into_values(self) -> impl ExactSizeIterator<Item = Change> {
        self.0.into_values()
    }
}

/// The objects after the changes of a round so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) set: &'a ResourceSet,
    pub(crate) changes: &'a Changes,
}

impl<'a> View<'a> {
    /// Where an object was read from.
    pub(crate) fn source(self, object: &ObjectRef) -> Option<&'a SourceLocation> {
        match self.changes.0.get(object) {
            Some(Change::Put(put)) => put.source(),
            Some(Change::Delete(_)) => None,
            None => self.set.source(object),
        }
    }

    fn contains(self, object: &ObjectRef) -> bool {
        match self.changes.0.get(object) {
            Some(change) => matches!(change, Change::Put(_)),
            None => self.set.contains(object),
        }
    }
}

impl Inventory {
    /// Has every file read again with the next look. What it holds stays until then.
    pub(crate) fn forget_stamps(&mut self) {
        self.files.values_mut().for_each(|file| file.stamp = None);
    }

    /// The file is gone for good, and its objects with it.
    pub(crate) fn remove(&mut self, path: &Arc<Path>, changes: &mut Changes) {
        let Some(before) = self.files.remove(path) else { return };
        for (object, _) in before.held() {
            if !self.release(&object, path, changes) {
                changes.0.insert(object.clone(), Change::Delete(object));
            }
        }
    }

    /// The file is not what it was. What it held lingers, unless another file has it. Whether that is new.
    pub(crate) fn set_aside(
        &mut self,
        path: &Arc<Path>,
        presence: Presence,
        finding: Option<Diagnostic>,
        changes: &mut Changes,
    ) -> bool {
        let Some(before) = self.files.remove(path) else { return false };
        let is_new = before.presence != presence || before.unreadable != finding;
        let mut file = FileState::absent(presence, finding);
        file.lingering = before.held().into_iter().filter(|(object, _)| !self.release(object, path, changes)).collect();
        // What held nothing leaves nothing to be kept or reported.
        if !file.lingering.is_empty() {
            self.files.insert(Arc::clone(path), file);
        }
        is_new
    }

    /// Whether a new version of a file may be the beginning of a longer one: its last document is shorter than the one from which its
    /// object counts now, in whatever file that is. A file may have been renamed, emptied and begun anew since.
    pub(crate) fn is_cut(&self, file: &FileState, set: &ResourceSet) -> bool {
        let Some((object, length)) = file.last() else { return false };
        let owner = set.source(&object).and_then(|source| self.files.get(&source.file));
        owner.and_then(|owner| owner.length_of(&object)).is_some_and(|before| length < before)
    }

    /// Whether a new version of a file would withdraw objects.
    pub(crate) fn withdraws(&self, path: &Path, file: &FileState) -> bool {
        // Of a file that cannot be read, or that is empty, everything is kept.
        let known = !file.is_unknown() && !file.documents.is_empty();
        let Some(before) = self.files.get(path).filter(|_| known) else { return false };
        let now: HashSet<ObjectRef> = file
            .objects()
            .map(AnyObject::object_ref)
            .chain(file.rejected().map(|rejected| rejected.object.clone()))
            .collect();
        let mut missing = before.held().into_iter().filter(|(object, _)| !now.contains(object));
        missing.any(|(object, _)| !self.shadowed.contains_key(&object))
    }

    /// A new version of a file counts. What it does not hold any more lingers, or goes.
    pub(crate) fn put(
        &mut self,
        path: Arc<Path>,
        mut file: FileState,
        lingers: bool,
        set: &ResourceSet,
        changes: &mut Changes,
    ) {
        let before = self.files.remove(&path);
        let held: Vec<(ObjectRef, usize)> = before.as_ref().map_or_else(Vec::new, FileState::held);
        let is_emptied = !held.is_empty() && file.documents.is_empty() && file.unreadable.is_none();
        if is_emptied {
            file.presence = Presence::Void;
            file.unreadable = Some(findings::emptied(&path));
        }
        let now: HashSet<ObjectRef> = file.objects().map(AnyObject::object_ref).collect();
        let rejected: HashSet<ObjectRef> = file.rejected().map(|rejected| rejected.object.clone()).collect();
        let guards: HashMap<ObjectRef, AnyObject> =
            before.iter().flat_map(|file| &file.guards).map(|guard| (guard.object_ref(), guard.clone())).collect();
        let unknown = file.is_unknown();
        for (object, length) in held.into_iter().filter(|(object, _)| !now.contains(object)) {
            // It is broken now, or may be in what cannot be read: its last good version stays.
            if !is_emptied && rejected.contains(&object) && guards.contains_key(&object) {
            } else if !is_emptied && (rejected.contains(&object) || unknown) {
                file.kept.insert(object, length);
            } else if self.release(&object, &path, changes) {
            } else if is_emptied || lingers {
                file.lingering.insert(object, length);
            } else {
                changes.0.insert(object.clone(), Change::Delete(object));
            }
        }
        if is_emptied && file.lingering.is_empty() {
            (file.presence, file.unreadable) = (Presence::There, None);
        }
        // A document that was read before has claimed its objects then.
        let known: HashSet<*const Reading> =
            before.iter().flat_map(|file| &file.documents).map(|document| Arc::as_ptr(&document.reading)).collect();
        let new = file.documents.iter().filter(|document| !known.contains(&Arc::as_ptr(&document.reading)));
        for object in new.flat_map(|document| &document.reading.objects) {
            self.claim(object, &path, set, changes);
        }
        self.guard(&mut file, &path, &guards, set, changes);
        self.files.insert(path, file);
    }

    /// Lets something that stops traffic count in place of each object with errors that has no version without.
    /// `before`: those of the version before, which stay where this one does not even tell what is to be stopped.
    fn guard(
        &mut self,
        file: &mut FileState,
        path: &Arc<Path>,
        before: &HashMap<ObjectRef, AnyObject>,
        set: &ResourceSet,
        changes: &mut Changes,
    ) {
        let guards: Vec<AnyObject> = file
            .rejected()
            .filter(|rejected| !file.kept.contains_key(&rejected.object))
            .filter(|rejected| file.object(&rejected.object).is_none())
            .filter_map(|rejected| rejected.guard.as_ref().or_else(|| before.get(&rejected.object)).cloned())
            .collect();
        for guard in &guards {
            let name = guard.object_ref();
            match owner(&name, set, changes).filter(|owner| owner != path) {
                // Whatever the order of the files: another one has the object, perhaps without errors.
                Some(_) => {
                    self.shadowed.entry(name).or_default().insert(Arc::clone(path));
                }
                None => self.claim(guard, path, set, changes),
            }
        }
        file.guards = guards;
    }

    /// A file has an object no more: it comes from the next file that has it. Whether there is one, or another one counted already.
    fn release(&mut self, object: &ObjectRef, path: &Arc<Path>, changes: &mut Changes) -> bool {
        let Some(others) = self.shadowed.get_mut(object) else { return false };
        let was_shadowed = others.remove(path);
        let mut next = None;
        while !was_shadowed && next.is_none() {
            let Some(other) = others.pop_first() else { break };
            next = self.files.get(&other).and_then(|file| file.object(object).cloned());
        }
        if others.is_empty() {
            self.shadowed.remove(object);
        }
        let is_left = was_shadowed || next.is_some();
        if let Some(next) = next {
            changes.0.insert(object.clone(), Change::Put(next));
        }
        is_left
    }

    /// The first file by path has an object, unless that one has it no more; others are reported.
    fn claim(&mut self, object: &AnyObject, path: &Arc<Path>, set: &ResourceSet, changes: &mut Changes) {
        let name = object.object_ref();
        let mut owner = owner(&name, set, changes).filter(|owner| owner != path);
        if let Some(before) = owner.as_ref().and_then(|owner| self.files.get_mut(owner))
            && before.lingering.remove(&name).is_some()
        {
            if before.lingering.is_empty() && before.presence == Presence::Void {
                (before.presence, before.unreadable) = (Presence::There, None);
            }
            owner = None;
        }
        match owner {
            Some(owner) if owner < *path => {
                self.shadowed.entry(name).or_default().insert(Arc::clone(path));
            }
            owner => {
                if let Some(owner) = owner {
                    self.shadowed.entry(name.clone()).or_default().insert(owner);
                } else if let Some(others) = self.shadowed.get_mut(&name) {
                    others.remove(path);
                }
                changes.0.insert(name, Change::Put(object.clone()));
            }
        }
    }

    /// Gateways that are named as if they were there: those with errors, and those of the Gateway API.
    pub(crate) fn absent(&self, view: View<'_>) -> Map<ObjectRef, Absence> {
        let mut absent = Map::default();
        for file in self.files.values() {
            for Foreign { version, kind, key } in file.documents.iter().flat_map(|document| &document.reading.foreign) {
                if let (Some((group, _)), "Gateway") = (version.rsplit_once('/'), kind.as_str()) {
                    let object = ObjectRef { kind: Kind::Gateway, key: key.clone() };
                    absent.insert_mut(object, Absence::OtherGroup(group.into()));
                }
            }
            for Rejected { object, code, selector, .. } in
                file.rejected().filter(|one| one.object.kind == Kind::Gateway)
            {
                absent.insert_mut(object.clone(), Absence::Invalid { code, selector: selector.clone() });
            }
        }
        let there = absent.keys().filter(|object| view.contains(object)).cloned().collect::<Vec<_>>();
        for object in there {
            absent.remove_mut(&object);
        }
        absent
    }

    /// What was found in all files; `view` has the objects that came of them.
    pub(crate) fn diagnostics(&self, view: View<'_>) -> Vec<Diagnostic> {
        let mut all = Vec::new();
        let mut foreign: BTreeMap<(&str, &str), Ignored<'_>> = BTreeMap::new();
        for (path, file) in &self.files {
            all.extend(file.unreadable.clone());
            for document in &file.documents {
                all.extend(document.reading.diagnostics.iter().cloned());
                for Foreign { version, kind, key } in &document.reading.foreign {
                    foreign.entry((version, kind)).or_insert(Ignored { keys: Vec::new(), file: path }).keys.push(key);
                }
            }
            // What is wrong with a file as a whole is said once.
            if file.unreadable.is_none() {
                all.extend(file.kept.keys().map(|object| findings::last_good(view.source(object), object)));
            }
        }
        for (object, files) in &self.shadowed {
            all.extend(files.iter().map(|file| self.duplicate(view, object, file)));
        }
        all.extend(
            foreign.into_iter().map(|((version, kind), ignored)| findings::foreign_kind(version, kind, &ignored)),
        );
        all
    }

    fn duplicate(&self, view: View<'_>, object: &ObjectRef, file: &Arc<Path>) -> Diagnostic {
        let line = self.files.get(file).and_then(|file| file.object(object)?.source().map(|source| source.line));
        let position = Position { file: Arc::clone(file), line: line.unwrap_or(1), column: 1 };
        findings::duplicate(object, position, view.source(object))
    }
}

/// The file that an object counts from, after the changes so far.
fn owner(object: &ObjectRef, set: &ResourceSet, changes: &Changes) -> Option<Arc<Path>> {
    View { set, changes }.source(object).map(|source| Arc::clone(&source.file))
}
