//! Every bound of the data plane, in one place, with what it is for.

use std::time::Duration;
use upstream::FrameBounds;
use wire::h1::HeadLimits;

/// Bounds that protect the gateway from its peers, and its peers from each other.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The size of request and response heads (S-122).
    pub head: HeadLimits,
    /// From the first byte of a request until its head is complete: slow heads hold a connection, nothing else.
    pub head_timeout: Duration,
    /// Without a request on a connection of a client (S-121).
    pub idle_timeout: Duration,
    /// Without a byte of a request's body, while the backend waits for it and has not answered.
    pub body_timeout: Duration,
    /// Without a byte in either direction after a switch of protocols (S-125).
    pub tunnel_timeout: Duration,
    /// Without the client taking a byte of its answer.
    pub write_timeout: Duration,
    /// From the beginning of a connection until its ClientHello, its PROXY header or its first bytes are there.
    pub client_hello_timeout: Duration,
    /// From the ClientHello until TLS is agreed on (S-81).
    pub handshake_timeout: Duration,
    /// TLS handshakes under way per worker; for a further one, the one whose ClientHello has not come for longest is closed.
    pub handshakes: usize,
    /// Connections of clients of the process; for a further one, the one that has been idle for longest is closed. A process derives it from the
    /// descriptors that it may have.
    pub connections: usize,
    /// Descriptors for them and for listening sockets together.
    pub client_descriptors: usize,
    /// What one address of a client may have.
    pub address: AddressLimits,
    /// Idle connections to endpoints, of all workers.
    pub idle_upstream: u32,
    /// Pipes that a worker uses at a time, each two descriptors; bodies beyond are copied.
    pub pipes: usize,
    /// Connections of clients per listener, those of all workers; `None` is any number. Further ones are closed at once (S-122).
    pub listener_connections: Option<usize>,
    /// Bytes of a request's body that are kept in case it has to be sent again.
    pub replay_bytes: usize,
    /// Copies of requests that a worker sends at one time (VS-45); further requests are not copied.
    pub mirrors: usize,
    /// Bytes of a request's body that wait for its copy to be sent; one that falls behind further is given up.
    pub mirror_bytes: usize,
    /// Bytes that wait for all copies of a worker.
    pub mirror_bytes_of_all: usize,
    /// How long a copy may take, where its route has no time limit.
    pub mirror_timeout: Duration,
    /// Bytes of a request that are still read after its answer, so that the answer arrives or the connection can be used again.
    pub linger_bytes: usize,
    /// And for how long.
    pub linger_timeout: Duration,
    /// How long a request waits for the first answer to the destination's name.
    pub resolve_timeout: Duration,
    /// How long idle connections of a removed listener may wait for the request that lets them end in order.
    pub retire_grace: Duration,
    /// Connections in HTTP/2.
    pub http2: Http2Limits,
    /// Octets of decoded request heads that clients of HTTP/2 make the gateway hold, with the copies that are made of them: HPACK lets a
    /// client repeat a header of some kilobytes with one octet. Beyond it streams are refused.
    pub heads: BudgetLimits,
    /// Octets of responses that clients of HTTP/2 do not take. Beyond it backends are read no further.
    pub responses: BudgetLimits,
    /// Octets that backends in HTTP/2 may have sent ahead of such clients: the window of each stream. Beyond it a stream that waits is reset.
    pub ahead: BudgetLimits,
    /// Lines of the access log that wait to be written; further ones are dropped and counted.
    pub log_lines: usize,
    /// Series of request metrics per worker; further ones are counted as one.
    pub metric_series: usize,
}

/// Octets of one kind that are held at a time.
#[derive(Debug, Clone, Copy)]
pub struct BudgetLimits {
    /// For one connection. It gets no more than what is free on its worker either, so that others have room as well.
    pub connection: usize,
    /// For all connections of a worker.
    pub worker: usize,
    /// For all workers.
    pub process: usize,
}

/// Bounds of one address of clients, those of all workers; `None` is none. A /64 of IPv6 is one address, and trusted proxies have no bound.
#[derive(Debug, Clone, Copy, Default)]
pub struct AddressLimits {
    /// Connections at once; further ones are closed.
    pub connections: Option<usize>,
    /// New connections a second; twice as many may come at once.
    pub rate: Option<u32>,
    /// TLS handshakes under way; further connections are closed.
    pub handshakes: Option<usize>,
}

impl AddressLimits {
    /// Whether nothing is limited.
    pub(crate) fn are_off(&self) -> bool {
        self.connections.is_none() && self.rate.is_none() && self.handshakes.is_none()
    }
}

/// Bounds of each connection of a client in HTTP/2.
#[derive(Debug, Clone, Copy)]
pub struct Http2Limits {
    /// Streams at once.
    pub streams: u32,
    /// Bytes of a request's body that may be under way on a stream.
    pub stream_window: u32,
    /// Bytes of all bodies that may be under way on a connection.
    pub connection_window: u32,
    /// Bytes of an answer that wait on a stream for the client to take them.
    pub send_buffer: usize,
    /// Streams that the client broke off and that are still remembered, or not yet begun with; more end the connection.
    pub resets: usize,
    /// Frames that ask for nothing (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM, empty ones): so many in a row are taken, and
    /// requests and bodies make room for further ones; more end the connection.
    pub cheap_frames: u32,
    /// Streams that are refused in a row since the budget of heads is used up; one more ends the connection.
    pub refusals: u32,
}

impl Limits {
    /// What is taken of an endpoint that speaks HTTP/2.
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
            // What a large network behind one address does not reach; see docs/features.md.
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
            log_lines: 8192,
            metric_series: 10_000,
        }
    }
}

/// What a connection reads into; more than most heads and small bodies, so that one read takes them whole.
pub(crate) const BUFFER: usize = 16 << 10;
/// What it reads into once a body turns out to be large; more than any head.
pub(crate) const LARGE_BUFFER: usize = 128 << 10;
/// Buffers of each size, and spaces of exchanges, that a worker keeps.
pub(crate) const KEPT_BUFFERS: usize = 256;
/// Data up to this is copied behind the head, so that both go out in one call; more is written from where it lies.
pub(crate) const COPY_LIMIT: usize = 16 << 10;
/// Interim responses (1xx) of one attempt that are passed on to the client, and their octets with 32 for each line; further ones are
/// dropped.
pub(crate) const INTERIM_PASSED: u32 = 8;
pub(crate) const INTERIM_BYTES: usize = 16 << 10;
/// Interim responses of one attempt that are read; after more the answer is malformed.
pub(crate) const INTERIM_RESPONSES: u32 = 1000;
/// Smaller pieces of a body are collected before they are sent on a stream of HTTP/2.
pub(crate) const PIECE: usize = 4 << 10;
/// What is read at a time for a client of HTTP/2 that takes much.
pub(crate) const STREAM_READ: usize = 64 << 10;
/// Bodies with at least so much to come move within the system, not through this process.
pub(crate) const SPLICE_FROM: u64 = 64 << 10;
/// What a pipe for them holds; the most that the system lets everybody have.
pub(crate) const PIPE: usize = 1 << 20;
/// Pipes that a worker uses at a time, where there are descriptors enough.
const PIPES: usize = 512;
/// Pipes that a worker keeps.
pub(crate) const KEPT_PIPES: usize = 64;
/// Bytes of the access log that a worker collects before it hands them over, unless its clock ticks before.
pub(crate) const LOG_BATCH: usize = 32 << 10;
/// How often deadlines are looked at, and how often when one is near.
pub(crate) const TICK: Duration = Duration::from_millis(100);
pub(crate) const FINE_TICK: Duration = Duration::from_millis(10);
/// Connections that wait to be accepted, per socket.
pub(crate) const BACKLOG: i32 = 4096;
/// How long nothing is accepted after the system gave no connection for want of descriptors or memory: first, and at the most.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(5);
pub(crate) const LONGEST_ACCEPT_PAUSE: Duration = Duration::from_secs(1);
