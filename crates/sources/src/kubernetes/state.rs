//! The configuration as it was last read, in a folder. A process that starts without an API server serves by it. It is written by a thread of
//! its own, in the order of the changes; what cannot be written is tried again, and until it is there nothing of the folder counts.

mod log;

use super::follow::Pace;
use log::Log;
pub(super) use log::Text;
use resources::key::ObjectRef;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// It is there once the folder has a complete configuration.
const COMPLETE: &str = "complete";
const OBJECTS: &str = "objects";

/// A change of the folder.
enum Task {
    /// As it is written: texts that wait take less than values.
    Put(ObjectRef, Text),
    Delete(ObjectRef),
    Complete,
}

/// The folder, for writing.
#[derive(Debug)]
pub(super) struct State {
    tasks: Sender<Task>,
    trouble: watch::Receiver<Option<String>>,
}

impl State {
    /// Opens the folder, and reads what it has: nothing unless it has a complete configuration. What cannot be written is tried again
    /// at this pace.
    pub(super) fn open(path: &Path, pace: Pace) -> io::Result<(Self, Vec<Text>)> {
        let (mut folder, objects) = Folder::open(path)?;
        let (tasks, received) = channel();
        let (sender, trouble) = watch::channel(None);
        std::thread::Builder::new().name("state".to_owned()).spawn(move || folder.keep(&received, pace, &sender))?;
        Ok((Self { tasks, trouble }, objects))
    }

    pub(super) fn put(&self, object: ObjectRef, value: &[u8]) {
        self.send(Task::Put(object, value.into()));
    }

    pub(super) fn delete(&self, object: ObjectRef) {
        self.send(Task::Delete(object));
    }

    /// What was put so far is a complete configuration.
    pub(super) fn complete(&self) {
        self.send(Task::Complete);
    }

    /// Why the folder does not have what was put; `None`: it does, or will without being tried again.
    pub(super) fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.clone()
    }

    fn send(&self, task: Task) {
        // The thread lives as long as this.
        let _ = self.tasks.send(task);
    }
}

/// The folder as its thread knows it. It is marked as complete only while it has everything that was put.
struct Folder {
    path: PathBuf,
    log: Log,
    /// Whether what was put is a complete configuration.
    is_complete: bool,
    /// Whether the mark may be there.
    is_marked: bool,
    /// What could not be written: texts, or that an object is gone.
    pending: BTreeMap<ObjectRef, Option<Text>>,
    /// The first error since everything was written.
    error: Option<String>,
}

impl Folder {
    fn open(path: &Path) -> io::Result<(Self, Vec<Text>)> {
        // Secrets are in it.
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let mut log = Log::new(path.join(OBJECTS));
        let objects = if path.join(COMPLETE).try_exists()? { log.read()? } else { None };
        if objects.is_none() {
            remove(&path.join(COMPLETE))?;
            log.clear()?;
        }
        let (path, is_marked) = (path.to_owned(), objects.is_some());
        let folder = Self { path, log, is_complete: is_marked, is_marked, pending: BTreeMap::new(), error: None };
        Ok((folder, objects.unwrap_or_default()))
    }

    /// Does what it receives, and again what failed, until the sender is gone.
    fn keep(&mut self, tasks: &Receiver<Task>, pace: Pace, trouble: &watch::Sender<Option<String>>) {
        let mut failures = 0;
        let mut due: Option<Instant> = None;
        loop {
            let wait = due.map(|due| due.saturating_duration_since(Instant::now()));
            let task = match wait {
                None => tasks.recv().map_err(RecvTimeoutError::from),
                Some(Duration::ZERO) => Err(RecvTimeoutError::Timeout),
                Some(wait) => tasks.recv_timeout(wait),
            };
            match task {
                Ok(task) => self.run(task),
                Err(RecvTimeoutError::Timeout) => {
                    self.retry();
                    (failures, due) = (failures + 1, None);
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.is_behind() {
                due = due.or_else(|| Some(Instant::now() + pace.after(failures)));
            } else {
                (failures, due, self.error) = (0, None, None);
            }
            trouble.send_if_modified(|before| {
                let is_new = *before != self.error;
                before.clone_from(&self.error);
                is_new
            });
        }
    }

    /// Whether the folder lacks something that is to be tried again.
    fn is_behind(&self) -> bool {
        !self.pending.is_empty() || self.is_complete != self.is_marked
    }

    fn run(&mut self, task: Task) {
        match task {
            Task::Put(object, text) => self.change(object, Some(text)),
            Task::Delete(object) => self.change(object, None),
            Task::Complete => {
                self.is_complete = true;
                self.mark();
            }
        }
    }

    fn retry(&mut self) {
        for (object, text) in std::mem::take(&mut self.pending) {
            self.change(object, text);
        }
        self.mark();
    }

    fn change(&mut self, object: ObjectRef, text: Option<Text>) {
        self.pending.remove(&object);
        if let Err(error) = self.log.append(&object, text.as_deref()) {
            let path = self.log.path().to_owned();
            self.note(&path, &error);
            self.pending.insert(object, text);
        }
        self.mark();
    }

    /// Puts the mark there, or takes it away: without one object, which may be a policy, the others are not the configuration.
    fn mark(&mut self) {
        let is_wanted = self.is_complete && self.pending.is_empty();
        if is_wanted == self.is_marked {
            return;
        }
        let (mark, log) = (self.path.join(COMPLETE), self.log.path().to_owned());
        let done = if is_wanted {
            // Written as a whole, the objects have a length by which it is known that none is missing.
            self.log.rewrite().map_err(|error| (log, error)).and_then(|()| touch(&mark).map_err(|error| (mark, error)))
        } else {
            remove(&mark).map_err(|error| (mark, error))
        };
        match done {
            Ok(()) => self.is_marked = is_wanted,
            Err((path, error)) => self.note(&path, &error),
        }
    }

    fn note(&mut self, path: &Path, error: &io::Error) {
        self.error.get_or_insert_with(|| format!("{}: {error}", path.display()));
    }
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes an empty file.
fn touch(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use resources::key::Key;
    use resources::key::Kind;
    use serde_json::{Value, json};

    fn named(name: &str) -> ObjectRef {
        ObjectRef { kind: Kind::Secret, key: Key::new("a", name) }
    }

    fn text(name: &str) -> Text {
        json!({ "name": name }).to_string().into_bytes().into()
    }

    fn put(folder: &mut Folder, name: &str) {
        folder.run(Task::Put(named(name), text(name)));
    }

    fn kept(path: &Path) -> Vec<Value> {
        let texts = Folder::open(path).unwrap().1;
        texts.iter().map(|text| serde_json::from_slice(text).unwrap()).collect()
    }

    #[test]
    fn only_a_complete_configuration_is_read_again() {
        let place = tempfile::tempdir().unwrap();
        let (mut folder, _) = Folder::open(place.path()).unwrap();
        put(&mut folder, "one");
        put(&mut folder, "two");
        assert!(kept(place.path()).is_empty(), "it is not complete");
        let (mut folder, _) = Folder::open(place.path()).unwrap();
        put(&mut folder, "one");
        put(&mut folder, "two");
        folder.run(Task::Complete);
        folder.run(Task::Delete(named("two")));
        folder.run(Task::Delete(named("three")));
        assert!(!folder.is_behind());
        assert_eq!(kept(place.path()), [json!({"name": "one"})]);
        let file = place.path().join(OBJECTS);
        put(&mut folder, "four");
        let damaged = [&*fs::read(&file).unwrap(), b"{\n"].concat();
        fs::write(&file, damaged).unwrap();
        assert!(kept(place.path()).is_empty(), "without one object the others are not the configuration");
        assert!(kept(place.path()).is_empty(), "nor with the next start");
    }

    #[test]
    fn objects_that_are_removed_by_others_are_an_error() {
        let place = tempfile::tempdir().unwrap();
        let (mut folder, _) = Folder::open(place.path()).unwrap();
        put(&mut folder, "one");
        folder.run(Task::Complete);
        fs::remove_file(place.path().join(OBJECTS)).unwrap();
        put(&mut folder, "two");
        assert!(folder.is_behind() && !place.path().join(COMPLETE).exists());
        assert!(folder.error.unwrap().contains("objects: No such file"));
    }

    #[test]
    fn nothing_counts_while_something_cannot_be_written_or_removed() {
        let place = tempfile::tempdir().unwrap();
        let (mut folder, _) = Folder::open(place.path()).unwrap();
        put(&mut folder, "one");
        folder.run(Task::Complete);
        let is_marked = || place.path().join(COMPLETE).exists();
        assert!(is_marked());
        let (objects, aside) = (place.path().join(OBJECTS), place.path().join("aside"));
        fs::rename(&objects, &aside).unwrap();
        fs::create_dir(&objects).unwrap();
        put(&mut folder, "two");
        assert!(!is_marked() && folder.is_behind());
        let error = folder.error.clone().unwrap();
        assert!(error.contains("/objects: "), "{error}");
        folder.run(Task::Delete(named("two")));
        put(&mut folder, "three");
        folder.retry();
        assert!(!is_marked() && folder.is_behind());
        assert_eq!(folder.error, Some(error), "one cause is one error");
        put(&mut folder, "two");
        fs::remove_dir(&objects).unwrap();
        fs::rename(&aside, &objects).unwrap();
        folder.retry();
        assert!(is_marked() && !folder.is_behind());
        assert_eq!(kept(place.path()).len(), 3);
    }

    #[test]
    fn what_failed_is_tried_again_and_reported_until_it_is_there() {
        let place = tempfile::tempdir().unwrap();
        let pace = Pace { first: Duration::from_millis(1), longest: Duration::from_millis(5), ..Pace::default() };
        let (state, _) = State::open(place.path(), pace).unwrap();
        let trouble = state.trouble();
        let obstacle = place.path().join(OBJECTS);
        fs::create_dir(&obstacle).unwrap();
        state.put(named("one"), &text("one"));
        state.complete();
        testkit::wait::until("the error", || trouble.borrow().is_some());
        fs::remove_dir(&obstacle).unwrap();
        let is_marked = || place.path().join(COMPLETE).exists();
        testkit::wait::until("the end of the error", || trouble.borrow().is_none() && is_marked());
        assert_eq!(kept(place.path()), [json!({"name": "one"})]);
    }
}
