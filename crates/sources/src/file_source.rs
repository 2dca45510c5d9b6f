//! Files as a source: waits for changes and reads them, after 50 ms of quiet and at the latest half a second after the first.

use crate::event::Batch;
use crate::files::Files;
use crate::load_error::LoadError;
use crate::reload::{Reload, Requests};
use crate::source::Source;
use crate::watched_files::{ReadingFailed, WatchedFiles};
use resources::set::ResourceSet;
use std::path::PathBuf;
use std::sync::Arc;

/// Files and folders that are watched.
#[derive(Debug)]
pub struct FileSource {
    files: WatchedFiles,
    begun: bool,
    requests: Requests,
    reload: Reload,
}

impl FileSource {
    /// Files, folders and streams (`-` is standard input) to read. Each has to be there; streams are read here, to their end. `mesh`: the
    /// file of the mesh settings, instead of those in the folders.
    pub fn new(paths: Vec<PathBuf>, mesh: Option<PathBuf>) -> Result<Self, LoadError> {
        let mut files = Files::new(paths)?;
        files.set_mesh(mesh);
        let (reload, requests) = Reload::new();
        Ok(Self { files: WatchedFiles::new(files), begun: false, requests, reload })
    }

    /// Whether any of the input can be read only once.
    pub fn has_streams(&self) -> bool {
        self.files.has_streams()
    }

    /// Asks for everything to be read again.
    pub fn reload(&self) -> Reload {
        self.reload.clone()
    }

    /// Waits until it is time to read; whether everything is to be read again.
    async fn wait(&mut self) -> bool {
        tokio::select! {
            () = self.requests.next() => true,
            () = self.files.changed() => false,
        }
    }
}

impl Source for FileSource {
    async fn next(&mut self, set: Arc<ResourceSet>) -> Option<Batch> {
        loop {
            let mut requested = false;
            if std::mem::replace(&mut self.begun, true) {
                requested = self.wait().await;
            } else {
                self.files.start_watching();
            }
            match self.files.read(&set, requested).await {
                Ok(Some(batch)) => return Some(batch),
                Ok(None) => {}
                Err(ReadingFailed) => return None,
            }
        }
    }
}
