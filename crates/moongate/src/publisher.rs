//! Publishes snapshots to all appliers at once, and waits for them within a bound. One that is slow gets what it missed as one change when
//! it is done; one that fails gets everything with the next attempt. Neither holds up the others, or the pipeline.

use crate::applier::{Applied, Applier};
use dataplane::BindProblem;
use ir::{Changes, Delta, ListenerId, Snapshot};
use resources::diagnostic::{Diagnostic, Severity};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

/// The code of a part of the process that has not applied the snapshot; `docs/diagnostics.md` lists it.
const NOT_APPLIED: &str = "MG9004";

/// All appliers, and what each of them has applied.
pub(crate) struct Publisher {
    slots: Vec<Slot>,
    /// The snapshot that was published last.
    snapshot: Arc<Snapshot>,
    bound: Duration,
    /// Appliers at work, each with one snapshot.
    working: JoinSet<anyhow::Result<Applied>>,
}

struct Slot {
    applier: Arc<dyn Applier>,
    /// The task that applies a snapshot at present.
    task: Option<Id>,
    /// What the applier has missed.
    missed: Option<Delta>,
    /// What it applied last.
    applied: Applied,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Current,
    /// It took longer than the bound.
    Late,
    /// Why it failed.
    Failed(String),
}

impl Publisher {
    /// Publishes to these, and waits for at most `bound` each time.
    pub(crate) fn new(appliers: Vec<Arc<dyn Applier>>, bound: Duration) -> Self {
        let slot = |applier| {
            let (task, missed, applied) = Default::default();
            Slot { applier, task, missed, applied, state: State::Current }
        };
        let slots = appliers.into_iter().map(slot).collect();
        Self { slots, snapshot: Arc::default(), bound, working: JoinSet::new() }
    }

    /// Publishes a snapshot, and waits until every applier has applied it or failed, or the bound is over. An applier that was late already
    /// is not waited for. `delta` is the difference from the snapshot before.
    pub(crate) async fn publish(&mut self, snapshot: &Arc<Snapshot>, delta: Delta) {
        self.snapshot = Arc::clone(snapshot);
        for slot in &mut self.slots {
            slot.missed = Some(match slot.missed.take() {
                Some(missed) => both(missed, delta.clone()),
                None => delta.clone(),
            });
        }
        self.apply_missed().await;
    }

    /// Lets those appliers try again that have failed, and opens listeners that are not open.
    pub(crate) async fn retry(&mut self) {
        if self.slots.iter().any(Slot::has_failed) {
            self.apply_missed().await;
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.task.is_none() && !slot.applied.problems.is_empty()) {
            slot.applied.problems = slot.applier.retry();
        }
    }

    /// Whether [`Self::retry`] may change something.
    pub(crate) fn has_problems(&self) -> bool {
        self.slots.iter().any(|slot| slot.has_failed() || !slot.applied.problems.is_empty())
    }

    /// Whether an applier is at work.
    pub(crate) fn is_working(&self) -> bool {
        !self.working.is_empty()
    }

    /// Waits until an applier that is at work is done. Can be cancelled without loss.
    pub(crate) async fn finish_one(&mut self) {
        if let Some(done) = self.working.join_next_with_id().await {
            self.finish(done);
            self.start();
            self.mark_late();
        }
    }

    /// The number of the last snapshot, as those count that have applied it.
    pub(crate) fn generation(&self) -> u64 {
        self.slots.iter().map(|slot| slot.applied.generation).max().unwrap_or_default()
    }

    /// Listeners that are not open.
    pub(crate) fn problems(&self) -> Vec<BindProblem> {
        self.slots.iter().flat_map(|slot| slot.applied.problems.clone()).collect()
    }

    /// Listeners that are open.
    pub(crate) fn listening(&self) -> Vec<(ListenerId, SocketAddr)> {
        self.slots.iter().flat_map(|slot| slot.applier.listening()).collect()
    }

    /// Appliers that have not applied the snapshot.
    pub(crate) fn behind(&self) -> Vec<Diagnostic> {
        self.slots.iter().filter_map(|slot| slot.finding(self.bound)).collect()
    }

    async fn apply_missed(&mut self) {
        let deadline = Instant::now() + self.bound;
        for slot in self.slots.iter_mut().filter(|slot| slot.has_failed()) {
            slot.state = State::Current;
        }
        self.start();
        while self.slots.iter().any(|slot| slot.task.is_some() && slot.state != State::Late) {
            match timeout_at(deadline, self.working.join_next_with_id()).await {
                Ok(Some(done)) => {
                    self.finish(done);
                    self.start();
                }
                Ok(None) => break,
                Err(_) => {
                    self.mark_late();
                    break;
                }
            }
        }
    }

    /// Appliers that are still at work are late.
    fn mark_late(&mut self) {
        self.slots.iter_mut().filter(|slot| slot.task.is_some()).for_each(|slot| slot.state = State::Late);
    }

    /// Lets appliers begin that have missed something, are not at work and have not failed.
    fn start(&mut self) {
        for slot in self.slots.iter_mut().filter(|slot| slot.task.is_none() && !slot.has_failed()) {
            let Some(delta) = slot.missed.take() else { continue };
            let (applier, snapshot) = (Arc::clone(&slot.applier), Arc::clone(&self.snapshot));
            slot.task = Some(self.working.spawn_blocking(move || applier.apply(&snapshot, &delta)).id());
        }
    }

    fn finish(&mut self, done: Result<(Id, anyhow::Result<Applied>), JoinError>) {
        let (id, result) = match done {
            Ok((id, Ok(applied))) => (id, Ok(applied)),
            Ok((id, Err(error))) => (id, Err(format!("{error:#}"))),
            Err(error) => (error.id(), Err(error.to_string())),
        };
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.task == Some(id)) else { return };
        slot.task = None;
        match result {
            Ok(applied) => {
                if slot.state == State::Late {
                    tracing::info!("{} has applied a configuration for which it took long", slot.applier.name());
                }
                (slot.applied, slot.state) = (applied, State::Current);
            }
            Err(error) => {
                slot.state = State::Failed(error);
                // Nothing is known of what it has.
                slot.missed = Some(Delta { changes: None });
            }
        }
    }
}

impl Slot {
    fn has_failed(&self) -> bool {
        matches!(self.state, State::Failed(_))
    }

    fn finding(&self, bound: Duration) -> Option<Diagnostic> {
        let name = self.applier.name();
        let (severity, message, help) = match &self.state {
            State::Current => return None,
            State::Late => {
                let message = format!("{name} takes longer than {} s to apply the configuration", bound.as_secs_f64());
                (Severity::Warning, message, "the configuration before is served meanwhile, in part or as a whole")
            }
            State::Failed(error) => {
                let message = format!("{name} cannot apply the configuration: {error}");
                (Severity::Error, message, "the configuration before is served; it is tried again every few seconds")
            }
        };
        let (object, field, position) = (None, String::new(), None);
        Some(Diagnostic { code: NOT_APPLIED, severity, object, field, position, message, help: Some(help.to_owned()) })
    }
}

/// One change after another, as one.
fn both(one: Delta, other: Delta) -> Delta {
    let (Some(one), Some(other)) = (one.changes, other.changes) else { return Delta { changes: None } };
    let changes = Changes {
        listeners: union(one.listeners, other.listeners),
        tables: union(one.tables, other.tables),
        hosts: union(one.hosts, other.hosts),
        clusters: union(one.clusters, other.clusters),
    };
    Delta { changes: Some(changes) }
}

fn union<T: Ord>(mut one: Vec<T>, other: Vec<T>) -> Vec<T> {
    one.extend(other);
    one.sort_unstable();
    one.dedup();
    one
}

#[cfg(test)]
mod tests;
