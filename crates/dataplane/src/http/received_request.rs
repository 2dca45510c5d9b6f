//! A request that was received, in the place where its octets are: what filters and decisions are given.

use super::client::ClientConnection;
use crate::conn::{ExchangeBuffers, Worker};
use std::rc::Rc;
use wire::view::Fields;

/// A request whose head is at the front of the connection's input, and its index in the buffers.
pub(super) struct ReceivedRequest<'a> {
    pub(super) worker: &'a Rc<Worker>,
    pub(super) conn: &'a mut ClientConnection,
    pub(super) buffers: &'a mut ExchangeBuffers,
    /// The length of the head, which filters of the gate may change.
    pub(super) head: usize,
}

impl ReceivedRequest<'_> {
    /// The octets of the head.
    pub(super) fn octets(&self) -> &[u8] {
        self.conn.input.filled().get(..self.head).unwrap_or_default()
    }

    /// The header lines.
    pub(super) fn fields(&self) -> Fields<'_> {
        self.buffers.request.fields(self.octets())
    }

    /// The method.
    pub(super) fn method(&self) -> &[u8] {
        self.buffers.request.method.of(self.octets())
    }

    /// The target, as it was received.
    pub(super) fn target(&self) -> &[u8] {
        self.buffers.request.target.of(self.octets())
    }
}
