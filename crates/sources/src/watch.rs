//! Waits for changes and reads them: after 50 ms of quiet, and at the latest half a second after the first.

use crate::files::{FileSource, Loaded};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, channel, unbounded_channel};
use tokio::time::{Instant, timeout_at};

/// Without a further change for so long, what changed is read.
const QUIET: Duration = Duration::from_millis(50);
/// However many changes follow one another.
const AT_MOST: Duration = Duration::from_millis(500);
/// How often it is looked for changes that the system did not tell of: links to other places, network mounts.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Watches a source for as long as somebody takes what it gives. Runs on the runtime that it is called on.
pub fn watch(source: FileSource) -> Receiver<Loaded> {
    let (sender, receiver) = channel(1);
    tokio::spawn(run(source, sender));
    receiver
}

async fn run(mut source: FileSource, sender: Sender<Loaded>) {
    for name in source.streams() {
        tracing::info!(name = %name.display(), "input that is not a file was read once; later changes to it are not seen");
    }
    let (events, mut changed) = unbounded_channel();
    let mut watcher = start(&source, move || {
        // Only that something changed matters; what did is found by looking.
        let _ = events.send(());
    });
    let mut named = BTreeSet::new();
    loop {
        let (back, loaded) = match tokio::task::spawn_blocking(move || {
            let loaded = source.refresh();
            (source, loaded)
        })
        .await
        {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "reading the files failed; changes are not seen any more");
                return;
            }
        };
        source = back;
        if let Some(watcher) = &mut watcher {
            watch_named(watcher, &source, &mut named);
        }
        if let Some(loaded) = loaded
            && sender.send(loaded).await.is_err()
        {
            return;
        }
        tokio::select! {
            () = sender.closed() => return,
            () = wait(&mut changed, watcher.is_some()) => {}
        }
    }
}

/// Until something changed and is quiet again.
async fn wait(changed: &mut UnboundedReceiver<()>, watched: bool) {
    let look_again = if watched { LOOK_AGAIN } else { AT_MOST };
    if timeout_at(Instant::now() + look_again, changed.recv()).await.is_err() {
        return;
    }
    let latest = Instant::now() + AT_MOST;
    loop {
        let quiet = (Instant::now() + QUIET).min(latest);
        match timeout_at(quiet, changed.recv()).await {
            Ok(Some(())) if Instant::now() < latest => {}
            _ => return,
        }
    }
}

/// Watches the folders of files that objects name. Where that cannot be, they are looked at from time to time.
fn watch_named(watcher: &mut RecommendedWatcher, source: &FileSource, watched: &mut BTreeSet<PathBuf>) {
    let wanted = source.named_folders();
    for folder in wanted.difference(watched) {
        let inside = source.roots().iter().any(|root| folder.starts_with(root));
        if !inside && let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
            tracing::debug!(%error, folder = %folder.display(), "a folder with certificates cannot be watched");
        }
    }
    *watched = wanted;
}

fn start(source: &FileSource, changed: impl Fn() + Send + 'static) -> Option<RecommendedWatcher> {
    let handler = move |event: notify::Result<notify::Event>| {
        // Being read is no change.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            changed();
        }
    };
    let mut watcher = notify::recommended_watcher(handler)
        .inspect_err(|error| tracing::warn!(%error, "changes cannot be watched; files are looked at twice a second"))
        .ok()?;
    for root in source.roots().iter().map(PathBuf::as_path).chain(source.mesh_file()) {
        // A file is replaced by a rename, which only its folder tells.
        let (path, mode) = if root.is_dir() {
            (root, RecursiveMode::Recursive)
        } else {
            let parent = root.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            (parent, RecursiveMode::NonRecursive)
        };
        if let Err(error) = watcher.watch(path, mode) {
            tracing::warn!(%error, path = %path.display(), "changes cannot be watched; files are looked at twice a second");
            return None;
        }
    }
    Some(watcher)
}
