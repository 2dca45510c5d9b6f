//! The mesh's settings as a text: of the file that was named for them, or of `mesh.yaml` in a folder that is read.

use crate::folder::{self, Stamp};
use crate::stream;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// The name of the file in a folder.
const NAME: &str = "mesh.yaml";
/// Largest file that is read.
const MAX: u64 = 16 << 20;

/// Settings as they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshText {
    /// Where.
    pub file: Arc<Path>,
    /// What.
    pub text: Arc<str>,
}

/// The file, and what it held when it was read.
#[derive(Debug, Default)]
pub(crate) struct MeshFile {
    /// The one that was named; it stands in place of those of folders.
    named: Option<PathBuf>,
    /// The one that was named, where it can be read only once.
    stream: Option<PathBuf>,
    /// Whether the text of that stream has not been reported yet.
    unseen: bool,
    seen: Option<(PathBuf, Stamp, bool)>,
    text: Option<MeshText>,
}

impl MeshFile {
    pub(crate) fn named(path: Option<PathBuf>) -> Self {
        match path {
            Some(path) if stream::is_stream(&path).unwrap_or(false) => Self::of_stream(path),
            path => Self { named: path, ..Self::default() },
        }
    }

    fn of_stream(path: PathBuf) -> Self {
        let read = stream::read(&path, MAX);
        let text =
            read.inspect_err(|error| tracing::error!(path = %path.display(), %error, "cannot read the mesh settings"));
        let text = text.ok().map(|text| MeshText { file: stream::name(&path), text: text.into() });
        Self { stream: Some(path), unseen: true, text, ..Self::default() }
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        self.named.as_deref()
    }

    pub(crate) fn text(&self) -> Option<MeshText> {
        self.text.clone()
    }

    /// Looks for another text, and takes the file out of those that hold objects. Whether there is one.
    pub(crate) fn look(&mut self, roots: &[PathBuf], listed: &mut Vec<(PathBuf, Stamp)>) -> bool {
        if self.stream.is_some() {
            return std::mem::take(&mut self.unseen);
        }
        let Some((path, stamp)) = self.find(roots, listed) else {
            self.seen = None;
            // One that was named may be on its way from one version to the next.
            return self.named.is_none() && self.text.take().is_some();
        };
        let known =
            self.seen.as_ref().is_some_and(|(seen, before, settled)| *seen == path && *before == stamp && *settled);
        if !known {
            let settled = stamp.is_settled(SystemTime::now());
            let read = folder::read(&path, MAX).ok().filter(|text| self.named.is_some() || !holds_objects(text));
            self.seen = Some((path.clone(), stamp, settled));
            let next = read.map(|text| MeshText { file: Arc::from(path.as_path()), text: text.into() });
            let gone = next.is_none() && self.named.is_some();
            if next != self.text && !gone {
                self.text = next;
                self.leave_out(&path, listed);
                return true;
            }
        }
        self.leave_out(&path, listed);
        false
    }

    fn find(&self, roots: &[PathBuf], listed: &[(PathBuf, Stamp)]) -> Option<(PathBuf, Stamp)> {
        if let Some(named) = &self.named {
            return fs::metadata(named).ok().map(|metadata| (named.clone(), folder::stamp(&metadata)));
        }
        let of_root = |root: &PathBuf| {
            let path = root.join(NAME);
            listed.iter().find(|(listed, _)| *listed == path).cloned()
        };
        roots.iter().filter(|root| root.is_dir()).find_map(of_root)
    }

    /// A file of settings holds no objects.
    fn leave_out(&self, path: &Path, listed: &mut Vec<(PathBuf, Stamp)>) {
        if self.text.as_ref().is_some_and(|text| *text.file == *path) {
            listed.retain(|(listed, _)| listed != path && !is_same(listed, path));
        }
    }
}

/// The same file by another way.
fn is_same(one: &Path, other: &Path) -> bool {
    one.file_name() == other.file_name() && fs::canonicalize(one).ok() == fs::canonicalize(other).ok()
}

/// Objects say what they are; settings have no such fields.
fn holds_objects(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("apiVersion:") || line.starts_with("kind:"))
}
