//! The access log: each worker collects lines and passes them in batches to one writing thread.
//!
//! The number of lines that wait is bounded; further lines are dropped and counted, and no request ever waits.

mod demands;

pub(crate) use crate::date::http_date;
pub(crate) use demands::LogDemands;

use crate::limits::LOG_BATCH;
use crate::stream_info::{FinishedStream, StreamSink};
use ir::LogFormat;
use routing::log_line;
use std::cell::RefCell;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Where lines go.
pub type LogTarget = Box<dyn Write + Send>;

/// The way to the writing thread.
#[derive(Debug, Clone)]
pub(crate) struct AccessLog {
    jobs: Sender<Job>,
    counters: Arc<LogCounters>,
    format: Arc<LineFormat>,
    /// Lines that may wait.
    most: usize,
}

/// Counts of all access logs of the process, one after the other.
#[derive(Debug, Default)]
pub(crate) struct LogCounters {
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

/// The format of lines, and what has to be known for it.
#[derive(Debug)]
struct LineFormat {
    format: LogFormat,
    demands: LogDemands,
}

/// A job of the writing thread; jobs are done in order.
enum Job {
    Write(Batch),
    /// Later batches go to another target.
    Switch(LogTarget),
}

#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    lines: usize,
}

/// The lines of a worker that were not passed to the writing thread yet.
#[derive(Debug)]
pub(crate) struct LogBuffer {
    log: AccessLog,
    batch: RefCell<Batch>,
}

impl AccessLog {
    /// Starts the writing thread, which ends when the last handle is dropped and everything is written.
    pub(crate) fn start(
        target: LogTarget,
        format: LogFormat,
        most: usize,
        counters: &Arc<LogCounters>,
    ) -> std::io::Result<Self> {
        let (jobs, receiver) = channel();
        let shared = Arc::clone(counters);
        let write = move || write(target, &receiver, &shared);
        std::thread::Builder::new().name("access-log".to_owned()).spawn(write)?;
        Ok(Self { jobs, counters: Arc::clone(counters), format: Arc::new(LineFormat::new(format)), most })
    }

    /// The same log with another format.
    pub(crate) fn with_format(&self, format: LogFormat) -> Self {
        Self { format: Arc::new(LineFormat::new(format)), ..self.clone() }
    }

    /// Writes to another target from now on, for example after the file was renamed. Lines that wait are written to the target before.
    pub(crate) fn switch(&self, target: LogTarget) {
        // The writing thread lives as long as this handle.
        let _ = self.jobs.send(Job::Switch(target));
    }

    /// The buffer of a worker.
    pub(crate) fn buffer(self) -> LogBuffer {
        LogBuffer { log: self, batch: RefCell::default() }
    }

    fn hand_over(&self, batch: Batch) {
        let before = self.counters.waiting.fetch_add(batch.lines, Ordering::AcqRel);
        let lines = batch.lines;
        if before > 0 && before + lines > self.most || self.jobs.send(Job::Write(batch)).is_err() {
            self.counters.waiting.fetch_sub(lines, Ordering::AcqRel);
            self.counters.dropped.fetch_add(lines as u64, Ordering::Relaxed);
        }
    }
}

impl LogCounters {
    /// Lines that were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Whether all lines that were passed to a writing thread are written.
    pub(crate) fn is_written(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
    }
}

impl LineFormat {
    fn new(format: LogFormat) -> Self {
        Self { demands: LogDemands::of(&format), format }
    }
}

impl LogBuffer {
    /// What has to be known for the lines.
    pub(crate) fn demands(&self) -> &LogDemands {
        &self.log.format.demands
    }

    /// Passes all lines to the writing thread; call it periodically, and at the end.
    pub(crate) fn flush(&self) {
        let mut batch = self.batch.borrow_mut();
        if batch.lines > 0 {
            let next = Batch { bytes: Vec::with_capacity(batch.bytes.len()), lines: 0 };
            self.log.hand_over(std::mem::replace(&mut *batch, next));
        }
    }
}

impl StreamSink for LogBuffer {
    fn record(&self, stream: &FinishedStream<'_>) {
        let mut batch = self.batch.borrow_mut();
        log_line::write(&self.log.format.format, stream, &mut batch.bytes);
        batch.lines += 1;
        if batch.bytes.len() >= LOG_BATCH {
            drop(batch);
            self.flush();
        }
    }
}

fn write(mut target: LogTarget, jobs: &Receiver<Job>, counters: &LogCounters) {
    while let Ok(job) = jobs.recv() {
        let batch = match job {
            Job::Write(batch) => batch,
            Job::Switch(other) => {
                target = other;
                continue;
            }
        };
        // Serving goes on while the log cannot be written.
        if target.write_all(&batch.bytes).and_then(|()| target.flush()).is_err() {
            counters.dropped.fetch_add(batch.lines as u64, Ordering::Relaxed);
        }
        counters.waiting.fetch_sub(batch.lines, Ordering::AcqRel);
    }
}
