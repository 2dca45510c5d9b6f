//! What an exchange needs while it lasts, used again by the next one of any connection of the worker.

use super::Buffer;
use super::buffer::Memory;
use ir::FieldName;
use routing::Scratch;
use std::rc::Rc;
use wire::h1::{RequestHead, ResponseHead};

/// What is written may grow as large as this before its memory is given back.
pub(crate) const MAX_KEPT_OUTPUT: usize = 32 << 10;
/// A head that came in HTTP/2 as well; larger ones are held in the size that they have.
const MAX_KEPT_HEAD: usize = 4 << 10;

/// ExchangeBuffers for one exchange.
#[derive(Debug)]
pub(crate) struct ExchangeBuffers {
    pub(crate) request: RequestHead,
    pub(crate) response: ResponseHead,
    pub(crate) scratch: Scratch,
    pub(crate) request_id: [u8; 36],
    /// Of the request, for changes of its response.
    pub(crate) captured_headers: Vec<(FieldName, Vec<u8>)>,
    /// A head that came in HTTP/2, laid flat.
    pub(crate) flat: Vec<u8>,
    /// Of the request's body, as it came.
    pub(crate) body_in: Buffer,
    /// Of the response, as it came.
    pub(crate) up_in: Buffer,
    /// What is to be written to the backend, and to the client.
    pub(crate) up_out: Vec<u8>,
    pub(crate) down_out: Vec<u8>,
}

impl ExchangeBuffers {
    pub(super) fn new(memory: &Rc<Memory>) -> Self {
        Self {
            request: RequestHead::default(),
            response: ResponseHead::default(),
            scratch: Scratch::default(),
            request_id: [b'0'; 36],
            captured_headers: Vec::new(),
            flat: Vec::new(),
            body_in: Buffer::new(memory),
            up_in: Buffer::new(memory),
            up_out: Vec::with_capacity(2048),
            down_out: Vec::with_capacity(2048),
        }
    }

    /// The octets that a head in HTTP/2 takes while its exchange lasts, once it stands flat: its own and its index, and as many again for
    /// what is sent to the backend.
    pub(crate) fn head_octets(&mut self) -> usize {
        if self.flat.capacity() > MAX_KEPT_HEAD {
            self.flat.shrink_to_fit();
        }
        2 * self.flat.len() + self.request.index_octets()
    }

    /// Makes it as new, but for the memory that a next exchange will want.
    pub(super) fn clear(&mut self) {
        self.body_in.release();
        self.up_in.release();
        self.captured_headers.clear();
        for (out, kept) in [
            (&mut self.up_out, MAX_KEPT_OUTPUT),
            (&mut self.down_out, MAX_KEPT_OUTPUT),
            (&mut self.flat, MAX_KEPT_HEAD),
        ] {
            out.clear();
            out.shrink_to(kept);
        }
        self.request = std::mem::take(&mut self.request).reset();
        self.response = std::mem::take(&mut self.response).reset();
    }
}
