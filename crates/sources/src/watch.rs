//! The task that drives a source: gathers its events, and gives what came of them to one reader. While the reader is busy, further
//! changes are gathered into one.

use crate::collector::{Collector, Loaded};
use crate::source::Source;
use std::pin::pin;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;

/// A source that is watched, until this is dropped.
#[derive(Debug)]
pub struct Watch {
    loaded: Receiver<Loaded>,
    /// Owns the task, and ends it.
    _task: JoinSet<()>,
}

impl Watch {
    /// Waits for what the source has next; `None`: the source has ended. Can be cancelled without loss.
    pub async fn next(&mut self) -> Option<Loaded> {
        self.loaded.recv().await
    }
}

/// Watches a source, on the runtime that this is called on.
pub fn watch(source: impl Source) -> Watch {
    let (sender, loaded) = channel(1);
    let mut task = JoinSet::new();
    task.spawn(run(source, sender));
    Watch { loaded, _task: task }
}

async fn run(mut source: impl Source, sender: Sender<Loaded>) {
    let mut collector = Collector::default();
    loop {
        let mut next = pin!(source.next(collector.set().clone()));
        let batch = loop {
            tokio::select! {
                biased;
                permit = sender.reserve(), if collector.has_news() => match permit {
                    Ok(permit) => permit.send(collector.take()),
                    Err(_) => return,
                },
                batch = &mut next => break batch,
            }
        };
        match batch {
            Some(batch) => collector.apply(batch),
            None => break,
        }
    }
    if collector.has_news()
        && let Ok(permit) = sender.reserve().await
    {
        permit.send(collector.take());
    }
}
