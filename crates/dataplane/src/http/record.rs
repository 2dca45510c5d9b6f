//! Records an exchange at its end: metrics, and the access log if there is one.

use super::decide::Decision;
use super::facts::protocol;
use super::flow::Flow;
use super::server::ClientConnection;
use crate::conn::{ExchangeBuffers, Worker};
use crate::log::Record;
use crate::metrics::{NO_DESTINATION, Request};
use crate::reasons::{Flags, Reject};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use upstream::EndpointState;
use wire::h1::Version;
use wire::view::Fields;

/// What is known of an exchange.
#[derive(Debug)]
pub(super) struct StreamInfo {
    pub(super) started: Instant,
    /// The start of deadlines that count from the head.
    pub(super) counted: Instant,
    /// The start of the route's timeout (VS-39): the end of the request, or the start of the exchange before that.
    pub(super) whole: Instant,
    pub(super) status: u16,
    pub(super) flags: Flags,
    pub(super) detail: &'static str,
    pub(super) transport_failure: String,
    /// Whether the route's policy retried it.
    pub(super) retried: bool,
    pub(super) endpoint: Option<Arc<EndpointState>>,
    /// Whether the client has received a part of a response.
    pub(super) answered: bool,
    pub(super) received: u64,
    pub(super) sent: u64,
    time_to_head: Option<Duration>,
    local: Option<std::net::SocketAddr>,
}

impl StreamInfo {
    /// An exchange that starts now.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            started: now,
            counted: now,
            whole: now,
            status: 0,
            flags: Flags::NONE,
            detail: "via_upstream",
            transport_failure: String::new(),
            retried: false,
            endpoint: None,
            answered: false,
            received: 0,
            sent: 0,
            time_to_head: None,
            local: None,
        }
    }

    /// Adds the counts of an attempt. Its local address, which costs a system call, only if `addresses` is set.
    pub(super) fn add_attempt(&mut self, flow: &Flow<'_>, addresses: bool) {
        self.whole = flow.complete_at().unwrap_or_else(Instant::now);
        self.status = flow.status();
        self.answered = flow.has_answered();
        // Each attempt counts only the octets that it read.
        self.received += flow.received();
        self.sent = flow.sent();
        self.time_to_head = flow.time_to_head();
        self.local = if addresses { flow.local_address() } else { None };
    }
}

/// Counts and logs an exchange.
pub(super) fn record(
    worker: &Worker,
    conn: &ClientConnection,
    buffers: &ExchangeBuffers,
    head: usize,
    decision: &Decision,
    info: &StreamInfo,
) {
    let elapsed = info.started.elapsed();
    let destination = decision.plan().map_or(NO_DESTINATION, |plan| &plan.cluster.config.host);
    let request = Request { destination, status: info.status, flags: info.flags };
    worker.metrics.request(request, elapsed, info.received, info.sent);
    if let Some(prefix) = decision.route().and_then(|entry| entry.config.stat_prefix.as_ref()) {
        worker.metrics.route(prefix, info.status, elapsed);
    }
    if let Some(log) = &worker.log {
        log.write(&log_record(conn, buffers, head, decision, info, elapsed, &mut Texts::default()));
    }
}

/// Texts that a log line borrows.
#[derive(Default)]
struct Texts {
    forwarded_for: Vec<u8>,
    upstream_host: String,
    upstream_local: String,
    downstream_local: String,
    downstream_remote: String,
}

fn log_record<'a>(
    conn: &'a ClientConnection,
    buffers: &'a ExchangeBuffers,
    head: usize,
    decision: &'a Decision,
    info: &'a StreamInfo,
    elapsed: Duration,
    texts: &'a mut Texts,
) -> Record<'a> {
    let buffer = conn.input.filled().get(..head).unwrap_or_default();
    let fields = buffers.request.fields(buffer);
    for value in fields.all("x-forwarded-for") {
        texts.forwarded_for.extend_from_slice(value);
        texts.forwarded_for.push(b',');
    }
    texts.forwarded_for.extend_from_slice(&conn.client.peer);
    let local =
        |address: Option<std::net::SocketAddr>| address.map_or_else(String::new, |address| plain(address).to_string());
    texts.upstream_host = info.endpoint.as_ref().map_or_else(String::new, |endpoint| endpoint.address.to_string());
    texts.upstream_local = local(info.local);
    texts.downstream_local = local(conn.client.local);
    texts.downstream_remote = plain(conn.client.remote).to_string();
    Record {
        start: SystemTime::now().checked_sub(elapsed).unwrap_or(SystemTime::UNIX_EPOCH),
        method: buffers.request.method.of(buffer),
        path: buffers.request.target.of(buffer),
        protocol: protocol(&conn.downstream, buffers.request.version),
        server_name: conn.client.server_name(),
        status: info.status,
        flags: info.flags,
        details: info.detail,
        transport_failure: &info.transport_failure,
        received: info.received,
        sent: info.sent,
        duration: elapsed,
        upstream_time: info.time_to_head,
        forwarded_for: &texts.forwarded_for,
        user_agent: fields.get("user-agent").unwrap_or_default(),
        request_id: request_id(conn, buffers, fields),
        authority: buffers.request.host.of(buffer),
        upstream_host: &texts.upstream_host,
        cluster: decision.plan().map_or("", |plan| plan.cluster.config.id.as_str()),
        upstream_local: &texts.upstream_local,
        downstream_local: &texts.downstream_local,
        downstream_remote: &texts.downstream_remote,
        route_name: decision.route().map_or("", |entry| &entry.config.name),
    }
}

/// The request id that the backend received: the client's if it is trusted or if none is generated.
fn request_id<'a>(conn: &ClientConnection, buffers: &'a ExchangeBuffers, fields: Fields<'a>) -> &'a [u8] {
    let is_made = conn.client.mesh_settings.headers.request_id;
    let is_kept = !is_made || conn.table.version().http.forwarded.trusted_proxies > 0;
    let came = fields.get("x-request-id").filter(|_| is_kept);
    came.unwrap_or(if is_made { &buffers.request_id } else { b"" })
}

fn plain(address: std::net::SocketAddr) -> std::net::SocketAddr {
    std::net::SocketAddr::new(wire::forwarded::plain_address(address), address.port())
}

/// Counts and logs a request whose head is invalid.
pub(super) fn record_rejected_head(worker: &Worker, conn: &ClientConnection, reject: Reject) {
    let reason = reject.reason();
    let request = Request { destination: NO_DESTINATION, status: reason.status, flags: reason.flags };
    worker.metrics.request(request, Duration::ZERO, 0, 0);
    let Some(log) = &worker.log else { return };
    let (remote, local) = (plain(conn.client.remote).to_string(), conn.client.local.map(plain));
    let local = local.map_or_else(String::new, |address| address.to_string());
    log.write(&Record {
        start: SystemTime::now(),
        protocol: protocol(&conn.downstream, Version::Http11),
        server_name: conn.client.server_name(),
        status: reason.status,
        flags: reason.flags,
        details: reason.detail,
        downstream_local: &local,
        downstream_remote: &remote,
        ..Record::empty()
    });
}
