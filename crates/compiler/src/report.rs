//! What the compiler found out about objects, by object. A persistent map, so that a report costs what changed in it.

use crate::code::Code;
use crate::fast::{FastSet, hash_of};
use resources::Map;
use resources::diagnostic::{Diagnostic, Position};
use resources::key::{Key, Kind, ObjectRef};
use resources::set::ResourceSet;
use std::sync::Arc;

/// All findings, in the order of their objects.
#[derive(Debug, Clone, Default)]
pub struct Report {
    objects: Map<ObjectRef, Arc<[Diagnostic]>>,
    changed: Vec<ObjectRef>,
}

/// What was found counts, not when.
impl PartialEq for Report {
    fn eq(&self, other: &Self) -> bool {
        self.objects == other.objects
    }
}

impl Eq for Report {}

impl Report {
    /// Every finding; `position` is not filled in, since objects may move within their files without being compiled anew.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.objects.values().flat_map(|found| found.iter())
    }

    /// Every finding with the file and first line of its object's document, as `set` has them.
    pub fn located<'a>(&'a self, set: &'a ResourceSet) -> impl Iterator<Item = Diagnostic> + 'a {
        self.objects.iter().flat_map(move |(object, found)| {
            let position =
                set.source(object).map(|source| Position { file: source.file.clone(), line: source.line, column: 0 });
            found.iter().map(move |diagnostic| Diagnostic { position: position.clone(), ..diagnostic.clone() })
        })
    }

    /// What was found about one object.
    pub fn of(&self, object: &ObjectRef) -> &[Diagnostic] {
        self.objects.get(object).map_or(&[], |found| found)
    }

    /// Objects of which something else is said than in the report before, of the same memo; some may be here more than once.
    pub fn changed(&self) -> &[ObjectRef] {
        &self.changed
    }

    /// Forgets what changed, before the next compilation.
    pub(crate) fn begin(&mut self) {
        self.changed.clear();
    }

    /// How many objects have findings.
    pub fn len(&self) -> usize {
        self.objects.size()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Replaces what is said about an object.
    pub(crate) fn set(&mut self, kind: Kind, key: &Key, notes: Notes) {
        let object = ObjectRef { kind, key: key.clone() };
        let found = notes.into_diagnostics(&object);
        if self.of(&object) == found {
            return;
        }
        self.changed.push(object.clone());
        if found.is_empty() {
            self.objects.remove_mut(&object);
        } else {
            self.objects.insert_mut(object, found.into());
        }
    }
}

/// Findings about one object while they are gathered.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Notes {
    found: Vec<Note>,
    /// Hashes of what was found.
    seen: FastSet<u64>,
}

#[derive(Debug, Clone, PartialEq)]
struct Note {
    code: Code,
    field: String,
    message: String,
    help: Option<String>,
}

impl Notes {
    pub(crate) fn add(&mut self, code: Code, field: impl Into<String>, message: impl Into<String>) {
        self.push(Note { code, field: field.into(), message: message.into(), help: None });
    }

    pub(crate) fn add_with_help(
        &mut self,
        code: Code,
        field: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Note { code, field: field.into(), message: message.into(), help: Some(help.into()) });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn messages(&self) -> Vec<&str> {
        self.found.iter().map(|note| note.message.as_str()).collect()
    }

    /// Takes over what was found elsewhere.
    pub(crate) fn extend(&mut self, other: &Self) {
        other.found.iter().for_each(|note| self.push(note.clone()));
    }

    /// One object may be compiled for several listeners; what is found each time is said once.
    fn push(&mut self, note: Note) {
        if self.seen.insert(hash_of(&(note.code.id, &note.field, &note.message))) {
            self.found.push(note);
        }
    }

    fn into_diagnostics(self, object: &ObjectRef) -> Vec<Diagnostic> {
        let diagnostic = |note: Note| Diagnostic {
            code: note.code.id,
            severity: note.code.severity,
            object: Some(object.clone()),
            field: note.field,
            position: None,
            message: note.message,
            help: note.help,
        };
        self.found.into_iter().map(diagnostic).collect()
    }
}
