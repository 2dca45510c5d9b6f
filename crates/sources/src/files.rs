//! Files to a set: only files that changed are read, only documents that changed are parsed, and what became bad keeps its last
//! good version.

use crate::folder::{self, Stamp};
use crate::mesh::{MeshFile, MeshText};
use crate::named::NamedFiles;
use crate::stream::{self, StreamTexts};
use foldhash::quality::FixedState;
use hashbrown::{HashMap, HashSet};
use resources::Map;
use resources::code;
use resources::diagnostic::{Diagnostic, Position, Severity, SourceLocation};
use resources::key::{Key, Kind, ObjectRef};
use resources::read::{self, Foreign, Reading};
use resources::set::{Absence, AnyObject, Change, ResourceSet};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Largest file that is read.
const MAX_FILE: u64 = 256 << 20;

/// A set, and how it came to be.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The objects.
    pub set: Arc<ResourceSet>,
    /// What was found out while reading, of all files, sorted by place.
    pub diagnostics: Arc<[Diagnostic]>,
    /// The mesh's settings, where there is a file of them.
    pub mesh: Option<MeshText>,
    /// Texts of input that cannot be read a second time.
    pub streams: StreamTexts,
    /// How long it took.
    pub timing: Timing,
}

/// How long a reading took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// Reading files and parsing documents.
    pub parse: Duration,
    /// Putting the set together.
    pub collect: Duration,
}

/// A path that cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct LoadError {
    /// The path.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Files and folders, and what was read from them so far.
#[derive(Debug)]
pub struct FileSource {
    roots: Vec<PathBuf>,
    /// What was given beside the roots and can be read only once.
    streams: StreamTexts,
    files: BTreeMap<Arc<Path>, FileState>,
    /// Objects that another file has too and that do not count, with the files they stand in.
    shadowed: BTreeMap<ObjectRef, BTreeSet<Arc<Path>>>,
    /// Files that objects name.
    named: NamedFiles,
    mesh: MeshFile,
    set: Arc<ResourceSet>,
    told: Arc<[Diagnostic]>,
}

/// What becomes of objects in one round; the last word on each counts.
#[derive(Debug, Default)]
struct Changes(HashMap<ObjectRef, Change>);

/// What a file held when it was read.
#[derive(Debug)]
struct FileState {
    stamp: Stamp,
    /// Whether a later change would have another stamp; clocks of file systems are coarse.
    settled: bool,
    documents: Vec<DocumentState>,
    /// Objects whose last good version is kept.
    kept: Vec<ObjectRef>,
    /// What is wrong with the file as a whole.
    unreadable: Option<Diagnostic>,
}

#[derive(Debug)]
struct DocumentState {
    hash: u64,
    first_line: u32,
    reading: Arc<Reading>,
}

impl FileSource {
    /// Files, folders and streams (`-` is standard input) to read. Each has to be there; streams are read here, to their end.
    pub fn new(mut roots: Vec<PathBuf>) -> Result<Self, LoadError> {
        let streams = stream::take(&mut roots, MAX_FILE)?;
        let (files, shadowed, named, mesh) = Default::default();
        Ok(Self { roots, streams, files, shadowed, named, mesh, set: Arc::default(), told: Arc::default() })
    }

    /// Reads the mesh's settings from this file, if it is one, and not from those of the folders.
    #[must_use]
    pub fn with_mesh(mut self, path: Option<PathBuf>) -> Self {
        self.mesh = MeshFile::named(path);
        self
    }

    /// The file that was named for the mesh's settings.
    pub fn mesh_file(&self) -> Option<&Path> {
        self.mesh.path()
    }

    /// The files and folders that were given.
    pub fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// The streams that were given, by the names that positions have.
    pub fn streams(&self) -> impl Iterator<Item = &Arc<Path>> {
        self.streams.keys()
    }

    /// Looks for what changed and reads it. `None`: nothing did.
    pub fn refresh(&mut self) -> Option<Loaded> {
        let begun = Instant::now();
        let mut listed = folder::list(&self.roots);
        let other_mesh = self.mesh.look(&self.roots, &mut listed);
        let changed: Vec<(Arc<Path>, Stamp)> = listed
            .iter()
            .filter(|(path, stamp)| {
                self.files.get(path.as_path()).is_none_or(|file| file.stamp != *stamp || !file.settled)
            })
            .map(|(path, stamp)| (Arc::from(path.as_path()), *stamp))
            .collect();
        let present: HashSet<&Path> = listed.iter().map(|(path, _)| path.as_path()).collect();
        let kept = |path: &Arc<Path>| present.contains(&**path) || self.streams.contains_key(path);
        let gone: Vec<Arc<Path>> = self.files.keys().filter(|path| !kept(path)).cloned().collect();
        let first = self.set.generation == 0;
        if changed.is_empty() && gone.is_empty() && !first && !other_mesh {
            return self.refresh_named(begun);
        }
        let read = self.read_files(&changed);
        let parse = begun.elapsed();
        let begun = Instant::now();
        let mut changes = Changes::default();
        for path in gone {
            self.remove_file(&path, &mut changes);
        }
        for ((path, _), file) in changed.into_iter().zip(read) {
            self.put_file(path, file, &mut changes);
        }
        if first {
            for (path, text) in Arc::clone(&self.streams).iter() {
                self.put_file(Arc::clone(path), read_text(path, text, Stamp::of_stream(text), None), &mut changes);
            }
        }
        let untouched = changes.0.is_empty() && !first;
        let set = self.set.with(changes.0.into_values());
        let absent = self.absent(&set);
        let mut set = set.with_absent(absent);
        let untouched = untouched && set.changed.is_empty();
        let diagnostics = self.diagnostics(&set);
        if untouched && diagnostics == self.told && !other_mesh {
            return self.refresh_named(begun);
        }
        self.name_files(&set);
        if self.named.look() || set.files.size() != self.named.read() {
            set = set.with_files(self.named.contents());
        }
        self.set = Arc::new(set);
        self.told = Arc::clone(&diagnostics);
        let timing = Timing { parse, collect: begun.elapsed() };
        Some(self.loaded(timing))
    }

    /// The folders of files that objects name, to be watched as well.
    pub fn named_folders(&self) -> BTreeSet<PathBuf> {
        self.named.folders()
    }

    /// Takes note of the files that objects name; relative paths begin where the configuration is.
    fn name_files(&mut self, set: &ResourceSet) {
        let names_files = |object: &ObjectRef| matches!(object.kind, Kind::Gateway | Kind::DestinationRule);
        if !set.changed.iter().any(names_files) {
            return;
        }
        let root = self.roots.first().map_or(Path::new("."), PathBuf::as_path);
        let base = if root.is_dir() { Some(root) } else { root.parent() };
        self.named.name(set, base.unwrap_or(Path::new(".")));
    }

    /// Looks at the files that objects name, where nothing else changed.
    fn refresh_named(&mut self, begun: Instant) -> Option<Loaded> {
        if !self.named.look() {
            return None;
        }
        let parse = begun.elapsed();
        self.set = Arc::new(self.set.with([]).with_files(self.named.contents()));
        let timing = Timing { parse, collect: begun.elapsed() - parse };
        Some(self.loaded(timing))
    }

    fn loaded(&self, timing: Timing) -> Loaded {
        let (set, diagnostics, streams) = (Arc::clone(&self.set), Arc::clone(&self.told), Arc::clone(&self.streams));
        Loaded { set, diagnostics, mesh: self.mesh.text(), streams, timing }
    }

    /// Reads files on all cores.
    fn read_files(&self, paths: &[(Arc<Path>, Stamp)]) -> Vec<FileState> {
        let next = AtomicUsize::new(0);
        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(paths.len());
        let work = || {
            let mut done = Vec::new();
            while let Some((path, stamp)) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                done.push((Arc::clone(path), read_file(path, *stamp, self.files.get(path))));
            }
            done
        };
        let mut files: HashMap<Arc<Path>, FileState> = if cores < 2 {
            work().into_iter().collect()
        } else {
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
                threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect()
            })
        };
        let take = |(path, stamp): &(Arc<Path>, Stamp)| {
            // A thread that came to grief leaves its files unread, which is told, and the others are.
            files.remove(path).unwrap_or_else(|| unreadable(path, *stamp, "reading it failed".to_owned()))
        };
        paths.iter().map(take).collect()
    }

    fn remove_file(&mut self, path: &Arc<Path>, changes: &mut Changes) {
        let Some(before) = self.files.remove(path) else { return };
        for object in before.held() {
            self.give_up(&object, path, changes);
        }
    }

    /// A file has an object no more: it goes, or comes from the next file that has it.
    fn give_up(&mut self, object: &ObjectRef, path: &Arc<Path>, changes: &mut Changes) {
        if let Some(others) = self.shadowed.get_mut(object)
            && others.remove(path)
        {
            if others.is_empty() {
                self.shadowed.remove(object);
            }
            return;
        }
        let next = self.shadowed.get_mut(object).and_then(BTreeSet::pop_first);
        if self.shadowed.get(object).is_some_and(BTreeSet::is_empty) {
            self.shadowed.remove(object);
        }
        let taken_over = next.and_then(|path| self.files.get(&path)?.object(object).cloned());
        changes.0.insert(object.clone(), taken_over.map_or_else(|| Change::Delete(object.clone()), Change::Put));
    }

    fn put_file(&mut self, path: Arc<Path>, mut file: FileState, changes: &mut Changes) {
        let before = self.files.remove(&path);
        let held: Vec<ObjectRef> = before.as_ref().map_or_else(Vec::new, FileState::held);
        let now: HashSet<ObjectRef> = file.objects().map(AnyObject::object_ref).collect();
        let refused: HashSet<&ObjectRef> = file.refused().map(|(object, _)| object).collect();
        let unknown = file.unreadable.is_some() || file.documents.iter().any(|document| document.reading.unreadable);
        let mut kept = Vec::new();
        for object in held.into_iter().filter(|object| !now.contains(object)) {
            // It is broken now, or may be inside of what cannot be read: its last good version stays.
            if refused.contains(&object) || unknown {
                kept.push(object);
            } else {
                self.give_up(&object, &path, changes);
            }
        }
        drop(refused);
        file.kept = kept;
        // A document that was read before has claimed its objects then.
        let known: HashSet<*const Reading> =
            before.iter().flat_map(|file| &file.documents).map(|document| Arc::as_ptr(&document.reading)).collect();
        let new = file.documents.iter().filter(|document| !known.contains(&Arc::as_ptr(&document.reading)));
        for object in new.flat_map(|document| &document.reading.objects) {
            self.claim(object, &path, changes);
        }
        self.files.insert(path, file);
    }

    /// The first file by path has an object; others are told.
    fn claim(&mut self, object: &AnyObject, path: &Arc<Path>, changes: &mut Changes) {
        let name = object.object_ref();
        let owner = self.owner(&name, changes);
        match owner {
            Some(owner) if owner < *path => {
                self.shadowed.entry(name).or_default().insert(Arc::clone(path));
            }
            owner => {
                if let Some(owner) = owner.filter(|owner| owner != path) {
                    self.shadowed.entry(name.clone()).or_default().insert(owner);
                } else if let Some(others) = self.shadowed.get_mut(&name) {
                    others.remove(path);
                }
                changes.0.insert(name, Change::Put(object.clone()));
            }
        }
    }

    /// The file that an object counts from, after the changes so far.
    fn owner(&self, object: &ObjectRef, changes: &Changes) -> Option<Arc<Path>> {
        let source = match changes.0.get(object) {
            Some(Change::Put(put)) => put.source(),
            Some(Change::Delete(_)) => None,
            None => self.set.source(object),
        };
        source.map(|source| Arc::clone(&source.file))
    }

    /// Gateways that are named as if they were there: those with errors, and those of the Gateway API.
    fn absent(&self, set: &ResourceSet) -> Map<ObjectRef, Absence> {
        let mut absent = Map::default();
        for file in self.files.values() {
            for Foreign { version, kind, key } in file.documents.iter().flat_map(|document| &document.reading.foreign) {
                if let (Some((group, _)), "Gateway") = (version.rsplit_once('/'), kind.as_str()) {
                    let object = ObjectRef { kind: Kind::Gateway, key: key.clone() };
                    absent.insert_mut(object, Absence::OtherGroup(group.into()));
                }
            }
            for (object, code) in file.refused().filter(|(object, _)| object.kind == Kind::Gateway) {
                absent.insert_mut(object.clone(), Absence::Invalid(code));
            }
        }
        let there = absent.keys().filter(|object| set.gateways.contains_key(&object.key)).cloned().collect::<Vec<_>>();
        for object in there {
            absent.remove_mut(&object);
        }
        absent
    }

    /// What was found in all files; `set` is what came of them.
    fn diagnostics(&self, set: &ResourceSet) -> Arc<[Diagnostic]> {
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
            all.extend(file.kept.iter().map(|object| last_good(set, object)));
        }
        all.extend(
            self.shadowed.iter().flat_map(|(object, files)| files.iter().map(|file| self.duplicate(set, object, file))),
        );
        all.extend(foreign.into_iter().map(|((version, kind), ignored)| foreign_kind(version, kind, &ignored)));
        let place = |one: &Diagnostic| one.position.clone().map(|place| (place.file, place.line, place.column));
        all.sort_by(|one, other| place(one).cmp(&place(other)).then_with(|| one.code.cmp(other.code)));
        all.into()
    }

    fn duplicate(&self, set: &ResourceSet, object: &ObjectRef, file: &Arc<Path>) -> Diagnostic {
        let line = self.files.get(file).and_then(|file| file.object(object)?.source().map(|source| source.line));
        let position = Position { file: Arc::clone(file), line: line.unwrap_or(1), column: 1 };
        duplicate(object, position, set.source(object))
    }
}

fn last_good(set: &ResourceSet, object: &ObjectRef) -> Diagnostic {
    let position =
        set.source(object).map(|source| Position { file: Arc::clone(&source.file), line: source.line, column: 1 });
    Diagnostic {
        code: code::LAST_GOOD,
        severity: Severity::Warning,
        object: Some(object.clone()),
        field: String::new(),
        position,
        message: "its document has errors, and the last good version keeps serving".to_owned(),
        help: Some("fix the document; a restart would forget that version".to_owned()),
    }
}

/// An object that is not used, because `used` has its kind, namespace and name.
fn duplicate(object: &ObjectRef, position: Position, used: Option<&SourceLocation>) -> Diagnostic {
    let used = used.map_or_else(|| "an object".to_owned(), |used| format!("{}:{}", used.file.display(), used.line));
    Diagnostic {
        code: code::DEFINED_TWICE,
        severity: Severity::Error,
        object: Some(object.clone()),
        field: String::new(),
        position: Some(position),
        message: format!("duplicate of {used}, which is used"),
        help: Some("remove one of them, or give it another name".to_owned()),
    }
}

impl FileState {
    /// Objects with errors, and the code of the first error.
    fn refused(&self) -> impl Iterator<Item = &(ObjectRef, &'static str)> {
        self.documents.iter().flat_map(|document| &document.reading.refused)
    }

    fn objects(&self) -> impl Iterator<Item = &AnyObject> {
        self.documents.iter().flat_map(|document| &document.reading.objects)
    }

    fn object(&self, name: &ObjectRef) -> Option<&AnyObject> {
        self.objects().find(|object| object.object_ref() == *name)
    }

    /// Everything that counts, or would count, from this file.
    fn held(&self) -> Vec<ObjectRef> {
        self.objects().map(AnyObject::object_ref).chain(self.kept.iter().cloned()).collect()
    }
}

fn read_file(path: &Arc<Path>, stamp: Stamp, before: Option<&FileState>) -> FileState {
    let text = match folder::read(path, MAX_FILE) {
        Ok(text) => text,
        Err(error) => return unreadable(path, stamp, error.to_string()),
    };
    read_text(path, &text, stamp, before)
}

/// Reads the documents of a text; those that `before` has too are taken from there.
fn read_text(path: &Arc<Path>, text: &str, stamp: Stamp, before: Option<&FileState>) -> FileState {
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
        documents.push(DocumentState { hash, first_line: document.first_line, reading });
    }
    FileState { stamp, settled: stamp.is_settled(SystemTime::now()), documents, kept: Vec::new(), unreadable: None }
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
    let mut next = Reading { refused: reading.refused.clone(), foreign: reading.foreign.clone(), ..Reading::default() };
    next.diagnostics.clone_from(&reading.diagnostics);
    for (object, before) in reading.objects.iter().zip(repeats) {
        match (before, object.source()) {
            (Some(before), Some(source)) => {
                let position = Position { file: Arc::clone(&source.file), line: source.line, column: 1 };
                next.diagnostics.push(duplicate(&object.object_ref(), position, before.as_ref()));
            }
            _ => next.objects.push(object.clone()),
        }
    }
    Arc::new(next)
}

fn unreadable(path: &Arc<Path>, stamp: Stamp, message: String) -> FileState {
    let diagnostic = Diagnostic {
        code: code::UNREADABLE_FILE,
        severity: Severity::Error,
        object: None,
        field: String::new(),
        position: Some(Position { file: Arc::clone(path), line: 1, column: 1 }),
        message,
        help: Some("mend the file; what it held before keeps serving".to_owned()),
    };
    FileState { stamp, settled: true, documents: Vec::new(), kept: Vec::new(), unreadable: Some(diagnostic) }
}

/// How many objects of a kind that is not read are named.
const MAX_NAMED: usize = 3;

/// Objects of one kind that is not read.
struct Ignored<'a> {
    keys: Vec<&'a Key>,
    /// The file of the first.
    file: &'a Arc<Path>,
}

fn foreign_kind(version: &str, kind: &str, ignored: &Ignored<'_>) -> Diagnostic {
    let Ignored { keys, file } = ignored;
    let mut names: Vec<String> = keys.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    if keys.len() > MAX_NAMED {
        names.push(format!("and {} more", keys.len() - MAX_NAMED));
    }
    Diagnostic {
        code: code::FOREIGN_KIND,
        severity: Severity::Info,
        object: None,
        field: String::new(),
        position: Some(Position { file: Arc::clone(file), line: 1, column: 1 }),
        message: format!("{kind} of {version} is not supported and was ignored: {}", names.join(", ")),
        help: None,
    }
}
