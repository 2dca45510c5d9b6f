//! What receives each report: the pages, the readiness, the log, the statuses of objects. The pipeline hands them every update once,
//! in the order of its list.

use crate::current::{Current, Shared};

/// One report, and the one before.
pub(crate) struct Update<'a> {
    /// What was known before.
    pub(crate) before: &'a Current,
    /// What is known now.
    pub(crate) current: &'a Current,
    /// Whether the configuration was read again on request.
    pub(crate) requested: bool,
}

/// A receiver of reports. The pipeline waits for it, so that it has to be quick: what takes long is handed to a task.
pub(crate) trait ReportSink: Send {
    /// Receives a report: of a change, of listeners that were opened, or of certificates that expire.
    fn receive(&mut self, update: &Update<'_>);
}

impl ReportSink for Shared {
    fn receive(&mut self, update: &Update<'_>) {
        self.set(update.current.clone());
    }
}
