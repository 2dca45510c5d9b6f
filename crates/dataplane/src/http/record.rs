//! Passes an exchange that has ended to the sinks of the worker: the metrics, and the logs that are on.

use super::attempt::Attempt;
use super::client::ClientConnection;
use super::facts::{address_behind, protocol, stream_facts};
use super::plan::Decision;
use super::received_request::ReceivedRequest;
use crate::conn::{ExchangeBuffers, Worker};
use crate::reasons::Reject;
use crate::stream_info::{FinishedRequest, FinishedStream, NoRequest, StreamInfo, StreamKind};
use ir::FieldName;
use routing::Claims;
use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Instant;
use wire::forwarded::{Certificate, Peer};
use wire::h1::Version;
use wire::h1::size::received_size;
use wire::view::Fields;

/// Adds the facts of an attempt that has ended.
pub(super) fn add_attempt(info: &mut StreamInfo, attempt: &mut Attempt<'_>, worker: &Worker) {
    info.request_end = attempt.complete_at();
    info.timeout_start = info.request_end.unwrap_or_else(Instant::now);
    info.response_begin = attempt.time_to_head().map(|time| info.timeout_start + time);
    info.status = attempt.status();
    info.answered = attempt.has_answered() || attempt.is_cut();
    // Each attempt counts only the octets that it read.
    info.received += attempt.received();
    info.sent = attempt.sent();
    if let Some(log) = worker.log() {
        info.upstream_local = if log.demands().upstream_local { attempt.local_address() } else { None };
        info.response = attempt.take_logged();
    }
}

/// Records an exchange.
pub(super) fn record(request: &ReceivedRequest<'_>, decision: &Decision, info: &StreamInfo) {
    let ReceivedRequest { worker, conn, buffers, .. } = request;
    let (route, cluster) = (decision.route(), decision.cluster());
    let cluster_name = cluster.map_or("", |cluster| cluster.config.id.as_str());
    worker.record(&FinishedStream {
        kind: StreamKind::Request { http2: decision.plan().is_some_and(|plan| plan.http2) },
        stream: stream_facts(&conn.client, protocol(&conn.downstream, buffers.request.version), route, cluster_name),
        destination: cluster.map(|cluster| &*cluster.config.host),
        stat_prefix: route.and_then(|entry| entry.config.stat_prefix.as_ref()),
        origin: route.map(|entry| &entry.config.origin),
        info,
        ended: Instant::now(),
        request: &RecordedRequest::new(request, info.endpoint.is_some()),
    });
}

/// The head of a request: as it was sent to the endpoint, or as it was received if no endpoint was chosen.
#[derive(Clone, Copy)]
struct RecordedRequest<'a> {
    conn: &'a ClientConnection,
    buffers: &'a ExchangeBuffers,
    buffer: &'a [u8],
    fields: Fields<'a>,
    is_sent: bool,
}

impl FinishedRequest for RecordedRequest<'_> {
    fn header(&self, name: &FieldName) -> Option<Cow<'_, [u8]>> {
        self.value(name)
    }

    fn claims(&self) -> Option<&Claims> {
        Some(&self.buffers.claims)
    }

    fn head_bytes(&self) -> u64 {
        if self.is_sent {
            return self.buffers.logged_size;
        }
        let request = &self.buffers.request;
        let (method, target) = (request.method.of(self.buffer), request.target.of(self.buffer));
        received_size(method, target.len(), request.host.of(self.buffer), self.conn.client.scheme(), self.fields)
    }

    fn client(&self) -> Option<IpAddr> {
        let client = &self.conn.client;
        let trusted_proxies = self.conn.table.version().http.settings.forwarded.trusted_proxies;
        let (address, scheme) = (&client.peer, client.scheme());
        let peer = Peer { address, scheme, trusted_proxies, certificate: Certificate::Drop, port: None };
        address_behind(&peer, self.fields)
    }

    fn received(&self, name: &FieldName) -> Option<Cow<'_, [u8]>> {
        let request = &self.buffers.request;
        let span = match name {
            FieldName::Method => request.method,
            FieldName::Path => request.target,
            FieldName::Authority => request.host,
            FieldName::Scheme | FieldName::Status | FieldName::Header(_) => return None,
        };
        Some(Cow::Borrowed(span.of(self.buffer)))
    }

    fn id(&self) -> Option<&[u8]> {
        self.request_id()
    }
}

impl<'a> RecordedRequest<'a> {
    fn new(request: &'a ReceivedRequest<'_>, is_sent: bool) -> Self {
        let (conn, buffers) = (&*request.conn, &*request.buffers);
        Self { conn, buffers, buffer: request.octets(), fields: request.fields(), is_sent }
    }

    fn value(self, name: &FieldName) -> Option<Cow<'a, [u8]>> {
        let mut edited = self.buffers.logged_headers.iter().filter(|_| self.is_sent);
        if let Some((_, value)) = edited.find(|(logged, _)| logged == name) {
            return Some(Cow::Borrowed(value.as_slice())).filter(|value| !value.is_empty());
        }
        let request = &self.buffers.request;
        Some(match name {
            FieldName::Method => Cow::Borrowed(request.method.of(self.buffer)),
            FieldName::Path if !self.buffers.logged_path.is_empty() => Cow::Borrowed(&*self.buffers.logged_path),
            FieldName::Path => Cow::Borrowed(request.target.of(self.buffer)),
            FieldName::Authority => Cow::Borrowed(request.host.of(self.buffer)),
            FieldName::Scheme => Cow::Borrowed(self.conn.client.scheme().as_bytes()),
            FieldName::Status => return None,
            FieldName::Header(name) => match name.as_str() {
                // These two are edited for every request, even if it is not sent to an endpoint.
                "x-forwarded-for" => Cow::Owned(self.forwarded_for()),
                "x-request-id" => Cow::Borrowed(self.request_id()?),
                other => Cow::Borrowed(self.fields.get(other)?),
            },
        })
    }

    fn forwarded_for(self) -> Vec<u8> {
        let mut list = Vec::new();
        for value in self.fields.all("x-forwarded-for").filter(|value| !value.is_empty()) {
            list.extend_from_slice(value);
            list.push(b',');
        }
        list.extend_from_slice(&self.conn.client.peer);
        list
    }

    /// The client's id if it is trusted or if none is generated, or else the generated id.
    fn request_id(self) -> Option<&'a [u8]> {
        let is_made = self.conn.client.mesh_settings.headers.request_id;
        let is_kept = !is_made || self.conn.table.version().http.settings.forwarded.trusted_proxies > 0;
        let came = self.fields.get("x-request-id").filter(|_| is_kept);
        came.or_else(|| is_made.then_some(&*self.buffers.request_id))
    }
}

/// Records a request whose head is invalid.
pub(super) fn record_rejected_head(worker: &Worker, conn: &ClientConnection, reject: Reject) {
    let reason = reject.reason();
    let is_denied = reject.is_denial();
    let (status, flags, detail) = (reason.status, reason.flags, reason.detail);
    let info = StreamInfo { status, flags, detail, is_denied, ..StreamInfo::new() };
    worker.record(&FinishedStream {
        kind: StreamKind::Request { http2: false },
        stream: stream_facts(&conn.client, protocol(&conn.downstream, Version::Http11), None, ""),
        destination: None,
        stat_prefix: None,
        origin: None,
        info: &info,
        ended: info.started,
        request: &NoRequest,
    });
}
