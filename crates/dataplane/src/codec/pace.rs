//! Reads the body of a response at the pace of its client.

use super::downstream::Downstream;
use super::read::{read, read_some};
use super::receive::Received;
use super::splice::TransferError;
use super::streams::Sender;
use super::upstream::{Upstream, received};
use crate::conn::Buffer;
use crate::limits::{BUFFER, STREAM_READ};
use ::upstream::Stream;
use std::io;
use std::task::{Context, Poll, ready};
use wire::h1::HeadLimits;

/// How fast a body is read.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Whether the body fills small buffers.
    is_bulk: bool,
}

impl Pace {
    /// Receives more of a response's body from `up`, of which octets come into `input`.
    pub(crate) fn poll_data(
        &mut self,
        up: &mut Upstream,
        down: &mut Downstream,
        input: &mut Buffer,
        limits: &HeadLimits,
        context: &mut Context<'_>,
    ) -> Poll<Result<Received, TransferError>> {
        let (Some(octets), Some(window)) = (up.octets(), down.window()) else {
            let data = ready!(up.poll_data(input, limits, context)).map_err(TransferError::Source)?;
            if input.is_full() {
                // A body that fills the buffer gets a larger buffer.
                input.grow();
            }
            return Poll::Ready(Ok(data));
        };
        let read = ready!(self.poll_read(octets, window, input, context))?;
        self.is_bulk |= input.is_full();
        received(read).map_err(TransferError::Source)
    }

    /// Reads for an HTTP/2 client. A little is read ahead, so that a small response costs no check of the window. For a large body, or a
    /// connection that holds much, no more is read than the client can receive now.
    fn poll_read(
        &mut self,
        up: &mut Stream,
        window: &mut Sender,
        input: &mut Buffer,
        context: &mut Context<'_>,
    ) -> Poll<Result<io::Result<usize>, TransferError>> {
        let polled = if self.is_bulk || window.share().is_some_and(|share| share.is_tight()) {
            self.poll_read_within(up, window, input, context)
        } else {
            read(up, input, context).map(Ok)
        };
        if polled.is_pending() && input.is_empty() {
            input.release();
        }
        polled
    }

    fn poll_read_within(
        &mut self,
        up: &mut Stream,
        window: &mut Sender,
        input: &mut Buffer,
        context: &mut Context<'_>,
    ) -> Poll<Result<io::Result<usize>, TransferError>> {
        // While nothing arrives, the window is left to other streams.
        if up.poll_read_ready(context).is_pending() {
            window.give_up_room();
            return Poll::Pending;
        }
        let wanted = if self.is_bulk { STREAM_READ } else { BUFFER };
        let most = ready!(window.poll_room(wanted, context)).map_err(|_| TransferError::Sink)?;
        if input.is_full() || (self.is_bulk && input.is_empty() && most > BUFFER) {
            input.grow();
        }
        let polled = read_some(up, input, most, context);
        if polled.is_pending() {
            window.give_up_room();
        }
        polled.map(Ok)
    }
}
