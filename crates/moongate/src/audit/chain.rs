//! The hash chain of the decision log: every line names the line before it by its seal, so that a change, a gap or another order is found.
//!
//! A line is a JSON object: `{"chain":"…","seq":N,"prev":"…",…fields of the record…,"hash":"…"}`. `hash` seals every octet of the line before
//! `,"hash":`, and `prev` is the `hash` of the record before it in the same chain. Each process writes a chain of its own, which begins with
//! the record 0; two processes may write to one file at the same time.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::{hmac, rand};
use std::fmt;
use std::io::Write as _;

/// Octets of a seal.
const SEAL: usize = 32;
/// Octets of the identifier of a chain.
const ID: usize = 8;

/// What seals lines: SHA-256, or HMAC-SHA256 with a key, which nobody without the key can make anew.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sealer(Option<hmac::Key>);

/// The seal of a line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Seal([u8; SEAL]);

/// The identifier of a chain.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ChainId([u8; ID]);

/// A record's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChainPosition {
    pub(crate) chain: ChainId,
    /// The number of the record in its chain, from 0.
    pub(crate) seq: u64,
    /// The seal of the record.
    pub(crate) hash: Seal,
}

/// A chain that grows.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    id: ChainId,
    next: u64,
    last: Seal,
    sealer: Sealer,
}

/// An end of a chain that grows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mark {
    next: u64,
    last: Seal,
}

/// A line, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) place: ChainPosition,
    /// The seal that the line gives for the record before it.
    pub(crate) prev: Seal,
    /// Whether the seal is that of the line.
    pub(crate) is_sealed: bool,
}

impl Sealer {
    /// A sealer with a key.
    pub(crate) fn with_key(key: &[u8]) -> Self {
        Self(Some(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }

    fn seal(&self, text: &[u8]) -> Seal {
        let mut seal = Seal::default();
        let made = |made: &[u8], seal: &mut Seal| seal.0.copy_from_slice(made);
        match &self.0 {
            Some(key) => made(hmac::sign(key, text).as_ref(), &mut seal),
            None => made(digest(&SHA256, text).as_ref(), &mut seal),
        }
        seal
    }
}

impl Chain {
    /// A new chain, with a random identifier.
    ///
    /// # Errors
    ///
    /// The system has no random octets.
    pub(crate) fn new(sealer: Sealer) -> std::io::Result<Self> {
        let mut id = [0; ID];
        rand::fill(&mut id).map_err(|_| std::io::Error::other("the system gives no random octets"))?;
        Ok(Self { id: ChainId(id), next: 0, last: Seal::default(), sealer })
    }

    /// Appends a record, a JSON object without a line break, as a line to `out`.
    pub(crate) fn append(&mut self, record: &[u8], out: &mut Vec<u8>) {
        let fields = record.strip_prefix(b"{").and_then(|record| record.strip_suffix(b"}")).unwrap_or_default();
        let from = out.len();
        // Writing to memory does not fail.
        let _ = write!(out, r#"{{"chain":"{}","seq":{},"prev":"{}""#, self.id, self.next, self.last);
        if !fields.is_empty() {
            out.push(b',');
            out.extend_from_slice(fields);
        }
        self.last = self.sealer.seal(out.get(from..).unwrap_or_default());
        self.next += 1;
        let _ = writeln!(out, r#","hash":"{}"}}"#, self.last);
    }

    /// The present end, for [`Self::rewind`].
    pub(crate) fn mark(&self) -> Mark {
        Mark { next: self.next, last: self.last }
    }

    /// Forgets the records behind a mark, which were not written.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        (self.next, self.last) = (mark.next, mark.last);
    }

    /// Where the chain ends; `None` before its first record.
    pub(crate) fn end(&self) -> Option<ChainPosition> {
        let seq = self.next.checked_sub(1)?;
        Some(ChainPosition { chain: self.id, seq, hash: self.last })
    }
}

impl Line {
    /// Reads a line without its line break; `None` for what is no line of a chain.
    pub(crate) fn read(line: &[u8], sealer: &Sealer) -> Option<Self> {
        let (sealed, hash) = split_at_last(line, br#","hash":""#)?;
        let hash = Seal::read(hash.strip_suffix(br#""}"#)?)?;
        let rest = sealed.strip_prefix(br#"{"chain":""#)?;
        let (chain, rest) = rest.split_at_checked(2 * ID)?;
        let rest = rest.strip_prefix(br#"","seq":"#)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (seq, rest) = rest.split_at_checked(digits)?;
        let (prev, _) = rest.strip_prefix(br#","prev":""#)?.split_at_checked(2 * SEAL)?;
        let place =
            ChainPosition { chain: ChainId(read_hex(chain)?), seq: std::str::from_utf8(seq).ok()?.parse().ok()?, hash };
        Some(Self { place, prev: Seal::read(prev)?, is_sealed: sealer.seal(sealed) == hash })
    }
}

impl Seal {
    /// Reads 64 hexadecimal digits in lower case.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        read_hex(text).map(Self)
    }
}

fn split_at_last<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(mark.len()).rposition(|window| window == mark)?;
    Some((text.get(..at)?, text.get(at + mark.len()..)?))
}

/// Only lower case is read: there is one way to write a line.
fn read_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    let octets: Vec<u8> =
        pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect::<Option<_>>()?;
    octets.try_into().ok()
}

fn write_hex(octets: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
}

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}
