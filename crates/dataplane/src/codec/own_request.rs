//! Requests of the gateway's own, for which no client waits: those to mirrors, to services for authorization, and to proxies. Their interim
//! responses are dropped, and the final one is read piece by piece.

use super::receive::{Piece, ReceiveError, Received};
use super::send::SendBuffer;
use super::upstream::{HeadInput, Upstream};
use crate::conn::{Buffer, Worker};
use crate::limits::INTERIM_RESPONSES;
use ::upstream::{ClusterState, ConnectContext, ConnectError, ConnectTimeouts, Connection, EndpointState};
use http::Request;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use thiserror::Error;
use wire::h1::response::RequestKind;
use wire::h1::{BodyReader, HeadLimits, ResponseHead};

/// The head of a request, in the version of its backend.
#[derive(Debug, Clone)]
pub(crate) enum OwnHead {
    /// Lines.
    Lines(Vec<u8>),
    /// The fields of a frame.
    Frame(Request<()>),
}

impl OwnHead {
    /// What is to be sent besides the frame.
    pub(crate) fn into_lines(self) -> Vec<u8> {
        match self {
            Self::Lines(lines) => lines,
            Self::Frame(_) => Vec::new(),
        }
    }
}

/// Why a request could not be begun.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The stream was not opened: nothing was sent.
    #[error("the stream cannot be opened")]
    Stream(#[from] h2::Error),
}

/// Where a request is sent.
#[derive(Clone, Copy)]
pub(crate) struct Destination<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) cluster: &'a Arc<ClusterState>,
    pub(crate) endpoint: &'a Arc<EndpointState>,
    pub(crate) sender: ConnectContext<'a>,
    /// How long connecting may take.
    pub(crate) limit: Duration,
}

impl Destination<'_> {
    /// An idle or a new connection for lines, which are to be sent, or a stream on which the frame was sent. After a failure on an idle
    /// connection a request is sent on a new one.
    pub(crate) async fn open(
        self,
        head: &OwnHead,
        is_bodiless: bool,
        may_use_idle: bool,
    ) -> Result<Upstream, OpenError> {
        let Self { worker, cluster, endpoint, sender, limit } = self;
        Ok(match head {
            OwnHead::Lines(_) => {
                let timeouts = ConnectTimeouts { idle: may_use_idle, wait: None, connect: || limit };
                Upstream::connection(
                    ::upstream::h1_connection(&worker.pool, cluster, endpoint, sender, timeouts).await?,
                )
            }
            OwnHead::Frame(head) => {
                let stream = ::upstream::h2_stream(&worker.streams, cluster, endpoint, sender, limit).await?;
                Upstream::open(stream, head.clone(), is_bodiless)?
            }
        })
    }
}

/// The response to such a request.
pub(crate) struct OwnResponse {
    pub(crate) head: ResponseHead,
    pub(crate) input: Buffer,
    request_kind: RequestKind,
    /// Interim responses so far.
    interim: u32,
    /// Set once the final head was received.
    body: Option<BodyReader>,
}

impl OwnResponse {
    /// A response of which nothing was received. `input` is an empty buffer.
    pub(crate) fn new(request_kind: RequestKind, input: Buffer) -> Self {
        Self { head: ResponseHead::default(), input, request_kind, interim: 0, body: None }
    }

    /// Whether any part of it was received.
    pub(crate) fn has_begun(&self) -> bool {
        self.body.is_some() || self.interim > 0 || !self.input.is_empty()
    }

    /// Receives the final head, which `read` sees with the octets that it is an index into.
    pub(crate) fn poll_head(
        &mut self,
        up: &mut Upstream,
        limits: &HeadLimits,
        mut read: impl FnMut(&ResponseHead, &[u8]),
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ReceiveError>> {
        while self.body.is_none() {
            let (head, input, request_kind) = (&mut self.head, &mut self.input, self.request_kind);
            let into = HeadInput { head, input, request_kind, limits, most: usize::MAX, may_read: true };
            let Some(length) = ready!(up.poll_head(into, context))? else { continue };
            if self.head.is_informational() {
                self.interim += 1;
                if self.interim > INTERIM_RESPONSES {
                    return Poll::Ready(Err(ReceiveError::Malformed));
                }
            } else {
                read(&self.head, self.input.filled());
                self.body = Some(BodyReader::new(self.head.body));
            }
            up.consume_head(&mut self.input, length);
        }
        Poll::Ready(Ok(()))
    }

    /// Receives the next piece of the body, after the final head.
    pub(crate) fn poll_piece(
        &mut self,
        up: &mut Upstream,
        limits: &HeadLimits,
        context: &mut Context<'_>,
    ) -> Poll<Result<Piece, ReceiveError>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Err(ReceiveError::Malformed)) };
        loop {
            if let Some(piece) = Piece::decode(body, &self.input).map_err(|_| ReceiveError::Malformed)? {
                return Poll::Ready(Ok(piece));
            }
            if self.input.is_full() {
                self.input.grow();
            }
            match ready!(up.poll_data(&mut self.input, limits, context))? {
                Received::Octets => {}
                Received::Piece(piece) => return Poll::Ready(Ok(piece)),
                Received::Closed if body.ends_with_connection() => return Poll::Ready(Ok(Piece::of_end(None))),
                Received::Closed => return Poll::Ready(Err(ReceiveError::Incomplete)),
            }
        }
    }

    /// What is left of the octets after the final head, and how they are decoded.
    pub(crate) fn into_body(self) -> Option<(BodyReader, Buffer)> {
        Some((self.body?, self.input))
    }

    /// The connection, if another request can follow on it after the last piece. `send` is what was to be sent.
    pub(crate) fn reusable(&self, up: Upstream, send: &SendBuffer<'_>) -> Option<Connection> {
        up.into_reusable().filter(|_| send.is_flushed() && self.head.keep_alive && self.input.is_empty())
    }
}
