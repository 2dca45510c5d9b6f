//! All limits and timeouts of the data plane, each with its purpose.

use std::time::Duration;
use upstream::FrameBounds;
use wire::h1::HeadLimits;

/// Limits that protect the gateway from its peers, and its peers from each other.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The size of request and response heads (S-122).
    pub head: HeadLimits,
    /// From the first byte of a request until its head is complete.
    pub head_timeout: Duration,
    /// How long a client connection may be idle between requests (S-121).
    pub idle_timeout: Duration,
    /// How long the next byte of a request body may take while the backend waits for it and has not responded.
    pub body_timeout: Duration,
    /// How long an upgraded connection may be idle in both directions (S-125).
    pub tunnel_timeout: Duration,
    /// How long the client may read nothing of its response, and a backend that has not responded nothing of its request.
    pub write_timeout: Duration,
    /// From the start of a connection until its ClientHello, its PROXY header or its first bytes are received.
    pub client_hello_timeout: Duration,
    /// From the ClientHello until the end of the TLS handshake (S-81).
    pub handshake_timeout: Duration,
    /// TLS handshakes in progress per worker; a further one evicts the connection that has waited longest for its ClientHello.
    pub handshakes: usize,
    /// Client connections of the process; a further one evicts the connection that has been idle longest. The program derives it from its limit
    /// of file descriptors.
    pub connections: usize,
    /// File descriptors for client connections and listening sockets together.
    pub client_descriptors: usize,
    /// Limits of each client address.
    pub address: AddressLimits,
    /// Idle upstream connections of all workers.
    pub idle_upstream: u32,
    /// Pipes in use per worker, of two file descriptors each; without one, a body is copied.
    pub pipes: usize,
    /// Client connections per listener, over all workers; `None` is unlimited. Further ones are closed at once (S-122).
    pub listener_connections: Option<usize>,
    /// Bytes of a request body that are kept for a retry.
    pub replay_bytes: usize,
    /// Mirror requests in flight per worker (VS-45); further ones are dropped.
    pub mirrors: usize,
    /// Bytes of a request body that wait to be sent to a mirror; a mirror that falls further behind is aborted.
    pub mirror_bytes: usize,
    /// Bytes that wait for all mirrors of a worker.
    pub mirror_bytes_of_all: usize,
    /// The timeout of a mirror request whose route has none.
    pub mirror_timeout: Duration,
    /// Bytes of a request that are still read after its response, so that the client receives the response, or the connection can be reused.
    pub linger_bytes: usize,
    /// How long they are read.
    pub linger_timeout: Duration,
    /// How long a request waits for the first resolution of the destination's name.
    pub resolve_timeout: Duration,
    /// How long idle connections of a removed listener stay open for a last request.
    pub retire_grace: Duration,
    /// HTTP/2 client connections.
    pub http2: Http2Limits,
    /// Octets of decoded request heads of HTTP/2 clients and their copies: with HPACK a client can repeat a header of some kilobytes with one
    /// octet. At the limit, streams are refused.
    pub heads: BudgetLimits,
    /// Octets of responses that HTTP/2 clients have not read. At the limit, backends are not read.
    pub responses: BudgetLimits,
    /// Octets that HTTP/2 backends may send ahead of such clients: the window of each stream. At the limit, a waiting stream is reset.
    pub ahead: BudgetLimits,
    /// Octets of request bodies that are held until a service for authorization has seen them. At the limit, requests are rejected.
    pub bodies: BudgetLimits,
    /// Queued lines of the access log; further ones are dropped and counted.
    pub log_lines: usize,
    /// Series of request metrics per worker; further ones are counted as `other`.
    pub metric_series: usize,
}

/// Limits of one kind of buffered octets.
#[derive(Debug, Clone, Copy)]
pub struct BudgetLimits {
    /// Per connection. It also gets no more than what is free on its worker, so that others have room.
    pub connection: usize,
    /// Per worker.
    pub worker: usize,
    /// Per process.
    pub process: usize,
}

/// Limits of a client address, over all workers; `None` is unlimited. An IPv6 /64 counts as one address, and trusted proxies have no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct AddressLimits {
    /// Open connections; further ones are closed.
    pub connections: Option<usize>,
    /// New connections per second, with bursts of twice as many.
    pub rate: Option<u32>,
    /// TLS handshakes in progress; further connections are closed.
    pub handshakes: Option<usize>,
}

impl AddressLimits {
    /// Whether there are no limits.
    pub(crate) fn are_off(&self) -> bool {
        self.connections.is_none() && self.rate.is_none() && self.handshakes.is_none()
    }
}

/// Limits of an HTTP/2 client connection.
#[derive(Debug, Clone, Copy)]
pub struct Http2Limits {
    /// Open streams.
    pub streams: u32,
    /// The receive window of a stream, in bytes.
    pub stream_window: u32,
    /// The receive window of a connection, in bytes.
    pub connection_window: u32,
    /// Bytes of a response that wait on a stream for the client to read them.
    pub send_buffer: usize,
    /// Streams reset by the client that are remembered or not accepted yet; more close the connection.
    pub resets: usize,
    /// The most cheap frames (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM, empty ones) in a row; requests and bodies earn further ones.
    /// More close the connection.
    pub cheap_frames: u32,
    /// The most streams in a row that are refused because the budget of heads is used up; one more closes the connection.
    pub refusals: u32,
}

impl Limits {
    /// The bounds of frames of HTTP/2 endpoints.
    pub(crate) fn frames(&self) -> FrameBounds {
        let section_timeout = Some(self.head_timeout).filter(|limit| !limit.is_zero());
        FrameBounds { cheap_frames: self.http2.cheap_frames, section_timeout }
    }
}

impl Default for Http2Limits {
    fn default() -> Self {
        Self {
            streams: 128,
            stream_window: 256 << 10,
            connection_window: 1 << 20,
            send_buffer: 64 << 10,
            resets: 64,
            cheap_frames: 10_000,
            refusals: 256,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: HeadLimits::default(),
            head_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(3600),
            body_timeout: Duration::from_secs(300),
            tunnel_timeout: Duration::from_secs(3600),
            write_timeout: Duration::from_secs(300),
            client_hello_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(15),
            handshakes: 4096,
            connections: 100_000,
            client_descriptors: usize::MAX,
            // More than a large network behind one address needs; see docs/features.md.
            address: AddressLimits { connections: Some(50_000), rate: Some(1000), handshakes: Some(1000) },
            idle_upstream: 16_384,
            pipes: PIPES,
            listener_connections: None,
            replay_bytes: 64 << 10,
            mirrors: 1024,
            mirror_bytes: 1 << 20,
            mirror_bytes_of_all: 64 << 20,
            mirror_timeout: Duration::from_secs(300),
            linger_bytes: 1 << 20,
            linger_timeout: Duration::from_secs(2),
            resolve_timeout: Duration::from_secs(5),
            retire_grace: Duration::from_secs(30),
            http2: Http2Limits::default(),
            heads: BudgetLimits { connection: 4 << 20, worker: 64 << 20, process: 256 << 20 },
            responses: BudgetLimits { connection: 1 << 20, worker: 64 << 20, process: 256 << 20 },
            ahead: BudgetLimits { connection: 128 << 20, worker: 128 << 20, process: 512 << 20 },
            bodies: BudgetLimits { connection: 64 << 20, worker: 128 << 20, process: 512 << 20 },
            log_lines: 8192,
            metric_series: 10_000,
        }
    }
}

/// The size of a read buffer: more than most heads and small bodies, so that one read is enough for them.
pub(crate) const BUFFER: usize = 16 << 10;
/// The size of the read buffer for large bodies; more than any head.
pub(crate) const LARGE_BUFFER: usize = 128 << 10;
/// Buffers of each size, and buffers of exchanges, that a worker keeps for reuse.
pub(crate) const KEPT_BUFFERS: usize = 256;
/// Data of up to this size is copied after the head, so that one call writes both; larger data is written without copying.
pub(crate) const COPY_LIMIT: usize = 16 << 10;
/// Interim responses (1xx) of one attempt that are forwarded to the client, and their octets, with 32 added for each line; further ones are
/// dropped.
pub(crate) const INTERIM_PASSED: u32 = 8;
pub(crate) const INTERIM_BYTES: usize = 16 << 10;
/// Interim responses of one attempt that are accepted; with more the response is malformed.
pub(crate) const INTERIM_RESPONSES: u32 = 1000;
/// Smaller pieces of a body are collected before they are sent on an HTTP/2 stream.
pub(crate) const PIECE: usize = 4 << 10;
/// The most that is read at a time for an HTTP/2 client.
pub(crate) const STREAM_READ: usize = 64 << 10;
/// Bodies with at least this many bytes left are spliced, without copying them through the process.
pub(crate) const SPLICE_FROM: u64 = 64 << 10;
/// The size of a pipe for splicing: the most that the system allows without privileges.
pub(crate) const PIPE: usize = 1 << 20;
/// The default of [`Limits::pipes`].
const PIPES: usize = 512;
/// Pipes that a worker keeps for reuse.
pub(crate) const KEPT_PIPES: usize = 64;
/// Octets of lines of a log that may wait to be written; lines that find no room are dropped.
pub(crate) const LOG_WAITING: usize = 32 << 20;
/// Octets of a log that a worker collects before it passes them on; it also does so at each tick.
pub(crate) const LOG_BATCH: usize = 32 << 10;
/// How often deadlines are checked, and how often if one is near.
pub(crate) const TICK: Duration = Duration::from_millis(100);
pub(crate) const FINE_TICK: Duration = Duration::from_millis(10);
/// How often a client is checked for a reset while its body waits for a backend.
pub(crate) const RESET_CHECK: Duration = Duration::from_secs(1);
/// The backlog of connections to accept, per socket.
pub(crate) const BACKLOG: i32 = 4096;
/// How long no connection is accepted after `accept` failed for lack of file descriptors or memory: at first, and at most.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(5);
pub(crate) const LONGEST_ACCEPT_PAUSE: Duration = Duration::from_secs(1);
