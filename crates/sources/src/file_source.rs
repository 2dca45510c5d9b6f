//! Files as a source: waits for changes and reads them, after 50 ms of quiet and at the latest half a second after the first.

use crate::event::{Batch, Scope, SourceEvent};
use crate::files::Files;
use crate::findings;
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
    /// Whether it was reported that reading failed.
    is_failing: bool,
    /// Whether everything is to be read again because it was requested and reading failed.
    is_requested: bool,
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
        Ok(Self {
            files: WatchedFiles::new(files),
            begun: false,
            is_failing: false,
            is_requested: false,
            requests,
            reload,
        })
    }

    /// Whether any of the input can be read only once.
    pub fn has_streams(&self) -> bool {
        self.files.has_streams()
    }

    /// Asks for everything to be read again.
    pub fn reload(&self) -> Reload {
        self.reload.clone()
    }

    /// What a reading came to, if it is to be reported.
    fn batch(&mut self, read: Result<Option<Batch>, ReadingFailed>) -> Option<Batch> {
        match read {
            Ok(batch) if std::mem::take(&mut self.is_failing) => {
                let mut batch = batch.unwrap_or_default();
                batch.events.insert(0, SourceEvent::Available(Scope::All));
                Some(batch)
            }
            Ok(batch) => batch,
            Err(ReadingFailed(error)) => {
                self.is_failing = true;
                let found = Arc::from([findings::unfinished(&error)]);
                Some(vec![SourceEvent::Unavailable(Scope::All, found)].into())
            }
        }
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
            if std::mem::replace(&mut self.begun, true) {
                self.is_requested |= self.wait().await;
            } else {
                self.files.start_watching();
            }
            let read = self.files.read(&set, self.is_requested).await;
            self.is_requested &= read.is_err();
            if let Some(batch) = self.batch(read) {
                return Some(batch);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::Collector;
    use std::time::Duration;

    #[tokio::test]
    async fn a_reading_that_fails_is_reported_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let service = "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: b}\nspec: {ports: [{port: 80}]}\n";
        std::fs::write(folder.path().join("one.yaml"), service).unwrap();
        let mut source = FileSource::new(vec![folder.path().to_owned()], None).unwrap();
        let mut collector = Collector::default();
        source.files.fail();
        collector.apply(source.next(Arc::clone(collector.set())).await.unwrap());
        let failed = collector.take();
        assert!(!failed.complete && failed.unavailable == 1, "{failed:?}");
        assert!(failed.diagnostics[0].message.contains("a test's failure"), "{failed:?}");
        while !collector.take().complete {
            collector.apply(source.next(Arc::clone(collector.set())).await.unwrap());
        }
        let loaded = collector.take();
        assert!(loaded.set.services.size() == 1 && loaded.diagnostics.is_empty(), "{loaded:?}");
    }

    #[test]
    fn a_reading_that_is_cancelled_loses_nothing() {
        // The only thread for readings is busy until the call that began one is dropped.
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let service = "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: b}\nspec: {ports: [{port: 80}]}\n";
        std::fs::write(folder.path().join("one.yaml"), service).unwrap();
        let mut source = FileSource::new(vec![folder.path().to_owned()], None).unwrap();
        let mut collector = Collector::default();
        runtime.block_on(async {
            for requested in [false, true] {
                let (release, released) = std::sync::mpsc::channel::<()>();
                let busy = tokio::task::spawn_blocking(move || released.recv());
                if requested {
                    source.reload().request();
                }
                tokio::select! {
                    biased;
                    _ = source.next(Arc::clone(collector.set())) => panic!("no thread is free"),
                    () = std::future::ready(()) => {}
                }
                drop(release);
                let _ = busy.await;
                let next = source.next(Arc::clone(collector.set()));
                collector.apply(tokio::time::timeout(Duration::from_secs(60), next).await.unwrap().unwrap());
                let loaded = collector.take();
                assert!(loaded.complete && loaded.set.services.size() == 1, "{loaded:?}");
                assert_eq!(loaded.requested, requested);
            }
        });
    }
}
