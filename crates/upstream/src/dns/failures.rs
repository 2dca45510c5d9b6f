//! Names whose last query had no answer. The first failure and the next answer are logged, and reports and metrics list the names.

use ir::ClusterId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A name of a cluster whose last query had no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unresolved {
    /// The cluster.
    pub cluster: ClusterId,
    /// The name.
    pub name: Box<str>,
    /// Why there is no answer.
    pub error: String,
    /// Whether addresses of an earlier answer stay in use. If not, requests get 503.
    pub in_use: bool,
}

/// Failures by cluster and name, each with the task that resolves the name.
type ByName = BTreeMap<(ClusterId, Box<str>), (u64, Unresolved)>;

/// All failures. A name is listed only while a task resolves it.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    by_name: Mutex<ByName>,
    tasks: AtomicU64,
}

/// The failures of one task. They are removed when the task ends.
#[derive(Debug)]
pub(crate) struct TaskFailures<'a> {
    all: &'a Failures,
    task: u64,
}

impl Failures {
    /// The failures of a new task.
    pub(crate) fn task(&self) -> TaskFailures<'_> {
        TaskFailures { all: self, task: self.tasks.fetch_add(1, Ordering::Relaxed) }
    }

    /// All names without an answer, by cluster.
    pub(crate) fn list(&self) -> Vec<Unresolved> {
        self.lock().values().map(|(_, unresolved)| unresolved.clone()).collect()
    }

    /// The number of names without an answer.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, ByName> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TaskFailures<'_> {
    /// A query had no answer.
    pub(crate) fn failed(&self, unresolved: Unresolved) {
        let key = (unresolved.cluster.clone(), unresolved.name.clone());
        let before = self.all.lock().insert(key, (self.task, unresolved.clone()));
        if before.is_none() {
            let Unresolved { cluster, name, error, in_use } = unresolved;
            let effect = if in_use { "the addresses before stay in use" } else { "requests get 503" };
            tracing::warn!(%cluster, %name, %error, "a name is not resolved; {effect}");
        }
    }

    /// A query was answered.
    pub(crate) fn answered(&self, cluster: &ClusterId, name: &str) {
        let mut all = self.all.lock();
        // Most names have no failure, and need no key.
        if !all.is_empty() && all.remove(&(cluster.clone(), name.into())).is_some() {
            drop(all);
            tracing::info!(%cluster, name, "a name is resolved again");
        }
    }
}

impl Drop for TaskFailures<'_> {
    fn drop(&mut self) {
        self.all.lock().retain(|_, (task, _)| *task != self.task);
    }
}
