//! Files as a source: waits for changes and reads them, after 50 ms of quiet and at the latest half a second after the first.

use crate::event::Batch;
use crate::files::Files;
use crate::load_error::LoadError;
use crate::reload::{Reload, Requests};
use crate::source::Source;
use resources::set::ResourceSet;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Without a further change for so long, what changed is read.
const QUIET: Duration = Duration::from_millis(50);
/// However many changes follow one another.
const AT_MOST: Duration = Duration::from_millis(500);
/// How often it is looked for changes that the system does not report: network mounts, links whose way leads through other folders.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Files and folders that are watched.
#[derive(Debug)]
pub struct FileSource {
    /// `None` while they are read, and for good once reading them has failed.
    files: Option<Files>,
    /// The changes that the system reports, from the first reading on and where it can.
    events: Option<AsyncFd<OwnedFd>>,
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
        Ok(Self { files: Some(files), events: None, begun: false, requests, reload })
    }

    /// Whether any of the input can be read only once.
    pub fn has_streams(&self) -> bool {
        self.files.as_ref().is_some_and(|files| files.streams().next().is_some())
    }

    /// Asks for everything to be read again.
    pub fn reload(&self) -> Reload {
        self.reload.clone()
    }

    fn start_watching(&mut self) {
        let Some(files) = &mut self.files else { return };
        for name in files.streams() {
            tracing::info!(name = %name.display(), "input that is not a file was read once; later changes to it are not seen");
        }
        files.start_watching();
        self.events = files.events().and_then(|events| {
            #[allow(
                deprecated,
                reason = "an `OwnedFd` keeps the descriptor open, which is all that the function in its place asks for"
            )]
            let events = events.and_then(AsyncFd::new);
            events.inspect_err(|error| tracing::warn!(%error, "changes cannot be waited for; files are looked at")).ok()
        });
    }

    /// Waits until it is time to read; whether everything is to be read again.
    async fn wait(&mut self) -> bool {
        let Self { files: Some(files), events, requests, .. } = self else { return false };
        tokio::select! {
            () = requests.next() => true,
            () = wait_for_change(files, events.as_ref()) => false,
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
                self.start_watching();
            }
            let (mut files, set) = (self.files.take()?, Arc::clone(&set));
            let read = move || {
                let now = std::time::Instant::now();
                let batch = if requested { Some(files.reread(now, &set)) } else { files.poll(now, &set) };
                (files, batch)
            };
            match tokio::task::spawn_blocking(read).await {
                Ok((files, batch)) => {
                    self.files = Some(files);
                    if batch.is_some() {
                        return batch;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "reading the files failed; changes are not seen any more");
                    return None;
                }
            }
        }
    }
}

/// Until something changed and is quiet again, or it is time to look.
async fn wait_for_change(files: &mut Files, events: Option<&AsyncFd<OwnedFd>>) {
    let look_again = if files.is_watched() && events.is_some() { LOOK_AGAIN } else { AT_MOST };
    let latest = Instant::now() + look_again;
    let due = files.due().map_or(latest, |due| latest.min(due.into()));
    if !changes(files, events, due).await {
        return;
    }
    let latest = Instant::now() + AT_MOST;
    while changes(files, events, latest.min(Instant::now() + QUIET)).await {}
}

/// Whether a change is reported by then.
async fn changes(files: &mut Files, events: Option<&AsyncFd<OwnedFd>>, by: Instant) -> bool {
    loop {
        let ready = match events {
            Some(events) => timeout_at(by, events.readable()).await.ok().and_then(Result::ok),
            None => None,
        };
        let Some(mut ready) = ready else {
            sleep_until(by).await;
            return false;
        };
        ready.clear_ready();
        if files.observe() {
            return Instant::now() < by;
        }
    }
}
