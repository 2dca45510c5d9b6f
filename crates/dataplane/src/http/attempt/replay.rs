//! What is kept of a request's body for another attempt.

use super::Failure;
use crate::codec::{Downstream, Piece, SendBuffer};
use crate::conn::{Charge, HeldBody, take_held};
use crate::http::body_queue::MirrorSinks;
use http::HeaderMap;
use wire::grpc_web::{Call, Decoder, NotBase64, Writing};
use wire::h1::BodyReader;

/// State that lasts over all attempts: the octets sent so far, for a replay, and the trailers of a finished body.
#[derive(Debug, Default)]
pub(in crate::http) struct ReplayBuffer {
    pub(super) bytes: Vec<u8>,
    pub(super) trailers: Option<Box<HeaderMap>>,
    /// What was received of the body before the first attempt, and is not sent yet.
    held: Option<Box<HeldBody>>,
    /// The decoder of a base64 body (S-119).
    text: Option<Decoder>,
    /// The mirrors that receive the body too (VS-45).
    pub(super) mirrors: MirrorSinks,
    /// The charge for the octets, for an HTTP/2 client.
    charge: Option<Charge>,
    /// Whether octets were sent that are not in the buffer.
    is_lost: bool,
}

impl ReplayBuffer {
    /// An empty buffer for a new request.
    pub(in crate::http) fn new(web: Option<Call>, client: &Downstream, held: Option<Box<HeldBody>>) -> Self {
        let text = web.filter(|call| call.request == Writing::Text).map(|_| Decoder::default());
        Self { text, charge: client.request_charge(), held, ..Self::default() }
    }

    /// Whether octets that were received before are not sent yet.
    pub(super) fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// The next piece of what was received before. `body` is the state of the rest.
    pub(super) fn take_held(&mut self, body: &BodyReader) -> Option<Piece> {
        let piece = take_held(&mut self.held)?;
        Some(Piece::of_held(piece, !self.is_holding() && body.is_done()))
    }

    /// Appends octets, if the budget of the client's connection allows it.
    pub(super) fn retain(&mut self, bytes: &[u8]) -> bool {
        let octets = self.bytes.len() + bytes.len();
        let kept = self.charge.as_mut().is_none_or(|charge| charge.resize(octets).is_ok());
        if kept {
            self.bytes.extend_from_slice(bytes);
        } else {
            self.discard();
        }
        kept
    }

    /// Gives up the replay.
    pub(super) fn discard(&mut self) {
        self.is_lost = true;
        self.bytes = Vec::new();
        if let Some(charge) = &mut self.charge {
            // A smaller charge is never refused.
            let _ = charge.resize(0);
        }
    }

    /// Whether octets were sent that are not in the buffer.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Sets the mirrors, before any of the body is read.
    pub(in crate::http) fn mirror_to(&mut self, mirrors: MirrorSinks) {
        if !mirrors.is_empty() {
            self.mirrors = mirrors;
        }
    }

    /// Whether the body is forwarded in another encoding than it is received in.
    pub(super) fn is_decoded(&self) -> bool {
        self.text.is_some()
    }

    /// Whether the body is forwarded as it is received, and to the backend alone.
    pub(super) fn is_plain(&self) -> bool {
        self.text.is_none() && self.mirrors.is_empty()
    }

    /// Forwards a piece of the body.
    pub(super) fn put(&mut self, send: &mut SendBuffer<'_>, data: &[u8]) -> Result<(), Failure> {
        match &mut self.text {
            None => {
                self.mirrors.push(data);
                send.push(data);
            }
            Some(decoder) => {
                let mut octets = Vec::with_capacity(data.len());
                decoder.take(data, &mut octets).map_err(|NotBase64| Failure::NotBase64)?;
                self.mirrors.push(&octets);
                send.push(&octets);
            }
        }
        Ok(())
    }

    /// Checks that base64 text is complete at the end of the body.
    pub(super) fn check_whole(&self) -> Result<(), Failure> {
        match &self.text {
            Some(text) if !text.is_whole() => Err(Failure::NotBase64),
            Some(_) | None => Ok(()),
        }
    }
}
