//! Buffers that hold memory only while they hold data, and the worker's free list of that memory.

use crate::limits::{BUFFER, KEPT_BUFFERS, LARGE_BUFFER};
use std::cell::RefCell;
use std::rc::Rc;

/// The worker's unused buffer memory.
#[derive(Debug, Default)]
pub(super) struct Memory {
    small: RefCell<Vec<Vec<u8>>>,
    large: RefCell<Vec<Vec<u8>>>,
}

impl Memory {
    fn take(&self, large: bool) -> Vec<u8> {
        let (kept, size) = if large { (&self.large, LARGE_BUFFER) } else { (&self.small, BUFFER) };
        kept.borrow_mut().pop().unwrap_or_else(|| vec![0; size])
    }

    fn give_back(&self, bytes: Vec<u8>) {
        let kept = match bytes.len() {
            BUFFER => &self.small,
            LARGE_BUFFER => &self.large,
            _ => return,
        };
        let mut kept = kept.borrow_mut();
        if kept.len() < KEPT_BUFFERS {
            kept.push(bytes);
        }
    }
}

/// Octets that were read and not consumed.
#[derive(Debug)]
pub(crate) struct Buffer {
    memory: Rc<Memory>,
    /// Its length is the capacity of the buffer.
    bytes: Vec<u8>,
    /// Whether the memory is borrowed from the caller.
    lent: bool,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(super) fn new(memory: &Rc<Memory>) -> Self {
        Self { memory: Rc::clone(memory), bytes: Vec::new(), lent: false, start: 0, end: 0 }
    }

    /// Holds bytes in the memory that they have, until [`Self::take_back`].
    pub(crate) fn lend(&mut self, bytes: Vec<u8>) {
        self.release();
        (self.start, self.end, self.lent) = (0, bytes.len(), !bytes.is_empty());
        self.bytes = bytes;
    }

    /// The lent memory; empty if it was replaced by a larger buffer.
    pub(crate) fn take_back(&mut self) -> Vec<u8> {
        if !std::mem::take(&mut self.lent) {
            return Vec::new();
        }
        (self.start, self.end) = (0, 0);
        std::mem::take(&mut self.bytes)
    }

    /// What is there.
    pub(crate) fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Removes octets from the front.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Free space to read into, after the data. The data moves to the front when that space gets small.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = self.memory.take(false);
        }
        if self.lent && self.filled().len() < BUFFER {
            // There may be no room in memory that has the size of what it holds.
            let lent = std::mem::replace(&mut self.bytes, self.memory.take(false));
            let (start, end) = (self.start, self.end);
            (self.lent, self.start, self.end) = (false, 0, 0);
            self.append(lent.get(start..end).unwrap_or_default());
        }
        if self.start > 0 && self.bytes.len() - self.end < self.bytes.len() / 2 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// Adds octets that were read into the free space.
    pub(crate) fn fill(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// Makes room for heads or bodies that do not fit.
    pub(crate) fn grow(&mut self) {
        if self.bytes.len() < LARGE_BUFFER {
            let mut larger = self.memory.take(true);
            let length = self.end - self.start;
            if let (Some(to), Some(from)) = (larger.get_mut(..length), self.bytes.get(self.start..self.end)) {
                to.copy_from_slice(from);
            }
            let before = std::mem::replace(&mut self.bytes, larger);
            if !std::mem::take(&mut self.lent) {
                self.memory.give_back(before);
            }
            (self.start, self.end) = (0, length);
        }
    }

    /// Whether there is no room left.
    pub(crate) fn is_full(&self) -> bool {
        self.start == 0 && self.end == self.bytes.len() && !self.bytes.is_empty()
    }

    /// Whether so many further bytes can be appended.
    pub(crate) fn fits(&self, more: usize) -> bool {
        self.end - self.start + more <= LARGE_BUFFER
    }

    /// Appends bytes that were read elsewhere; they fit, as no buffer is larger than another can become.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        while self.room().len() < bytes.len() && self.bytes.len() < LARGE_BUFFER {
            self.grow();
        }
        self.room();
        self.append(bytes);
    }

    /// Appends what fits.
    fn append(&mut self, bytes: &[u8]) {
        let room = self.bytes.get_mut(self.end..).unwrap_or_default();
        let count = bytes.len().min(room.len());
        if let (Some(to), Some(from)) = (room.get_mut(..count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        self.fill(count);
    }

    /// The memory that it takes.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Keeps what is there in memory of that size, where it is much less than the room.
    pub(crate) fn fit(&mut self) {
        if self.filled().len() < self.bytes.len() / 2 {
            let filled = self.filled().to_vec();
            self.lend(filled);
        }
    }

    /// Keeps so many bytes of what is there, and drops those behind.
    pub(crate) fn truncate(&mut self, count: usize) {
        self.end = self.end.min(self.start + count);
    }

    /// Returns the memory and drops the data.
    pub(crate) fn release(&mut self) {
        if !self.bytes.is_empty() {
            let bytes = std::mem::take(&mut self.bytes);
            if !std::mem::take(&mut self.lent) {
                self.memory.give_back(bytes);
            }
            (self.start, self.end) = (0, 0);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled_with(buffer: &mut Buffer, bytes: &[u8]) {
        buffer.room()[..bytes.len()].copy_from_slice(bytes);
        buffer.fill(bytes.len());
    }

    #[test]
    fn bytes_stay_in_order_when_a_buffer_moves_and_grows() {
        let memory = Rc::new(Memory::default());
        let mut buffer = Buffer::new(&memory);
        let all: Vec<u8> = (0..BUFFER).map(|at| (at % 251) as u8).collect();
        filled_with(&mut buffer, &all);
        assert!(buffer.is_full());
        buffer.consume(10);
        assert_eq!(buffer.room().len(), 10);
        filled_with(&mut buffer, b"0123456789");
        buffer.grow();
        assert_eq!(buffer.filled(), [&all[10..], b"0123456789"].concat());
        assert_eq!(buffer.room().len(), LARGE_BUFFER - BUFFER);
    }

    #[test]
    fn bytes_that_are_lent_come_back_in_their_own_memory() {
        let memory = Rc::new(Memory::default());
        let mut buffer = Buffer::new(&memory);
        let bytes = b"abc".to_vec();
        let place = bytes.as_ptr();
        buffer.lend(bytes);
        assert_eq!((buffer.filled(), buffer.filled().as_ptr()), (&b"abc"[..], place));
        buffer.consume(1);
        let bytes = buffer.take_back();
        assert_eq!((bytes.as_slice(), bytes.as_ptr()), (&b"abc"[..], place));
        assert!(buffer.is_empty() && buffer.take_back().is_empty());
        buffer.lend(b"de".to_vec());
        buffer.put(b"f");
        assert_eq!(buffer.filled(), b"def");
        assert!(buffer.take_back().is_empty(), "there was no room for all of it");
        buffer.lend(b"gh".to_vec());
        assert!(!buffer.room().is_empty() && buffer.filled() == b"gh", "there is room behind it");
        buffer.lend(b"gh".to_vec());
        buffer.release();
        assert_eq!(memory.small.borrow().len(), 1, "only its own memory is kept");
    }

    #[test]
    fn released_buffers_are_reused() {
        let memory = Rc::new(Memory::default());
        let mut buffer = Buffer::new(&memory);
        buffer.put(b"abc");
        let place = buffer.filled().as_ptr();
        buffer.release();
        assert!(buffer.filled().is_empty());
        let mut other = Buffer::new(&memory);
        other.put(b"d");
        assert_eq!((other.filled().as_ptr(), other.filled()), (place, &b"d"[..]));
    }
}
