//! Reads octets of a connection into a buffer.

use crate::conn::Buffer;
use std::io;
use std::task::{Context, Poll};
use upstream::Stream;

/// Reads into the free space of a buffer. The caller ensures that there is some: 0 octets mean the end of the stream.
pub(crate) fn read(stream: &mut Stream, buffer: &mut Buffer, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
    read_some(stream, buffer, usize::MAX, context)
}

/// The same, with at most `most` octets.
pub(super) fn read_some(
    stream: &mut Stream,
    buffer: &mut Buffer,
    most: usize,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let room = buffer.room();
    let most = most.min(room.len());
    let polled = stream.poll_read(context, room.get_mut(..most).unwrap_or_default());
    if let Poll::Ready(Ok(count)) = &polled {
        buffer.fill(*count);
    }
    polled
}
