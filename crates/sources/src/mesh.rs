//! The mesh's settings as a text: of the file that was named for them, or of `mesh.yaml` in a folder that is read. A file that cannot be
//! had, or that is empty, leaves the text before it.

use crate::findings;
use crate::folder::{self, Stamp};
use crate::listing::{Listed, Listing, Root};
use crate::settle::{Pace, Settling};
use crate::stream;
use resources::diagnostic::Diagnostic;
use std::fs;
use std::io;
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
#[derive(Debug, Default, Clone)]
pub(crate) struct MeshFile {
    /// The one that was named; it stands in place of those of folders.
    named: Option<PathBuf>,
    /// The one that was named, where it can be read only once.
    stream: Option<PathBuf>,
    /// Whether the text of that stream has not been reported yet.
    unseen: bool,
    /// The version that was read, and whether a later one would have another stamp.
    seen: Option<(PathBuf, Stamp, bool)>,
    text: Option<MeshText>,
    /// What is wrong with the file as such.
    finding: Option<Diagnostic>,
}

/// Where the settings are now.
enum Found {
    File(Listed),
    /// The file cannot be had, for this reason.
    Lost(PathBuf, String),
    /// It is not known whether there is a file.
    Unknown,
    /// There is none at this path.
    Gone(PathBuf),
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

    pub(crate) fn finding(&self) -> Option<&Diagnostic> {
        self.finding.as_ref()
    }

    /// Has the file read again with the next look.
    pub(crate) fn forget_stamp(&mut self) {
        self.seen = None;
    }

    /// Looks for another text, and takes the file out of those that hold objects. Whether there is one.
    pub(crate) fn poll(
        &mut self,
        pace: Pace,
        roots: &[Root],
        listing: &mut Listing,
        proven: bool,
        settling: &mut Settling,
    ) -> bool {
        if self.stream.is_some() {
            return std::mem::take(&mut self.unseen);
        }
        let found = self.find(roots, listing);
        self.finding = None;
        match found {
            Found::File(listed) => {
                let is_other = self.read(pace, &listed, settling);
                self.leave_out(&listed.path, listing);
                is_other
            }
            Found::Lost(path, error) => {
                self.finding = Some(findings::unreadable(&path, format!("the mesh settings cannot be read: {error}")));
                false
            }
            Found::Unknown => false,
            Found::Gone(path) => {
                let place = listing.place(&path);
                let goes = self.text.is_some() && proven && settling.may_go(pace, &path, place.as_deref());
                if goes {
                    (self.seen, self.text) = (None, None);
                }
                goes
            }
        }
    }

    fn find(&self, roots: &[Root], listing: &Listing) -> Found {
        if let Some(named) = &self.named {
            return match Listed::at(named) {
                Ok(listed) => Found::File(listed),
                // The file may be on its way from one version to the next; it was named, so that it has to be there.
                Err(error) => Found::Lost(named.clone(), error.to_string()),
            };
        }
        let mut last = Found::Unknown;
        for root in roots.iter().filter(|root| root.is_folder) {
            let path = root.path.join(NAME);
            if let Some(listed) = listing.file(&path) {
                return Found::File(listed.clone());
            }
            let is_ours = self.text.as_ref().is_some_and(|text| *text.file == *path);
            if is_ours && let Some(by) = listing.replaced(&path) {
                return Found::Lost(path, format!("there is {by} in its place"));
            }
            if is_ours {
                last = if listing.is_unknown(&path) { Found::Unknown } else { Found::Gone(path) };
            }
        }
        last
    }

    /// Reads the file if it is another version. Whether it gave another text.
    fn read(&mut self, pace: Pace, listed: &Listed, settling: &mut Settling) -> bool {
        let Listed { path, stamp, .. } = listed;
        let before = self.seen.as_ref().filter(|(seen, ..)| seen == path);
        let known = before.is_some_and(|(_, before, settled)| before == stamp && *settled);
        let before = before.map(|(_, stamp, _)| *stamp);
        if known && !settling.is_reported(listed) || !settling.may_read(pace, path, &listed.real(), *stamp, before) {
            return false;
        }
        settling.observe();
        let clock = settling.clock();
        let text = match folder::read(path, MAX) {
            Ok(text) => text,
            Err(error) => {
                self.finding = Some(findings::unreadable(path, error.to_string()));
                return false;
            }
        };
        settling.observe();
        let held = self.text.as_ref().filter(|held| *held.file == **path).map(|held| Arc::clone(&held.text));
        let held = held.as_deref().unwrap_or_default();
        if !settling.is_same(pace, listed, clock) {
            settling.again(pace);
            return false;
        }
        if is_blank(&text) && !is_blank(held) {
            // Not noted as seen, so that it is found at each look.
            self.finding = Some(findings::emptied(path));
            return false;
        }
        if text.len() < held.len() && !settling.is_whole(pace, path) {
            return false;
        }
        self.seen = Some((path.clone(), *stamp, stamp.is_settled(SystemTime::now())));
        let is_settings = self.named.is_some() || !holds_objects(&text);
        let next = is_settings.then(|| MeshText { file: Arc::from(path.as_path()), text: text.into() });
        let is_other = next != self.text;
        self.text = next;
        is_other
    }

    /// A file of settings holds no objects.
    fn leave_out(&self, path: &Path, listing: &mut Listing) {
        if self.text.as_ref().is_some_and(|text| *text.file == *path) {
            listing.files.retain(|listed| listed.path != path && !is_same(&listed.path, path));
        }
    }
}

/// The same file by another way.
fn is_same(one: &Path, other: &Path) -> bool {
    let same = || -> io::Result<bool> { Ok(fs::canonicalize(one)? == fs::canonicalize(other)?) };
    one.file_name() == other.file_name() && same().unwrap_or(false)
}

fn is_blank(text: &str) -> bool {
    text.lines().all(|line| matches!(line.trim(), "" | "---" | "...") || line.trim().starts_with('#'))
}

/// Objects say what they are; settings have no such fields.
fn holds_objects(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("apiVersion:") || line.starts_with("kind:"))
}
