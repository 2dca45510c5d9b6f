//! Writes the decision log: chains records, and records what was lost.

use super::chain::{Chain, ChainPosition, Seal, Sealer};
use serde::Serialize;
use std::io::{self, Write};

/// Records of the log about itself.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event<'a> {
    /// The first record of a process.
    Start {
        time: String,
        version: &'static str,
        process: u32,
        /// The seal of the last record that the file had.
        after: Option<String>,
        /// Octets behind that record that are no record: the process before ended while it was writing.
        torn: u64,
        /// Whether no other process had the file open, so that a chain without a last record has ended.
        alone: bool,
    },
    /// Records could not be written, or found no room; `torn` octets before this record are no record.
    Lost { time: String, records: u64, torn: u64 },
    /// The last record in a file that was renamed; the chain goes on in the next file.
    Rotate { time: String },
    /// The first record in the next file.
    Continue {
        time: String,
        /// The seal of the last record that the file had before, if it was not empty.
        after: Option<String>,
        torn: u64,
    },
    /// The last record of a process.
    Stop { time: String, reason: &'a str },
}

/// What a file held at the time when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tail {
    /// The seal of the last record.
    pub(crate) last: Option<Seal>,
    /// Octets behind the last record.
    pub(crate) torn: u64,
    /// Whether another process has the file open.
    pub(crate) is_shared: bool,
}

/// A chain on its way into a file.
#[derive(Debug)]
pub(crate) struct Writer<W> {
    file: W,
    chain: Chain,
    /// Records that were not written and are not yet recorded as lost.
    lost: u64,
    /// Records that found no room on their way here, as far as they are known.
    overflowed: u64,
    /// Octets behind the last whole record of this file.
    torn: u64,
    out: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins a chain in a file that had this tail.
    ///
    /// # Errors
    ///
    /// The system's, of writing the first record.
    pub(crate) fn start(file: W, tail: Tail, sealer: Sealer) -> io::Result<Self> {
        let mut writer =
            Self { file, chain: Chain::new(sealer)?, lost: 0, overflowed: 0, torn: tail.torn, out: Vec::new() };
        writer.event(&Event::Start {
            time: now(),
            version: env!("CARGO_PKG_VERSION"),
            process: std::process::id(),
            after: tail.last.map(|seal| seal.to_string()),
            torn: tail.torn,
            alone: !tail.is_shared,
        })?;
        Ok(writer)
    }

    /// Writes records, a JSON object a line. Those that cannot be written are recorded as lost by the next write that succeeds.
    ///
    /// # Errors
    ///
    /// The system's, of writing.
    pub(crate) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let records = lines.split(|byte| *byte == b'\n').filter(|record| !record.is_empty());
        let recorded = self.record_losses();
        let count = records.clone().count() as u64;
        let written = recorded.and_then(|()| self.append(records));
        written.map_err(|(error, written)| {
            self.lost += count - written;
            error
        })
    }

    /// Notes how many records found no room on their way here, of all so far.
    pub(crate) fn overflowed(&mut self, records: u64) {
        self.lost += records.saturating_sub(self.overflowed);
        self.overflowed = self.overflowed.max(records);
    }

    /// Goes on in another file, which had this tail. Where that file cannot be written, the writer stays with the one before.
    ///
    /// # Errors
    ///
    /// The system's, of writing.
    pub(crate) fn rotate(&mut self, file: W, tail: Tail) -> io::Result<()> {
        // A failure here is one of the file before, which is left anyway: the chain shows it.
        let _ = self.event(&Event::Rotate { time: now() });
        let before = (std::mem::replace(&mut self.file, file), std::mem::replace(&mut self.torn, tail.torn));
        let event = Event::Continue { time: now(), after: tail.last.map(|seal| seal.to_string()), torn: tail.torn };
        let went_on = self.event(&event);
        if went_on.is_err() {
            (self.file, self.torn) = before;
        }
        went_on
    }

    /// Ends the chain.
    ///
    /// # Errors
    ///
    /// The system's, of writing.
    pub(crate) fn stop(&mut self, reason: &str) -> io::Result<()> {
        self.record_losses().map_err(|(error, _)| error)?;
        self.event(&Event::Stop { time: now(), reason })
    }

    /// Where the chain ends.
    pub(crate) fn end(&self) -> Option<ChainPosition> {
        self.chain.end()
    }

    pub(crate) fn file(&self) -> &W {
        &self.file
    }

    #[cfg(test)]
    pub(super) fn file_mut(&mut self) -> &mut W {
        &mut self.file
    }

    fn record_losses(&mut self) -> Result<(), (io::Error, u64)> {
        if self.lost == 0 && self.torn == 0 {
            return Ok(());
        }
        let event = Event::Lost { time: now(), records: self.lost, torn: self.torn };
        self.event(&event).map_err(|error| (error, 0))?;
        self.lost = 0;
        Ok(())
    }

    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        let record = serde_json::to_vec(event)?;
        self.append(std::iter::once(record.as_slice())).map_err(|(error, _)| error)
    }

    /// Appends records. On an error, the number of those that were written whole is beside it, and the chain ends with the last of these.
    fn append<'r>(&mut self, records: impl Iterator<Item = &'r [u8]>) -> Result<(), (io::Error, u64)> {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let mut marks = vec![(0, self.chain.mark())];
        for record in records {
            if out.is_empty() && self.torn > 0 {
                out.push(b'\n');
            }
            self.chain.append(record, &mut out);
            marks.push((out.len(), self.chain.mark()));
        }
        let (written, result) = write_most(&mut self.file, &out);
        let whole = marks.partition_point(|(end, _)| *end <= written).saturating_sub(1);
        let (end, mark) = marks.get(whole).copied().unwrap_or_default();
        self.chain.rewind(mark);
        self.torn = (written - end) as u64 + if end == 0 { self.torn } else { 0 };
        self.out = out;
        result.map_err(|error| (error, whole as u64))
    }
}

/// Writes as much as possible: how many octets were written, and why not all.
fn write_most(file: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, file.flush())
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}
