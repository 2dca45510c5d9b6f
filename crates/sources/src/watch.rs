//! The task that drives a source: gathers its events, and gives what came of them to one reader. While the reader is busy, further
//! changes are gathered into one.

use crate::collector::{Collector, Loaded};
use crate::source::Source;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// How long what is only shown is gathered: statuses of Pods come by the thousand, and serve nothing.
const SHOWN: Duration = Duration::from_millis(250);

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
    // When what is only shown is handed on.
    let mut due: Option<Instant> = None;
    loop {
        if collector.has_more_to_show() {
            due.get_or_insert_with(|| Instant::now() + SHOWN);
        }
        let mut next = pin!(source.next(collector.set().clone()));
        let batch = loop {
            let is_due = due.is_some_and(|due| due <= Instant::now());
            tokio::select! {
                biased;
                permit = sender.reserve(), if collector.has_news() || is_due => match permit {
                    Ok(permit) => {
                        permit.send(collector.take());
                        due = None;
                    }
                    Err(_) => return,
                },
                batch = &mut next => break batch,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() && !is_due => {}
            }
        };
        match batch {
            Some(batch) => collector.apply(batch),
            None => break,
        }
    }
    if (collector.has_news() || collector.has_more_to_show())
        && let Ok(permit) = sender.reserve().await
    {
        permit.send(collector.take());
    }
}
