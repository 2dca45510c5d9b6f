//! The body of a request while it is forwarded: what was received of it before the first attempt, the rest from the client, and where else it
//! goes. It lasts over all attempts, since each octet is received once.

use super::Failure;
use crate::codec::{Downstream, Piece, SendBuffer};
use crate::conn::{Buffer, HeldBody, ReceivedBody, take_held};
use crate::http::body_queue::MirrorSinks;
use std::task::{Context, Poll, ready};
use wire::grpc_web::{Call, Decoder, NotBase64, Writing};
use wire::h1::{BodyReader, HeadLimits};

/// The body of a request.
#[derive(Debug)]
pub(in crate::http) struct RequestBody {
    /// What was received before the first attempt, and is not sent yet.
    held: Option<Box<HeldBody>>,
    /// Decodes the rest.
    reader: BodyReader,
    /// The decoder of a base64 body (S-119).
    text: Option<Decoder>,
    /// The mirrors that receive the body too (VS-45).
    mirrors: MirrorSinks,
}

impl RequestBody {
    /// A body of which nothing was forwarded. `web` is the call of gRPC-Web that it belongs to.
    pub(in crate::http) fn new(body: ReceivedBody, web: Option<Call>) -> Self {
        let ReceivedBody { held, reader } = body;
        let text = web.filter(|call| call.request == Writing::Text).map(|_| Decoder::default());
        Self { held, reader, text, mirrors: MirrorSinks::default() }
    }

    /// Sets the mirrors, before any of the body is received.
    pub(in crate::http) fn mirror_to(&mut self, mirrors: MirrorSinks) {
        if !mirrors.is_empty() {
            self.mirrors = mirrors;
        }
    }

    /// The state of what the client has not sent yet.
    pub(in crate::http) fn rest(&mut self) -> &mut BodyReader {
        &mut self.reader
    }

    /// Whether all of it was forwarded.
    pub(super) fn is_done(&self) -> bool {
        self.reader.is_done() && self.held.is_none()
    }

    /// Whether the trailer section is incomplete.
    pub(super) fn is_in_trailers(&self) -> bool {
        self.reader.is_in_trailers()
    }

    /// Whether it is forwarded in another encoding than it is received in.
    pub(super) fn is_decoded(&self) -> bool {
        self.text.is_some()
    }

    /// The rest, if it is forwarded as it is received, and to the backend alone.
    pub(super) fn plain_rest(&mut self) -> Option<&mut BodyReader> {
        let is_plain = self.held.is_none() && self.text.is_none() && self.mirrors.is_empty();
        is_plain.then_some(&mut self.reader)
    }

    /// The next piece.
    pub(super) fn poll_piece(
        &mut self,
        down: &mut Downstream,
        input: &mut Buffer,
        limits: &HeadLimits,
        context: &mut Context<'_>,
    ) -> Poll<Result<Piece, Failure>> {
        if let Some(piece) = take_held(&mut self.held) {
            return Poll::Ready(Ok(Piece::of_held(piece, self.is_done())));
        }
        let piece = ready!(down.poll_data(&mut self.reader, input, limits, context));
        Poll::Ready(piece.map_err(Failure::of_client))
    }

    /// Puts a piece into the send buffer, and into the queues of the mirrors.
    pub(super) fn put(&mut self, piece: Piece, input: &mut Buffer, send: &mut SendBuffer<'_>) -> Result<(), Failure> {
        let put = self.put_data(piece.data(input), send);
        piece.consume(input);
        put?;
        if piece.is_last {
            if self.text.as_ref().is_some_and(|text| !text.is_whole()) {
                return Err(Failure::NotBase64);
            }
            let trailers = piece.into_trailers(&self.reader);
            self.mirrors.end(|| trailers.to_map());
            send.end(trailers);
        }
        Ok(())
    }

    fn put_data(&mut self, data: &[u8], send: &mut SendBuffer<'_>) -> Result<(), Failure> {
        let mut decoded = Vec::new();
        let data = match &mut self.text {
            None => data,
            Some(decoder) => {
                decoded.reserve(data.len());
                decoder.take(data, &mut decoded).map_err(|NotBase64| Failure::NotBase64)?;
                &decoded
            }
        };
        self.mirrors.push(data);
        send.push(data);
        Ok(())
    }
}
