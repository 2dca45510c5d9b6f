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
use std::thread;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;
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
    /// A reading that has begun. It is here, and not in the call that began it, since that may be cancelled.
    reading: Option<JoinHandle<Reading>>,
    /// Objects that changed while the files were read, and may name files.
    naming: Changes,
    /// Whether the next reading is of everything, since it was asked for.
    is_requested: bool,
    has_streams: bool,
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

/// The files after a reading, and what came of it: a panic leaves them as they were before.
type Reading = (Files, thread::Result<Option<Batch>>);

/// Reading was not finished, for this reason. It is tried again: [`WatchedFiles::changed`] says when.
#[derive(Debug)]
pub(crate) struct ReadingFailed(pub(crate) String);

impl WatchedFiles {
    pub(crate) fn new(files: Files) -> Self {
        let has_streams = files.streams().next().is_some();
        let (reading, naming, is_requested, events, noticed, look, failures, retry) = Default::default();
        let files = Some(files);
        Self { files, reading, naming, is_requested, has_streams, events, noticed, look, failures, retry }
    }

    /// Whether any of the input can be read only once.
    pub(crate) fn has_streams(&self) -> bool {
        self.has_streams
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
        match &mut self.files {
            Some(files) => files.name_files(changes),
            None => self.naming.extend(changes),
        }
    }

    /// Waits until something changed and is quiet again, or it is time to look, or a reading was cancelled; for good where there is nothing
    /// to read. Can be cancelled without loss.
    pub(crate) async fn changed(&mut self) {
        if let Some(retry) = self.retry {
            sleep_until(retry).await;
            self.retry = None;
            return;
        }
        if self.reading.is_some() || self.is_requested {
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
    /// changed. Can be cancelled without loss: the next call has the result, and what it requests follows with the one after it.
    pub(crate) async fn read(
        &mut self,
        set: &Arc<ResourceSet>,
        requested: bool,
    ) -> Result<Option<Batch>, ReadingFailed> {
        self.is_requested |= requested;
        if self.reading.is_none() {
            self.reading = self.begin(set);
        }
        // The files are lost only with a task that was not begun, because the process ends.
        let Some(reading) = &mut self.reading else { return Err(self.failed("the process ends".to_owned())) };
        let read = reading.await;
        self.reading = None;
        let (mut files, batch) = read.map_err(|error| self.failed(error.to_string()))?;
        if !self.naming.is_empty() {
            files.name_files(&std::mem::take(&mut self.naming));
            self.noticed.get_or_insert((Instant::now(), Instant::now()));
        }
        self.files = Some(files);
        match batch {
            Ok(batch) => {
                (self.failures, self.retry) = (0, None);
                Ok(batch)
            }
            Err(panic) => Err(self.failed(message(&*panic))),
        }
    }

    /// Begins to read, unless there are no files any more.
    fn begin(&mut self, set: &Arc<ResourceSet>) -> Option<JoinHandle<Reading>> {
        let mut files = self.files.take()?;
        let (set, requested) = (Arc::clone(set), std::mem::take(&mut self.is_requested));
        Some(tokio::task::spawn_blocking(move || {
            let now = std::time::Instant::now();
            let batch = catch_unwind(AssertUnwindSafe(|| {
                if requested { Some(files.reread(now, &set)) } else { files.poll(now, &set) }
            }));
            (files, batch)
        }))
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
