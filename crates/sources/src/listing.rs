//! Which files there are below the configured paths, and of which folders that is not known. A folder that cannot be listed is not an
//! empty one: what it held stays. Not what the files hold; `files` calls it at each look.

use crate::folder::{self, Stamp};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How deep folders are looked into.
const MAX_DEPTH: usize = 32;
/// How many files are read at most.
const MAX_FILES: usize = 200_000;

/// A path that was given, and what it was when the process started.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    pub(crate) path: PathBuf,
    pub(crate) is_folder: bool,
}

/// A file that is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) path: PathBuf,
    pub(crate) stamp: Stamp,
    /// The folder that the file is in once links are followed.
    folder: Arc<Path>,
    /// Its name there, where that is another one.
    name: Option<OsString>,
}

/// What could not be listed: nothing is known of the path and of all below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) path: PathBuf,
    pub(crate) cause: Cause,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A path that was given is missing, or is something else than it was.
    Root(String),
    /// A folder, or a file that is configuration by its name.
    Unavailable(String),
    /// Something else; it matters only where configuration was read from it before.
    Other(String),
    /// A bound was reached.
    Bound(String),
}

/// All that was found in one pass.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// Sorted by path.
    pub(crate) files: Vec<Listed>,
    /// Folders that were listed, with their real paths.
    pub(crate) folders: BTreeMap<PathBuf, Arc<Path>>,
    pub(crate) failures: Vec<Failure>,
    /// What has the name of configuration and is no file: sockets, pipes, devices.
    others: BTreeSet<PathBuf>,
    /// Whether something went away during the pass, so that it shows no single moment.
    pub(crate) torn: bool,
}

impl Listed {
    /// Where the file is once links are followed.
    pub(crate) fn real(&self) -> PathBuf {
        self.folder.join(self.name.as_deref().or(self.path.file_name()).unwrap_or_default())
    }

    pub(crate) fn real_folder(&self) -> &Arc<Path> {
        &self.folder
    }

    /// A file that is named and is in no listing.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        Self::new(path.to_owned(), folder::stamp(&metadata))
    }

    fn new(path: PathBuf, stamp: Stamp) -> io::Result<Self> {
        let real = fs::canonicalize(&path)?;
        let folder = Arc::from(real.parent().unwrap_or(Path::new("/")));
        Ok(Self { path, stamp, folder, name: real.file_name().map(OsString::from) })
    }
}

impl Listing {
    pub(crate) fn file(&self, path: &Path) -> Option<&Listed> {
        let at = self.files.binary_search_by(|listed| listed.path.as_path().cmp(path)).ok()?;
        self.files.get(at)
    }

    /// All files and folders, once links are followed.
    pub(crate) fn real_paths(&self) -> impl Iterator<Item = PathBuf> {
        self.files.iter().map(Listed::real).chain(self.folders.values().map(|real| real.to_path_buf()))
    }

    /// Whether it is not known if there is such a file.
    pub(crate) fn is_unknown(&self, path: &Path) -> bool {
        self.failures.iter().any(|failure| path.starts_with(&failure.path))
    }

    /// The real path of a file that is missing, or of the folder around it that is: what comes and goes there tells whether it was away all
    /// the time.
    pub(crate) fn place(&self, path: &Path) -> Option<PathBuf> {
        let mut around = path.ancestors().skip(1);
        let (real, rest) =
            around.find_map(|folder| Some((self.folders.get(folder)?, path.strip_prefix(folder).ok()?)))?;
        Some(real.join(rest.components().next()?))
    }

    /// What there is now in place of a file.
    pub(crate) fn replaced(&self, path: &Path) -> Option<&'static str> {
        let folder = self.folders.contains_key(path).then_some("a folder");
        folder.or_else(|| self.others.contains(path).then_some("no regular file"))
    }

    /// Whether another pass found the same files; times and sizes aside.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        self.files.len() == other.files.len()
            && self.files.iter().zip(&other.files).all(|(one, two)| one.path == two.path)
            && self.failures == other.failures
            && self.folders == other.folders
    }
}

/// One pass over all roots. A root that is a file is taken whatever its name.
pub(crate) fn list(roots: &[Root]) -> Listing {
    let mut pass = Pass::default();
    for root in roots {
        pass.seen.clear();
        pass.root(root);
    }
    let mut listing = pass.listing;
    listing.files.sort_by(|one, other| one.path.cmp(&other.path));
    listing.files.dedup_by(|one, other| one.path == other.path);
    listing
}

#[derive(Default)]
struct Pass {
    listing: Listing,
    /// Real paths of folders: links may lead in circles.
    seen: BTreeSet<Arc<Path>>,
}

impl Pass {
    fn fail(&mut self, path: &Path, cause: Cause) {
        self.listing.failures.push(Failure { path: path.to_owned(), cause });
    }

    fn root(&mut self, root: &Root) {
        let path = &root.path;
        match fs::metadata(path) {
            Err(error) => self.fail(path, Cause::Root(error.to_string())),
            Ok(metadata) if metadata.is_dir() != root.is_folder => {
                let (was, is) = if root.is_folder { ("a folder", "none") } else { ("a file", "a folder") };
                self.fail(path, Cause::Root(format!("it was {was} when the process started, and is {is} now")));
            }
            Ok(metadata) if metadata.is_dir() => self.folder(path, 0),
            Ok(metadata) if metadata.is_file() => match Listed::new(path.clone(), folder::stamp(&metadata)) {
                Ok(listed) => self.listing.files.push(listed),
                Err(error) => self.fail(path, Cause::Root(error.to_string())),
            },
            Ok(_) => self.fail(path, Cause::Root("not a regular file".to_owned())),
        }
    }

    fn folder(&mut self, path: &Path, depth: usize) {
        if depth > MAX_DEPTH {
            let message = format!("folders are read down to {MAX_DEPTH} levels");
            return self.fail(path, Cause::Bound(message));
        }
        let real: Arc<Path> = match fs::canonicalize(path) {
            Ok(real) => real.into(),
            Err(error) => return self.lost(path, depth, &error),
        };
        if !self.seen.insert(Arc::clone(&real)) {
            return;
        }
        let entries = match entries(path) {
            Ok(entries) => entries,
            Err(error) => return self.lost(path, depth, &error),
        };
        self.listing.folders.insert(path.to_owned(), Arc::clone(&real));
        for (name, is_link) in entries {
            if let Err(error) = self.entry(path, &real, &name, is_link, depth) {
                // Without the right to enter it, nothing of a folder can be read, whatever its names say.
                self.listing.folders.remove(path);
                return self.lost(path, depth, &error);
            }
        }
    }

    /// A folder that cannot be listed. One below a root that is gone went away during the pass.
    fn lost(&mut self, path: &Path, depth: usize, error: &io::Error) {
        let is_root = depth == 0;
        self.listing.torn |= error.kind() == io::ErrorKind::NotFound;
        let message = error.to_string();
        self.fail(path, if is_root { Cause::Root(message) } else { Cause::Unavailable(message) });
    }

    /// One name of a folder. The error is that of the folder as a whole.
    fn entry(&mut self, parent: &Path, real: &Arc<Path>, name: &str, is_link: bool, depth: usize) -> io::Result<()> {
        let path = parent.join(name);
        // Links are followed: mounted ConfigMaps are links into a hidden folder that is swapped as a whole.
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if is_link => {
                let cause = if folder::is_document(name) { Cause::Unavailable } else { Cause::Other };
                let message = format!("the link leads nowhere: {error}");
                self.fail(&path, cause(message));
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
            Err(error) => {
                self.listing.torn |= error.kind() == io::ErrorKind::NotFound;
                self.fail(&path, Cause::Unavailable(error.to_string()));
                return Ok(());
            }
        };
        if metadata.is_dir() {
            self.folder(&path, depth + 1);
        } else if !folder::is_document(name) {
        } else if !metadata.is_file() {
            self.listing.others.insert(path);
        } else if self.listing.files.len() >= MAX_FILES {
            if !self.listing.is_unknown(&path) {
                self.fail(parent, Cause::Bound(format!("at most {MAX_FILES} files are read")));
            }
        } else {
            self.file(path, real, folder::stamp(&metadata), is_link);
        }
        Ok(())
    }

    fn file(&mut self, path: PathBuf, folder: &Arc<Path>, stamp: Stamp, is_link: bool) {
        if !is_link {
            self.listing.files.push(Listed { path, stamp, folder: Arc::clone(folder), name: None });
            return;
        }
        match Listed::new(path.clone(), stamp) {
            Ok(listed) => self.listing.files.push(listed),
            Err(error) => {
                self.listing.torn = true;
                self.fail(&path, Cause::Unavailable(error.to_string()));
            }
        }
    }
}

/// The names of a folder that may be configuration, with whether they are links: links last, so that what two ways lead to is read by
/// its own.
fn entries(folder: &Path) -> io::Result<Vec<(String, bool)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str().filter(|name| !folder::is_hidden(name)) {
            found.push((name.to_owned(), entry.file_type()?.is_symlink()));
        }
    }
    found.sort_by(|one, other| (one.1, &one.0).cmp(&(other.1, &other.0)));
    Ok(found)
}
