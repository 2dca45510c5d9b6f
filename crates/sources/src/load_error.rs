//! What keeps a source from being made.

use std::io;
use std::path::PathBuf;

/// A path that cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
pub struct LoadError {
    /// The path.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}
