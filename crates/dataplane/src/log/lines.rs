//! Lines on their way to the thread that writes them: each worker collects lines and passes them on in batches.
//!
//! The number of lines that wait, and that of their octets, is bounded; further lines are dropped and counted, and no request ever waits.

use crate::limits::{LOG_BATCH, LOG_WAITING};
use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

/// What lines are written to.
pub trait LineTarget: Send {
    /// Writes whole lines.
    ///
    /// # Errors
    ///
    /// The system's. The lines are not written again.
    fn write_lines(&mut self, lines: &[u8]) -> io::Result<()>;

    /// How many lines found no room so far, of all lines of the log.
    fn overflowed(&mut self, _lines: u64) {}
}

impl<W: Write + Send> LineTarget for W {
    fn write_lines(&mut self, lines: &[u8]) -> io::Result<()> {
        self.write_all(lines)?;
        self.flush()
    }
}

/// Where lines go.
pub type LogTarget = Box<dyn LineTarget>;

/// The way to a writing thread.
#[derive(Debug, Clone)]
pub(crate) struct LineQueue {
    jobs: Sender<Job>,
    counters: Arc<LineCounters>,
    /// Lines that may wait.
    most: usize,
}

/// Counts of all writing threads that a log had, one after the other.
#[derive(Debug, Default)]
pub(crate) struct LineCounters {
    waiting: AtomicUsize,
    waiting_octets: AtomicUsize,
    overflowed: AtomicU64,
    failed: AtomicU64,
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
pub(crate) struct LineBuffer {
    queue: LineQueue,
    batch: RefCell<Batch>,
}

impl LineQueue {
    /// Starts the writing thread, which ends when the last handle is dropped and everything is written.
    pub(crate) fn start(name: &str, target: LogTarget, most: usize, counters: &Arc<LineCounters>) -> io::Result<Self> {
        let (jobs, receiver) = channel();
        let shared = Arc::clone(counters);
        let write = move || write(target, &receiver, &shared);
        std::thread::Builder::new().name(name.to_owned()).spawn(write)?;
        Ok(Self { jobs, counters: Arc::clone(counters), most })
    }

    /// Writes to another target from now on. Lines that wait are written to the target before.
    pub(crate) fn switch(&self, target: LogTarget) {
        // The writing thread lives as long as this handle.
        let _ = self.jobs.send(Job::Switch(target));
    }

    /// The buffer of a worker.
    pub(crate) fn buffer(&self) -> LineBuffer {
        LineBuffer { queue: self.clone(), batch: RefCell::default() }
    }

    fn pass(&self, batch: Batch) {
        let (lines, octets) = (batch.lines, batch.bytes.len());
        let before = self.counters.waiting.fetch_add(lines, Ordering::AcqRel);
        let octets_before = self.counters.waiting_octets.fetch_add(octets, Ordering::AcqRel);
        let is_full = before > 0 && (before + lines > self.most || octets_before + octets > LOG_WAITING);
        if is_full || self.jobs.send(Job::Write(batch)).is_err() {
            self.counters.waiting.fetch_sub(lines, Ordering::AcqRel);
            self.counters.waiting_octets.fetch_sub(octets, Ordering::AcqRel);
            self.counters.overflowed.fetch_add(lines as u64, Ordering::Relaxed);
        }
    }
}

impl LineCounters {
    /// Lines that were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.overflowed() + self.failed.load(Ordering::Relaxed)
    }

    /// Lines that found no room.
    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// Whether all lines that were passed to a writing thread are written.
    pub(crate) fn is_written(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
    }
}

impl LineBuffer {
    /// Adds a line, with its line break.
    pub(crate) fn add(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut batch = self.batch.borrow_mut();
        write(&mut batch.bytes);
        batch.lines += 1;
        if batch.bytes.len() >= LOG_BATCH {
            drop(batch);
            self.flush();
        }
    }

    /// Passes all lines to the writing thread; call it periodically, and at the end.
    pub(crate) fn flush(&self) {
        let mut batch = self.batch.borrow_mut();
        if batch.lines > 0 {
            let next = Batch { bytes: Vec::with_capacity(batch.bytes.len()), lines: 0 };
            self.queue.pass(std::mem::replace(&mut *batch, next));
        }
    }
}

fn write(mut target: LogTarget, jobs: &Receiver<Job>, counters: &LineCounters) {
    while let Ok(job) = jobs.recv() {
        let batch = match job {
            Job::Write(batch) => batch,
            Job::Switch(other) => {
                target = other;
                continue;
            }
        };
        target.overflowed(counters.overflowed());
        // Serving goes on while the log cannot be written.
        if target.write_lines(&batch.bytes).is_err() {
            counters.failed.fetch_add(batch.lines as u64, Ordering::Relaxed);
        }
        counters.waiting_octets.fetch_sub(batch.bytes.len(), Ordering::AcqRel);
        counters.waiting.fetch_sub(batch.lines, Ordering::AcqRel);
    }
}
