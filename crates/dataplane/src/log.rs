//! The access log, off the way of requests: each worker collects lines and hands them over many at a time to one writing thread.
//!
//! What waits there is bounded; further lines are dropped and counted, and no request ever waits.

mod date;
mod line;

pub(crate) use date::{HttpDate, http_date};
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
    batches: Sender<Batch>,
    shared: Arc<Shared>,
    format: LogFormat,
    /// Lines that may wait.
    most: usize,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: AtomicUsize,
    dropped: AtomicU64,
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
        let (batches, receiver) = channel();
        let shared = Arc::<Shared>::default();
        let counters = Arc::clone(&shared);
        let write = move || write_batches(target, &receiver, &counters);
        std::thread::Builder::new().name("access-log".to_owned()).spawn(write)?;
        Ok(Self { batches, shared, format, most })
    }

    /// Lines that found no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Whether all that was handed over is written.
    pub(crate) fn is_written(&self) -> bool {
        self.shared.waiting.load(Ordering::Acquire) == 0
    }

    /// Where a worker collects its lines.
    pub(crate) fn buffer(self) -> LogBuffer {
        LogBuffer { log: self, batch: RefCell::default() }
    }

    fn hand_over(&self, batch: Batch) {
        let before = self.shared.waiting.fetch_add(batch.lines, Ordering::AcqRel);
        let lines = batch.lines;
        if before > 0 && before + lines > self.most || self.batches.send(batch).is_err() {
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

fn write_batches(mut target: LogTarget, batches: &Receiver<Batch>, shared: &Shared) {
    while let Ok(batch) = batches.recv() {
        // A log that cannot be written is no reason to stop serving.
        if target.write_all(&batch.bytes).and_then(|()| target.flush()).is_err() {
            shared.dropped.fetch_add(batch.lines as u64, Ordering::Relaxed);
        }
        shared.waiting.fetch_sub(batch.lines, Ordering::AcqRel);
    }
}
