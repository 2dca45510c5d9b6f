//! Marks of streams whose responses are malformed by RFC 9113 §8.1 because of pseudo-header fields that the library drops silently: those of
//! requests in responses (`h2` 0.4.20, `client.rs`, `Peer::convert_poll_message`), and any of them in trailers (`proto/streams/recv.rs`,
//! `recv_trailers`).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

/// The most marks that are kept; the oldest is dropped first. Marks of streams that were abandoned before their response are dropped only so.
const MOST: usize = 256;

/// Header blocks that an endpoint may send besides those that requests earn, and those that each request earns: a response has one, perhaps
/// trailers, and interim responses. The library accepts any number on a stream that was reset.
const BLOCKS: u32 = 10_000;
const EARNED_BY_REQUEST: u32 = 10;

/// A finding in the header blocks of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// One has pseudo-header fields that responses do not have.
    Malformed,
    /// The block that ends the stream has a status: it is a response without a body, or malformed trailers.
    EndsWithStatus,
}

/// The marks of one connection, and the number of further header blocks that are accepted on it.
#[derive(Debug)]
pub struct Marks {
    marks: RefCell<VecDeque<(u32, Mark)>>,
    blocks: Cell<u32>,
}

impl Default for Marks {
    fn default() -> Self {
        Self { marks: RefCell::default(), blocks: Cell::new(BLOCKS) }
    }
}

impl Marks {
    /// The marks of a new stream.
    pub fn of(self: &Rc<Self>, stream: u32) -> StreamMarks {
        self.blocks.set((self.blocks.get() + EARNED_BY_REQUEST).min(BLOCKS));
        StreamMarks { marks: Rc::clone(self), stream }
    }

    /// Counts a header block; `false` at the limit.
    pub(super) fn count_block(&self) -> bool {
        let left = self.blocks.get().checked_sub(1);
        self.blocks.set(left.unwrap_or(0));
        left.is_some()
    }

    /// Marks a stream.
    pub(super) fn put(&self, stream: u32, mark: Mark) {
        let mut marks = self.marks.borrow_mut();
        if marks.len() >= MOST {
            marks.pop_front();
        }
        marks.push_back((stream, mark));
    }

    /// Whether a stream has a mark.
    pub(super) fn has(&self, stream: u32, mark: Mark) -> bool {
        self.marks.borrow().contains(&(stream, mark))
    }

    /// Drops the marks of a stream.
    pub(super) fn forget(&self, stream: u32) {
        self.marks.borrow_mut().retain(|(marked, _)| *marked != stream);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.marks.borrow().len()
    }
}

/// The marks of one stream, dropped with it.
#[derive(Debug)]
pub struct StreamMarks {
    marks: Rc<Marks>,
    stream: u32,
}

impl StreamMarks {
    /// Whether a header block has pseudo-header fields that responses do not have.
    pub fn is_malformed(&self) -> bool {
        self.marks.has(self.stream, Mark::Malformed)
    }

    /// Whether the header block that ended the stream has a status, which trailers may not have.
    pub fn ends_with_status(&self) -> bool {
        self.marks.has(self.stream, Mark::EndsWithStatus)
    }
}

impl Drop for StreamMarks {
    fn drop(&mut self) {
        self.marks.forget(self.stream);
    }
}
