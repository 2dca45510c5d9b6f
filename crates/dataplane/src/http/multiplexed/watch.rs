//! The reading side of a connection in HTTP/2, where frames are counted that cost the peer little and us more: pings, settings,
//! priorities, window updates, resets and empty data. Requests and bodies earn room for more of them; a peer that sends nothing
//! else is cut off.

use crate::limits::Http2Limits;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
/// What a frame of a body earns, and one that begins a request.
const EARNED_BY_DATA: u32 = 4;
const EARNED_BY_REQUEST: u32 = 16;

/// A stream whose frames are counted as they are read.
#[derive(Debug)]
pub(super) struct Watched<S> {
    inner: S,
    frames: Frames,
}

/// Where in the frames the reading is, and how many more cheap ones there may be.
#[derive(Debug)]
struct Frames {
    /// Bytes of the preface that are still to come.
    preface: usize,
    header: [u8; HEADER],
    filled: usize,
    /// Bytes of the frame's content that are still to come.
    content: usize,
    room: u32,
    most: u32,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, limits: &Http2Limits) -> Self {
        let frames = Frames {
            preface: super::PREFACE.len(),
            header: [0; HEADER],
            filled: 0,
            content: 0,
            room: limits.cheap_frames,
            most: limits.cheap_frames,
        };
        Self { inner, frames }
    }
}

impl Frames {
    /// Looks at what was read; false when the peer has sent too much that is cheap.
    fn pass(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let skipped = (self.preface + self.content).min(bytes.len());
            bytes = bytes.get(skipped..).unwrap_or_default();
            let of_preface = skipped.min(self.preface);
            self.preface -= of_preface;
            self.content -= skipped - of_preface;
            let take = (HEADER - self.filled).min(bytes.len());
            let (header, rest) = bytes.split_at(take);
            if let Some(place) = self.header.get_mut(self.filled..self.filled + take) {
                place.copy_from_slice(header);
            }
            self.filled += take;
            bytes = rest;
            if self.filled == HEADER && !self.frame() {
                return false;
            }
        }
        true
    }

    /// Counts a frame by its header.
    fn frame(&mut self) -> bool {
        let [high, middle, low, kind, ..] = self.header;
        self.filled = 0;
        self.content = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        let earned = match kind {
            DATA if self.content > 0 => EARNED_BY_DATA,
            HEADERS => EARNED_BY_REQUEST,
            CONTINUATION if self.content > 0 => 0,
            _ => {
                let Some(left) = self.room.checked_sub(1) else { return false };
                self.room = left;
                return true;
            }
        };
        self.room = (self.room + earned).min(self.most);
        true
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        if self.frames.pass(buffer.filled().get(before..).unwrap_or_default()) {
            Poll::Ready(Ok(()))
        } else {
            Poll::Ready(Err(io::Error::other("too many frames that ask for nothing")))
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, content: usize) -> Vec<u8> {
        let mut frame = vec![(content >> 16) as u8, (content >> 8) as u8, content as u8, kind, 0, 0, 0, 0, 1];
        frame.resize(HEADER + content, 0);
        frame
    }

    fn frames(most: u32) -> Frames {
        Frames { preface: 3, header: [0; HEADER], filled: 0, content: 0, room: most, most }
    }

    #[test]
    fn a_peer_that_sends_nothing_but_cheap_frames_is_cut_off() {
        for kind in [0, 2, 3, 4, 6, 8, 9, 200] {
            let mut frames = frames(100);
            assert!(frames.pass(b"PRI"));
            let sent = (0..).take_while(|_| frames.pass(&frame(kind, 0))).count();
            assert_eq!(sent, 100, "{kind}");
        }
    }

    #[test]
    fn requests_and_bodies_earn_room_wherever_reads_are_cut() {
        let mut all = b"PRI".to_vec();
        for _ in 0..1000 {
            all.extend([frame(1, 30), frame(0, 500), frame(8, 4), frame(6, 8), frame(8, 4)].concat());
        }
        for size in [1, 7, 64, 5000] {
            let mut frames = frames(10);
            assert!(all.chunks(size).all(|piece| frames.pass(piece)), "{size}");
        }
    }
}
