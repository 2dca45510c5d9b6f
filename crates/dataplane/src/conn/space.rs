//! What an exchange needs while it lasts, used again by the next one of any connection of the worker.

use super::Buffer;
use super::buffer::Memory;
use ir::FieldName;
use routing::Scratch;
use std::rc::Rc;
use wire::h1::{RequestHead, ResponseHead};

/// What is written may grow as large as this before its memory is given back.
const KEPT_OUT: usize = 64 << 10;

/// Space for one exchange.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) request: RequestHead,
    pub(crate) response: ResponseHead,
    pub(crate) scratch: Scratch,
    pub(crate) request_id: [u8; 36],
    /// Of the request, for changes of its response.
    pub(crate) kept: Vec<(FieldName, Vec<u8>)>,
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

impl Space {
    pub(super) fn new(memory: &Rc<Memory>) -> Self {
        Self {
            request: RequestHead::default(),
            response: ResponseHead::default(),
            scratch: Scratch::default(),
            request_id: [b'0'; 36],
            kept: Vec::new(),
            flat: Vec::new(),
            body_in: Buffer::new(memory),
            up_in: Buffer::new(memory),
            up_out: Vec::with_capacity(2048),
            down_out: Vec::with_capacity(2048),
        }
    }

    /// Makes it as new, but for the memory that a next exchange will want.
    pub(super) fn clear(&mut self) {
        self.body_in.release();
        self.up_in.release();
        self.kept.clear();
        for out in [&mut self.up_out, &mut self.down_out, &mut self.flat] {
            out.clear();
            out.shrink_to(KEPT_OUT);
        }
        self.request = std::mem::take(&mut self.request).reset();
        self.response = std::mem::take(&mut self.response).reset();
    }
}
