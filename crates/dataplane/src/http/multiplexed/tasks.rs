//! Tasks that serve streams. They are reused, because starting and ending a task costs as much as several heads.

use crate::conn::{Timer, Worker, catch};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// A stream to serve.
pub(super) trait Job: 'static {
    /// The worker that serves it.
    fn worker(&self) -> &Rc<Worker>;
    /// Serves it. The timer is that of the task.
    fn run(self, timer: Timer) -> impl Future<Output = ()>;
}

/// The slot through which a task receives its next stream.
struct Task<J> {
    job: Cell<Option<J>>,
    waker: Cell<Option<Waker>>,
}

/// Serves a stream on an idle task, or on a new one.
pub(super) fn begin<J: Job>(worker: &Worker, job: J) {
    match worker.take_task().and_then(|task| task.downcast::<Task<J>>().ok()) {
        Some(task) => {
            task.job.set(Some(job));
            if let Some(waker) = task.waker.take() {
                waker.wake();
            }
        }
        None => {
            drop(tokio::task::spawn_local(run(Rc::new(Task { job: Cell::new(Some(job)), waker: Cell::new(None) }))))
        }
    }
}

async fn run<J: Job>(task: Rc<Task<J>>) {
    // The timer wakes the task, whatever stream it serves.
    let mut timer = None;
    loop {
        let job = poll_fn(|context| match task.job.take() {
            Some(job) => Poll::Ready(job),
            None => {
                task.waker.set(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await;
        let worker = Rc::clone(job.worker());
        let timer = timer.get_or_insert_with(|| worker.timer());
        timer.clear();
        // A panic ends only its own stream, which is reset when its halves are dropped.
        catch(&worker, pin!(job.run(timer.clone()))).await;
        if !worker.give_task(Rc::<Task<J>>::clone(&task)) {
            return;
        }
    }
}
