//! A connection of a client: its parts, how it is read, and what happens to it after an exchange.

use super::downstream::Downstream;
use crate::conn::{Buffer, Client, TableState, Timer, Worker};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use upstream::Stream;

/// A connection of a client.
#[derive(Debug)]
pub(crate) struct ClientConnection {
    pub(crate) downstream: Downstream,
    /// Octets received but not consumed: heads and pipelined requests.
    pub(crate) input: Buffer,
    pub(crate) timer: Timer,
    pub(crate) client: Rc<Client>,
    pub(crate) table: Arc<TableState>,
}

/// What happens to the connection after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disposition {
    /// The next request may follow.
    KeepAlive,
    /// It is closed.
    Close,
    /// It is closed after the response has arrived at the client.
    Linger,
}

impl ClientConnection {
    /// Whether the next response closes the connection.
    pub(super) fn is_draining(&self, worker: &Worker) -> bool {
        self.client.is_draining(worker, &self.table)
    }
}

/// Reads into the free space of a buffer. The caller ensures that there is some: 0 octets mean the end of the stream.
pub(super) fn read(
    stream: &mut Stream,
    buffer: &mut Buffer,
    context: &mut Context<'_>,
) -> Poll<std::io::Result<usize>> {
    read_some(stream, buffer, usize::MAX, context)
}

/// The same, with at most `most` octets.
pub(super) fn read_some(
    stream: &mut Stream,
    buffer: &mut Buffer,
    most: usize,
    context: &mut Context<'_>,
) -> Poll<std::io::Result<usize>> {
    let room = buffer.room();
    let most = most.min(room.len());
    let polled = stream.poll_read(context, room.get_mut(..most).unwrap_or_default());
    if let Poll::Ready(Ok(count)) = &polled {
        buffer.fill(*count);
    }
    polled
}
