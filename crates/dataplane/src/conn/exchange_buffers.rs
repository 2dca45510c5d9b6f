//! The buffers of an exchange, reused by later exchanges of the worker.

use super::Buffer;
use super::buffer::Memory;
use super::held_body::{HeldBody, ReceivedBody};
use ir::FieldName;
use routing::ext_authz::Changes;
use routing::{Claims, RouteEntry, Scratch};
use std::rc::Rc;
use std::sync::Arc;
use text::Uuid;
use wire::h1::{BodyReader, RequestHead, ResponseHead};

/// The size up to which an output buffer keeps its memory.
pub(crate) const MAX_KEPT_OUTPUT: usize = 32 << 10;
/// The size up to which the buffer of an HTTP/2 head keeps its memory.
const MAX_KEPT_HEAD: usize = 4 << 10;

/// The route of a request by its head before a service for authorization changed it.
#[derive(Debug)]
pub(crate) enum EarlyPick {
    Route(Arc<RouteEntry>),
    NoRoute,
}

/// The buffers of one exchange.
#[derive(Debug)]
pub(crate) struct ExchangeBuffers {
    pub(crate) request: RequestHead,
    pub(crate) response: ResponseHead,
    pub(crate) scratch: Scratch,
    pub(crate) request_id: Uuid,
    /// Captured headers of the request, for edits of the response.
    pub(crate) captured_headers: Vec<(FieldName, Vec<u8>)>,
    /// Headers of the request that the access log has and that were changed on the way to the endpoint; empty where they were removed.
    pub(crate) logged_headers: Vec<(FieldName, Vec<u8>)>,
    /// The octets of the names and values of the head as it was sent to the endpoint, if the access log states them.
    pub(crate) logged_size: u64,
    /// The path and query as they were matched, if the access log has them.
    pub(crate) logged_path: Vec<u8>,
    /// What the service for authorization changes of the response, until the request has a route.
    pub(crate) checked: Option<Box<Changes>>,
    /// The claims of the verified token.
    pub(crate) claims: Claims,
    /// The route that was picked before a service for authorization changed the head.
    pub(crate) picked: Option<EarlyPick>,
    /// What a filter has received of the body of the request, and the state of the rest.
    pub(crate) held: Option<(Box<HeldBody>, BodyReader)>,
    /// An HTTP/2 head in the form of HTTP/1.
    pub(crate) flat: Vec<u8>,
    /// Received octets of the request body.
    pub(crate) body_in: Buffer,
    /// Received octets of the response.
    pub(crate) up_in: Buffer,
    /// Octets to write to the backend, and to the client.
    pub(crate) up_out: Vec<u8>,
    pub(crate) down_out: Vec<u8>,
}

impl ExchangeBuffers {
    pub(super) fn new(memory: &Rc<Memory>) -> Self {
        Self {
            request: RequestHead::default(),
            response: ResponseHead::default(),
            scratch: Scratch::default(),
            request_id: Uuid::from_random(0),
            captured_headers: Vec::new(),
            logged_headers: Vec::new(),
            logged_size: 0,
            logged_path: Vec::new(),
            checked: None,
            claims: Claims::default(),
            picked: None,
            held: None,
            flat: Vec::new(),
            body_in: Buffer::new(memory),
            up_in: Buffer::new(memory),
            up_out: Vec::with_capacity(2048),
            down_out: Vec::with_capacity(2048),
        }
    }

    /// The octets to charge for an HTTP/2 head while its exchange lasts: the flat head, its index, and the same size for the head that is sent
    /// to the backend.
    pub(crate) fn head_octets(&mut self) -> usize {
        if self.flat.capacity() > MAX_KEPT_HEAD {
            self.flat.shrink_to_fit();
        }
        2 * self.flat.len() + self.request.index_octets()
    }

    /// The body of the request: what a filter has received of it, and the rest.
    pub(crate) fn take_body(&mut self) -> ReceivedBody {
        match self.held.take() {
            Some((held, reader)) => ReceivedBody { held: Some(held), reader },
            None => ReceivedBody { held: None, reader: BodyReader::new(self.request.body) },
        }
    }

    /// Clears all buffers, but keeps memory for the next exchange.
    pub(super) fn clear(&mut self) {
        self.body_in.release();
        self.up_in.release();
        self.captured_headers.clear();
        self.logged_headers.clear();
        self.logged_size = 0;
        self.logged_path.clear();
        self.checked = None;
        self.claims = Claims::default();
        self.picked = None;
        self.held = None;
        self.logged_path.shrink_to(MAX_KEPT_HEAD);
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
