//! One file to its documents: only documents that changed are parsed. Not which of several files has an object, which `inventory` says;
//! `files` calls it for every file that changed.

use crate::findings;
use crate::folder::{self, Stamp};
use foldhash::quality::FixedState;
use hashbrown::HashMap;
use resources::diagnostic::{Diagnostic, Position, SourceLocation};
use resources::key::ObjectRef;
use resources::read::{self, Reading, Rejected};
use resources::set::AnyObject;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// Largest file that is read.
pub(crate) const MAX_FILE: u64 = 256 << 20;

/// What a file held when it was read.
#[derive(Debug, Clone)]
pub(crate) struct FileState {
    /// The version that was read; none of a file that is not there now.
    pub(crate) stamp: Option<Stamp>,
    /// Whether a later change would have another stamp; clocks of file systems are coarse.
    pub(crate) settled: bool,
    pub(crate) documents: Vec<DocumentState>,
    /// Objects whose documents are broken, and whose last good version is kept; with the lengths of their documents then.
    pub(crate) kept: BTreeMap<ObjectRef, usize>,
    /// What counts in place of objects that have errors, and had so from the beginning.
    pub(crate) guards: Vec<AnyObject>,
    /// Objects that the file has no more, and that count until that is proven or another file has them.
    pub(crate) lingering: BTreeMap<ObjectRef, usize>,
    pub(crate) presence: Presence,
    /// What is wrong with the file as a whole.
    pub(crate) unreadable: Option<Diagnostic>,
}

/// Whether a file is what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It is there, readable or not.
    There,
    /// It is there and holds nothing, or something else has its name. What it held lingers.
    Void,
    /// It is not there. What it held lingers for the moment.
    Gone,
}

/// What a document held when it was read.
#[derive(Debug, Clone)]
pub(crate) struct DocumentState {
    hash: u64,
    first_line: u32,
    length: usize,
    pub(crate) reading: Arc<Reading>,
}

impl FileState {
    /// A file that held objects and is not what it was.
    pub(crate) fn absent(presence: Presence, unreadable: Option<Diagnostic>) -> Self {
        let (documents, kept, guards, lingering) = Default::default();
        Self { stamp: None, settled: true, documents, kept, guards, lingering, presence, unreadable }
    }

    pub(crate) fn objects(&self) -> impl Iterator<Item = &AnyObject> {
        self.documents.iter().flat_map(|document| &document.reading.objects)
    }

    pub(crate) fn object(&self, name: &ObjectRef) -> Option<&AnyObject> {
        self.objects().chain(&self.guards).find(|object| object.object_ref() == *name)
    }

    /// Everything that counts, or would count, from this file, with the lengths of the documents.
    pub(crate) fn held(&self) -> Vec<(ObjectRef, usize)> {
        let of_document = |document: &DocumentState| {
            let length = document.length;
            document.reading.objects.iter().map(move |object| (object.object_ref(), length)).collect::<Vec<_>>()
        };
        let before = self.kept.iter().chain(&self.lingering).map(|(object, length)| (object.clone(), *length));
        // A guard may be shorter than what it is the beginning of: nothing is known of its length.
        let guards = self.guards.iter().map(|guard| (guard.object_ref(), 0));
        self.documents.iter().flat_map(of_document).chain(before).chain(guards).collect()
    }

    /// Whether it is not known which objects the file holds, since some of it cannot be read.
    pub(crate) fn is_unknown(&self) -> bool {
        self.unreadable.is_some() || self.documents.iter().any(|document| document.reading.unreadable)
    }

    /// Objects that are there with errors.
    pub(crate) fn rejected(&self) -> impl Iterator<Item = &Rejected> {
        self.documents.iter().flat_map(|document| &document.reading.rejected)
    }

    /// The first object of the last document, and the length of that document.
    pub(crate) fn last(&self) -> Option<(ObjectRef, usize)> {
        let last = self.documents.last()?;
        Some((last.reading.objects.first()?.object_ref(), last.length))
    }

    /// The length of the document from which an object counts.
    pub(crate) fn length_of(&self, object: &ObjectRef) -> Option<usize> {
        let has = |document: &&DocumentState| document.reading.objects.iter().any(|one| one.object_ref() == *object);
        let document = self.documents.iter().find(has).map(|document| document.length);
        document.or_else(|| self.kept.get(object).or_else(|| self.lingering.get(object)).copied())
    }
}

/// Reads a file; documents that `before` has too are taken from there.
pub(crate) fn read_file(path: &Arc<Path>, stamp: Stamp, before: Option<&FileState>) -> FileState {
    match folder::read(path, MAX_FILE) {
        Ok(text) => read_text(path, &text, stamp, before),
        Err(error) => unreadable(path, stamp, &error),
    }
}

/// A file that cannot be read. What the system refused it may grant later, without any change of the file.
pub(crate) fn unreadable(path: &Arc<Path>, stamp: Stamp, error: &io::Error) -> FileState {
    let settled = error.kind() == io::ErrorKind::Other;
    let finding = findings::unreadable(path, error.to_string());
    FileState { stamp: Some(stamp), settled, ..FileState::absent(Presence::There, Some(finding)) }
}

/// Reads the documents of a text; those that `before` has too are taken from there.
pub(crate) fn read_text(path: &Arc<Path>, text: &str, stamp: Stamp, before: Option<&FileState>) -> FileState {
    let hasher = FixedState::default();
    let known: HashMap<(u64, u32), &DocumentState> = before
        .iter()
        .flat_map(|file| &file.documents)
        .map(|document| ((document.hash, document.first_line), document))
        .collect();
    let mut seen = HashMap::new();
    let mut documents = Vec::new();
    for document in read::documents(text) {
        let hash = hasher.hash_one(document.text);
        let reading = match known.get(&(hash, document.first_line)) {
            Some(known) => Arc::clone(&known.reading),
            None => Arc::new(read::read(path, document)),
        };
        let reading = without_repeats(reading, &mut seen);
        let length = document.text.trim_end().len();
        documents.push(DocumentState { hash, first_line: document.first_line, length, reading });
    }
    let settled = stamp.is_settled(SystemTime::now());
    FileState { stamp: Some(stamp), settled, documents, ..FileState::absent(Presence::There, None) }
}

/// Leaves out, and reports, objects that the file has had already; `seen` has where.
fn without_repeats(reading: Arc<Reading>, seen: &mut HashMap<ObjectRef, Option<SourceLocation>>) -> Arc<Reading> {
    let mut repeats = Vec::with_capacity(reading.objects.len());
    for object in &reading.objects {
        let name = object.object_ref();
        let before = seen.get(&name).cloned();
        if before.is_none() {
            seen.insert(name, object.source().cloned());
        }
        repeats.push(before);
    }
    if repeats.iter().all(Option::is_none) {
        return reading;
    }
    let mut next =
        Reading { rejected: reading.rejected.clone(), foreign: reading.foreign.clone(), ..Reading::default() };
    next.diagnostics.clone_from(&reading.diagnostics);
    for (object, before) in reading.objects.iter().zip(repeats) {
        match (before, object.source()) {
            (Some(before), Some(source)) => {
                let position = Position { file: Arc::clone(&source.file), line: source.line, column: 1 };
                next.diagnostics.push(findings::duplicate(&object.object_ref(), position, before.as_ref()));
            }
            _ => next.objects.push(object.clone()),
        }
    }
    Arc::new(next)
}
