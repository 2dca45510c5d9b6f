//! The response direction of a flow: from the backend to the client.

use super::Failure;
use super::interim::Interim;
use super::response_context::ResponseContext;
use super::web::{GrpcWebResponse, put_data};
use crate::codec::{
    ClientReset, Downstream, H2Upstream, Piece, Sender, UpstreamStream,
    chunks::{checked_trailers, end_chunks},
    read, read_some,
    splice::{self, SpliceError},
};
use crate::conn::{Buffer, HeldOctets, Pipe, Worker};
use crate::http::decide::Plan;
use crate::limits::{BUFFER, COPY_LIMIT, PIECE, STREAM_READ};
use http::HeaderMap;
use ir::{FieldName, HeaderSettings};
use routing::substitute;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use text::{Decimal, HttpDate};
use upstream::Stream;
use wire::edit::Edits;
use wire::h1::response::RequestKind;
use wire::h1::{
    BodyLength, BodyReader, ChunkWriter, HeadLimits, OutFraming, ResponseHead, ResponseParts, Style, write_response_in,
};

/// The only protocol to switch to (S-118).
pub(super) const WEBSOCKET: &[u8] = b"websocket";

/// The response direction of a flow.
pub(super) struct ResponseSide<'a> {
    pub(super) head: &'a mut ResponseHead,
    pub(super) input: &'a mut Buffer,
    out: &'a mut Vec<u8>,
    headers: &'a HeaderSettings,
    /// The style of heads for an HTTP/1 client.
    style: Style,
    written: usize,
    /// Whether TLS may still buffer written octets.
    unflushed: bool,
    body: BodyReader,
    /// Bytes at the front of `input` that are written from there.
    direct: usize,
    pipe: Option<Pipe>,
    /// Whether the body fills small buffers.
    bulk: bool,
    /// What is held for an HTTP/2 client that does not read.
    in_hand: Option<HeldOctets>,
    /// The translation for a gRPC-Web client.
    web: Option<GrpcWebResponse>,
    chunked: bool,
    /// Trailers for an HTTP/2 client, once the body has ended.
    trailers: Option<HeaderMap>,
    /// Whether the HTTP/2 stream still has to be ended.
    end_due: bool,
    /// Whether the end of a chunk follows a large piece.
    chunk_end: bool,
    pub(super) head_seen: bool,
    interim: Interim,
    /// Whether all of the body is in `out` or was spliced.
    pub(super) complete: bool,
    pub(super) any_written: bool,
    /// Bytes of the body.
    pub(super) sent: u64,
    pub(super) status: u16,
    pub(super) time_to_head: Option<Duration>,
    pub(super) tunnel: bool,
    /// Whether the response has `Connection: close`.
    pub(super) close: bool,
    /// Headers of the response that the access log has.
    pub(super) logged_headers: Vec<(FieldName, Vec<u8>)>,
}

impl<'a> ResponseSide<'a> {
    pub(super) fn new(
        head: &'a mut ResponseHead,
        input: &'a mut Buffer,
        out: &'a mut Vec<u8>,
        (headers, style): (&'a HeaderSettings, Style),
    ) -> Self {
        Self {
            head,
            input,
            out,
            headers,
            style,
            written: 0,
            unflushed: false,
            body: BodyReader::Done,
            direct: 0,
            pipe: None,
            bulk: false,
            in_hand: None,
            web: None,
            chunked: false,
            trailers: None,
            end_due: false,
            chunk_end: false,
            head_seen: false,
            interim: Interim::default(),
            complete: false,
            any_written: false,
            sent: 0,
            status: 0,
            time_to_head: None,
            tunnel: false,
            close: false,
            logged_headers: Vec::new(),
        }
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.written >= self.out.len()
            && !self.unflushed
            && self.direct == 0
            && self.pipe.as_ref().is_none_or(Pipe::is_empty)
            && !(self.complete && self.end_due)
    }

    /// Whether a head or trailer section is incomplete and the flow waits for the backend.
    pub(super) fn has_partial_section(&self) -> bool {
        let partial = if self.head_seen { self.body.is_in_trailers() } else { !self.input.is_empty() };
        partial && !self.complete && self.is_flushed()
    }

    /// Whether the whole response was written.
    pub(super) fn is_complete(&self) -> bool {
        self.complete && self.is_flushed()
    }

    /// The length of the next head, once it is complete.
    pub(super) fn parse(&mut self, request_kind: RequestKind, limits: &HeadLimits) -> Result<Option<usize>, Failure> {
        let parsed =
            self.head.parse(self.input.filled(), request_kind, limits).map_err(|_| Failure::UpstreamProtocol)?;
        let too_large = parsed.is_none() && self.input.is_full() && self.input.filled().len() > limits.bytes;
        if too_large { Err(Failure::UpstreamProtocol) } else { Ok(parsed) }
    }

    /// Receives a head from an HTTP/2 stream; `ended` says that no body follows.
    pub(super) fn take_stream_head(
        &mut self,
        parts: &http::response::Parts,
        (request_kind, ended): (RequestKind, bool),
        limits: &HeadLimits,
    ) -> Result<(), Failure> {
        let mut flat = Vec::with_capacity(512);
        let bodiless = (request_kind == RequestKind::Head, ended);
        wire::h2::flatten_response(parts, bodiless, limits, self.head, &mut flat)
            .map_err(|_| Failure::UpstreamProtocol)?;
        if request_kind == RequestKind::Upgrade && parts.status.is_success() {
            // RFC 8441 §5: a success has the meaning of 101 in HTTP/1.
            self.head.switched(WEBSOCKET, &mut flat);
        }
        self.input.release();
        self.input.put(&flat);
        Ok(())
    }

    /// Counts the interim response in the head read last, of `bytes` octets, and forwards it if it is within the limits.
    pub(super) fn take_interim(&mut self, bytes: usize, down: &mut Downstream) -> Result<(), Failure> {
        // The size of an HPACK entry: each line costs memory besides its text (RFC 7541 §4.1).
        let size = bytes + 32 * self.head.fields(self.input.filled()).len();
        let account = match down {
            Downstream::H1(_) => None,
            Downstream::H2(stream) => Some(&stream.responses),
        };
        if self.interim.admit(size, account)? { self.pass_interim(down) } else { Ok(()) }
    }

    /// Interim responses have no connection headers of the gateway; their own headers are forwarded.
    fn pass_interim(&mut self, down: &mut Downstream) -> Result<(), Failure> {
        let parts = ResponseParts {
            status: self.head.status,
            fields: self.head.fields(self.input.filled()),
            nominates: self.head.nominates,
            framing: OutFraming::None,
            upgrade: None,
            close: false,
        };
        match down {
            // HTTP/1.0 has no interim responses.
            Downstream::H1(_) if self.style.http10 => {}
            Downstream::H1(_) => write_response_in(self.out, &parts, &Edits::default(), self.style),
            Downstream::H2(stream) => {
                let head = wire::h2::response(&parts, &Edits::default());
                stream.send_informational(head).map_err(|ClientReset| Failure::ClientClosed)?;
                self.any_written = true;
            }
        }
        Ok(())
    }

    /// Sends the final head.
    pub(super) fn pass_head(
        &mut self,
        down: &mut Downstream,
        plan: &Plan,
        (request_kind, close): (RequestKind, bool),
        (date, elapsed): (&HttpDate, Duration),
        context: &ResponseContext<'_>,
    ) -> Result<(), Failure> {
        self.head_seen = true;
        self.status = self.head.status;
        self.time_to_head = Some(elapsed);
        self.tunnel = self.status == 101;
        self.close = close && !self.tunnel;
        self.body = BodyReader::new(self.head.body);
        self.complete = self.body.is_done();
        let mut framing = self.framing(request_kind);
        let buffer = self.input.filled();
        let fields = self.head.fields(buffer);
        let millis = Decimal::from(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        let mut edits = Edits::default();
        if let Some(server) = &self.headers.server {
            edits.set("server", server);
        }
        if self.headers.debug {
            edits.set("x-envoy-upstream-service-time", &millis);
        }
        if fields.get("date").is_none() {
            edits.set("date", date);
        }
        if let (true, Some(accept)) = (self.tunnel, &plan.accept) {
            edits.set_checked("sec-websocket-accept", accept.as_bytes());
        }
        if let Some(cookie) = &plan.affinity.set_cookie {
            edits.append("set-cookie", cookie);
        }
        plan.route.edit_response(plan.target, &context.of(self.status, fields), &mut edits);
        plan.route.edit_cors_response(plan.origin.as_ref(), &mut edits);
        self.web = plan.web().map(|call| GrpcWebResponse::new(call, self.head, buffer, &mut edits));
        if let Some(web) = &self.web {
            framing = web.framing(framing);
        }
        self.logged_headers = substitute::capture_response(context.logged, self.status, fields, &edits.fields);
        if self.style.http10 && framing == OutFraming::Chunked && matches!(down, Downstream::H1(_)) {
            // The end of the connection is the end of the body.
            framing = OutFraming::None;
            self.close = true;
        }
        self.chunked = framing == OutFraming::Chunked && !self.complete && matches!(down, Downstream::H1(_));
        let upgrade = self.head.upgrade.filter(|_| self.tunnel).map(|span| span.of(buffer));
        let (status, nominates) = (self.status, self.head.nominates);
        let parts = ResponseParts { status, fields, nominates, framing, upgrade, close: self.close };
        if let Some(web) = &mut self.web
            && web.hold((down, self.style), &parts, &edits)
        {
            if self.complete {
                web.end(None, down, false, self.out)?;
            }
            return Ok(());
        }
        match down {
            Downstream::H1(_) => write_response_in(self.out, &parts, &edits, self.style),
            Downstream::H2(stream) => {
                let ended = self.complete && !self.tunnel;
                self.end_due = !self.complete;
                let head = wire::h2::response(&parts, &edits);
                stream.send_head(head, ended).map_err(|ClientReset| Failure::ClientClosed)?;
                self.any_written = true;
            }
        }
        Ok(())
    }

    fn framing(&self, request_kind: RequestKind) -> OutFraming {
        match (self.head.body, self.head.declared_length) {
            (BodyLength::None, _) if matches!(self.status, 101 | 204) => OutFraming::None,
            // The length of the body that is not sent (HEAD, 304).
            (BodyLength::None, Some(length)) => OutFraming::Length(length),
            (BodyLength::None, None) if self.status == 304 || request_kind == RequestKind::Head => OutFraming::None,
            (BodyLength::None, None) => OutFraming::Length(0),
            (BodyLength::Length(length), _) => OutFraming::Length(length),
            // In HTTP/1.1, chunks mark the end better than a close.
            (BodyLength::Chunked | BodyLength::UntilClose, _) => OutFraming::Chunked,
        }
    }

    /// Moves body octets from the input to `out`, or marks them to be written from the input.
    pub(super) fn take_body(&mut self, down: &mut Downstream, up: &UpstreamStream) -> Result<bool, Failure> {
        let mut moved = false;
        if !self.head_seen || self.pipe.is_some() || matches!(up, UpstreamStream::H2(_)) {
            return Ok(false);
        }
        let to_stream = matches!(down, Downstream::H2(_));
        while !self.complete && self.direct == 0 && self.out.len() < COPY_LIMIT {
            let step = self.body.decode(self.input.filled()).map_err(|_| Failure::UpstreamProtocol)?;
            if step.consumed == 0 && !step.done {
                break;
            }
            moved = true;
            self.complete = step.done;
            if !self.pass(&step, to_stream) && !self.complete {
                self.cut(down)?;
                break;
            }
            match self.body.trailers() {
                _ if !self.complete || self.direct > 0 => {}
                trailers if self.web.is_some() => {
                    let trailers = trailers.map(wire::h2::trailers);
                    self.end(trailers, down)?;
                }
                trailers if self.chunked => ChunkWriter::end_in(self.out, trailers, self.style),
                trailers => self.trailers = trailers.filter(|_| to_stream).map(wire::h2::trailers),
            }
        }
        Ok(moved)
    }

    /// Copies or marks data; whether more is wanted.
    fn pass(&mut self, step: &wire::h1::Step, to_stream: bool) -> bool {
        let length = step.data.len();
        let large = match to_stream {
            // Small pieces are collected, unless nothing else is read.
            true => {
                length >= PIECE || (length > 0 && self.out.is_empty() && step.consumed == self.input.filled().len())
            }
            false => length > COPY_LIMIT,
        };
        if large && self.web.is_none() {
            // The framing before the data is consumed; what follows is decoded next time.
            self.input.consume(step.data.start);
            self.direct = length;
            self.sent += length as u64;
            if self.chunked {
                ChunkWriter::prefix(self.out, length);
                self.chunk_end = true;
            }
            return true;
        }
        let data = self.input.filled().get(step.data.clone()).unwrap_or_default();
        let taken = put_data(self.out, data, &mut self.web, self.chunked);
        self.input.consume(step.consumed);
        self.sent += taken.unwrap_or(0) as u64;
        taken.is_some()
    }

    /// Ends a response early; the backend's connection is not reusable.
    fn cut(&mut self, down: &mut Downstream) -> Result<(), Failure> {
        self.head.keep_alive = false;
        self.end(None, down)
    }

    /// Writes the end of the body, with its trailers.
    fn end(&mut self, trailers: Option<HeaderMap>, down: &mut Downstream) -> Result<(), Failure> {
        self.complete = true;
        match &mut self.web {
            None => self.trailers = trailers,
            Some(web) => {
                let count = web.end(trailers.as_ref(), down, self.chunked, self.out)?;
                self.sent += count as u64;
            }
        }
        if self.chunked {
            end_chunks(self.out, self.trailers.as_ref());
        }
        Ok(())
    }

    /// Receives the next piece from an HTTP/2 stream.
    fn take_piece(
        &mut self,
        up: &mut H2Upstream,
        (down, limits): (&mut Downstream, &HeadLimits),
        context: &mut Context<'_>,
    ) -> Result<Poll<()>, Failure> {
        match up.receiver.poll_piece(context) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Ok(Piece::Data(data))) => match put_data(self.out, &data, &mut self.web, self.chunked) {
                Some(count) => self.sent += count as u64,
                None => self.cut(down)?,
            },
            Poll::Ready(Ok(Piece::End(trailers))) => {
                if up.marks.is_malformed() || (trailers.is_some() && up.marks.ends_with_status()) {
                    return Err(Failure::UpstreamProtocol);
                }
                let trailers = checked_trailers(trailers, limits).map_err(|_| Failure::UpstreamProtocol)?;
                self.end(trailers, down)?;
            }
            // The response is incomplete: the client must not see a regular end.
            Poll::Ready(Err(error)) => return Err(Failure::of_stream(&error)),
        }
        Ok(Poll::Ready(()))
    }

    /// Reads more of the body, or splices it.
    pub(super) fn more(
        &mut self,
        worker: &Worker,
        up: &mut UpstreamStream,
        down: &mut Downstream,
        context: &mut Context<'_>,
    ) -> Result<Poll<()>, Failure> {
        let up = match up {
            UpstreamStream::H1(connection) => &mut connection.stream,
            UpstreamStream::H2(stream) => {
                return self.take_piece(stream, (down, &worker.limits.head), context);
            }
        };
        if let Downstream::H1(down) = down
            && self.is_moved(worker, up, down)
        {
            return self.move_body(up, down, context);
        }
        let polled = match down {
            Downstream::H1(_) => read(up, self.input, context),
            Downstream::H2(stream) => self.read_for_stream(up, &mut stream.sender, context)?,
        };
        match polled {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Ok(count)) if count > 0 => {
                // A body that fills the buffer gets a larger buffer.
                if self.input.is_full() {
                    match down {
                        Downstream::H1(_) => self.input.grow(),
                        Downstream::H2(_) => self.bulk = true,
                    }
                }
            }
            Poll::Ready(Ok(_)) if self.body.ends_with_connection() => {
                self.end(None, down)?;
            }
            // The response is incomplete: the client must not see a regular end.
            Poll::Ready(Ok(_)) => return Err(Failure::UpstreamIncomplete),
            Poll::Ready(Err(_)) => return Err(Failure::UpstreamClosed),
        }
        Ok(Poll::Ready(()))
    }

    /// Reads for an HTTP/2 client. A little is read ahead, so that a small response costs no check of the window. For a large body, or a
    /// connection that holds much, no more is read than the client can receive now.
    fn read_for_stream(
        &mut self,
        up: &mut Stream,
        sender: &mut Sender,
        context: &mut Context<'_>,
    ) -> Result<Poll<io::Result<usize>>, Failure> {
        let asks = self.bulk || sender.share().is_some_and(|share| share.is_tight());
        let polled = if asks { self.read_what_is_taken(up, sender, context)? } else { read(up, self.input, context) };
        if polled.is_pending() && self.input.is_empty() {
            self.input.release();
        }
        Ok(polled)
    }

    fn read_what_is_taken(
        &mut self,
        up: &mut Stream,
        sender: &mut Sender,
        context: &mut Context<'_>,
    ) -> Result<Poll<io::Result<usize>>, Failure> {
        // While nothing arrives, the window is left to other streams.
        if up.poll_read_ready(context).is_pending() {
            sender.give_up_room();
            return Ok(Poll::Pending);
        }
        let wanted = if self.bulk { STREAM_READ } else { BUFFER };
        let most = match sender.poll_room(wanted, context) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Ok(room)) => room,
            Poll::Ready(Err(_)) => return Err(Failure::ClientClosed),
        };
        if self.input.is_full() || (self.bulk && self.input.is_empty() && most > BUFFER) {
            self.input.grow();
        }
        let polled = read_some(up, self.input, most, context);
        if polled.is_pending() {
            sender.give_up_room();
        }
        Ok(polled)
    }

    /// The octets of the body still to come; `u64::MAX` if unknown.
    pub(super) fn still_to_come(&self) -> u64 {
        self.head.declared_length.map_or(u64::MAX, |length| length.saturating_sub(self.sent))
    }

    fn is_moved(&mut self, worker: &Worker, up: &Stream, down: &Stream) -> bool {
        if self.pipe.is_none()
            && self.input.is_empty()
            && self.web.is_none()
            && let BodyReader::Length(left) = self.body
        {
            self.pipe = splice::pipe(worker, left, up, down);
        }
        self.pipe.is_some()
    }

    fn move_body(&mut self, up: &Stream, down: &Stream, context: &mut Context<'_>) -> Result<Poll<()>, Failure> {
        let (Some(pipe), BodyReader::Length(left)) = (&mut self.pipe, &mut self.body) else {
            return Err(Failure::UpstreamProtocol);
        };
        let before = *left;
        let moved = splice::poll_move(pipe, left, up, down, context);
        self.sent += before - *left;
        match moved {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(SpliceError::End)) => return Err(Failure::UpstreamIncomplete),
            Poll::Ready(Err(SpliceError::Source)) => return Err(Failure::UpstreamClosed),
            Poll::Ready(Err(SpliceError::Sink)) => return Err(Failure::ClientClosed),
        }
        if *left == 0 && pipe.is_empty() {
            self.complete = true;
            self.pipe = None;
        }
        Ok(Poll::Ready(()))
    }

    /// Writes pending octets to the client; whether any were written.
    pub(super) fn flush(&mut self, down: &mut Downstream, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match down {
            Downstream::H1(stream) => self.flush_bytes(stream, context),
            Downstream::H2(stream) => self.flush_stream(&mut stream.sender, context),
        }
    }

    fn flush_stream(&mut self, sender: &mut Sender, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let flushed = self.flush_pieces(sender, context);
        match sender.share().filter(|_| flushed.is_pending()) {
            Some(share) => {
                self.input.fit();
                let collected = if self.out.is_empty() { 0 } else { self.out.capacity() };
                let octets = self.input.capacity() + collected;
                self.in_hand.get_or_insert_with(|| share.hold(0)).set(octets);
            }
            None => self.in_hand = None,
        }
        flushed
    }

    fn flush_pieces(&mut self, sender: &mut Sender, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut wrote = false;
        let last = self.complete && self.trailers.is_none();
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            self.written += ready!(sender.poll_send(rest, last && self.direct == 0, context))?;
            wrote = true;
        }
        self.out.clear();
        self.written = 0;
        while self.direct > 0 {
            let data = self.input.filled().get(..self.direct).unwrap_or_default();
            let count = ready!(sender.poll_send(data, last, context))?;
            self.input.consume(count);
            self.direct -= count;
            wrote = true;
        }
        if self.complete && self.end_due {
            self.end_due = false;
            if !sender.is_ended() {
                sender.end(self.trailers.take())?;
                wrote = true;
            }
        }
        Poll::Ready(Ok(wrote))
    }

    fn flush_bytes(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut wrote = false;
        while self.written < self.out.len() || self.direct > 0 {
            let head = self.out.get(self.written..).unwrap_or_default();
            let direct = self.input.filled().get(..self.direct).unwrap_or_default();
            let polled = match (head.is_empty(), direct.is_empty()) {
                (false, true) => stream.poll_write(context, head),
                (true, _) => stream.poll_write(context, direct),
                (false, false) => stream.poll_write_vectored(context, &[IoSlice::new(head), IoSlice::new(direct)]),
            };
            match ready!(polled)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.count_written(count),
            }
            (wrote, self.unflushed) = (true, true);
        }
        ready!(stream.poll_flush(context))?;
        self.unflushed = false;
        self.out.clear();
        self.written = 0;
        Poll::Ready(Ok(wrote))
    }

    fn count_written(&mut self, count: usize) {
        self.any_written = true;
        let of_head = count.min(self.out.len() - self.written);
        self.written += of_head;
        let of_direct = count - of_head;
        self.input.consume(of_direct);
        self.direct -= of_direct;
        if self.direct == 0 && of_direct > 0 && self.chunk_end {
            self.chunk_end = false;
            self.out.extend_from_slice(b"\r\n");
            if self.complete {
                ChunkWriter::end_in(self.out, self.body.trailers(), self.style);
            }
        }
    }

    /// Resets the direction for another attempt.
    pub(super) fn rewind(self) {
        self.input.release();
        self.out.clear();
        *self.head = std::mem::take(self.head).reset();
    }
}
