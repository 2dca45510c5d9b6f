//! Opens tunnels through a proxy (DR-50): a CONNECT or POST request to the endpoint, which has to succeed before any octets are relayed.

use crate::codec::{OwnResponse, PostTunnel, ReceiveError, Tunnel, Upstream};
use crate::conn::{Buffer, Worker};
use crate::credentials::CredentialUnavailable;
use crate::metrics::add;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use ir::{TunnelMethod, UpstreamProtocol};
use std::future::{Future, poll_fn};
use std::io;
use std::sync::Arc;
use text::FieldValue;
use tokio::time::{Instant, timeout_at};
use upstream::{ClusterState, ConnectContext, ConnectError, Counted, EndpointState, Outcome};
use wire::h1::BodyReader;
use wire::h1::response::RequestKind;

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
    /// The credential for the proxy cannot be had.
    #[error("the credential for the proxy is not available: {0}")]
    Credential(#[from] CredentialUnavailable),
    /// The proxy did not respond within the connect timeout.
    #[error("the proxy did not answer in time")]
    Late,
}

impl TunnelError {
    /// Whether the cause is the gateway's own, not the endpoint's.
    pub(super) fn is_own(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_own(),
            Self::Credential(_) => true,
            Self::Refused(_) | Self::Malformed | Self::Closed | Self::Late => false,
        }
    }

    /// The outcome for outlier detection (DR-30).
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Late => Outcome::TimedOut,
            Self::Connect(_) | Self::Credential(_) | Self::Refused(_) | Self::Malformed | Self::Closed => {
                Outcome::Disconnected
            }
        }
    }

    /// Whether another endpoint may be tried.
    pub(super) fn is_of_endpoint(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::Credential(_))
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

impl From<ReceiveError> for TunnelError {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Malformed | ReceiveError::MalformedTrailers => Self::Malformed,
            ReceiveError::Closed | ReceiveError::Incomplete | ReceiveError::Unprocessed | ReceiveError::TimedOut => {
                Self::Closed
            }
        }
    }
}

/// An endpoint of a cluster, through which a tunnel is opened.
#[derive(Clone, Copy)]
pub(super) struct TunnelOpener<'a> {
    pub(super) worker: &'a Worker,
    pub(super) cluster: &'a Arc<ClusterState>,
    pub(super) endpoint: &'a Arc<EndpointState>,
    pub(super) sender: ConnectContext<'a>,
    pub(super) tunnel: &'a ir::Tunnel,
}

/// What the proxy answered with a success.
struct ProxyAnswer {
    body: BodyReader,
    /// Octets after the head.
    received: Buffer,
}

impl TunnelOpener<'_> {
    /// Opens a tunnel within the connect timeout, which begins when there is a credential. It counts as a request of the cluster while it lasts (DR-21).
    pub(super) async fn open(self) -> Result<(Tunnel, Counted), TunnelError> {
        let counted = self.cluster.begin_request().ok_or(ConnectError::Overflow)?;
        self.worker.credentials.wait(self.cluster).await?;
        // The endpoint has no part in the wait for the credential.
        let deadline = Instant::now() + self.cluster.config.timeouts.connect;
        let sent = Instant::now().into_std();
        let tunnel = match self.cluster.config.protocol {
            UpstreamProtocol::Http2 { .. } => self.on_stream(deadline).await,
            // A TCP client has no HTTP version to follow (DR-22).
            UpstreamProtocol::Http1 | UpstreamProtocol::AsClient => self.on_connection(deadline).await,
        };
        if let Err(TunnelError::Refused(401 | 407)) = tunnel {
            self.worker.credentials.reject(self.cluster, sent);
        }
        Ok((tunnel?, counted))
    }

    async fn on_connection(&self, deadline: Instant) -> Result<Tunnel, TunnelError> {
        let limit = self.cluster.config.timeouts.connect;
        let connection = self.cluster.connect(self.endpoint, self.sender, limit).await?;
        self.record_connection();
        let mut up = Upstream::connection(connection);
        let mut head = self.octet_head()?;
        let ProxyAnswer { body, received } = in_time(deadline, self.ask(&mut up, &mut head)).await?;
        Ok(match (self.tunnel.method, up.into_reusable()) {
            (TunnelMethod::Post, Some(connection)) => {
                Tunnel::post(PostTunnel::new(connection, body, received), self.worker.buffer())
            }
            (TunnelMethod::Connect, Some(connection)) => Tunnel::open(Upstream::connection(connection), received),
            (_, None) => return Err(TunnelError::Closed),
        })
    }

    /// Opens a stream. If it fails on a reused connection, it is tried once more: no tunnel octets were sent on it.
    async fn on_stream(&self, deadline: Instant) -> Result<Tunnel, TunnelError> {
        let head = self.stream_head()?;
        let mut again = true;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let stream =
                upstream::h2_stream(&self.worker.streams, self.cluster, self.endpoint, self.sender, left).await?;
            let reused = stream.reused;
            if reused {
                add(&self.worker.metrics.reused);
            } else {
                self.record_connection();
            }
            let opened = in_time(deadline, async {
                let mut up = Upstream::open(stream, head.clone(), false)?;
                let ProxyAnswer { received, .. } = self.ask(&mut up, &mut Vec::new()).await?;
                // A response without a body cannot carry a tunnel.
                if up.has_ended() { Err(TunnelError::Malformed) } else { Ok(Tunnel::open(up, received)) }
            });
            match opened.await {
                Err(TunnelError::Closed) if reused && again => again = false,
                opened => return opened,
            }
        }
    }

    /// Sends what is left of the head, and receives the head of the response.
    async fn ask(&self, up: &mut Upstream, out: &mut Vec<u8>) -> Result<ProxyAnswer, TunnelError> {
        let mut response = OwnResponse::new(self.request_kind(), self.worker.buffer());
        let is_switch = true;
        let mut send = up.send_buffer(out, None, is_switch);
        poll_fn(|context| up.poll_send(&mut send, &mut response.input, context)).await?;
        poll_fn(|context| response.poll_head(up, &self.worker.limits.head, |_, _| {}, context)).await?;
        match response.head.status {
            200..=299 => {
                let (body, received) = response.into_body().ok_or(TunnelError::Malformed)?;
                Ok(ProxyAnswer { body, received })
            }
            status => Err(TunnelError::Refused(status)),
        }
    }

    fn request_kind(&self) -> RequestKind {
        match self.tunnel.method {
            TunnelMethod::Connect => RequestKind::Connect,
            TunnelMethod::Post => RequestKind::Other,
        }
    }

    /// The head for a proxy in HTTP/1.
    fn octet_head(&self) -> Result<Vec<u8>, TunnelError> {
        let authority = &self.tunnel.authority;
        let mut head = match self.tunnel.method {
            TunnelMethod::Connect => format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n"),
            TunnelMethod::Post => format!("POST / HTTP/1.1\r\nhost: {authority}\r\ntransfer-encoding: chunked\r\n"),
        }
        .into_bytes();
        if let Some((name, value)) = self.credential()? {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(&value);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        Ok(head)
    }

    /// The credential for the proxy. Of a CONNECT request, what has no header of its own is in that for proxies (RFC 9110 §11.7.2).
    fn credential(&self) -> Result<Option<(&str, FieldValue<'_>)>, TunnelError> {
        let Some(credential) = self.cluster.config.credential.as_deref() else { return Ok(None) };
        let name = match (credential.header.as_str(), self.tunnel.method) {
            ("authorization", TunnelMethod::Connect) => "proxy-authorization",
            (name, _) => name,
        };
        Ok(Some((name, self.worker.credentials.value(credential)?)))
    }

    /// The head for a proxy in HTTP/2.
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
        let mut head = head.map_err(|_| TunnelError::Malformed)?;
        if let Some((name, value)) = self.credential()? {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| TunnelError::Malformed)?;
            let mut value = HeaderValue::from_bytes(&value).map_err(|_| TunnelError::Malformed)?;
            value.set_sensitive(true);
            head.headers_mut().insert(name, value);
        }
        Ok(head)
    }

    /// Counts a connection that was established.
    fn record_connection(&self) {
        add(&self.worker.metrics.connected);
        self.worker.report(self.cluster, self.endpoint, Outcome::Connected);
    }
}

async fn in_time<T>(
    deadline: Instant,
    opening: impl Future<Output = Result<T, TunnelError>>,
) -> Result<T, TunnelError> {
    timeout_at(deadline, opening).await.unwrap_or(Err(TunnelError::Late))
}
