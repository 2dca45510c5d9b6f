//! Files with what the system reports of their changes: waits until something changed and is quiet again, and reads it apart from the
//! runtime. `file_source` calls it for configuration, `kubernetes` for the files beside a cluster.

use crate::event::Batch;
use crate::files::Files;
use crate::inventory::Changes;
use resources::set::ResourceSet;
use std::os::fd::OwnedFd;
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

/// Files, the changes of which can be waited for.
#[derive(Debug)]
pub(crate) struct WatchedFiles {
    /// `None` while they are read, and for good once reading them has failed.
    files: Option<Files>,
    /// The changes that the system reports, from the first reading on and where it can.
    events: Option<AsyncFd<OwnedFd>>,
    /// The first and the last change that has not been read yet.
    noticed: Option<(Instant, Instant)>,
    /// When to look although nothing is reported.
    look: Option<Instant>,
}

/// Reading failed in a way that it cannot go on from.
pub(crate) struct ReadingFailed;

impl WatchedFiles {
    pub(crate) fn new(files: Files) -> Self {
        Self { files: Some(files), events: None, noticed: None, look: None }
    }

    /// Whether any of the input can be read only once.
    pub(crate) fn has_streams(&self) -> bool {
        self.files.as_ref().is_some_and(|files| files.streams().next().is_some())
    }

    pub(crate) fn start_watching(&mut self) {
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

    /// Takes note of the files that changed objects name.
    pub(crate) fn name(&mut self, changes: &Changes) {
        if let Some(files) = &mut self.files {
            files.name_files(changes);
        }
    }

    /// Waits until something changed and is quiet again, or it is time to look; for good where there is nothing to read. Can be
    /// cancelled without loss.
    pub(crate) async fn changed(&mut self) {
        let Some(files) = self.files.as_mut().filter(|files| files.has_any()) else {
            return std::future::pending().await;
        };
        loop {
            let by = match self.noticed {
                Some((first, last)) => (first + AT_MOST).min(last + QUIET),
                None => {
                    let look_again = if files.is_watched() && self.events.is_some() { LOOK_AGAIN } else { AT_MOST };
                    let look = *self.look.get_or_insert_with(|| Instant::now() + look_again);
                    files.due().map_or(look, |due| look.min(due.into()))
                }
            };
            if !observe_until(files, self.events.as_ref(), by).await {
                (self.noticed, self.look) = (None, None);
                return;
            }
            let now = Instant::now();
            self.noticed = Some((self.noticed.map_or(now, |(first, _)| first), now));
        }
    }

    /// Reads what changed and is complete, or, on request, everything again. `set` has the objects of all events so far. `None`: nothing
    /// changed. Has to be polled to its end.
    pub(crate) async fn read(
        &mut self,
        set: &Arc<ResourceSet>,
        requested: bool,
    ) -> Result<Option<Batch>, ReadingFailed> {
        let (mut files, set) = (self.files.take().ok_or(ReadingFailed)?, Arc::clone(set));
        let read = move || {
            let now = std::time::Instant::now();
            let batch = if requested { Some(files.reread(now, &set)) } else { files.poll(now, &set) };
            (files, batch)
        };
        let (files, batch) = tokio::task::spawn_blocking(read).await.map_err(|error| {
            tracing::error!(%error, "reading the files failed; changes are not seen any more");
            ReadingFailed
        })?;
        self.files = Some(files);
        Ok(batch)
    }
}

/// Whether a change is reported by then.
async fn observe_until(files: &mut Files, events: Option<&AsyncFd<OwnedFd>>, by: Instant) -> bool {
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
