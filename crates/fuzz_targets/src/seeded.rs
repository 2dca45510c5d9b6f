//! The runner for stable Rust: inputs that follow from a seed, given to a target, until one of them makes it panic.
//!
//! Input `n` of a seed depends on nothing but the corpus, the seed and `n`, so that a failure comes back with these three. The first inputs
//! are the corpus as it is. Other inputs are mutations: bits and octets that change, pieces that are inserted, removed, repeated and joined,
//! with the target's own tokens among them; a few are random octets.

use crate::random::Random;
use crate::target::Target;
use anyhow::{Context, Result};
use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

/// Octets at which parsers decide.
const OCTETS: &[u8] = b"\0\x01\t\n\x0b\r \"#%&'*+,-./0159:;<=>?@AFZ[\\]^_`afnz{|}~\x7f\x80\xbf\xc3\xe9\xfe\xff";

/// Attempts to make a failing input smaller.
const MINIMISATIONS: usize = 5_000;

/// When a run ends.
#[derive(Debug, Clone, Copy)]
pub enum Budget {
    /// After so many inputs.
    Inputs(u64),
    /// After this time.
    Time(Duration),
}

/// A run without failure.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Inputs that were executed.
    pub executions: u64,
    /// Inputs that the target accepted.
    pub accepted: u64,
    /// The time that it took.
    pub time: Duration,
    /// The longest execution, and the number of its input.
    pub slowest: (Duration, u64),
}

/// An input that makes a target panic.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The target's name.
    pub target: &'static str,
    /// The seed.
    pub seed: u64,
    /// The number of the input.
    pub number: u64,
    /// The place and message of the panic.
    pub message: String,
    /// The smallest input that was found to panic at the same place.
    pub input: Vec<u8>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { target, seed, number, message, input } = self;
        let octets = input.len();
        write!(
            f,
            "{target} failed: seed {seed}, input {number}, minimised to {octets} octets\n  {message}\n  input: "
        )?;
        write!(f, "b\"{}\"", input.escape_ascii())
    }
}

/// The folder of the cargo-fuzz project.
fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// The good inputs of a target, by file name: those in `fuzz/corpus/<target>`. For `configuration` also those of `cases/`.
pub fn corpus(target: &Target) -> Result<Vec<Vec<u8>>> {
    let folder = project().join("corpus").join(target.name);
    let mut files = files_below(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    if target.name == "configuration" {
        let cases = files_below(&project().join("../cases")).context("cannot list cases/")?;
        files.extend(cases.into_iter().filter(|file| file.ends_with("in.yaml")));
    }
    let read = |file: &PathBuf| std::fs::read(file).with_context(|| format!("cannot read {}", file.display()));
    files.iter().map(read).collect()
}

fn files_below(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_below(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Executes a target with the inputs of a seed.
pub fn run(
    target: &Target,
    corpus: &[Vec<u8>],
    seed: u64,
    budget: Budget,
) -> std::result::Result<Outcome, Box<Failure>> {
    let start = Instant::now();
    let mut outcome = Outcome { executions: 0, accepted: 0, time: Duration::ZERO, slowest: (Duration::ZERO, 0) };
    loop {
        let number = outcome.executions;
        let is_over = match budget {
            Budget::Inputs(most) => number >= most,
            Budget::Time(most) => outcome.time >= most,
        };
        if is_over {
            return Ok(outcome);
        }
        let accepted = run_one(target, corpus, seed, number)?;
        let before = std::mem::replace(&mut outcome.time, start.elapsed());
        outcome.executions += 1;
        outcome.accepted += u64::from(accepted);
        outcome.slowest = outcome.slowest.max((outcome.time - before, number));
    }
}

/// Executes a target with one input of a seed. Returns whether it was accepted.
pub fn run_one(target: &Target, corpus: &[Vec<u8>], seed: u64, number: u64) -> std::result::Result<bool, Box<Failure>> {
    let input = input(target, corpus, seed, number);
    execute(target, &input).map_err(|panicked| {
        let (input, message) = minimise(target, input, panicked);
        Box::new(Failure { target: target.name, seed, number, message, input })
    })
}

/// Writes a failing input to `fuzz/artifacts/<target>/`, where cargo-fuzz has its own. Returns the path.
pub fn save(failure: &Failure) -> Result<PathBuf> {
    let folder = project().join("artifacts").join(failure.target);
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(format!("seed-{}-input-{}", failure.seed, failure.number));
    std::fs::write(&file, &failure.input)?;
    Ok(file)
}

/// A panic of a target.
#[derive(Debug, Clone)]
struct Panicked {
    place: String,
    message: String,
}

thread_local! {
    static EXECUTES: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<Panicked>> = const { RefCell::new(None) };
}

fn execute(target: &Target, input: &[u8]) -> std::result::Result<bool, Panicked> {
    static HOOK: Once = Once::new();
    // Panics of targets are kept, not printed: minimisation makes hundreds of them.
    HOOK.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !EXECUTES.get() {
                return others(info);
            }
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let message = info.payload_as_str().unwrap_or("a panic without a message").to_owned();
            LAST.set(Some(Panicked { place, message }));
        }));
    });
    EXECUTES.set(true);
    let result = std::panic::catch_unwind(|| (target.run)(input));
    EXECUTES.set(false);
    result.map_err(|_| LAST.take().unwrap_or(Panicked { place: String::new(), message: String::new() }))
}

/// The smallest input that is found by leaving out pieces of ever smaller size, with the message of its panic.
fn minimise(target: &Target, mut input: Vec<u8>, mut panicked: Panicked) -> (Vec<u8>, String) {
    let mut left = MINIMISATIONS;
    let mut size = input.len().div_ceil(2);
    while size > 0 && left > 0 {
        let (mut at, mut shrunk) = (0, false);
        while at < input.len() && left > 0 {
            let mut smaller = input.clone();
            smaller.drain(at..(at + size).min(input.len()));
            left -= 1;
            match execute(target, &smaller) {
                Err(other) if other.place == panicked.place => (input, panicked, shrunk) = (smaller, other, true),
                _ => at += size,
            }
        }
        if !shrunk || size > 1 {
            size /= 2;
        }
    }
    (input, format!("{}: {}", panicked.place, panicked.message))
}

/// Input `number` of a seed.
fn input(target: &Target, corpus: &[Vec<u8>], seed: u64, number: u64) -> Vec<u8> {
    if let Some(good) = usize::try_from(number).ok().and_then(|number| corpus.get(number)) {
        return good.clone();
    }
    let mut random = Random::new(seed);
    let mut random = Random::new(random.next() ^ number.wrapping_mul(0xd134_2543_de82_ef95));
    let mut input = match random.below(24) {
        0 => (0..random.below(64)).map(|_| low(random.next())).collect(),
        1 => (0..random.below(12)).flat_map(|_| token(target, &mut random).to_vec()).collect(),
        _ => corpus.get(random.below(corpus.len())).cloned().unwrap_or_default(),
    };
    let most = 1 << random.below(5);
    for _ in 0..=random.below(most) {
        mutate(&mut input, target, corpus, &mut random);
    }
    input.truncate(target.longest);
    input
}

fn low(number: u64) -> u8 {
    number.to_le_bytes().first().copied().unwrap_or_default()
}

fn token(target: &Target, random: &mut Random) -> &'static [u8] {
    random.pick(target.tokens).unwrap_or(b"\r\n")
}

/// A range of an input, of up to `most` octets.
fn range(length: usize, most: usize, random: &mut Random) -> std::ops::Range<usize> {
    let start = random.below(length + 1);
    start..(start + random.below(most + 1)).min(length)
}

/// The range of one of the lines, its end included.
fn line(input: &[u8], random: &mut Random) -> std::ops::Range<usize> {
    let at = random.below(input.len() + 1);
    let before = input.get(..at).unwrap_or_default();
    let start = before.iter().rposition(|octet| *octet == b'\n').map_or(0, |end| end + 1);
    let behind = input.get(at..).unwrap_or_default();
    start..behind.iter().position(|octet| *octet == b'\n').map_or(input.len(), |end| at + end + 1)
}

fn mutate(input: &mut Vec<u8>, target: &Target, corpus: &[Vec<u8>], random: &mut Random) {
    let length = input.len();
    let at = random.below(length + 1);
    let other = corpus.get(random.below(corpus.len())).map(Vec::as_slice).unwrap_or_default();
    match random.below(16) {
        0 => {
            if let Some(octet) = input.get_mut(at) {
                *octet ^= 1 << random.below(8);
            }
        }
        1 => {
            if let Some(octet) = input.get_mut(at) {
                *octet = random.pick(OCTETS).unwrap_or_default();
            }
        }
        2 => {
            if let Some(octet) = input.get_mut(at) {
                *octet = octet.wrapping_add(random.pick(&[1, 255, 16, 128]).unwrap_or(1));
            }
        }
        3 => input.insert(at, random.pick(OCTETS).unwrap_or_default()),
        4 | 5 => drop(input.splice(at..at, token(target, random).iter().copied())),
        6 => {
            let end = (at + token(target, random).len()).min(length);
            drop(input.splice(at..end, token(target, random).iter().copied()));
        }
        7 => drop(input.drain(range(length, 16, random))),
        8 => {
            let piece = input.get(range(length, 32, random)).unwrap_or_default().to_vec();
            drop(input.splice(at..at, piece));
        }
        9 => input.truncate(at),
        10 => {
            // One octet again and again.
            let octet = input.get(at).copied().unwrap_or(b'a');
            let count = 1 << random.below(9);
            drop(input.splice(at..at, std::iter::repeat_n(octet, count)));
        }
        11 => {
            let behind = other.get(random.below(other.len() + 1)..).unwrap_or_default();
            input.truncate(at);
            input.extend_from_slice(behind);
        }
        12 => {
            let piece = other.get(range(other.len(), 64, random)).unwrap_or_default();
            drop(input.splice(at..at, piece.iter().copied()));
        }
        13 => {
            let of = if random.one_in(2) { input.clone() } else { other.to_vec() };
            let piece = of.get(line(&of, random)).unwrap_or_default().to_vec();
            let place = line(input, random).start;
            drop(input.splice(place..place, piece));
        }
        14 => drop(input.drain(line(input, random))),
        _ => {
            // Another number, with digits of its own.
            let digit = input.iter().skip(at).position(u8::is_ascii_digit).map(|found| at + found);
            let numbers: [&[u8]; 9] =
                [b"0", b"1", b"-1", b"65535", b"65536", b"4294967296", b"1e9", b"0.5", b"99999999999999999999"];
            if let Some(start) = digit {
                let digits = input.iter().skip(start).take_while(|octet| octet.is_ascii_digit()).count();
                drop(input.splice(start..start + digits, random.pick(&numbers).unwrap_or_default().iter().copied()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILING: Target = Target {
        name: "failing",
        run: |data| {
            assert!(!data.windows(2).any(|two| two == b"ab"), "the input has `ab`");
            true
        },
        tokens: &[b"a"],
        longest: 100,
    };

    #[test]
    fn a_failure_is_found_again_by_its_number_and_is_minimised() {
        let corpus = [b"a good input with b".to_vec()];
        let failure = run(&FAILING, &corpus, 3, Budget::Inputs(100_000)).unwrap_err();
        assert_eq!(failure.input, b"ab");
        assert!(failure.message.ends_with("the input has `ab`"), "{}", failure.message);
        let again = run_one(&FAILING, &corpus, 3, failure.number).unwrap_err();
        assert_eq!(again.input, failure.input);
        assert!(failure.to_string().ends_with("input: b\"ab\""), "{failure}");
    }

    #[test]
    fn inputs_follow_from_the_seed_and_begin_with_the_corpus() {
        let corpus = [b"one".to_vec(), b"two\nlines".to_vec()];
        let inputs = |seed| (0..200).map(|number| input(&FAILING, &corpus, seed, number)).collect::<Vec<_>>();
        assert_eq!(inputs(1), inputs(1));
        assert_eq!(inputs(1)[..2], corpus);
        assert_ne!(inputs(1)[2..], inputs(2)[2..]);
        let mut different = inputs(1);
        different.sort();
        different.dedup();
        assert!(different.len() > 150, "{}", different.len());
        assert!(different.iter().all(|input| input.len() <= FAILING.longest));
    }
}
