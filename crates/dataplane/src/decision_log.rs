//! The decision log: one record for each stream, which says who asked for what, what was decided and by which rule, and what came of it. The
//! fields are those of docs/decision-log.md. The access log shows requests as endpoints received them; this log shows them as clients sent them.

use crate::log::{LineBuffer, LineQueue};
use crate::reasons::Flags;
use crate::stream_info::{FinishedStream, StreamKind, StreamSink};
use ir::{AddressOf, AddressPart, Fact, FieldName, Operator};
use routing::{Claims, Facts as _, write_json_string};
use std::io::Write as _;
use std::time::SystemTime;

/// The decision log of a worker.
#[derive(Debug)]
pub(crate) struct DecisionLog {
    lines: LineBuffer,
}

/// What was decided about a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Allowed,
    Denied,
    /// Nothing forbade it, and it came to nothing.
    Failed,
}

impl DecisionLog {
    pub(crate) fn new(queue: &LineQueue) -> Self {
        Self { lines: queue.buffer() }
    }

    pub(crate) fn flush(&self) {
        self.lines.flush();
    }
}

impl StreamSink for DecisionLog {
    fn record(&self, stream: &FinishedStream<'_>) {
        self.lines.add(|out| write(stream, out));
    }
}

fn write(stream: &FinishedStream<'_>, out: &mut Vec<u8>) {
    let info = stream.info;
    let mut record = Record { out, value: Vec::new(), is_first: true };
    record.out.push(b'{');
    record.put("time", |value| {
        let started = SystemTime::now().checked_sub(info.started.elapsed());
        crate::date::push_time(value, started.unwrap_or(SystemTime::UNIX_EPOCH));
    });
    record.text(
        "kind",
        match stream.kind {
            StreamKind::Request { .. } => "request",
            StreamKind::Connection => "connection",
            StreamKind::Handshake(_) => "handshake",
        },
    );
    record.put_operator("client", &Operator::Address(AddressOf::Peer, AddressPart::Whole), stream);
    if let Some(client) = stream.request.client() {
        record.text("forwarded_for", &client.to_string());
    }
    record.put_operator("listener", &Operator::Address(AddressOf::Local, AddressPart::Whole), stream);
    if let Some(tls) = stream.stream.tls {
        record.list("identity", tls.identity());
    }
    if let Some(principal) = stream.request.claims().and_then(Claims::principal) {
        record.text("principal", &principal);
    }
    for (name, field) in [("method", FieldName::Method), ("authority", FieldName::Authority)] {
        record.octets(name, stream.request.received(&field).as_deref().unwrap_or_default());
    }
    let target = stream.request.received(&FieldName::Path);
    // Queries hold secrets.
    record.octets(
        "path",
        target.as_deref().and_then(|target| target.split(|byte| *byte == b'?').next()).unwrap_or_default(),
    );
    record.text("sni", stream.stream.server_name);
    record.text("decision", outcome(stream).as_str());
    match (&info.denied, stream.origin) {
        (Some(policy), _) => record.text("rule", policy),
        (None, Some(origin)) => record.text("rule", &origin.to_string()),
        (None, None) => {}
    }
    record.put_operator("reason", &Operator::Fact(Fact::ResponseCodeDetails), stream);
    record.text("failure", &info.transport_failure);
    if info.flags != Flags::NONE {
        record.text("flags", info.flags.text().as_str());
    }
    record.text("cluster", stream.stream.cluster);
    record.put_operator("endpoint", &Operator::Address(AddressOf::Upstream, AddressPart::Whole), stream);
    record.number("status", info.status.into());
    record.number("attempts", info.attempts.into());
    record.number("received", info.received);
    record.number("sent", info.sent);
    let time = stream.ended.saturating_duration_since(info.started);
    record.number("ms", u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    record.octets("request_id", stream.request.id().unwrap_or_default());
    record.out.extend_from_slice(b"}\n");
}

/// Requests and connections without a route are denied: what no rule takes may not pass.
fn outcome(stream: &FinishedStream<'_>) -> Outcome {
    let info = stream.info;
    let denials = ["rbac_access_denied", "jwt_authn_access_denied", "ext_authz_denied"];
    if info.denied.is_some()
        || denials.iter().any(|denial| info.detail.starts_with(denial))
        || info.flags.has(Flags::NR)
        || info.flags.has(Flags::UAEX)
    {
        return Outcome::Denied;
    }
    match stream.kind {
        StreamKind::Handshake(_) => Outcome::Failed,
        StreamKind::Request { .. } if info.status == 0 || info.flags.is_failure() => Outcome::Failed,
        StreamKind::Connection if info.flags.is_failure() => Outcome::Failed,
        StreamKind::Request { .. } | StreamKind::Connection => Outcome::Allowed,
    }
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// A JSON object on its way. Fields without a value are left out.
struct Record<'a> {
    out: &'a mut Vec<u8>,
    value: Vec<u8>,
    is_first: bool,
}

impl Record<'_> {
    fn name(&mut self, name: &str) {
        let comma = if std::mem::take(&mut self.is_first) { "" } else { "," };
        // Writing to memory does not fail.
        let _ = write!(self.out, "{comma}\"{name}\":");
    }

    fn octets(&mut self, name: &str, value: &[u8]) {
        if !value.is_empty() {
            self.name(name);
            write_json_string(value, self.out);
        }
    }

    fn text(&mut self, name: &str, value: &str) {
        self.octets(name, value.as_bytes());
    }

    fn put(&mut self, name: &str, put: impl FnOnce(&mut Vec<u8>)) {
        let mut value = std::mem::take(&mut self.value);
        value.clear();
        put(&mut value);
        self.octets(name, &value);
        self.value = value;
    }

    fn put_operator(&mut self, name: &str, operator: &Operator, stream: &FinishedStream<'_>) {
        self.put(name, |value| stream.put(operator, value));
    }

    fn list(&mut self, name: &str, values: &[Box<str>]) {
        if values.is_empty() {
            return;
        }
        self.name(name);
        let mut before = b'[';
        for value in values {
            self.out.push(before);
            write_json_string(value.as_bytes(), self.out);
            before = b',';
        }
        self.out.push(b']');
    }

    fn number(&mut self, name: &str, value: u64) {
        if value > 0 {
            self.name(name);
            self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        }
    }
}
