//! What the header blocks of an endpoint have that the library drops in silence: pseudo-header fields of requests in answers (`h2` 0.4.20,
//! `client.rs`, `Peer::convert_poll_message`), and any of them in trailers (`proto/streams/recv.rs`, `recv_trailers`). RFC 9113 §8.1 has
//! such messages malformed.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

/// Marks that are kept; the oldest goes first. Those of streams that were given up before their answer came are never forgotten otherwise.
const MOST: usize = 256;

/// Header blocks that an endpoint may send beyond those that requests have earned, and those that each earns: an answer has one, perhaps
/// trailers, and interim responses. The library takes any number on a stream that was reset.
const BLOCKS: u32 = 10_000;
const EARNED_BY_REQUEST: u32 = 10;

/// What is to be known of a stream's header blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// One has pseudo-header fields that are none of an answer.
    Malformed,
    /// The one that ends the stream has a status: it is an answer without a body, or trailers that are malformed.
    EndsWithStatus,
}

/// The marks of one connection, and how many more header blocks may come on it.
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
    /// Those of one stream, which has begun.
    pub fn of(self: &Rc<Self>, stream: u32) -> StreamMarks {
        self.blocks.set((self.blocks.get() + EARNED_BY_REQUEST).min(BLOCKS));
        StreamMarks { marks: Rc::clone(self), stream }
    }

    /// Counts a header block; false where there are too many.
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

    /// Forgets a stream that is over.
    pub(super) fn forget(&self, stream: u32) {
        self.marks.borrow_mut().retain(|(marked, _)| *marked != stream);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.marks.borrow().len()
    }
}

/// The marks of one stream; they are forgotten with it.
#[derive(Debug)]
pub struct StreamMarks {
    marks: Rc<Marks>,
    stream: u32,
}

impl StreamMarks {
    /// Whether a header block has fields that none of an answer may have.
    pub fn is_malformed(&self) -> bool {
        self.marks.has(self.stream, Mark::Malformed)
    }

    /// Whether the header block that ended the stream has a status, which trailers may not.
    pub fn ends_with_status(&self) -> bool {
        self.marks.has(self.stream, Mark::EndsWithStatus)
    }
}

impl Drop for StreamMarks {
    fn drop(&mut self) {
        self.marks.forget(self.stream);
    }
}
