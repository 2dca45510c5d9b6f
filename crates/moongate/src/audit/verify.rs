//! Verifies a decision log: every change of an octet, every gap and every other order is found.

use super::chain::{ChainId, ChainPosition, Line, Seal, Sealer};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{self, BufRead, Read as _};

/// Octets of the longest line that is read.
const LONGEST: u64 = 1 << 20;
/// Records whose seals are remembered for those that begin or continue a chain and name the record before them. Between reading the end of a
/// file and writing the first record of a chain, another process may add a few.
const REMEMBERED: usize = 4096;

/// What is accepted beside a whole log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accepted {
    /// The first file continues one that is not given.
    pub(crate) continues: bool,
    /// The last record of a process may be missing: it still writes, or it was killed.
    pub(crate) unfinished: bool,
    /// Seals of records that have to be there, as far as they were not found yet.
    pub(crate) anchors: Vec<Seal>,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Verified {
    pub(crate) records: u64,
    /// Records that the log itself gives as lost.
    pub(crate) lost: u64,
    pub(crate) chains: Vec<VerifiedChain>,
    /// Faults in the order in which they were found; none for a whole log.
    pub(crate) faults: Vec<Fault>,
}

/// A chain of records, the log of one process.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct VerifiedChain {
    pub(crate) chain: String,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// The seal of the last record.
    pub(crate) hash: String,
    /// When the last record of the log about itself was written, and which one it was.
    pub(crate) event: String,
    pub(crate) state: State,
}

/// How a chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// With its last record.
    Ended,
    /// In the next file.
    Rotated,
    /// Without a last record, and the process after it found it so.
    Killed,
    /// Without a last record.
    Unfinished,
}

/// A place that is not as it was written.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    pub(crate) file: String,
    /// From 1; 0 for the file as a whole.
    pub(crate) line: u64,
    pub(crate) what: String,
}

#[derive(Debug)]
struct Known {
    first: u64,
    end: ChainPosition,
    /// The number of the file that has the last record.
    file: u64,
    event: String,
    state: State,
}

/// Verifies files in their order.
#[derive(Debug)]
pub(crate) struct Verifier {
    sealer: Sealer,
    accepted: Accepted,
    chains: BTreeMap<ChainId, Known>,
    recent: VecDeque<Seal>,
    found: Verified,
    file: String,
    line: u64,
    files: u64,
    /// Records of this file.
    in_file: u64,
    /// The first line of those that are no records, behind the last record, and the octets of all.
    torn: Option<(u64, u64)>,
}

impl Verifier {
    pub(crate) fn new(sealer: Sealer, accepted: Accepted) -> Self {
        Self {
            sealer,
            accepted,
            chains: BTreeMap::new(),
            recent: VecDeque::new(),
            found: Verified::default(),
            file: String::new(),
            line: 0,
            files: 0,
            in_file: 0,
            torn: None,
        }
    }

    /// Verifies one more file.
    ///
    /// # Errors
    ///
    /// The system's, of reading.
    pub(crate) fn read(&mut self, name: &str, mut file: impl BufRead) -> io::Result<()> {
        name.clone_into(&mut self.file);
        (self.line, self.in_file) = (0, 0);
        self.files += 1;
        let mut line = Vec::new();
        loop {
            line.clear();
            if file.by_ref().take(LONGEST).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            self.line += 1;
            match line.strip_suffix(b"\n") {
                Some(line) => self.add(line),
                // Longer than any record, or the end of a file in the middle of a record.
                None => self.add_torn(line.len() as u64),
            }
        }
        if let Some((line, _)) = self.torn.take() {
            self.fault_at(line, "is no record of the log, and nothing behind it accounts for it");
        }
        if self.in_file == 0 {
            self.fault_at(0, "holds no record");
        }
        Ok(())
    }

    /// What was found. `is_being_written`: whether a process has the last file open.
    pub(crate) fn finish(mut self, is_being_written: bool) -> Verified {
        self.line = 0;
        let is_excused = |known: &Known| self.accepted.unfinished || is_being_written && known.file == self.files;
        let faults: Vec<String> = self
            .chains
            .values()
            .filter_map(|known| match known.state {
                State::Unfinished if !is_excused(known) => Some(format!(
                    "chain {} ends with record {} and has no last record: records were removed, or the process was killed (--unfinished accepts this)",
                    known.end.chain, known.end.seq
                )),
                State::Rotated if known.file < self.files => Some(format!(
                    "chain {} goes on behind record {} in the next file, which has no record of it",
                    known.end.chain, known.end.seq
                )),
                State::Unfinished | State::Rotated | State::Ended | State::Killed => None,
            })
            .collect();
        for fault in &faults {
            self.fault_at(0, fault);
        }
        for anchor in std::mem::take(&mut self.accepted.anchors) {
            self.fault_at(0, &format!("the record with the hash {anchor} is missing"));
        }
        self.found.chains = self.chains.iter().map(|(id, known)| known.verified(*id)).collect();
        self.found
    }

    fn add(&mut self, text: &[u8]) {
        let Some(line) = Line::read(text, &self.sealer) else { return self.add_torn(text.len() as u64 + 1) };
        if !line.is_sealed {
            return self.fault("was changed: its hash is not that of its content (or the key is another)");
        }
        // What is sealed was written as JSON.
        let Ok(record) = serde_json::from_slice::<Value>(text) else { return self.fault("is no JSON") };
        self.account_for_torn(&record);
        self.link(&line, &record);
        self.found.records += 1;
        self.in_file += 1;
        self.accepted.anchors.retain(|anchor| *anchor != line.place.hash);
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(line.place.hash);
    }

    /// Octets that are no record have to be accounted for by the record behind them.
    fn account_for_torn(&mut self, record: &Value) {
        let told = record.get("torn").and_then(Value::as_u64).filter(|told| *told > 0);
        let torn = self.torn.take();
        // The line break before this record is not one of them.
        if torn.map(|(_, octets)| octets) != told.map(|told| told + 1) {
            let line = torn.map_or(self.line, |(line, _)| line);
            self.fault_at(line, "is no record of the log, and the record behind it does not account for it");
        }
    }

    fn link(&mut self, line: &Line, record: &Value) {
        let ChainPosition { chain, seq, .. } = line.place;
        let event = record.get("event").and_then(Value::as_str);
        if matches!(event, Some("start" | "continue")) {
            self.check_before(record, event == Some("continue"));
        }
        match self.chains.get(&chain).map(|known| (known.end, known.state)) {
            Some((_, State::Ended)) => self.fault(&format!("follows the last record of chain {chain}")),
            Some((_, State::Rotated)) if event != Some("continue") => {
                self.fault(&format!("is of chain {chain}, which goes on in the next file"));
            }
            Some((end, _)) if end.seq + 1 != seq => self.fault(&format!(
                "is record {seq} of chain {chain}, where record {} was expected: {}",
                end.seq + 1,
                if seq > end.seq { "records are missing" } else { "records are repeated or in another order" }
            )),
            Some((end, _)) if end.hash != line.prev => {
                self.fault(&format!("does not follow record {} of chain {chain}: that record is another one", end.seq));
            }
            Some(_) => {}
            None if seq == 0 && event == Some("start") && line.prev == Seal::default() => {}
            // A process enters a file that it continues with this record.
            None if self.accepted.continues && self.files == 1 && event == Some("continue") => {}
            None => self.fault(&format!(
                "is record {seq} of chain {chain}, whose records before are missing (--continues accepts this at the beginning of the first file)"
            )),
        }
        let known = self.chains.entry(chain).or_insert_with(|| Known {
            first: seq,
            end: line.place,
            file: self.files,
            event: String::new(),
            state: State::Unfinished,
        });
        (known.end, known.file) = (line.place, self.files);
        known.state = match event {
            Some("stop") => State::Ended,
            Some("rotate") => State::Rotated,
            _ => State::Unfinished,
        };
        if let (Some(event), Some(time)) = (event, record.get("time").and_then(Value::as_str)) {
            known.event = format!("{event} at {time}");
        }
        if event == Some("lost") {
            self.found.lost += record.get("records").and_then(Value::as_u64).unwrap_or(0);
        }
    }

    /// A record that begins a file or a chain names the record that the file ended with, so that nothing before it can vanish.
    fn check_before(&mut self, record: &Value, goes_on: bool) {
        let after = record.get("after").and_then(Value::as_str);
        match after.map(|after| Seal::read(after.as_bytes())) {
            None if self.in_file == 0 => {}
            None => self.fault("says that the file was empty before it"),
            Some(Some(seal)) if self.recent.contains(&seal) => {
                // The process before was killed: this record is the witness that nothing was removed behind that end.
                let is_alone = record.get("alone").and_then(Value::as_bool) == Some(true);
                let killed = self.chains.values_mut().find(|known| known.end.hash == seal);
                if let Some(known) = killed.filter(|known| known.state == State::Unfinished && !goes_on && is_alone) {
                    known.state = State::Killed;
                }
            }
            Some(_) => self.fault("names a record before it that is missing"),
        }
    }

    fn add_torn(&mut self, octets: u64) {
        let (line, before) = self.torn.unwrap_or((self.line, 0));
        self.torn = Some((line, before + octets));
    }

    fn fault(&mut self, what: &str) {
        self.fault_at(self.line, what);
    }

    fn fault_at(&mut self, line: u64, what: &str) {
        self.found.faults.push(Fault { file: self.file.clone(), line, what: what.to_owned() });
    }
}

impl Known {
    fn verified(&self, chain: ChainId) -> VerifiedChain {
        VerifiedChain {
            chain: chain.to_string(),
            first: self.first,
            last: self.end.seq,
            hash: self.end.hash.to_string(),
            event: self.event.clone(),
            state: self.state,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.what),
            line => write!(f, "{}:{line}: {}", self.file, self.what),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended => "ended",
            Self::Rotated => "goes on in the next file",
            Self::Killed => "killed",
            Self::Unfinished => "not ended",
        })
    }
}
