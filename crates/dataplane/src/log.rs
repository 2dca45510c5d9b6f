//! The access log: a line for each stream, in a format of the configuration.

mod demands;
mod lines;

pub(crate) use demands::LogDemands;
pub(crate) use lines::{LineBuffer, LineCounters, LineQueue};
pub use lines::{LineTarget, LogTarget};

use crate::stream_info::{FinishedStream, StreamSink};
use ir::LogFormat;
use routing::log_line;
use std::io;
use std::sync::Arc;

/// The access log of the process.
#[derive(Debug, Clone)]
pub(crate) struct AccessLog {
    lines: LineQueue,
    format: Arc<LineFormat>,
}

/// The format of lines, and what has to be known for it.
#[derive(Debug)]
struct LineFormat {
    format: LogFormat,
    demands: LogDemands,
}

/// The access log of a worker.
#[derive(Debug)]
pub(crate) struct LogBuffer {
    lines: LineBuffer,
    format: Arc<LineFormat>,
}

impl AccessLog {
    /// Starts the writing thread, which ends when the last handle is dropped and everything is written.
    pub(crate) fn start(
        target: LogTarget,
        format: LogFormat,
        most: usize,
        counters: &Arc<LineCounters>,
    ) -> io::Result<Self> {
        let lines = LineQueue::start("access-log", target, most, counters)?;
        Ok(Self { lines, format: Arc::new(LineFormat::new(format)) })
    }

    /// The same log with another format.
    pub(crate) fn with_format(&self, format: LogFormat) -> Self {
        Self { format: Arc::new(LineFormat::new(format)), ..self.clone() }
    }

    /// Writes to another target from now on, for example after the file was renamed. Lines that wait are written to the target before.
    pub(crate) fn switch(&self, target: LogTarget) {
        self.lines.switch(target);
    }

    /// The buffer of a worker.
    pub(crate) fn buffer(self) -> LogBuffer {
        LogBuffer { lines: self.lines.buffer(), format: self.format }
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
        &self.format.demands
    }

    /// Passes all lines to the writing thread; call it periodically, and at the end.
    pub(crate) fn flush(&self) {
        self.lines.flush();
    }
}

impl StreamSink for LogBuffer {
    fn record(&self, stream: &FinishedStream<'_>) {
        self.lines.add(|line| log_line::write(&self.format.format, stream, line));
    }
}
