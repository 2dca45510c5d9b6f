//! Tasks that serve streams. They are reused, because starting and ending a task costs as much as several heads.

use super::{ConnectionState, StreamHead, answer};
use crate::conn::{Stage, Worker, catch};
use h2::RecvStream;
use h2::server::SendResponse;
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use upstream::Outgoing;

/// A stream to serve.
pub(super) struct StreamJob {
    pub(super) shared: Rc<ConnectionState>,
    pub(super) head: StreamHead,
    pub(super) body: RecvStream,
    pub(super) respond: SendResponse<Outgoing>,
}

/// The slot through which a task receives its next stream.
struct Task {
    job: Cell<Option<StreamJob>>,
    waker: Cell<Option<Waker>>,
}

/// Serves a stream on an idle task, or on a new one.
pub(super) fn begin(worker: &Worker, job: StreamJob) {
    match worker.take_task().and_then(|task| task.downcast::<Task>().ok()) {
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

async fn run(task: Rc<Task>) {
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
        let under_way = UnderWay(Rc::clone(&job.shared));
        let worker = &under_way.0.worker;
        let timer = timer.get_or_insert_with(|| worker.timer());
        timer.clear();
        // A panic ends only its own stream, which is reset when its halves are dropped.
        catch(worker, pin!(answer(job, timer.clone()))).await;
        if !under_way.0.worker.give_task(Rc::<Task>::clone(&task)) {
            return;
        }
    }
}

/// An open stream.
struct UnderWay(Rc<ConnectionState>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get().saturating_sub(1));
        if self.0.streams.get() == 0 {
            self.0.trailers.clear();
            self.0.client.tracked.wait(Stage::Idle);
        }
    }
}
