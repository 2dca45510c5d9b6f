//! Which files there are: those a person or a tool put there to be read, not what editors and mounts leave beside them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How deep folders are looked into.
const MAX_DEPTH: usize = 32;
/// How many files are read at most.
const MAX_FILES: usize = 200_000;

/// Coarsest clock of a local file system.
const TICK: Duration = Duration::from_millis(20);

/// What tells one version of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) length: u64,
    modified: Option<SystemTime>,
    inode: u64,
}

impl Stamp {
    /// That of input which is read once and never compared.
    pub(crate) fn of_stream(text: &str) -> Self {
        Self { length: u64::try_from(text.len()).unwrap_or(u64::MAX), modified: None, inode: 0 }
    }

    /// Whether a change from now on would give another stamp. Where times are kept by the tick, two changes within one look alike.
    pub(crate) fn is_settled(&self, now: SystemTime) -> bool {
        self.modified.and_then(|modified| now.duration_since(modified).ok()).is_some_and(|age| age > TICK)
    }
}

/// Files below `roots` with their stamps, sorted by path. A root that is a file is taken whatever its name.
pub(crate) fn list(roots: &[PathBuf]) -> Vec<(PathBuf, Stamp)> {
    let mut found = Vec::new();
    for root in roots {
        match fs::metadata(root) {
            Ok(metadata) if metadata.is_dir() => walk(root, 0, &mut BTreeSet::new(), &mut found),
            Ok(metadata) if metadata.is_file() => found.push((root.clone(), stamp(&metadata))),
            // It is gone for the moment, or is neither.
            Ok(_) | Err(_) => {}
        }
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found.dedup_by(|one, other| one.0 == other.0);
    found
}

fn walk(folder: &Path, depth: usize, seen: &mut BTreeSet<PathBuf>, found: &mut Vec<(PathBuf, Stamp)>) {
    // Links may lead in circles.
    if depth > MAX_DEPTH || !fs::canonicalize(folder).is_ok_and(|real| seen.insert(real)) {
        return;
    }
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !is_hidden(name)) else { continue };
        // Links are followed: mounted ConfigMaps are links into a hidden folder that is swapped as a whole.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.is_dir() {
            walk(&path, depth + 1, seen, found);
        } else if metadata.is_file() && is_document(name) && found.len() < MAX_FILES {
            found.push((path, stamp(&metadata)));
        }
    }
}

/// Hidden files and folders, the `..data` of mounts, and what editors leave while they work.
fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || name.starts_with('#') || name.starts_with('~')
}

fn is_document(name: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|end| name.len() > end.len() && name.to_ascii_lowercase().ends_with(end))
}

pub(crate) fn stamp(metadata: &fs::Metadata) -> Stamp {
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Stamp { length: metadata.len(), modified: metadata.modified().ok(), inode }
}

/// The text of a file, or why it cannot be had.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<String> {
    let metadata = fs::metadata(path)?;
    // Opening a FIFO waits for a writer, and a device has no end.
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let length = metadata.len();
    if length > limit {
        return Err(io::Error::other(format!("it has {length} bytes, more than the {limit} that are read")));
    }
    text(fs::read(path)?)
}

/// Bytes as text.
pub(crate) fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes().iter().take(error.utf8_error().valid_up_to()).filter(|b| **b == b'\n').count() + 1;
        io::Error::other(format!("it is not UTF-8 (line {line})"))
    })
}
