//! The configuration as it was last read, in a folder: one file for each object, so that a change costs what it touches. A process that
//! starts without an API server serves by it. Files are written by a thread of their own, in the order of the changes.

use resources::api::{ALL, ApiResource};
use resources::key::{Key, ObjectRef};
use serde_json::Value;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};

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
pub(super) struct State(Sender<Task>);

impl State {
    /// Opens the folder, and reads what it has: nothing unless it has a complete configuration.
    pub(super) fn open(folder: &Path) -> io::Result<(Self, Vec<Value>)> {
        // Secrets are in it.
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let is_complete = folder.join(COMPLETE).try_exists()?;
        let objects = if is_complete { read(&folder.join(OBJECTS))? } else { None };
        if objects.is_none() {
            match fs::remove_file(folder.join(COMPLETE)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            match fs::remove_dir_all(folder.join(OBJECTS)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let (sender, tasks) = channel();
        let folder = folder.to_owned();
        std::thread::Builder::new().name("state".to_owned()).spawn(move || {
            for task in tasks {
                if let Err(error) = run(&folder, task) {
                    tracing::warn!(%error, folder = %folder.display(), "the configuration cannot be kept for the next start");
                }
            }
        })?;
        Ok((Self(sender), objects.unwrap_or_default()))
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

    fn send(&self, task: Task) {
        // The thread lives as long as this.
        let _ = self.0.send(task);
    }
}

fn run(folder: &Path, task: Task) -> io::Result<()> {
    match task {
        Task::Put(object, text) => match path(folder, &object) {
            Some(path) => write(&path, &text),
            None => Ok(()),
        },
        Task::Delete(object) => match path(folder, &object).map(fs::remove_file) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
        Task::Complete => write(&folder.join(COMPLETE), b""),
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
    let Key { namespace, name } = &object.key;
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
    use resources::key::Kind;
    use serde_json::json;

    fn named(name: &str) -> ObjectRef {
        ObjectRef { kind: Kind::Secret, key: Key { namespace: "a".into(), name: name.into() } }
    }

    #[test]
    fn only_a_complete_configuration_is_read_again_and_nobody_else_may_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str| {
            let text = json!({ "name": name }).to_string().into_bytes();
            run(folder.path(), Task::Put(named(name), text.into())).unwrap();
        };
        put("one");
        put("two");
        assert!(State::open(folder.path()).unwrap().1.is_empty(), "it is not complete");
        put("one");
        put("two");
        run(folder.path(), Task::Complete).unwrap();
        run(folder.path(), Task::Delete(named("two"))).unwrap();
        run(folder.path(), Task::Delete(named("three"))).unwrap();
        assert_eq!(State::open(folder.path()).unwrap().1, [json!({"name": "one"})]);
        let file = path(folder.path(), &named("one")).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        put("four");
        fs::write(&file, "{").unwrap();
        assert!(
            State::open(folder.path()).unwrap().1.is_empty(),
            "without one object the others are not the configuration"
        );
        assert!(State::open(folder.path()).unwrap().1.is_empty(), "nor with the next start");
    }

    #[test]
    fn names_cannot_lead_elsewhere() {
        let folder = Path::new("/state");
        assert!(["..", ".", "", "a/b", "../a", ".a"].iter().all(|name| path(folder, &named(name)).is_none()));
        assert!(path(folder, &named("a.b-1")).is_some());
    }
}
