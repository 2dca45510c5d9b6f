//! Receives the body of a request before the request is forwarded, for a service that decides by it. What was received is held until it is sent
//! to the backend.

use super::amended::{TooLarge, amend};
use crate::codec::{BodyFraming, ReceiveError, ResetCode, SendBuffer};
use crate::conn::{ExchangeBuffers, HeldBodyBuffer, Worker};
use crate::http::client::ClientConnection;
use crate::http::received_request::ReceivedRequest;
use crate::metrics::add;
use crate::reasons::Reject;
use crate::stream_info::StreamInfo;
use ir::policy::CheckBody;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Instant;
use wire::edit::FieldEdit;
use wire::h1::{BodyLength, BodyReader, OutFraming, ResponseParts, Style};
use wire::view::Fields;

/// Why the body is not received.
pub(super) enum BodyFailure {
    /// The gateway responds.
    Reject(Reject),
    /// The client has closed, or has reset its stream, or is reset.
    Abandon,
}

impl From<ReceiveError> for BodyFailure {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Malformed => Self::Reject(Reject::ClientBody),
            ReceiveError::Closed
            | ReceiveError::Incomplete
            | ReceiveError::Unprocessed
            | ReceiveError::MalformedTrailers
            | ReceiveError::TimedOut => Self::Abandon,
        }
    }
}

/// Receives the body, or as much of it as `wanted` says. A client that waits for 100 is asked for it.
pub(super) async fn receive(
    request: &mut ReceivedRequest<'_>,
    wanted: CheckBody,
    info: &mut StreamInfo,
) -> Result<(), BodyFailure> {
    let body = request.buffers.request.body;
    if !wanted.partial && matches!(body, BodyLength::Length(length) if length > wanted.octets as u64) {
        return Err(BodyFailure::Reject(Reject::BodyTooLarge));
    }
    if request.buffers.request.expect_continue {
        send_continue(request).await?;
    }
    let (worker, conn, buffers) = (request.worker, &mut *request.conn, &mut *request.buffers);
    let mut reader = BodyReader::new(body);
    let mut receiving = Receiving {
        worker,
        held: HeldBodyBuffer::new(conn.downstream.body_charge(&worker.bodies)),
        wanted,
        request_end: conn.client.request_end(info.counted),
    };
    receiving.set_timer(conn);
    let received = poll_fn(|context| receiving.poll(conn, buffers, &mut reader, context)).await;
    conn.timer.clear();
    let (trailers, result) = match received {
        Ok(trailers) => (trailers, Ok(())),
        Err(failure) => {
            info.received = receiving.held.octets().len() as u64;
            // What is to come has to be read before the next request.
            (None, Err(failure))
        }
    };
    buffers.held = Some((Box::new(receiving.held.into_body(trailers)), reader));
    result
}

/// The trailers of a stream.
type HttpTrailers = Option<Box<::http::HeaderMap>>;

struct Receiving<'a> {
    worker: &'a Worker,
    held: HeldBodyBuffer,
    wanted: CheckBody,
    /// The deadline for the end of the request, if the mesh sets one (PC-04).
    request_end: Option<Instant>,
}

impl Receiving<'_> {
    fn poll(
        &mut self,
        conn: &mut ClientConnection,
        buffers: &mut ExchangeBuffers,
        reader: &mut BodyReader,
        context: &mut Context<'_>,
    ) -> Poll<Result<HttpTrailers, BodyFailure>> {
        loop {
            if reader.is_done() {
                return Poll::Ready(Ok(None));
            }
            let limits = &self.worker.limits.head;
            let mut piece = match conn.downstream.poll_data(reader, &mut buffers.body_in, limits, context) {
                Poll::Ready(Ok(piece)) => piece,
                Poll::Ready(Err(error)) => {
                    if error == ReceiveError::MalformedTrailers {
                        add(&self.worker.metrics.streams.malformed);
                        conn.downstream.reset(ResetCode::Protocol);
                    }
                    return Poll::Ready(Err(error.into()));
                }
                Poll::Pending if conn.timer.expired(context) => {
                    let is_over = self.request_end.is_some_and(|end| end <= Instant::now());
                    let reject = if is_over { Reject::RequestTimeout } else { Reject::BodyTimeout };
                    return Poll::Ready(Err(BodyFailure::Reject(reject)));
                }
                Poll::Pending => return Poll::Pending,
            };
            let data = piece.data(&buffers.body_in);
            // What frames the body is no progress, so that a client cannot send it octet by octet.
            let has_progress = !data.is_empty();
            let pushed = self.held.push(data);
            piece.consume(&mut buffers.body_in);
            if let Err(over) = pushed {
                self.worker.refuse_stream(over);
                return Poll::Ready(Err(BodyFailure::Reject(Reject::BodyBudget)));
            }
            let length = self.held.octets().len();
            if !self.wanted.partial && length > self.wanted.octets {
                return Poll::Ready(Err(BodyFailure::Reject(Reject::BodyTooLarge)));
            }
            if piece.is_last {
                return Poll::Ready(Ok(piece.take_trailers()));
            }
            if self.wanted.partial && length >= self.wanted.octets {
                return Poll::Ready(Ok(None));
            }
            if has_progress {
                self.set_timer(conn);
            }
        }
    }

    fn set_timer(&self, conn: &ClientConnection) {
        match conn.client.stream_idle_timeout(self.worker.limits.body_timeout) {
            Some(limit) => conn.timer.set(limit),
            None => conn.timer.clear(),
        }
        if let Some(end) = self.request_end {
            conn.timer.set_no_later(end);
        }
    }
}

/// Asks a client that waits for 100 for its body (RFC 9110 §10.1.1). The backend is not asked again, so the line is removed.
async fn send_continue(request: &mut ReceivedRequest<'_>) -> Result<(), BodyFailure> {
    let (worker, conn, buffers) = (request.worker, &mut *request.conn, &mut *request.buffers);
    buffers.request.expect_continue = false;
    let parts = ResponseParts {
        status: 100,
        fields: Fields::new(&[], &[]),
        nominates: false,
        framing: OutFraming::None,
        upgrade: None,
        close: false,
    };
    let style = Style { keep_case: conn.client.mesh_settings.headers.keep_case, http10: false };
    let mut no_input = worker.buffer();
    let mut send = SendBuffer::new(&mut buffers.down_out, BodyFraming::Octets);
    conn.downstream.send_interim(&parts, style, &mut send).map_err(|_| BodyFailure::Abandon)?;
    if !send.octets().is_empty() {
        conn.timer.set(worker.limits.write_timeout);
        let sent = poll_fn(|context| match conn.downstream.poll_send(&mut send, &mut no_input, context) {
            Poll::Ready(sent) => Poll::Ready(sent.is_ok()),
            Poll::Pending if conn.timer.expired(context) => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        });
        if !sent.await {
            return Err(BodyFailure::Abandon);
        }
    }
    buffers.down_out.clear();
    amend(request, &[FieldEdit::Remove("expect".into())], None)
        .map_err(|TooLarge| BodyFailure::Reject(Reject::Head(wire::h1::HeadError::TooLarge)))
}
