//! Files that the caller reads, once or step by step: for commands that end (`check`, `explain`), and for tests, which pass the time.

use crate::collector::{Collector, Loaded};
use crate::files::Files;
use crate::load_error::LoadError;
use std::path::PathBuf;
use std::time::Instant;

/// Files and folders with everything that was read from them so far.
#[derive(Debug)]
pub struct FileReader {
    files: Files,
    collector: Collector,
}

impl FileReader {
    /// Files, folders and streams (`-` is standard input) to read. Each has to be there; streams are read here, to their end.
    pub fn new(paths: Vec<PathBuf>) -> Result<Self, LoadError> {
        Ok(Self { files: Files::new(paths)?, collector: Collector::default() })
    }

    /// Reads the mesh settings from this file instead of those in the folders.
    #[must_use]
    pub fn with_mesh(mut self, path: Option<PathBuf>) -> Self {
        self.files.set_mesh(path);
        self
    }

    /// Begins to watch the folders, as far as the system can. Each [`poll`](Self::poll) from now on knows which files are being written.
    pub fn start_watching(&mut self) {
        self.files.start_watching();
    }

    /// Takes in what the system reported. Whether files may have changed.
    pub fn observe(&mut self) -> bool {
        self.files.observe()
    }

    /// When to look again though nothing is reported, since something waits to settle.
    pub fn due(&self) -> Option<Instant> {
        self.files.due()
    }

    /// Reads what changed, and takes every file as complete. `None`: nothing changed.
    pub fn refresh(&mut self) -> Option<Loaded> {
        let batch = self.files.refresh(self.collector.set())?;
        self.collector.apply(batch);
        Some(self.collector.take())
    }

    /// Reads what changed and is complete at that time. `None`: nothing is.
    pub fn poll(&mut self, now: Instant) -> Option<Loaded> {
        let batch = self.files.poll(now, self.collector.set())?;
        self.collector.apply(batch);
        Some(self.collector.take())
    }

    /// Reads every file again that is complete at that time, whatever is known of it, and gives what there is then.
    pub fn reread(&mut self, now: Instant) -> Loaded {
        let batch = self.files.reread(now, self.collector.set());
        self.collector.apply(batch);
        self.collector.take()
    }
}
