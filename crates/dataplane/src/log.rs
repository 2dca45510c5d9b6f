//! The access log, off the way of requests: each worker collects lines and hands them over many at a time to one writing thread.
//!
//! What waits there is bounded; further lines are dropped and counted, and no request ever waits.

mod date;
mod line;

pub(crate) use date::http_date;
pub(crate) use line::Record;

use crate::limits::LOG_BATCH;
use std::cell::RefCell;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Istio's default text.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where lines go.
pub type LogTarget = Box<dyn Write + Send>;

/// The way to the writing thread.
#[derive(Debug, Clone)]
pub(crate) struct AccessLog {
    jobs: Sender<Job>,
    shared: Arc<LogCounters>,
    format: LogFormat,
    /// Lines that may wait.
    most: usize,
}

#[derive(Debug, Default)]
struct LogCounters {
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

/// What the writing thread does, in this order.
enum Job {
    Write(Batch),
    /// What comes after this goes to another target.
    Switch(LogTarget),
}

#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    lines: usize,
}

/// One worker's lines that were not handed over yet.
#[derive(Debug)]
pub(crate) struct LogBuffer {
    log: AccessLog,
    batch: RefCell<Batch>,
}

impl AccessLog {
    /// Starts the writing thread, which ends when the last handle is dropped and everything is written.
    pub(crate) fn start(target: LogTarget, format: LogFormat, most: usize) -> std::io::Result<Self> {
        let (jobs, receiver) = channel();
        let shared = Arc::<LogCounters>::default();
        let counters = Arc::clone(&shared);
        let write = move || write(target, &receiver, &counters);
        std::thread::Builder::new().name("access-log".to_owned()).spawn(write)?;
        Ok(Self { jobs, shared, format, most })
    }

    /// Lines that found no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Whether all that was handed over is written.
    pub(crate) fn is_written(&self) -> bool {
        self.shared.waiting.load(Ordering::Acquire) == 0
    }

    /// Writes to another target from now on: after the file was renamed, say. What waits is still written to the one before.
    pub(crate) fn switch(&self, target: LogTarget) {
        // The writing thread is there for as long as this handle is.
        let _ = self.jobs.send(Job::Switch(target));
    }

    /// Where a worker collects its lines.
    pub(crate) fn buffer(self) -> LogBuffer {
        LogBuffer { log: self, batch: RefCell::default() }
    }

    fn hand_over(&self, batch: Batch) {
        let before = self.shared.waiting.fetch_add(batch.lines, Ordering::AcqRel);
        let lines = batch.lines;
        if before > 0 && before + lines > self.most || self.jobs.send(Job::Write(batch)).is_err() {
            self.shared.waiting.fetch_sub(lines, Ordering::AcqRel);
            self.shared.dropped.fetch_add(lines as u64, Ordering::Relaxed);
        }
    }
}

impl LogBuffer {
    /// Adds a line.
    pub(crate) fn write(&self, record: &Record<'_>) {
        let mut batch = self.batch.borrow_mut();
        match self.log.format {
            LogFormat::Text => record.write_text(&mut batch.bytes),
            LogFormat::Json => record.write_json(&mut batch.bytes),
        }
        batch.lines += 1;
        if batch.bytes.len() >= LOG_BATCH {
            drop(batch);
            self.flush();
        }
    }

    /// Hands over what there is. To be called from time to time, and at the end.
    pub(crate) fn flush(&self) {
        let mut batch = self.batch.borrow_mut();
        if batch.lines > 0 {
            let next = Batch { bytes: Vec::with_capacity(batch.bytes.len()), lines: 0 };
            self.log.hand_over(std::mem::replace(&mut *batch, next));
        }
    }
}

fn write(mut target: LogTarget, jobs: &Receiver<Job>, shared: &LogCounters) {
    while let Ok(job) = jobs.recv() {
        let batch = match job {
            Job::Write(batch) => batch,
            Job::Switch(other) => {
                target = other;
                continue;
            }
        };
        // A log that cannot be written is no reason to stop serving.
        if target.write_all(&batch.bytes).and_then(|()| target.flush()).is_err() {
            shared.dropped.fetch_add(batch.lines as u64, Ordering::Relaxed);
        }
        shared.waiting.fetch_sub(batch.lines, Ordering::AcqRel);
    }
}
