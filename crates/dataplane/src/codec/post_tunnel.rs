//! A tunnel in the bodies of an HTTP/1.1 request and its response (DR-50 `POST`): chunks in the request, any framing in the response.

use crate::conn::{Buffer, Duplex};
use ::upstream::Connection;
use std::io;
use std::task::{Context, Poll, Waker, ready};
use tokio::net::TcpStream;
use wire::h1::{BodyReader, ChunkWriter};

/// The largest chunk.
const CHUNK: usize = 16 << 10;

/// A connection whose heads were sent.
#[derive(Debug)]
pub(crate) struct PostTunnel {
    pub(super) connection: Connection,
    body: BodyReader,
    input: Buffer,
    output: Vec<u8>,
    written: usize,
}

impl PostTunnel {
    /// `input` has the octets after the head of the response, and `body` decodes them.
    pub(crate) fn new(connection: Connection, body: BodyReader, input: Buffer) -> Self {
        Self { connection, body, input, output: Vec::new(), written: 0 }
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.output.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(self.connection.stream.poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        self.output.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Decodes read octets into `room`; `None` if more has to be read.
    fn take(&mut self, room: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            let filled = self.input.filled();
            // The decoder counts its input, so the input is limited to the room.
            let shown = filled.get(..filled.len().min(room.len())).unwrap_or_default();
            let step = self.body.decode(shown).map_err(io::Error::other)?;
            let data = shown.get(step.data.clone()).unwrap_or_default();
            if let Some(room) = room.get_mut(..data.len()) {
                room.copy_from_slice(data);
            }
            self.input.consume(step.consumed);
            match (step.data.len(), step.consumed) {
                (0, _) if step.done => return Ok(Some(0)),
                (0, 0) => return Ok(None),
                (0, _) => {}
                (count, _) => return Ok(Some(count)),
            }
        }
    }
}

impl Duplex for PostTunnel {
    fn poll_read(&mut self, context: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if let Some(count) = self.take(room)? {
                return Poll::Ready(Ok(count));
            }
            let count = match self.connection.stream.poll_read(context, self.input.room()) {
                // A body whose end was not received is incomplete, however the connection ended.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                Poll::Ready(read) => read?,
                Poll::Pending => {
                    self.input.release();
                    return Poll::Pending;
                }
            };
            self.input.fill(count);
            if count == 0 {
                let ended = self.body.ends_with_connection();
                return Poll::Ready(if ended { Ok(0) } else { Err(io::ErrorKind::ConnectionAborted.into()) });
            }
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(context))?;
        let piece = bytes.get(..bytes.len().min(CHUNK)).unwrap_or_default();
        ChunkWriter::data(&mut self.output, piece);
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        self.connection.stream.poll_flush(context)
    }

    /// Sends the last chunk. The connection stays open for the rest of the response.
    fn shutdown_write(&mut self) -> io::Result<()> {
        ChunkWriter::end(&mut self.output, None);
        match self.poll_flush(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(sent) => sent,
            // The relay continues to flush.
            Poll::Pending => Ok(()),
        }
    }

    fn abort(&mut self) {
        self.connection.stream.abort();
    }

    fn as_tcp(&self) -> Option<&TcpStream> {
        None
    }
}
