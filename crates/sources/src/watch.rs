//! Waits for changes and reads them: after 50 ms of quiet, and at the latest half a second after the first.

use crate::files::{FileSource, Loaded};
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep_until, timeout_at};

/// Without a further change for so long, what changed is read.
const QUIET: Duration = Duration::from_millis(50);
/// However many changes follow one another.
const AT_MOST: Duration = Duration::from_millis(500);
/// How often it is looked for changes that the system does not report: network mounts, links whose way leads through other folders.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Asks a source that is watched to read everything again.
#[derive(Debug, Clone)]
pub struct Reload(Sender<()>);

impl Reload {
    /// Every file is read again; what comes of it has [`Loaded::requested`]. Requests that come before that are one.
    pub fn request(&self) {
        // Full: a request waits already.
        let _ = self.0.try_send(());
    }
}

/// Watches a source for as long as somebody receives what it gives. Runs on the runtime that it is called on.
pub fn watch(source: FileSource) -> (Receiver<Loaded>, Reload) {
    let (sender, receiver) = channel(1);
    let (reload, requests) = channel(1);
    tokio::spawn(run(source, sender, requests));
    (receiver, Reload(reload))
}

async fn run(mut source: FileSource, sender: Sender<Loaded>, mut requests: Receiver<()>) {
    let mut requested = false;
    for name in source.streams() {
        tracing::info!(name = %name.display(), "input that is not a file was read once; later changes to it are not seen");
    }
    source.start_watching();
    let events = source.events().and_then(|events| {
        #[allow(
            deprecated,
            reason = "an `OwnedFd` keeps the descriptor open, which is all that the function in its place asks for"
        )]
        let events = events.and_then(AsyncFd::new);
        events.inspect_err(|error| tracing::warn!(%error, "changes cannot be waited for; files are looked at")).ok()
    });
    loop {
        let look = tokio::task::spawn_blocking(move || {
            let now = std::time::Instant::now();
            let loaded = if requested { Some(source.reread(now)) } else { source.poll(now) };
            (source, loaded)
        });
        let loaded = match look.await {
            Ok((back, loaded)) => {
                source = back;
                loaded
            }
            Err(error) => {
                tracing::error!(%error, "reading the files failed; changes are not seen any more");
                return;
            }
        };
        if let Some(loaded) = loaded
            && sender.send(loaded).await.is_err()
        {
            return;
        }
        tokio::select! {
            () = sender.closed() => return,
            Some(()) = requests.recv() => requested = true,
            () = wait(&mut source, events.as_ref()) => requested = false,
        }
    }
}

/// Until something changed and is quiet again, or it is time to look.
async fn wait(source: &mut FileSource, events: Option<&AsyncFd<OwnedFd>>) {
    let look_again = if source.is_watched() && events.is_some() { LOOK_AGAIN } else { AT_MOST };
    let latest = Instant::now() + look_again;
    let due = source.due().map_or(latest, |due| latest.min(due.into()));
    if !changes(source, events, due).await {
        return;
    }
    let latest = Instant::now() + AT_MOST;
    while changes(source, events, latest.min(Instant::now() + QUIET)).await {}
}

/// Whether a change is reported by then.
async fn changes(source: &mut FileSource, events: Option<&AsyncFd<OwnedFd>>, by: Instant) -> bool {
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
        if source.observe() {
            return Instant::now() < by;
        }
    }
}
