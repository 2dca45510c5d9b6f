use super::chain::{Chain, Seal, Sealer};
use super::verify::{Accepted, State, Verified, Verifier};
use super::writer::{Tail, Writer};
use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

fn record(number: usize) -> String {
    format!(r#"{{"authority":"api{}.example.com","status":{},"sent":{}}}"#, number % 7, 200 + number % 3, number * 31)
}

fn lines(range: std::ops::Range<usize>) -> Vec<u8> {
    range.flat_map(|number| (record(number) + "\n").into_bytes()).collect()
}

fn verify_with(sealer: &Sealer, accepted: &Accepted, files: &[&[u8]]) -> Verified {
    let mut verifier = Verifier::new(sealer.clone(), accepted.clone());
    for (number, file) in files.iter().enumerate() {
        verifier.read(&format!("log.{number}"), *file).expect("memory can be read");
    }
    verifier.finish(false)
}

fn verify(files: &[&[u8]]) -> Verified {
    verify_with(&Sealer::default(), &Accepted::default(), files)
}

fn faults(verified: &Verified) -> Vec<String> {
    verified.faults.iter().map(ToString::to_string).collect()
}

/// The log of two processes, one after the other.
fn log(sealer: &Sealer) -> Vec<u8> {
    let mut first = Writer::start(Vec::new(), Tail::default(), sealer.clone()).expect("memory can be written");
    first.write(&lines(0..60)).expect("memory can be written");
    first.stop("a test").expect("memory can be written");
    let tail = Tail { last: first.end().map(|end| end.hash), torn: 0, is_shared: false };
    let mut second = Writer::start(Vec::new(), tail, sealer.clone()).expect("memory can be written");
    second.write(&lines(60..100)).expect("memory can be written");
    second.stop("a test").expect("memory can be written");
    [first.file().as_slice(), second.file().as_slice()].concat()
}

#[test]
fn a_whole_log_has_no_faults() {
    let verified = verify(&[&log(&Sealer::default())]);
    assert_eq!(faults(&verified), [""; 0]);
    assert_eq!(verified.records, 104);
    assert!(verified.chains.iter().all(|chain| chain.state == State::Ended));
}

#[test]
fn a_log_with_a_key_needs_the_key() {
    let key = Sealer::with_key(b"sixteen octets, or more");
    let log = log(&key);
    assert_eq!(verify_with(&key, &Accepted::default(), &[&log]).faults, []);
    assert!(!verify(&[&log]).faults.is_empty());
    assert!(
        !verify_with(&Sealer::with_key(b"another key of some length"), &Accepted::default(), &[&log]).faults.is_empty()
    );
}

/// A generator of numbers below a bound (xorshift); the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("below a usize")
    }
}

fn edit(log: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut text = log.to_vec();
    let mut by_line: Vec<&[u8]> = log.split_inclusive(|byte| *byte == b'\n').collect();
    let (at, line, other) = (numbers.below(text.len()), numbers.below(by_line.len()), numbers.below(by_line.len()));
    match numbers.below(13) {
        0 => text[at] ^= 1 << numbers.below(8),
        1 => text[at] = b"0123456789\n \",}"[numbers.below(15)],
        2 => text.insert(at, b"0a\n {"[numbers.below(5)]),
        3 => drop(text.remove(at)),
        4 => drop(text.drain(at..(at + 1 + numbers.below(600)).min(log.len()))),
        5 => text.truncate(at),
        6 => text = [&text[..at], &text[numbers.below(at + 1)..]].concat(),
        7 => {
            by_line.remove(line);
            text = by_line.concat();
        }
        8 => {
            by_line.swap(line, other);
            text = by_line.concat();
        }
        9 => {
            by_line.insert(other, by_line[line]);
            text = by_line.concat();
        }
        10 => {
            let end = (line + 1 + numbers.below(80)).min(by_line.len());
            by_line.drain(line..end);
            text = by_line.concat();
        }
        11 => {
            by_line.insert(line, b"\n");
            text = by_line.concat();
        }
        _ => text.extend_from_slice(&log[at..]),
    }
    text
}

#[test]
fn every_one_of_1000_random_edits_is_found() {
    let sealer = Sealer::default();
    let log = log(&sealer);
    let last = verify(&[&log]).chains.iter().map(|chain| chain.hash.clone()).collect::<Vec<_>>();
    // As the process's own log had the ends: where the whole log of the last process is removed, nothing else tells.
    let anchors = last.iter().filter_map(|hash| Seal::read(hash.as_bytes())).collect();
    let accepted = Accepted { anchors, ..Accepted::default() };
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut edited = 0;
    while edited < 1000 {
        let other = edit(&log, &mut numbers);
        if other != log {
            edited += 1;
            let verified = verify_with(&sealer, &accepted, &[&other]);
            assert!(!verified.faults.is_empty(), "edit {edited} was not found:\n{}", String::from_utf8_lossy(&other));
        }
    }
}

#[test]
fn a_gap_names_its_line_and_the_records() {
    let log = log(&Sealer::default());
    let mut by_line: Vec<&[u8]> = log.split_inclusive(|byte| *byte == b'\n').collect();
    by_line.drain(10..13);
    let found = faults(&verify(&[&by_line.concat()]));
    assert_eq!(found.len(), 1);
    let chain = &String::from_utf8_lossy(&log)[10..26];
    assert_eq!(
        found[0],
        format!("log.0:11: is record 13 of chain {chain}, where record 10 was expected: records are missing")
    );
}

#[test]
fn a_rotated_log_is_one_chain() {
    let files = [Shared::default(), Shared::default(), Shared::default()];
    let mut writer =
        Writer::start(files[0].clone(), Tail::default(), Sealer::default()).expect("memory can be written");
    for (number, file) in files.iter().enumerate() {
        if number > 0 {
            writer.rotate(file.clone(), Tail::default()).expect("memory can be written");
        }
        writer.write(&lines(number * 5..number * 5 + 5)).expect("memory can be written");
    }
    writer.stop("a test").expect("memory can be written");
    let texts = files.each_ref().map(|file| file.0.borrow().clone());
    let all = texts.each_ref().map(Vec::as_slice);
    assert_eq!(faults(&verify(&all)), [""; 0]);
    assert_eq!(verify(&all[..2]).chains[0].state, State::Rotated);
    let later = Accepted { continues: true, ..Accepted::default() };
    assert_eq!(faults(&verify_with(&Sealer::default(), &later, &all[1..])), [""; 0]);
    for missing in [&all[1..], &[all[0], all[2]], &[all[1], all[0], all[2]]] {
        assert!(!verify(missing).faults.is_empty());
    }
    // The file in the middle is missing, whatever is said of the beginning.
    assert!(!verify_with(&Sealer::default(), &later, &[all[0], all[2]]).faults.is_empty());
}

#[test]
fn what_could_not_be_written_is_recorded() {
    let mut writer = Writer::start(Small::with_room(3000), Tail::default(), Sealer::default()).expect("there is room");
    let results: Vec<bool> = (0..20).map(|number| writer.write(&lines(number * 3..number * 3 + 3)).is_ok()).collect();
    assert!(results.contains(&true) && results.contains(&false));
    writer.file_mut().room = usize::MAX;
    writer.overflowed(4);
    writer.overflowed(7);
    writer.write(&lines(60..61)).expect("there is room");
    writer.stop("a test").expect("there is room");
    let verified = verify(&[&writer.file().bytes]);
    assert_eq!(faults(&verified), [""; 0]);
    // Records beside those that the log writes about itself: its start, one with the losses, its end.
    assert_eq!(verified.records - 3 + verified.lost, 61 + 7);
}

#[test]
fn a_process_that_was_killed_is_accounted_for_by_the_next() {
    let log = log(&Sealer::default());
    let sealer = Sealer::default();
    let cut = &log[..4000];
    let whole = cut.iter().rposition(|byte| *byte == b'\n').expect("there are lines") + 1;
    assert!(faults(&verify(&[&log[..whole]]))[0].contains("has no last record"));
    let last =
        super::chain::Line::read(cut[..whole - 1].rsplit(|byte| *byte == b'\n').next().expect("a line"), &sealer);
    let tail = Tail { last: last.map(|line| line.place.hash), torn: (cut.len() - whole) as u64, is_shared: false };
    let mut next = Writer::start(Vec::new(), tail, sealer).expect("memory can be written");
    next.stop("a test").expect("memory can be written");
    let verified = verify(&[&[cut, next.file().as_slice()].concat()]);
    assert_eq!(faults(&verified), [""; 0]);
    assert!(verified.chains.iter().any(|chain| chain.state == State::Killed));
}

#[test]
fn the_end_of_a_process_cannot_be_cut_off_behind_the_start_of_its_successor() {
    let file = Shared::default();
    let start = |tail| Writer::start(file.clone(), tail, Sealer::default()).expect("memory can be written");
    let mut elder = start(Tail::default());
    elder.write(&lines(0..3)).expect("memory can be written");
    let last = elder.end().map(|end| end.hash);
    let mut younger = start(Tail { last, torn: 0, is_shared: true });
    let kept = file.0.borrow().len();
    elder.write(&lines(3..6)).expect("memory can be written");
    elder.stop("a test").expect("memory can be written");
    let cut = file.0.borrow().len();
    younger.stop("a test").expect("memory can be written");
    let text = file.0.borrow().clone();
    assert_eq!(faults(&verify(&[&text])), [""; 0]);
    let without = [&text[..kept], &text[cut..]].concat();
    assert!(faults(&verify(&[&without]))[0].contains("has no last record"));
}

#[test]
fn a_file_that_continues_cannot_lose_its_beginning() {
    let files = [Shared::default(), Shared::default()];
    let mut writer =
        Writer::start(files[0].clone(), Tail::default(), Sealer::default()).expect("memory can be written");
    writer.rotate(files[1].clone(), Tail::default()).expect("memory can be written");
    writer.write(&lines(0..4)).expect("memory can be written");
    writer.stop("a test").expect("memory can be written");
    let text = files[1].0.borrow().clone();
    let later = Accepted { continues: true, ..Accepted::default() };
    assert_eq!(faults(&verify_with(&Sealer::default(), &later, &[&text])), [""; 0]);
    let begin = text.iter().position(|byte| *byte == b'\n').expect("there are lines") + 1;
    assert!(!verify_with(&Sealer::default(), &later, &[&text[begin..]]).faults.is_empty());
}

#[test]
fn records_without_fields_are_lines_too() {
    let (mut chain, mut out) = (Chain::new(Sealer::default()).expect("random octets"), Vec::new());
    chain.append(b"{}", &mut out);
    assert!(String::from_utf8_lossy(&out).contains("\",\"hash\":"));
    assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok());
}

/// A file with little room.
#[derive(Debug)]
struct Small {
    bytes: Vec<u8>,
    room: usize,
}

impl Small {
    fn with_room(room: usize) -> Self {
        Self { bytes: Vec::new(), room }
    }
}

impl Write for Small {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = bytes.len().min(self.room - self.bytes.len());
        if fits == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(&bytes[..fits]);
        Ok(fits)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is looked at while it is written.
#[derive(Debug, Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
