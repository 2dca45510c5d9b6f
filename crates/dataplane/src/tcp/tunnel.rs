//! Tunnels through a proxy (DR-50): a CONNECT or POST request to the endpoint, which has to succeed before any octets are relayed.

use super::post_tunnel::PostTunnel;
use super::tcp_upstream::{TcpUpstream, UpstreamPath};
use crate::codec::H2Upstream;
use crate::conn::{Buffer, Worker};
use crate::metrics::add;
use http::{Method, Request, Uri};
use ir::{Tunnel, TunnelMethod, UpstreamProtocol};
use std::future::{Future, poll_fn};
use std::io;
use std::sync::Arc;
use std::task::{Poll, ready};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};
use upstream::{ClusterState, ConnectContext, ConnectError, Connection, EndpointState, Outcome, Stream};
use wire::h1::response::RequestKind;
use wire::h1::{BodyReader, ResponseHead};

/// Why a tunnel failed. The texts go into the access log; Envoy has a text only for a rejection.
#[derive(Debug, thiserror::Error)]
pub(super) enum TunnelError {
    /// There is no connection to the proxy.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The status is not a success.
    #[error("tunnel_response:{0}")]
    Refused(u16),
    /// The response is not a valid HTTP head, or it is too long.
    #[error("the proxy's answer is malformed")]
    Malformed,
    /// The proxy closed the connection or reset the stream.
    #[error("the proxy closed before it answered")]
    Closed,
    /// The proxy did not respond within the connect timeout.
    #[error("the proxy did not answer in time")]
    Late,
}

impl TunnelError {
    /// Whether the cause is the gateway's own, not the endpoint's.
    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Connect(error) if error.is_own())
    }

    /// The outcome for outlier detection (DR-30).
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Late => Outcome::TimedOut,
            Self::Connect(_) | Self::Refused(_) | Self::Malformed | Self::Closed => Outcome::Disconnected,
        }
    }

    /// Whether another endpoint may be tried.
    pub(super) fn is_of_endpoint(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}

impl From<io::Error> for TunnelError {
    fn from(_: io::Error) -> Self {
        Self::Closed
    }
}

impl From<h2::Error> for TunnelError {
    fn from(_: h2::Error) -> Self {
        Self::Closed
    }
}

/// Opens a tunnel through an endpoint within the connect timeout.
pub(super) async fn open(
    worker: &Worker,
    cluster: &Arc<ClusterState>,
    (endpoint, sender): (&Arc<EndpointState>, ConnectContext<'_>),
    tunnel: &Tunnel,
) -> Result<UpstreamPath, TunnelError> {
    // A tunnel counts as a request while it lasts (DR-21).
    let counted = cluster.begin_request().ok_or(ConnectError::Overflow)?;
    let deadline = Instant::now() + cluster.config.timeouts.connect;
    let opening = Opening { worker, cluster, endpoint, sender, tunnel, deadline };
    let (up, back) = match cluster.config.protocol {
        UpstreamProtocol::Http2 { .. } => (opening.on_stream().await?, worker.buffer()),
        // A TCP client has no HTTP version to follow (DR-22).
        UpstreamProtocol::Http1 | UpstreamProtocol::AsClient => opening.on_connection().await?,
    };
    Ok(UpstreamPath { up, back, _counted: Some(counted) })
}

struct Opening<'a> {
    worker: &'a Worker,
    cluster: &'a Arc<ClusterState>,
    endpoint: &'a Arc<EndpointState>,
    sender: ConnectContext<'a>,
    tunnel: &'a Tunnel,
    deadline: Instant,
}

impl Opening<'_> {
    /// Opens a connection; returns it and the octets after the head of the response.
    async fn on_connection(&self) -> Result<(TcpUpstream, Buffer), TunnelError> {
        let limit = self.cluster.config.timeouts.connect;
        let mut connection = self.cluster.connect(self.endpoint, self.sender, limit).await?;
        self.made();
        let mut back = self.worker.buffer();
        let body = self.in_time(self.ask(&mut connection, &mut back)).await?;
        Ok(match self.tunnel.method {
            TunnelMethod::Connect => (TcpUpstream::Bare(connection), back),
            TunnelMethod::Post => {
                let post = PostTunnel::new(connection, body, back);
                (TcpUpstream::PostTunnel(Box::new(post)), self.worker.buffer())
            }
        })
    }

    /// Sends the head and reads the head of the response; later octets stay in the buffer.
    async fn ask(&self, connection: &mut Connection, back: &mut Buffer) -> Result<BodyReader, TunnelError> {
        let authority = &self.tunnel.authority;
        let (head, request_kind) = match self.tunnel.method {
            TunnelMethod::Connect => {
                (format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n"), RequestKind::Connect)
            }
            TunnelMethod::Post => (
                format!("POST / HTTP/1.1\r\nhost: {authority}\r\ntransfer-encoding: chunked\r\n\r\n"),
                RequestKind::Other,
            ),
        };
        connection.stream.write_all(head.as_bytes()).await?;
        connection.stream.flush().await?;
        let mut head = ResponseHead::default();
        loop {
            match head.parse(back.filled(), request_kind, &self.worker.limits.head) {
                Err(_) => return Err(TunnelError::Malformed),
                Ok(None) => {
                    if read(&mut connection.stream, back).await? == 0 {
                        return Err(TunnelError::Closed);
                    }
                }
                Ok(Some(length)) => {
                    back.consume(length);
                    match head.status {
                        200..=299 => return Ok(BodyReader::new(head.body)),
                        _ if head.is_informational() => {}
                        status => return Err(TunnelError::Refused(status)),
                    }
                }
            }
        }
    }

    /// Opens an HTTP/2 stream. If it fails on a reused connection, it is tried once more: no tunnel octets were sent on it.
    async fn on_stream(&self) -> Result<TcpUpstream, TunnelError> {
        let head = self.stream_head()?;
        let mut again = true;
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let stream =
                upstream::h2_stream(&self.worker.streams, self.cluster, self.endpoint, self.sender, left).await?;
            let reused = stream.reused;
            if reused {
                add(&self.worker.metrics.reused);
            } else {
                self.made();
            }
            let opened = self.in_time(async {
                let mut up = H2Upstream::open(stream, head.clone(), false)?;
                match up.answer().await? {
                    // A response without a body cannot carry a tunnel.
                    (200..=299, false) => Ok(TcpUpstream::Stream(Box::new(up))),
                    (200..=299, true) => Err(TunnelError::Malformed),
                    (status, _) => Err(TunnelError::Refused(status)),
                }
            });
            match opened.await {
                Err(TunnelError::Closed) if reused && again => again = false,
                opened => return opened,
            }
        }
    }

    fn stream_head(&self) -> Result<Request<()>, TunnelError> {
        let authority = self.tunnel.authority.as_str();
        let scheme = if self.cluster.config.tls.is_some() { "https" } else { "http" };
        let (method, uri) = match self.tunnel.method {
            TunnelMethod::Connect => (Method::CONNECT, Uri::builder().authority(authority).build()),
            TunnelMethod::Post => {
                let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query("/");
                (Method::POST, uri.build())
            }
        };
        let head = uri.and_then(|uri| Request::builder().method(method).uri(uri).body(()));
        // A parsed authority is valid for the library.
        head.map_err(|_| TunnelError::Malformed)
    }

    fn made(&self) {
        add(&self.worker.metrics.connected);
        self.worker.report(self.cluster, self.endpoint, Outcome::Connected);
    }

    async fn in_time<T>(&self, asking: impl Future<Output = Result<T, TunnelError>>) -> Result<T, TunnelError> {
        timeout_at(self.deadline, asking).await.unwrap_or(Err(TunnelError::Late))
    }
}

async fn read(stream: &mut Stream, buffer: &mut Buffer) -> io::Result<usize> {
    if buffer.is_full() {
        buffer.grow();
    }
    poll_fn(|context| {
        let count = ready!(stream.poll_read(context, buffer.room()))?;
        buffer.fill(count);
        Poll::Ready(Ok(count))
    })
    .await
}
