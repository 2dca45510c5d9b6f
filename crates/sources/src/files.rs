//! Files to events: only files that changed are read, and what became bad, or cannot be read, keeps its last good version. What a file
//! holds, who has an object, and when a change counts, are in `document`, `inventory` and `settle`.

use crate::document::{self, FileState, MAX_FILE, Presence};
use crate::event::{Batch, Scope, SourceEvent, Timing, Upsert};
use crate::findings;
use crate::inventory::{Changes, Inventory, View};
use crate::listing::{self, Listed, Listing, Root};
use crate::load_error::LoadError;
use crate::mesh::MeshFile;
use crate::named::NamedFiles;
use crate::route;
use crate::settle::{Pace, SETTLE, Settling};
use crate::stream::{self, StreamTexts};
use hashbrown::HashMap;
use resources::Map;
use resources::diagnostic::Diagnostic;
use resources::file_contents::FileContents;
use resources::key::ObjectRef;
use resources::set::{Absence, Change, ResourceSet};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// How often the folders are listed again in one look, until two passes agree and nothing happened meanwhile.
const PASSES: usize = 8;

/// Files and folders, and what was read from them so far.
#[derive(Debug, Default)]
pub(crate) struct Files {
    roots: Vec<Root>,
    /// What was given beside the roots and can be read only once.
    streams: StreamTexts,
    known: Known,
    settling: Settling,
    /// Whether the next reading fails once it has changed what is known.
    #[cfg(test)]
    pub(crate) fails: bool,
    /// The name of a file that no reading survives.
    #[cfg(test)]
    pub(crate) fails_at: Option<&'static str>,
}

/// What was read and reported so far. A round that fails leaves it as it was before: its events are lost, so the next round has to find
/// the same changes again.
#[derive(Debug, Default, Clone)]
struct Known {
    /// Shared with the copy from before the round, until it changes.
    inventory: Arc<Inventory>,
    /// Files that objects name.
    named: NamedFiles,
    mesh: MeshFile,
    /// Whether something was read already.
    begun: bool,
    /// Findings about paths, not about their documents.
    failures: Vec<Diagnostic>,
    /// The findings that were reported last, without those of paths that cannot be read.
    reported: Arc<[Diagnostic]>,
    /// Paths that were reported as unavailable, with the reasons.
    unavailable: BTreeMap<Arc<Path>, Vec<Diagnostic>>,
}

impl Known {
    /// What files hold, to be changed: apart from the copy from before the round, if there is one.
    fn inventory_mut(&mut self) -> &mut Inventory {
        Arc::make_mut(&mut self.inventory)
    }
}

/// The folders at one moment.
struct Seen {
    listing: Listing,
    /// Whether what is missing is proven to be gone.
    proven: bool,
    /// The number of the last change that the listing has in it.
    clock: u64,
}

impl Files {
    /// Files, folders and streams (`-` is standard input) to read. Each has to be there; streams are read here, to their end.
    pub(crate) fn new(mut paths: Vec<PathBuf>) -> Result<Self, LoadError> {
        let streams = stream::read_all(&mut paths, MAX_FILE)?;
        let root = |path: PathBuf| match std::fs::metadata(&path) {
            Ok(metadata) => Ok(Root { is_folder: metadata.is_dir(), path }),
            Err(source) => Err(LoadError { path, source }),
        };
        let roots = paths.into_iter().map(root).collect::<Result<_, _>>()?;
        Ok(Self { roots, streams, ..Self::default() })
    }

    /// Reads the mesh settings from this file instead of those in the folders.
    pub(crate) fn set_mesh(&mut self, path: Option<PathBuf>) {
        self.known.mesh = MeshFile::named(path);
    }

    /// Lets objects name files in this folder alone.
    pub(crate) fn confine_named(&mut self, folder: Option<PathBuf>) {
        self.known.named.confine(folder);
    }

    /// The streams that were given, by the names that positions have.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &Arc<Path>> {
        self.streams.keys()
    }

    /// Whether there is anything to read.
    pub(crate) fn has_any(&self) -> bool {
        !self.roots.is_empty() || self.known.mesh.path().is_some() || self.known.named.paths().next().is_some()
    }

    /// Begins to watch the folders, as far as the system can. Each [`poll`](Self::poll) from now on knows which files are being written.
    pub(crate) fn start_watching(&mut self) {
        self.settling.start();
    }

    /// A descriptor that is readable when there is something to [`observe`](Self::observe).
    pub(crate) fn events(&self) -> Option<io::Result<OwnedFd>> {
        self.settling.watches().map(|watches| watches.descriptor())
    }

    /// Takes in what the system reported. Whether files may have changed.
    pub(crate) fn observe(&mut self) -> bool {
        self.settling.observe()
    }

    /// Whether the system reports every change in every folder.
    pub(crate) fn is_watched(&self) -> bool {
        self.settling.is_complete()
    }

    /// When to look again though nothing is reported, since something waits to settle.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.settling.due()
    }

    /// Reads what changed, and takes every file as complete. `set` has the objects of all events so far. `None`: nothing changed.
    pub(crate) fn refresh(&mut self, set: &ResourceSet) -> Option<Batch> {
        self.round(Pace::Once, set)
    }

    /// Reads what changed and is complete at that time. `None`: nothing is.
    pub(crate) fn poll(&mut self, now: Instant, set: &ResourceSet) -> Option<Batch> {
        self.round(Pace::Watched(now), set)
    }

    /// Reads every file again that is complete at that time, whatever is known of it.
    pub(crate) fn reread(&mut self, now: Instant, set: &ResourceSet) -> Batch {
        self.forget_stamps();
        let mut batch = self.round(Pace::Watched(now), set).unwrap_or_default();
        batch.events.push(SourceEvent::Reloaded);
        batch
    }

    fn forget_stamps(&mut self) {
        self.known.inventory_mut().forget_stamps();
        self.known.named.forget_stamps();
        self.known.mesh.forget_stamp();
    }

    /// One look at everything. A panic leaves what is known as it was before.
    fn round(&mut self, pace: Pace, set: &ResourceSet) -> Option<Batch> {
        let before = self.known.clone();
        let look = AssertUnwindSafe(|| {
            let begun = Instant::now();
            self.settling.begin(pace);
            let seen = self.list();
            let clock = seen.clock;
            let batch = self.look(pace, seen, begun, set);
            #[cfg(test)]
            assert!(!std::mem::take(&mut self.fails), "a test's failure");
            // No earlier: the next round needs what the system reported if this one fails.
            self.settling.end(clock);
            batch
        });
        catch_unwind(look).unwrap_or_else(|panic| {
            self.known = before;
            resume_unwind(panic)
        })
    }

    /// What differs in the folders as they were seen; `begun`: when that look began.
    fn look(&mut self, pace: Pace, mut seen: Seen, begun: Instant, set: &ResourceSet) -> Option<Batch> {
        let first = !std::mem::replace(&mut self.known.begun, true);
        self.settling.compare(&seen.listing);
        let other_mesh = self.known.mesh.poll(pace, &self.roots, &mut seen.listing, seen.proven, &mut self.settling);
        let read = self.read(pace, &seen);
        let parse = begun.elapsed();
        let begun = Instant::now();
        let mut changes = Changes::default();
        let read = self.without_cut(pace, read, set);
        let mut touched = self.missing(pace, &seen, &mut changes);
        touched |= self.put(pace, read, set, &mut changes);
        if first {
            self.put_streams(set, &mut changes);
        }
        let absent = (touched || first).then(|| self.known.inventory.absent(View { set, changes: &changes }));
        self.name_files(&changes);
        let other_named = self.known.named.poll(pace, &mut self.settling);
        let failures = self.failures(pace, &seen.listing);
        touched |= first || other_mesh || other_named || failures != self.known.failures;
        self.known.failures = failures;
        if !touched {
            return None;
        }
        let mut events = self.findings(View { set, changes: &changes });
        if first {
            events.push(SourceEvent::Streams(Arc::clone(&self.streams)));
        }
        events.extend(changes.into_values().map(|change| match change {
            Change::Put(object) => SourceEvent::Upsert(Upsert { object, version: None, findings: Arc::default() }),
            Change::Delete(object) => SourceEvent::Delete(object),
        }));
        events.extend(absent.iter().flat_map(|absent| differing(&set.absent, absent)));
        if other_named || set.files.len() != self.known.named.read() {
            events.push(SourceEvent::Files(FileContents::of_all(self.known.named.contents())));
        }
        if first || other_mesh {
            events.push(SourceEvent::Mesh(self.known.mesh.text()));
        }
        if first {
            events.push(SourceEvent::Complete(Scope::All));
        }
        let timing = Timing { parse, collect: begun.elapsed() };
        (!events.is_empty()).then_some(Batch { events, timing })
    }

    /// Lists the folders, and watches them. What is missing counts as gone only if two passes in a row miss it and nothing came or went
    /// meanwhile: a folder that is listed while a file in it is renamed may show neither name.
    fn list(&mut self) -> Seen {
        let mut before: Option<Listing> = None;
        let mut clock = 0;
        for _ in 0..PASSES {
            self.settling.observe();
            let start = self.settling.clock();
            let listing = listing::list(&self.roots);
            let roots = self.roots.iter().map(|root| root.path.as_path());
            let others = self.known.named.paths().chain(self.known.mesh.path().map(Path::to_owned));
            let added = self.settling.watch(route::interests(&listing, roots, others));
            self.settling.observe();
            clock = self.settling.clock();
            let calm = !added && !listing.torn && !self.settling.is_restructured_since(start);
            let agrees = || before.as_ref().is_some_and(|before| before.agrees(&listing));
            if calm && (!self.misses(&listing) || agrees()) {
                return Seen { listing, proven: true, clock };
            }
            before = Some(listing);
        }
        Seen { listing: before.unwrap_or_default(), proven: false, clock }
    }

    /// Whether a file that was there is not, as far as that is known.
    fn misses(&self, listing: &Listing) -> bool {
        self.gone(listing).next().is_some()
    }

    fn gone<'a>(&'a self, listing: &'a Listing) -> impl Iterator<Item = &'a Arc<Path>> {
        let is_there = |path: &Path| listing.file(path).is_some() || self.streams.contains_key(path);
        self.known.inventory.files.keys().filter(move |path| !is_there(path) && !listing.is_unknown(path))
    }

    /// Reads the files that changed and are complete.
    fn read(&mut self, pace: Pace, seen: &Seen) -> Vec<(Arc<Path>, FileState)> {
        let mut due = Vec::new();
        for listed in &seen.listing.files {
            let known = self.known.inventory.files.get(listed.path.as_path());
            let before = known.and_then(|file| file.stamp);
            let is_settled = known.is_some_and(|file| file.settled);
            if before == Some(listed.stamp) && is_settled && !self.settling.is_reported(listed) {
                continue;
            }
            if self.settling.may_read(pace, &listed.path, &listed.real(), listed.stamp, before) {
                due.push((Arc::from(listed.path.as_path()), listed));
            }
        }
        let read = self.read_files(&due);
        self.settling.observe();
        let mut whole = Vec::with_capacity(read.len());
        for ((path, listed), file) in due.into_iter().zip(read) {
            // What changed while it was read may be half of one version and half of the next.
            if self.settling.is_same(pace, listed, seen.clock) {
                whole.push((path, file));
            } else {
                self.settling.again(pace);
            }
        }
        whole
    }

    /// Reads files on all cores.
    fn read_files(&self, due: &[(Arc<Path>, &Listed)]) -> Vec<FileState> {
        let next = AtomicUsize::new(0);
        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(due.len());
        let work = || {
            let mut done = Vec::new();
            while let Some((path, listed)) = due.get(next.fetch_add(1, Ordering::Relaxed)) {
                done.push((Arc::clone(path), self.read_file(path, listed)));
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
        due.iter().map(|(path, listed)| files.remove(path).unwrap_or_else(|| failed(path, listed))).collect()
    }

    /// Reads a file. One that breaks its reader is reported, and the others are read.
    fn read_file(&self, path: &Arc<Path>, listed: &Listed) -> FileState {
        let read = || {
            #[cfg(test)]
            assert!(self.fails_at.is_none_or(|name| !path.ends_with(name)), "a test's failure");
            document::read_file(path, listed.stamp, self.known.inventory.files.get(path))
        };
        catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| failed(path, listed))
    }

    /// Files that were there and are not. Whether something is different from before.
    fn missing(&mut self, pace: Pace, seen: &Seen, changes: &mut Changes) -> bool {
        let mut touched = false;
        let gone: Vec<Arc<Path>> = self.gone(&seen.listing).cloned().collect();
        for path in gone {
            if let Some(by) = seen.listing.replaced(&path) {
                let finding = findings::replaced(&path, by);
                touched |= self.known.inventory_mut().set_aside(&path, Presence::Void, Some(finding), changes);
            } else if !seen.proven {
                self.settling.again(pace);
            } else if self.settling.may_go(pace, &path, seen.listing.place(&path).as_deref()) {
                self.known.inventory_mut().remove(&path, changes);
                touched = true;
            } else {
                touched |= self.known.inventory_mut().set_aside(&path, Presence::Gone, None, changes);
            }
        }
        touched
    }

    /// Leaves out what may be the beginning of a longer version.
    fn without_cut(
        &mut self,
        pace: Pace,
        mut read: Vec<(Arc<Path>, FileState)>,
        set: &ResourceSet,
    ) -> Vec<(Arc<Path>, FileState)> {
        read.retain(|(path, file)| !self.known.inventory.is_cut(file, set) || self.settling.is_whole(pace, path));
        read
    }

    /// New versions of files. Whether there are any that count.
    fn put(&mut self, pace: Pace, read: Vec<(Arc<Path>, FileState)>, set: &ResourceSet, changes: &mut Changes) -> bool {
        let mut touched = false;
        for (path, mut file) in read {
            let lingers = self.known.inventory.withdraws(&path, &file) && !self.settling.may_withdraw(pace, &path);
            if !file.settled && file.unreadable.is_some() {
                // The system may let it be read later without any report.
                self.settling.wait(pace, 2 * SETTLE);
            }
            // Read again until nothing lingers.
            file.settled &= !lingers;
            self.known.inventory_mut().put(path, file, lingers, set, changes);
            touched = true;
        }
        touched
    }

    fn put_streams(&mut self, set: &ResourceSet, changes: &mut Changes) {
        for (path, text) in Arc::clone(&self.streams).iter() {
            let stamp = crate::folder::Stamp::of_stream(text);
            let file = document::read_text(path, text, stamp, None);
            self.known.inventory_mut().put(Arc::clone(path), file, false, set, changes);
        }
    }

    /// Takes note of the files that objects name; relative paths begin where the configuration is.
    pub(crate) fn name_files(&mut self, changes: &Changes) {
        let root = self.roots.first();
        let base = root.and_then(|root| if root.is_folder { Some(&*root.path) } else { root.path.parent() });
        self.known.named.name(changes, base.unwrap_or(Path::new(".")));
    }

    /// Findings about paths, not about their documents.
    fn failures(&mut self, pace: Pace, listing: &Listing) -> Vec<Diagnostic> {
        let holds = |path: &Path| self.known.inventory.files.keys().any(|file| file.starts_with(path));
        let mut all: Vec<Diagnostic> =
            listing.failures.iter().filter_map(|failure| findings::unlisted(failure, holds(&failure.path))).collect();
        all.extend(self.known.mesh.finding().cloned());
        all.extend(self.known.named.findings().cloned());
        if !all.is_empty() {
            // What is in the way may go without any report.
            self.settling.wait(pace, 2 * SETTLE);
        }
        all.extend(self.settling.open(pace).into_iter().map(findings::open));
        all
    }

    /// What is found differently from what was reported last.
    fn findings(&mut self, view: View<'_>) -> Vec<SourceEvent> {
        let mut all = self.known.inventory.diagnostics(view);
        all.extend(self.known.failures.iter().cloned());
        findings::sort(&mut all);
        let mut unavailable: BTreeMap<Arc<Path>, Vec<Diagnostic>> = BTreeMap::new();
        for one in all.extract_if(.., |one| findings::is_unavailable(one)) {
            if let Some(position) = &one.position {
                unavailable.entry(Arc::clone(&position.file)).or_default().push(one);
            }
        }
        let scope = |path: &Arc<Path>| Scope::Path(Arc::clone(path));
        let restored = self.known.unavailable.keys().filter(|path| !unavailable.contains_key(*path));
        let mut events: Vec<SourceEvent> = restored.map(|path| SourceEvent::Available(scope(path))).collect();
        let other = unavailable.iter().filter(|(path, found)| self.known.unavailable.get(*path) != Some(*found));
        events.extend(other.map(|(path, found)| SourceEvent::Unavailable(scope(path), found.as_slice().into())));
        self.known.unavailable = unavailable;
        if *all != *self.known.reported {
            self.known.reported = all.into();
            events.push(SourceEvent::Findings(Arc::clone(&self.known.reported)));
        }
        events
    }
}

/// What makes the first of two maps the second.
fn differing(before: &Map<ObjectRef, Absence>, after: &Map<ObjectRef, Absence>) -> Vec<SourceEvent> {
    let gone = before.keys().filter(|object| !after.contains_key(*object)).map(|object| (object, None));
    let other = after.iter().filter(|(object, why)| before.get(*object) != Some(*why));
    let all = gone.chain(other.map(|(object, why)| (object, Some(why.clone()))));
    all.map(|(object, why)| SourceEvent::Absent(object.clone(), why)).collect()
}

/// A file whose reader broke.
fn failed(path: &Arc<Path>, listed: &Listed) -> FileState {
    document::unreadable(path, listed.stamp, &io::Error::other("reading it failed"))
}

#[cfg(test)]
mod tests;
