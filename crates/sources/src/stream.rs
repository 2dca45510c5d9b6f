//! Input that can be read only once: standard input, pipes, FIFOs, process substitution. It is read to its end when the source is made,
//! and its text is kept, because opening it again would block or find nothing. `files` and `mesh` call this.

use crate::load_error::LoadError;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The argument that means standard input, as for most programs.
const STDIN: &str = "-";
/// The name of standard input in positions.
const STDIN_NAME: &str = "<stdin>";

/// Texts of streams by the names that positions give them.
pub type StreamTexts = Arc<BTreeMap<Arc<Path>, Arc<str>>>;

/// Whether a path is standard input or anything else that is neither a regular file nor a folder.
pub(crate) fn is_stream(path: &Path) -> io::Result<bool> {
    if path == Path::new(STDIN) {
        return Ok(true);
    }
    fs::metadata(path).map(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// The name of a stream in positions.
pub(crate) fn name(path: &Path) -> Arc<Path> {
    Arc::from(if path == Path::new(STDIN) { Path::new(STDIN_NAME) } else { path })
}

/// Takes the streams out of `paths`, and reads each of them to its end.
pub(crate) fn read_all(paths: &mut Vec<PathBuf>, limit: u64) -> Result<StreamTexts, LoadError> {
    let mut texts = BTreeMap::new();
    let mut others = Vec::with_capacity(paths.len());
    for path in std::mem::take(paths) {
        let failed = |source| LoadError { path: path.clone(), source };
        if !is_stream(&path).map_err(failed)? {
            others.push(path);
        } else if let Entry::Vacant(entry) = texts.entry(name(&path)) {
            entry.insert(Arc::from(read(&path, limit).map_err(failed)?));
        }
    }
    *paths = others;
    Ok(Arc::new(texts))
}

/// The text of a stream, of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut within = |reader: &mut dyn Read| reader.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    if path == Path::new(STDIN) {
        within(&mut io::stdin().lock())?;
    } else {
        within(&mut File::open(path)?)?;
    }
    if u64::try_from(bytes.len()).is_ok_and(|length| length > limit) {
        return Err(io::Error::other(format!("it has more than {limit} bytes")));
    }
    crate::folder::text(bytes)
}
