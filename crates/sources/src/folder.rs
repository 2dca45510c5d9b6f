//! What tells files apart: names that are configuration and those that editors and mounts leave beside it, versions of one file, and its
//! text. Not which files there are, which `listing` says.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

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

    /// Whether it is another version of one file, rather than a file that took its place.
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        self.inode == other.inode
    }

    /// Whether a change from now on would give another stamp. Where times are kept by the tick, two changes within one look alike.
    pub(crate) fn is_settled(&self, now: SystemTime) -> bool {
        self.modified.and_then(|modified| now.duration_since(modified).ok()).is_some_and(|age| age > TICK)
    }
}

/// Hidden files and folders, the `..data` of mounts, and what editors leave while they work.
pub(crate) fn is_hidden(name: impl AsRef<OsStr>) -> bool {
    matches!(name.as_ref().as_encoded_bytes(), [b'.' | b'#' | b'~', ..])
}

/// Whether a name is that of a file of configuration.
pub(crate) fn is_document(name: impl AsRef<OsStr>) -> bool {
    let name = name.as_ref().as_encoded_bytes();
    let ends_with = |end: &str| {
        let at = name.len().saturating_sub(end.len());
        at > 0 && name.get(at..).is_some_and(|last| last.eq_ignore_ascii_case(end.as_bytes()))
    };
    [".yaml", ".yml", ".json"].into_iter().any(ends_with)
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
