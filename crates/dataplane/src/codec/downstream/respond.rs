//! Responses to a client: interim ones, heads, responses whose body is in memory, and what breaks a response off.

use super::Downstream;
use super::Protocol::{H1, H2};
use crate::codec::head::EncodedHead;
use crate::codec::reset::{ClientReset, ResetCode};
use crate::codec::send::{BodyFraming, SendBuffer};
use crate::conn::Buffer;
use bytes::Bytes;
use http::Response;
use std::io;
use std::task::{Context, Poll};
use wire::edit::Edits;
use wire::h1::{OutFraming, ResponseParts, Style, write_response_in};

impl Downstream {
    /// Sends an interim response (1xx).
    pub(crate) fn send_interim(
        &mut self,
        parts: &ResponseParts<'_>,
        style: Style,
        send: &mut SendBuffer<'_>,
    ) -> Result<(), ClientReset> {
        match &mut self.protocol {
            // HTTP/1.0 has no interim responses.
            H1(_) if style.http10 => {}
            H1(_) => write_response_in(send.octets(), parts, &Edits::default(), style),
            H2(stream) => {
                let head = wire::h2::response(parts, &Edits::default());
                stream.respond.send_informational(head).map_err(|_| ClientReset)?;
                send.mark_written();
            }
        }
        Ok(())
    }

    /// Sends the head of a response, and sets how the end of its body is marked. `is_bodiless` says that the response ends with the head.
    pub(crate) fn send_head(
        &mut self,
        parts: &ResponseParts<'_>,
        edits: &Edits<'_>,
        style: Style,
        is_bodiless: bool,
        send: &mut SendBuffer<'_>,
    ) -> Result<(), ClientReset> {
        match &mut self.protocol {
            H1(_) => {
                write_response_in(send.octets(), parts, edits, style);
                let is_chunked = parts.framing == OutFraming::Chunked && !is_bodiless;
                send.set_framing(if is_chunked { BodyFraming::Chunks(style) } else { BodyFraming::Octets });
            }
            H2(stream) => {
                // After a switch of protocols the stream stays open.
                let is_switched = parts.upgrade.is_some();
                stream.send_head(wire::h2::response(parts, edits), is_bodiless && !is_switched)?;
                send.set_framing(BodyFraming::Frames);
                send.mark_written();
            }
        }
        Ok(())
    }

    /// The head of a response, to be sent later.
    pub(crate) fn encode_head(&self, parts: &ResponseParts<'_>, edits: &Edits<'_>, style: Style) -> EncodedHead {
        match &self.protocol {
            H1(_) => EncodedHead::lines(parts, edits, style),
            H2(_) => EncodedHead::frame(parts, edits),
        }
    }

    /// Sends a response that was encoded before, and has no body.
    pub(crate) fn send_encoded(&mut self, head: EncodedHead, send: &mut SendBuffer<'_>) -> Result<(), ClientReset> {
        match (&mut self.protocol, head) {
            (H1(_), EncodedHead::Lines(lines)) => {
                send.octets().extend_from_slice(&lines);
                send.octets().extend_from_slice(b"\r\n");
                Ok(())
            }
            (H2(stream), EncodedHead::Frame(head)) => {
                send.mark_written();
                stream.send_head(head, true)
            }
            // A head is encoded for the client that it is sent to.
            (H1(_), EncodedHead::Frame(_)) | (H2(_), EncodedHead::Lines(_)) => Ok(()),
        }
    }

    /// Sends the head of a successful response to CONNECT (RFC 9110 §9.3.6): after it the stream carries octets, and so does the connection once
    /// `octets` are written.
    pub(crate) fn send_connected(&mut self, octets: &mut Vec<u8>) -> Result<(), ClientReset> {
        match &mut self.protocol {
            H1(_) if self.implied.is_some() => Ok(()),
            H1(_) => {
                octets.extend_from_slice(b"HTTP/1.1 200 Connection established\r\n\r\n");
                Ok(())
            }
            H2(stream) => stream.send_head(Response::new(()), false),
        }
    }

    /// Sends a response whose body is in memory, if the client receives it in frames; `None` otherwise. `message` makes the response.
    pub(crate) fn send_message(
        &mut self,
        message: impl FnOnce() -> (Response<()>, Bytes),
    ) -> Option<Result<u64, ClientReset>> {
        match &mut self.protocol {
            H1(_) => None,
            H2(stream) => {
                let (head, body) = message();
                let length = body.len() as u64;
                Some(stream.send_whole(head, body).map(|()| length))
            }
        }
    }

    /// Writes what waits in `send`; whether anything was written. `input` has the octets that are written from there.
    #[inline]
    pub(crate) fn poll_send(
        &mut self,
        send: &mut SendBuffer<'_>,
        input: &mut Buffer,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        match &mut self.protocol {
            H1(stream) => send.poll_flush(stream, input, context),
            H2(stream) => {
                let sender = &mut stream.sender;
                let flushed = send.poll_flush(sender, input, context);
                if flushed.is_pending() {
                    sender.hold_with(|| {
                        input.fit();
                        input.capacity() + send.capacity()
                    });
                } else {
                    sender.release_held();
                }
                flushed
            }
        }
    }

    /// Ends a response that has begun and stays incomplete: with a gRPC status, if there is one and it can be sent, or else by a reset. In HTTP/1
    /// only the close of the connection reports it.
    pub(crate) fn break_off(&mut self, status: Option<(u8, &'static str)>, code: ResetCode) {
        if let H2(stream) = &mut self.protocol
            && status.is_none_or(|(status, message)| stream.end_grpc(status, message).is_err())
        {
            stream.reset(code);
        }
    }
}
