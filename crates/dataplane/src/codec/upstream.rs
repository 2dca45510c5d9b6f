//! The backend of an exchange: an HTTP/1 connection, or one HTTP/2 stream.

use super::streams::{Receiver, Sender};
use h2::client::ResponseFuture;
use http::Request;
use std::net::SocketAddr;
use std::sync::Arc;
use upstream::{Connection, EndpointState, H2Stream, StreamMarks};

/// The backend of an exchange.
#[derive(Debug)]
pub(crate) enum UpstreamStream {
    H1(Connection),
    H2(Box<H2Upstream>),
}

/// An HTTP/2 stream to a backend; the head of the request was sent.
#[derive(Debug)]
pub(crate) struct H2Upstream {
    pub(crate) response: ResponseFuture,
    pub(crate) sender: Sender,
    /// Set once the head of the response was received.
    pub(crate) receiver: Receiver,
    pub(crate) reused: bool,
    pub(crate) local: Option<SocketAddr>,
    /// Findings about its header blocks.
    pub(crate) marks: StreamMarks,
    /// The permit within the connection's limit on streams.
    permit: upstream::StreamPermit,
}

impl H2Upstream {
    /// Sends the head of a request; `ended` if no body follows.
    pub(crate) fn open(stream: H2Stream, head: Request<()>, ended: bool) -> Result<Self, h2::Error> {
        let H2Stream { mut send, reused, local, permit, marks, .. } = stream;
        let (response, body) = send.send_request(head, ended)?;
        let sender: Sender = Sender::new(body, ended);
        let marks = marks.of(response.stream_id().as_u32());
        Ok(Self { response, sender, receiver: Receiver::default(), reused, local, marks, permit })
    }

    /// Waits for the head of the response: its status, and whether it ends the stream.
    pub(crate) async fn answer(&mut self) -> Result<(u16, bool), h2::Error> {
        let (head, receiver) = (&mut self.response).await?.into_parts();
        let ended = receiver.is_end_stream();
        self.receiver = Receiver::new(receiver);
        Ok((head.status.as_u16(), ended))
    }

    /// The endpoint.
    pub(crate) fn endpoint(&self) -> &Arc<EndpointState> {
        self.permit.endpoint()
    }
}

impl UpstreamStream {
    /// Whether the connection was used before, so that the peer may have closed it.
    pub(crate) fn is_reused(&self) -> bool {
        match self {
            Self::H1(connection) => connection.reused,
            Self::H2(stream) => stream.reused,
        }
    }

    /// The endpoint.
    pub(crate) fn endpoint(&self) -> &Arc<EndpointState> {
        match self {
            Self::H1(connection) => &connection.endpoint,
            Self::H2(stream) => stream.endpoint(),
        }
    }

    /// The local address of the connection, if there is one.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::H1(connection) => connection.stream.local_address(),
            Self::H2(stream) => stream.local,
        }
    }
}
