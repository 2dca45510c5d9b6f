//! The file of the decision log.

use super::chain::{Line, Sealer};
use super::writer::{Tail, Writer};
use anyhow::{Context, Result, ensure};
use dataplane::{LineTarget, LogTarget};
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How far from the end of a file its last record is looked for; records are shorter.
const TAIL: u64 = 1 << 20;
/// Octets that a key has at least.
const KEY: usize = 16;
/// Identities and paths are nobody else's business.
const MODE: u32 = 0o640;

/// The decision log of the process; clones write to the same chain.
#[derive(Debug, Clone)]
pub(crate) struct DecisionLog {
    path: PathBuf,
    sealer: Sealer,
    writer: Arc<Mutex<Writer<File>>>,
}

impl DecisionLog {
    /// Opens the log and begins a chain.
    ///
    /// # Errors
    ///
    /// The file or the key cannot be read or written, or the key is too short.
    pub(crate) fn open(path: &Path, key: Option<&Path>) -> Result<Self> {
        let sealer = sealer(key)?;
        let context = || format!("cannot write the decision log to {}", path.display());
        let (file, tail) = open(path, &sealer).with_context(context)?;
        let writer = Writer::start(file, tail, sealer.clone()).with_context(context)?;
        let log = Self { path: path.to_owned(), sealer, writer: Arc::new(Mutex::new(writer)) };
        log.announce("decision log started");
        Ok(log)
    }

    /// Opens the file again, under its name. Where that fails, the file before stays in use.
    pub(crate) fn reopen(&self) {
        let rotated = open(&self.path, &self.sealer).and_then(|(file, tail)| {
            let mut writer = self.writer();
            let _ = writer.file().sync_data();
            writer.rotate(file, tail)
        });
        match rotated {
            Ok(()) => self.announce("decision log reopened"),
            Err(error) => tracing::error!("decision log not reopened, the file before is still in use: {error}"),
        }
    }

    /// What the data plane writes records to.
    pub(crate) fn target(&self) -> LogTarget {
        Box::new(self.clone())
    }

    /// Ends the chain; `overflowed` records found no room.
    pub(crate) fn stop(&self, overflowed: u64) {
        let stopped = {
            let mut writer = self.writer();
            writer.overflowed(overflowed);
            writer.stop("the process ends").and_then(|()| writer.file().sync_data())
        };
        match stopped {
            Ok(()) => self.announce("decision log ended"),
            Err(error) => tracing::error!("the end of the decision log cannot be written: {error}"),
        }
    }

    /// The process's own log has the end of the chain, so that records that vanish from the file's end can be found with `--anchor`.
    fn announce(&self, what: &str) {
        if let Some(end) = self.writer().end() {
            tracing::info!(file = %self.path.display(), chain = %end.chain, record = end.seq, hash = %end.hash, "{what}");
        }
    }

    fn writer(&self) -> MutexGuard<'_, Writer<File>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LineTarget for DecisionLog {
    fn write_lines(&mut self, lines: &[u8]) -> io::Result<()> {
        self.writer().write(lines)
    }

    fn overflowed(&mut self, lines: u64) {
        self.writer().overflowed(lines);
    }
}

/// The sealer for a file that holds a key, or without one.
///
/// # Errors
///
/// The file cannot be read, or has too few octets.
pub(super) fn sealer(key: Option<&Path>) -> Result<Sealer> {
    let Some(path) = key else { return Ok(Sealer::default()) };
    let key = std::fs::read(path).with_context(|| format!("cannot read the key in {}", path.display()))?;
    let key = key.trim_ascii();
    ensure!(key.len() >= KEY, "the key in {} has {} octets; it needs {KEY} or more", path.display(), key.len());
    Ok(Sealer::with_key(key))
}

/// Whether a process has the file open as its decision log.
pub(super) fn is_being_written(file: &File) -> bool {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            let _ = flock(file, FlockOperation::Unlock);
            false
        }
        Err(error) => error == rustix::io::Errno::WOULDBLOCK,
    }
}

fn open(path: &Path, sealer: &Sealer) -> io::Result<(File, Tail)> {
    let mut file = OpenOptions::new().create(true).append(true).read(true).mode(MODE).open(path)?;
    // Two processes write during a takeover. The lock only tells others that a chain has not ended, so that failing to get it is no reason
    // to stay without a log.
    let is_shared = flock(&file, FlockOperation::NonBlockingLockExclusive).is_err();
    if let Err(error) = flock(&file, FlockOperation::NonBlockingLockShared) {
        tracing::warn!(file = %path.display(), "the decision log cannot be locked: {error}");
    }
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut end = Vec::new();
    Read::by_ref(&mut file).take(TAIL).read_to_end(&mut end)?;
    Ok((file, Tail { is_shared, ..tail(&end, sealer) }))
}

/// The last record of a text, and how many octets follow it.
fn tail(text: &[u8], sealer: &Sealer) -> Tail {
    let mut end = text.len();
    while let Some(line_end) = last_break(text.get(..end).unwrap_or_default()) {
        let from = last_break(text.get(..line_end).unwrap_or_default()).map_or(0, |at| at + 1);
        let line = text.get(from..line_end).and_then(|line| Line::read(line, sealer)).filter(|line| line.is_sealed);
        if let Some(line) = line {
            return Tail { last: Some(line.place.hash), torn: (text.len() - line_end - 1) as u64, ..Tail::default() };
        }
        end = line_end;
    }
    Tail { torn: text.len() as u64, ..Tail::default() }
}

fn last_break(text: &[u8]) -> Option<usize> {
    text.iter().rposition(|byte| *byte == b'\n')
}
