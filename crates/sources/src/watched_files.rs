//! Files with what the system reports of their changes: waits until something changed and is quiet again, and reads it apart from the
//! runtime. `file_source` calls it for configuration, `kubernetes` for the files beside a cluster.

use crate::event::Batch;
use crate::files::Files;
use crate::inventory::Changes;
use resources::set::ResourceSet;
use std::any::Any;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
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
    /// `None` while they are read.
    files: Option<Files>,
    /// The changes that the system reports, from the first reading on and where it can.
    events: Option<AsyncFd<OwnedFd>>,
    /// The first and the last change that has not been read yet.
    noticed: Option<(Instant, Instant)>,
    /// When to look although nothing is reported.
    look: Option<Instant>,
    /// How often reading failed in a row.
    failures: u32,
    /// When it is tried again after that.
    retry: Option<Instant>,
}

/// Reading was not finished, for this reason. It is tried again: [`WatchedFiles::changed`] says when.
#[derive(Debug)]
pub(crate) struct ReadingFailed(pub(crate) String);

impl WatchedFiles {
    pub(crate) fn new(files: Files) -> Self {
        Self { files: Some(files), events: None, noticed: None, look: None, failures: 0, retry: None }
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
        if let Some(retry) = self.retry {
            sleep_until(retry).await;
            self.retry = None;
            return;
        }
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
        let Some(mut files) = self.files.take() else { return Err(self.failed("the process ends".to_owned())) };
        let (set, begins_again) = (Arc::clone(set), self.failures > 0);
        let read = move || {
            let now = std::time::Instant::now();
            let batch = catch_unwind(AssertUnwindSafe(|| {
                if begins_again {
                    files.begin_again();
                }
                if requested { Some(files.reread(now, &set)) } else { files.poll(now, &set) }
            }));
            (files, batch)
        };
        // Such a task fails only if it is not begun, because the process ends.
        let (files, batch) = tokio::task::spawn_blocking(read).await.map_err(|error| self.failed(error.to_string()))?;
        self.files = Some(files);
        match batch {
            Ok(batch) => {
                (self.failures, self.retry) = (0, None);
                Ok(batch)
            }
            Err(panic) => Err(self.failed(message(&*panic))),
        }
    }

    /// Whether reading failed, and is not to be tried again yet.
    pub(crate) fn pauses(&self) -> bool {
        self.retry.is_some()
    }

    /// Notes a failure, and when to try again.
    fn failed(&mut self, error: String) -> ReadingFailed {
        tracing::error!(error, "reading the files failed; it is tried again");
        let wait = AT_MOST.saturating_mul(1 << self.failures.min(16)).min(LOOK_AGAIN);
        self.failures = self.failures.saturating_add(1);
        self.retry = Some(Instant::now() + wait);
        ReadingFailed(error)
    }

    /// Has the next reading fail in the middle.
    #[cfg(test)]
    pub(crate) fn fail(&mut self) {
        if let Some(files) = &mut self.files {
            files.fails = true;
        }
    }
}

/// What a panic says.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
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
