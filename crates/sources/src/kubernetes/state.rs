//! The configuration as it was last read, in a folder: one file for each object, so that a change costs what it touches. A process that
//! starts without an API server serves by it. Files are written by a thread of their own, in the order of the changes; what cannot be
//! written is tried again, and until it is there nothing of the folder counts.

use super::follow::Pace;
use resources::api::{ALL, ApiResource};
use resources::key::ObjectRef;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// It is there once the folder has a complete configuration.
const COMPLETE: &str = "complete";
const OBJECTS: &str = "objects";
/// A file until it is written.
const NEW: &str = ".new";
/// The folder of objects that belong to no namespace; no namespace has this name.
const CLUSTER: &str = "_cluster";

/// A change of the folder.
enum Task {
    /// As it is written: texts that wait take less than values.
    Put(ObjectRef, Box<[u8]>),
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
    pub(super) fn open(path: &Path, pace: Pace) -> io::Result<(Self, Vec<Value>)> {
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
    /// Whether what was put is a complete configuration.
    is_complete: bool,
    /// Whether the mark may be there.
    is_marked: bool,
    /// What could not be written: texts, or that an object is gone.
    pending: BTreeMap<ObjectRef, Option<Box<[u8]>>>,
    /// The first error since everything was written.
    error: Option<String>,
}

impl Folder {
    fn open(path: &Path) -> io::Result<(Self, Vec<Value>)> {
        // Secrets are in it.
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let is_complete = path.join(COMPLETE).try_exists()?;
        let objects = if is_complete { read(&path.join(OBJECTS))? } else { None };
        if objects.is_none() {
            remove(&path.join(COMPLETE))?;
            match fs::remove_dir_all(path.join(OBJECTS)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let is_marked = objects.is_some();
        let folder =
            Self { path: path.to_owned(), is_complete: is_marked, is_marked, pending: BTreeMap::new(), error: None };
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

    fn change(&mut self, object: ObjectRef, text: Option<Box<[u8]>>) {
        self.pending.remove(&object);
        // Names that no API server gives.
        let Some(path) = path(&self.path, &object) else { return };
        let done = match &text {
            Some(text) => write(&path, text),
            None => remove(&path),
        };
        if let Err(error) = done {
            self.note(&path, &error);
            self.pending.insert(object, text);
        }
        self.mark();
    }

    /// Puts the mark there, or takes it away: without one object, which may be a policy, the others are not the configuration.
    fn mark(&mut self) {
        let mark = self.path.join(COMPLETE);
        let done = match (self.is_marked, self.is_complete && self.pending.is_empty()) {
            (false, true) => write(&mark, b""),
            (true, false) => remove(&mark),
            _ => return,
        };
        match done {
            Ok(()) => self.is_marked = !self.is_marked,
            Err(error) => self.note(&mark, &error),
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

/// Puts a file in place as a whole.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    // Only one thread writes, and no object has such a name.
    let new = path.with_file_name(NEW);
    let mut file: File = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    drop(file);
    fs::rename(new, path)
}

/// The file of an object; `None` for names that no API server gives.
fn path(folder: &Path, object: &ObjectRef) -> Option<PathBuf> {
    let (namespace, name) = (&object.key.namespace, &object.key.name);
    let is_safe = |text: &str| {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.len() <= 253 && text.chars().all(is_allowed)
    };
    if !is_safe(name) || !namespace.is_empty() && !is_safe(namespace) {
        return None;
    }
    let resource = ApiResource::of(object.kind)?;
    let within = if namespace.is_empty() { CLUSTER } else { namespace };
    Some(folder.join(OBJECTS).join(resource.full_name()).join(within).join(&**name))
}

/// Everything in the folder; `None` if any of it cannot be read: what is missing might be a policy, without which nothing may be served.
fn read(objects: &Path) -> io::Result<Option<Vec<Value>>> {
    let mut found = Vec::new();
    for resource in ALL {
        for namespace in entries(&objects.join(resource.full_name()))? {
            for file in entries(&namespace)? {
                if file.ends_with(NEW) {
                    continue;
                }
                match serde_json::from_slice(&fs::read(&file)?) {
                    Ok(value) => found.push(value),
                    Err(error) => {
                        tracing::error!(
                            %error, file = %file.display(),
                            "an object that was kept cannot be read, so that nothing that was kept is used"
                        );
                        return Ok(None);
                    }
                }
            }
        }
    }
    Ok(Some(found))
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.map(|entry| entry.map(|entry| entry.path())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resources::key::Key;
    use resources::key::Kind;
    use serde_json::json;

    fn named(name: &str) -> ObjectRef {
        ObjectRef { kind: Kind::Secret, key: Key::new("a", name) }
    }

    fn text(name: &str) -> Box<[u8]> {
        json!({ "name": name }).to_string().into_bytes().into()
    }

    fn put(folder: &mut Folder, name: &str) {
        folder.run(Task::Put(named(name), text(name)));
    }

    fn kept(path: &Path) -> Vec<Value> {
        Folder::open(path).unwrap().1
    }

    #[test]
    fn only_a_complete_configuration_is_read_again_and_nobody_else_may_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = tempfile::tempdir().unwrap();
        let (mut folder, _) = Folder::open(place.path()).unwrap();
        put(&mut folder, "one");
        put(&mut folder, "two");
        assert!(kept(place.path()).is_empty(), "it is not complete");
        put(&mut folder, "one");
        put(&mut folder, "two");
        folder.run(Task::Complete);
        folder.run(Task::Delete(named("two")));
        folder.run(Task::Delete(named("three")));
        assert!(!folder.is_behind());
        assert_eq!(kept(place.path()), [json!({"name": "one"})]);
        let file = path(place.path(), &named("one")).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        put(&mut folder, "four");
        fs::write(&file, "{").unwrap();
        assert!(kept(place.path()).is_empty(), "without one object the others are not the configuration");
        assert!(kept(place.path()).is_empty(), "nor with the next start");
    }

    #[test]
    fn nothing_counts_while_something_cannot_be_written_or_removed() {
        let place = tempfile::tempdir().unwrap();
        let (mut folder, _) = Folder::open(place.path()).unwrap();
        put(&mut folder, "one");
        folder.run(Task::Complete);
        let is_marked = || place.path().join(COMPLETE).exists();
        assert!(is_marked());
        // A folder in the place of a file can neither be replaced by one nor removed as one.
        let obstacle = path(place.path(), &named("two")).unwrap();
        fs::create_dir(&obstacle).unwrap();
        put(&mut folder, "two");
        assert!(!is_marked() && folder.is_behind());
        let error = folder.error.clone().unwrap();
        assert!(error.contains("/a/two: "), "{error}");
        folder.run(Task::Delete(named("two")));
        put(&mut folder, "three");
        folder.retry();
        assert!(!is_marked() && folder.is_behind());
        assert_eq!(folder.error, Some(error), "one cause is one error");
        put(&mut folder, "two");
        fs::remove_dir(&obstacle).unwrap();
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
        let obstacle = path(place.path(), &named("one")).unwrap();
        fs::create_dir_all(&obstacle).unwrap();
        state.put(named("one"), &text("one"));
        state.complete();
        testkit::wait::until("the error", || trouble.borrow().is_some());
        fs::remove_dir(&obstacle).unwrap();
        testkit::wait::until("the end of the error", || trouble.borrow().is_none());
        assert_eq!(kept(place.path()), [json!({"name": "one"})]);
    }

    #[test]
    fn names_cannot_lead_elsewhere() {
        let folder = Path::new("/state");
        assert!(["..", ".", "", "a/b", "../a", ".a"].iter().all(|name| path(folder, &named(name)).is_none()));
        assert!(path(folder, &named("a.b-1")).is_some());
    }
}
