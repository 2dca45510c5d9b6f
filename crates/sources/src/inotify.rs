//! What Linux reports of folders and the files in them: what came and went, and which files are being written. Not what the files
//! hold. `settle` asks it about files, `watch` waits for its descriptor.
//!
//! Events are in the queue before the call that caused them returns. So a queue that is read before and after a listing, or before and
//! after a file is read, proves that nothing changed in between.

use crate::folder::{is_document, is_hidden};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Octets of events that are read at once.
const BUFFER: usize = 16 << 10;

/// What of a folder matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Interest {
    /// Everything in it.
    pub(crate) all: bool,
    /// These names, otherwise.
    pub(crate) names: BTreeSet<OsString>,
    /// Whether it matters what is written to those names, and not only whether they come and go.
    pub(crate) contents: bool,
}

/// How a file came to be as it is, since the last time that this was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It was written to, and is still open.
    Writing,
    /// Its writer closed it.
    Closed,
    /// It was renamed into place.
    Replaced,
    /// Nothing was reported.
    Unknown,
}

/// The folders that are watched, and what happened in them.
#[derive(Debug)]
pub(crate) struct Watches {
    queue: OwnedFd,
    folders: HashMap<i32, (Arc<Path>, Interest)>,
    files: HashMap<PathBuf, Activity>,
    /// Files and folders that came under a name that may be read, since what was forgotten last.
    arrivals: HashMap<PathBuf, Arrivals>,
    /// How many opened the file that is on its way from one name to another, by the cookie of the rename.
    moved: Option<(u32, u32)>,
    /// Counts changes; an activity has the number of its last one.
    clock: u64,
    /// The number of the last change of what there is, rather than of what it holds.
    structure: u64,
    /// The number of the last loss of events.
    lost: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Activity {
    /// How often it was opened and not closed.
    handles: u32,
    /// Written to since a writer closed it.
    written: bool,
    closed: bool,
    replaced: bool,
    /// The number of its last change.
    changed: u64,
}

/// How often something came under one name.
#[derive(Debug, Clone, Copy, Default)]
struct Arrivals {
    times: u32,
    /// The number of the last change among them.
    changed: u64,
}

impl Watches {
    /// Watches nothing yet.
    pub(crate) fn new() -> io::Result<Self> {
        let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let (folders, files, arrivals) = Default::default();
        Ok(Self { queue, folders, files, arrivals, moved: None, clock: 0, structure: 0, lost: 0 })
    }

    /// A descriptor that is readable when there are events.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.queue.try_clone()
    }

    /// Watches these folders and no others. Whether one was added, and the error of one that cannot be watched.
    pub(crate) fn set(&mut self, wanted: BTreeMap<Arc<Path>, Interest>) -> (bool, Option<io::Error>) {
        let (mut added, mut failed) = (false, None);
        let mut kept = BTreeSet::new();
        for (path, interest) in wanted {
            // The same folder gives the same number; another one that took its place gives a new one.
            match inotify::add_watch(&self.queue, &*path, interest.flags()) {
                Ok(watch) => {
                    let entry = (path, interest);
                    if self.folders.get(&watch) != Some(&entry) {
                        self.folders.insert(watch, entry);
                        added = true;
                    }
                    kept.insert(watch);
                }
                // One that has just gone is reported by the folder around it.
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(error) => failed = Some(error.into()),
            }
        }
        self.folders.retain(|watch, _| {
            let keep = kept.contains(watch);
            if !keep {
                // It may have ended by itself.
                let _ = inotify::remove_watch(&self.queue, *watch);
            }
            keep
        });
        (added, failed)
    }

    /// Reads all events. Whether one of them may matter to what is read.
    pub(crate) fn observe(&mut self) -> bool {
        let before = self.clock;
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut events = Vec::new();
        {
            let mut reader = Reader::new(&self.queue, &mut buffer);
            loop {
                match reader.next() {
                    Ok(event) => {
                        let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned());
                        events.push((event.wd(), event.events(), event.cookie(), name));
                    }
                    Err(Errno::INTR) => {}
                    // The queue is empty, or cannot be read now and is looked at again.
                    Err(_) => break,
                }
            }
        }
        for (watch, flags, cookie, name) in events {
            self.event(watch, flags, cookie, name.as_deref());
        }
        self.clock > before
    }

    /// The number of the last change.
    pub(crate) fn clock(&self) -> u64 {
        self.clock
    }

    /// Whether names came or went, or events were lost, after the change of that number.
    pub(crate) fn is_restructured_since(&self, clock: u64) -> bool {
        self.structure > clock || self.lost > clock
    }

    /// Whether a file changed, or events were lost, after the change of that number.
    pub(crate) fn is_changed_since(&self, real: &Path, clock: u64) -> bool {
        self.lost > clock || self.files.get(real).is_some_and(|activity| activity.changed > clock)
    }

    /// Whether, since what was forgotten last, a file or folder came that is not there now, or one name came more than once, or events
    /// were lost: then there may have been files that no look has seen.
    pub(crate) fn has_unseen_arrivals(&self, mut is_there: impl FnMut(&Path) -> bool) -> bool {
        self.arrivals.iter().any(|(path, arrivals)| arrivals.times > 1 || !is_there(path))
    }

    /// How a file came to be as it is.
    pub(crate) fn state(&self, real: &Path) -> State {
        match self.files.get(real) {
            Some(activity) if activity.written && activity.handles > 0 => State::Writing,
            Some(Activity { replaced: true, written: false, .. }) => State::Replaced,
            Some(Activity { closed: true, written: false, .. }) => State::Closed,
            Some(_) | None => State::Unknown,
        }
    }

    /// What was reported up to the change of that number has been taken account of.
    pub(crate) fn forget_until(&mut self, clock: u64) {
        self.files.retain(|_, activity| {
            if activity.changed <= clock {
                (activity.closed, activity.replaced) = (false, false);
            }
            activity.handles > 0 || activity.changed > clock
        });
        self.arrivals.retain(|_, arrivals| arrivals.changed > clock);
    }

    fn event(&mut self, watch: i32, flags: ReadFlags, cookie: u32, name: Option<&OsStr>) {
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.clock += 1;
            self.lost = self.clock;
            self.files.clear();
            // Stands for all names whose arrival is not known.
            self.arrivals.insert(PathBuf::new(), Arrivals { times: 2, changed: self.clock });
            return;
        }
        let Some((folder, interest)) = self.folders.get(&watch) else { return };
        let Some(name) = name else {
            // Of the folder itself: opening and listing it changes nothing.
            let gone = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED | ReadFlags::UNMOUNT;
            if flags.intersects(gone | ReadFlags::ATTRIB) {
                self.restructure();
            }
            if flags.contains(ReadFlags::IGNORED) {
                self.folders.remove(&watch);
            }
            return;
        };
        if !interest.all && !interest.names.contains(name) {
            return;
        }
        let path = folder.join(name);
        if flags.contains(ReadFlags::ISDIR) {
            if !flags.intersects(ReadFlags::OPEN | ReadFlags::CLOSE_NOWRITE) {
                self.restructure();
                if flags.intersects(ReadFlags::MOVED_TO | ReadFlags::CREATE) && !is_hidden(name) {
                    self.arrived(&path);
                }
                self.files.insert(path, Activity { changed: self.clock, ..Activity::default() });
            }
            return;
        }
        self.file(path, flags, cookie);
    }

    fn restructure(&mut self) {
        self.clock += 1;
        self.structure = self.clock;
    }

    fn arrived(&mut self, path: &Path) {
        let arrivals = self.arrivals.entry(path.to_owned()).or_default();
        *arrivals = Arrivals { times: arrivals.times + 1, changed: self.clock };
    }

    fn file(&mut self, path: PathBuf, flags: ReadFlags, cookie: u32) {
        if flags.intersects(ReadFlags::MOVED_FROM | ReadFlags::DELETE) {
            let handles = self.files.remove(&path).map_or(0, |activity| activity.handles);
            self.moved = flags.contains(ReadFlags::MOVED_FROM).then_some((cookie, handles));
            self.restructure();
            self.files.insert(path, Activity { changed: self.clock, ..Activity::default() });
            return;
        }
        if flags.intersects(ReadFlags::MOVED_TO | ReadFlags::CREATE) {
            self.restructure();
            if path.file_name().is_some_and(|name| !is_hidden(name) && is_document(name)) {
                self.arrived(&path);
            }
            let replaced = flags.contains(ReadFlags::MOVED_TO);
            let handles =
                self.moved.take().filter(|(of, _)| replaced && *of == cookie).map_or(0, |(_, handles)| handles);
            self.files.insert(path, Activity { handles, replaced, changed: self.clock, ..Activity::default() });
            return;
        }
        let activity = self.files.entry(path).or_default();
        if flags.contains(ReadFlags::OPEN) {
            activity.handles += 1;
        }
        if flags.contains(ReadFlags::MODIFY) {
            (activity.written, activity.closed, activity.replaced) = (true, false, false);
        }
        if flags.intersects(ReadFlags::CLOSE_WRITE | ReadFlags::CLOSE_NOWRITE) {
            activity.handles = activity.handles.saturating_sub(1);
        }
        if flags.contains(ReadFlags::CLOSE_WRITE) {
            (activity.closed, activity.written) = (true, false);
        }
        if flags.intersects(ReadFlags::MODIFY | ReadFlags::CLOSE_WRITE | ReadFlags::ATTRIB) {
            self.clock += 1;
            activity.changed = self.clock;
        }
    }
}

impl Interest {
    fn flags(&self) -> WatchFlags {
        let names = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::MOVED_TO;
        let own = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
        let contents = WatchFlags::MODIFY
            | WatchFlags::OPEN
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::CLOSE_NOWRITE
            | WatchFlags::ATTRIB
            // A file that is deleted while it is open is no configuration any more.
            | WatchFlags::EXCL_UNLINK;
        if self.all || self.contents { names | own | contents } else { names | own }
    }
}
