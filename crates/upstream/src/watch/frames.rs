//! Frames as they pass (RFC 9113 §4.1): headers of frames in full, and of contents only what is looked at.

use super::marks::{Mark, Marks};
use std::rc::Rc;
use std::time::Duration;
use wire::h2::BlockScan;

const HEADER: usize = 9;
/// What begins every connection of HTTP/2 (RFC 9113 §3.4).
const PREFACE: usize = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
/// What a frame of a body earns, and one that begins a message.
const EARNED_BY_DATA: u32 = 4;
const EARNED_BY_HEAD: u32 = 16;
/// Octets that are sent to the peer for one more cheap frame: whoever takes a body has to send window updates.
const SENT_FOR_ONE: usize = 512;

/// What is taken of a peer.
#[derive(Debug, Clone, Copy)]
pub struct FrameBounds {
    /// Frames that ask for nothing: so many in a row are taken, and messages make room for further ones.
    pub cheap_frames: u32,
    /// From the first octet of a header block until it is complete; `None` is any time.
    pub section_timeout: Option<Duration>,
}

impl Default for FrameBounds {
    fn default() -> Self {
        Self { cheap_frames: 10_000, section_timeout: Some(Duration::from_secs(60)) }
    }
}

/// Where in the frames the reading is, and how many more cheap ones there may be.
#[derive(Debug)]
pub(super) struct Frames {
    /// Octets of the preface that are still to come.
    preface: usize,
    header: [u8; HEADER],
    filled: usize,
    /// Octets of the frame's content that are still to come.
    content: usize,
    /// Whether the content that is to come is that of a body.
    is_data: bool,
    /// Whether CONTINUATION has to follow.
    is_open: bool,
    /// Octets that were sent and have earned nothing yet.
    sent: usize,
    room: u32,
    most: u32,
    /// For connections to endpoints.
    blocks: Option<Box<Blocks>>,
    /// For connections of clients.
    trailers: Option<Trailers>,
}

/// Whoever is told of a client's trailers: the library holds them, decoded, until the body before them is read.
pub trait Trailing: std::fmt::Debug {
    /// So many octets of a header block come that is not the first of its stream.
    fn came(&self, stream: u32, octets: usize);
}

/// Which header blocks of a client are trailers.
#[derive(Debug)]
struct Trailers {
    told: Rc<dyn Trailing>,
    /// The last stream that was begun, and the one whose trailers are coming.
    last: u32,
    stream: Option<u32>,
}

impl Trailers {
    fn begin_frame(&mut self, kind: u8, stream: u32, octets: usize) {
        if kind == HEADERS {
            self.stream = (stream <= self.last).then_some(stream);
            self.last = self.last.max(stream);
        }
        if let (HEADERS | CONTINUATION, Some(stream)) = (kind, self.stream) {
            self.told.came(stream, octets);
        }
    }
}

/// What passed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passed {
    /// Octets of frames with header blocks.
    pub(super) block_octets: usize,
    /// Whether a frame came to its end, and with it the header block that it belongs to.
    pub(super) section_ended: bool,
}

/// The header blocks of an endpoint.
#[derive(Debug)]
struct Blocks {
    scan: BlockScan,
    marks: Rc<Marks>,
    stream: u32,
    ends_stream: bool,
    /// Octets before the block in its frame, and padding behind it.
    before: usize,
    padding: usize,
    /// Whether the length of the padding is still to come.
    padded: bool,
    /// Whether the content that is to come is a part of a block.
    within: bool,
}

impl Frames {
    pub(super) fn of_client(bounds: &FrameBounds, told: Rc<dyn Trailing>) -> Self {
        let trailers = Some(Trailers { told, last: 0, stream: None });
        Self { trailers, ..Self::new(bounds, PREFACE, None) }
    }

    pub(super) fn of_endpoint(bounds: &FrameBounds, marks: &Rc<Marks>) -> Self {
        let blocks = Blocks {
            scan: BlockScan::default(),
            marks: Rc::clone(marks),
            stream: 0,
            ends_stream: false,
            before: 0,
            padding: 0,
            padded: false,
            within: false,
        };
        Self::new(bounds, 0, Some(Box::new(blocks)))
    }

    fn new(bounds: &FrameBounds, preface: usize, blocks: Option<Box<Blocks>>) -> Self {
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
            blocks,
            trailers: None,
        }
    }

    /// Whether something is there in part that has to come to its end soon: all but bodies, and the preface, which has a time of its own.
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

    /// Looks at what was read; an error says what the peer has sent too much of.
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
        if let Some(blocks) = self.blocks.as_mut().filter(|blocks| blocks.within) {
            passed.block_octets += octets.len();
            blocks.take(octets, self.content);
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
        if let Some(trailers) = &mut self.trailers {
            trailers.begin_frame(kind, stream, self.content);
        }
        if let Some(blocks) = &mut self.blocks {
            if kind == HEADERS && !blocks.marks.count_block() {
                return Err("too many header blocks");
            }
            blocks.begin_frame(kind, flags, stream);
        }
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
        match &mut self.blocks {
            Some(blocks) if blocks.within => {
                passed.block_octets += HEADER;
                if !self.is_open {
                    blocks.end();
                }
            }
            _ => {}
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

    /// Takes content of which so much is `left` behind it.
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

    fn end(&mut self) {
        let found = self.scan.end();
        if found.other {
            self.marks.put(self.stream, Mark::Malformed);
        } else if found.status && self.ends_stream {
            self.marks.put(self.stream, Mark::EndsWithStatus);
        }
    }
}
