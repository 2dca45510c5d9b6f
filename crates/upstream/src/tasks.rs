//! The owner of the tasks of clusters: name resolution and outlier detection. A task ends when its cluster is removed. All tasks are aborted when
//! the owner is dropped.

use std::sync::{Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// Tasks on the runtime of the control side.
#[derive(Debug)]
pub(crate) struct Tasks {
    runtime: Handle,
    running: Mutex<JoinSet<()>>,
}

impl Tasks {
    /// An owner without tasks, which will run on `runtime`.
    pub(crate) fn new(runtime: Handle) -> Self {
        Self { runtime, running: Mutex::default() }
    }

    /// Starts a task. It is aborted when the owner is dropped.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // Removes the results of tasks that have ended.
        while running.try_join_next().is_some() {}
        running.spawn_on(task, &self.runtime);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn tasks_end_with_their_owner_and_those_that_have_ended_are_not_kept() {
        let tasks = Tasks::new(Handle::current());
        let (ended, wait) = oneshot::channel::<()>();
        tasks.spawn(async move { drop(ended) });
        assert!(wait.await.is_err());
        let held = Arc::new(());
        let of_task = Arc::clone(&held);
        let (dropped, wait) = oneshot::channel::<()>();
        // The first task may not have ended yet.
        while tasks.running.lock().unwrap().try_join_next().is_none() {
            tokio::task::yield_now().await;
        }
        tasks.spawn(async move {
            let _held = (of_task, dropped);
            std::future::pending::<()>().await;
        });
        assert_eq!(tasks.running.lock().unwrap().len(), 1);
        drop(tasks);
        assert!(wait.await.is_err());
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
