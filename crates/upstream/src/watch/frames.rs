//! Frames as they pass (RFC 9113 §4.1): the headers of frames, and the header blocks.

use super::marks::{Mark, Marks};
use std::rc::Rc;
use std::time::Duration;
use wire::h2::{BlockScan, PseudoFields};

const HEADER: usize = 9;
/// The length of the connection preface (RFC 9113 §3.4).
const PREFACE: usize = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
/// The cheap frames that a DATA frame earns, and a HEADERS frame.
const EARNED_BY_DATA: u32 = 4;
const EARNED_BY_HEAD: u32 = 16;
/// Octets sent to the peer that earn one more cheap frame: a peer that receives a body has to send window updates.
const SENT_FOR_ONE: usize = 512;

/// Bounds of what is accepted from a peer.
#[derive(Debug, Clone, Copy)]
pub struct FrameBounds {
    /// The most cheap frames (those that carry no message) in a row; messages earn further ones.
    pub cheap_frames: u32,
    /// From the first octet of a header block until it is complete; `None` is any time.
    pub section_timeout: Option<Duration>,
}

impl Default for FrameBounds {
    fn default() -> Self {
        Self { cheap_frames: 10_000, section_timeout: Some(Duration::from_secs(60)) }
    }
}

/// The position within the frames, and the number of further cheap ones that are accepted.
#[derive(Debug)]
pub(super) struct Frames {
    /// Octets of the preface that are not read yet.
    preface: usize,
    header: [u8; HEADER],
    filled: usize,
    /// Octets of the frame's content that are not read yet.
    content: usize,
    /// Whether the content is that of a body.
    is_data: bool,
    /// Whether CONTINUATION has to follow.
    is_open: bool,
    /// Octets that were sent, and have not earned a cheap frame yet.
    sent: usize,
    room: u32,
    most: u32,
    blocks: Box<Blocks>,
    peer: Peer,
}

/// The sender of the frames, and where its header blocks are reported.
#[derive(Debug)]
enum Peer {
    Client(Trailers),
    Endpoint(Rc<Marks>),
}

/// The receiver of reports about a client's trailers, which the library holds, decoded, until the body before them is read.
pub trait TrailerObserver: std::fmt::Debug {
    /// A frame with `octets` of a stream's trailers begins.
    fn begin_frame(&self, stream: u32, octets: usize);

    /// The trailers of a stream have pseudo-header fields, which makes the request malformed (RFC 9113 §8.1). The library drops such fields
    /// silently.
    fn mark_malformed(&self, stream: u32);
}

/// Which header blocks of a client are trailers.
#[derive(Debug)]
struct Trailers {
    observer: Rc<dyn TrailerObserver>,
    /// The highest stream so far.
    last: u32,
    /// The stream of the current header block, if that is trailers.
    stream: Option<u32>,
}

impl Trailers {
    fn begin_frame(&mut self, kind: u8, stream: u32, octets: usize) {
        if kind == HEADERS {
            self.stream = (stream <= self.last).then_some(stream);
            self.last = self.last.max(stream);
        }
        if let (HEADERS | CONTINUATION, Some(stream)) = (kind, self.stream) {
            self.observer.begin_frame(stream, octets);
        }
    }
}

/// What was read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passed {
    /// Octets of frames with header blocks.
    pub(super) block_octets: usize,
    /// Whether a frame was completed, and with it its header block.
    pub(super) section_ended: bool,
}

/// The header blocks of a connection.
#[derive(Debug, Default)]
struct Blocks {
    scan: BlockScan,
    stream: u32,
    ends_stream: bool,
    /// Octets before the block in its frame, and padding after it.
    before: usize,
    padding: usize,
    /// Whether the length of the padding is not read yet.
    padded: bool,
    /// Whether the content of the frame is a part of a block.
    within: bool,
}

impl Frames {
    pub(super) fn of_client(bounds: &FrameBounds, observer: Rc<dyn TrailerObserver>) -> Self {
        Self::new(bounds, PREFACE, Peer::Client(Trailers { observer, last: 0, stream: None }))
    }

    pub(super) fn of_endpoint(bounds: &FrameBounds, marks: &Rc<Marks>) -> Self {
        Self::new(bounds, 0, Peer::Endpoint(Rc::clone(marks)))
    }

    fn new(bounds: &FrameBounds, preface: usize, peer: Peer) -> Self {
        Self {
            preface,
            header: [0; HEADER],
            filled: 0,
            content: 0,
            is_data: false,
            is_open: false,
            sent: 0,
            room: bounds.cheap_frames,
            most: bounds.cheap_frames,
            blocks: Box::default(),
            peer,
        }
    }

    /// Whether a frame or a header block is incomplete, for which there is a timeout. Bodies have none here, and the preface has its own.
    pub(super) fn is_within_section(&self) -> bool {
        self.filled > 0 || self.is_open || (self.content > 0 && !self.is_data)
    }

    /// Counts what was sent to the peer.
    pub(super) fn wrote(&mut self, octets: usize) {
        self.sent += octets;
        if self.sent >= SENT_FOR_ONE {
            let earned = u32::try_from(self.sent / SENT_FOR_ONE).unwrap_or(u32::MAX);
            self.sent %= SENT_FOR_ONE;
            self.room = self.room.saturating_add(earned).min(self.most);
        }
    }

    /// Inspects octets that were read; an error says what the peer sent too much of.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) -> Result<Passed, &'static str> {
        let mut passed = Passed::default();
        let of_preface = self.preface.min(bytes.len());
        self.preface -= of_preface;
        bytes = bytes.get(of_preface..).unwrap_or_default();
        while !bytes.is_empty() {
            let (content, rest) = bytes.split_at(self.content.min(bytes.len()));
            if !content.is_empty() {
                self.take_content(content, &mut passed);
            }
            let (header, rest) = rest.split_at((HEADER - self.filled).min(rest.len()));
            if let Some(place) = self.header.get_mut(self.filled..self.filled + header.len()) {
                place.copy_from_slice(header);
            }
            self.filled += header.len();
            bytes = rest;
            if self.filled == HEADER {
                self.begin_frame()?;
                if self.content == 0 {
                    self.end_frame(&mut passed);
                }
            }
        }
        Ok(passed)
    }

    fn take_content(&mut self, octets: &[u8], passed: &mut Passed) {
        self.content -= octets.len();
        if self.blocks.within {
            passed.block_octets += octets.len();
            self.blocks.take(octets, self.content);
        }
        if self.content == 0 {
            self.end_frame(passed);
        }
    }

    /// Counts a frame by its header.
    fn begin_frame(&mut self) -> Result<(), &'static str> {
        let [high, middle, low, kind, flags, stream @ ..] = self.header;
        self.filled = 0;
        self.content = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.is_data = kind == DATA;
        self.is_open = matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS == 0;
        let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
        match &mut self.peer {
            Peer::Client(trailers) => trailers.begin_frame(kind, stream, self.content),
            Peer::Endpoint(marks) if kind == HEADERS && !marks.count_block() => return Err("too many header blocks"),
            Peer::Endpoint(_) => {}
        }
        self.blocks.begin_frame(kind, flags, stream);
        let earned = match kind {
            DATA if self.content > 0 => EARNED_BY_DATA,
            HEADERS => EARNED_BY_HEAD,
            CONTINUATION if self.content > 0 => 0,
            _ => {
                self.room = self.room.checked_sub(1).ok_or("too many frames that ask for nothing")?;
                return Ok(());
            }
        };
        self.room = self.room.saturating_add(earned).min(self.most);
        Ok(())
    }

    fn end_frame(&mut self, passed: &mut Passed) {
        passed.section_ended |= !self.is_open;
        if !self.blocks.within {
            return;
        }
        passed.block_octets += HEADER;
        if !self.is_open {
            let found = self.blocks.scan.end();
            self.peer.report(&self.blocks, found);
        }
    }
}

impl Peer {
    /// Reports a complete header block with these pseudo-header fields.
    fn report(&self, block: &Blocks, found: PseudoFields) {
        match self {
            Self::Client(trailers) if found.status || found.other => {
                if let Some(stream) = trailers.stream {
                    trailers.observer.mark_malformed(stream);
                }
            }
            Self::Endpoint(marks) if found.other => marks.put(block.stream, Mark::Malformed),
            Self::Endpoint(marks) if found.status && block.ends_stream => marks.put(block.stream, Mark::EndsWithStatus),
            Self::Client(_) | Self::Endpoint(_) => {}
        }
    }
}

impl Blocks {
    fn begin_frame(&mut self, kind: u8, flags: u8, stream: u32) {
        self.within = matches!(kind, HEADERS | CONTINUATION);
        (self.padded, self.before, self.padding) = (false, 0, 0);
        if kind == HEADERS {
            self.padded = flags & PADDED != 0;
            self.before = if flags & PRIORITY == 0 { 0 } else { 5 };
            (self.stream, self.ends_stream) = (stream, flags & END_STREAM != 0);
            self.scan.begin();
        }
    }

    /// Takes content of a frame; `left` octets of the frame follow.
    fn take(&mut self, mut octets: &[u8], left: usize) {
        if let (true, Some((length, rest))) = (self.padded, octets.split_first()) {
            (self.padded, self.padding, octets) = (false, usize::from(*length), rest);
        }
        let skipped = self.before.min(octets.len());
        self.before -= skipped;
        octets = octets.get(skipped..).unwrap_or_default();
        let padding = self.padding.saturating_sub(left).min(octets.len());
        self.scan.take(octets.get(..octets.len() - padding).unwrap_or_default());
    }
}
