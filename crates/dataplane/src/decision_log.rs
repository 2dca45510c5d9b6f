//! The decision log: one record for each stream, which says who asked for what, what was decided and by which rule, and what came of it. The
//! fields are those of docs/decision-log.md. The access log shows requests as endpoints received them; this log shows them as clients sent them.

use crate::log::{LineBuffer, LineQueue};
use crate::reasons::Flags;
use crate::stream_info::{FinishedStream, StreamInfo, StreamKind, StreamSink};
use ir::{AddressOf, AddressPart, ClusterId, Fact, FieldName, Operator};
use routing::{Claims, Facts as _, forward, write_json_string};
use std::io::Write as _;
use std::net::IpAddr;
use std::time::SystemTime;
use upstream::Resolution;
use wire::address::AddressClass;

/// What a destination that no ServiceEntry has would be denied with, where the mesh settings do not allow any.
const NOT_LISTED: &str = forward::DenialCause::NotListed.detail();

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
    let mut record = Record { out, value: Vec::new(), is_first: true };
    record.out.push(b'{');
    write_client(stream, &mut record);
    write_request(stream, &mut record);
    write_decision(stream, &mut record);
    write_result(stream, &mut record);
    record.out.extend_from_slice(b"}\n");
}

/// When a stream began, its kind, and who the client is.
fn write_client(stream: &FinishedStream<'_>, record: &mut Record<'_>) {
    record.put("time", |value| {
        let started = SystemTime::now().checked_sub(stream.info.started.elapsed());
        crate::date::push_time(value, started.unwrap_or(SystemTime::UNIX_EPOCH));
    });
    let kind = match stream.kind {
        StreamKind::Request { .. } => "request",
        StreamKind::Connection => "connection",
        StreamKind::Handshake(_) => "handshake",
    };
    record.text("kind", kind);
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
}

/// What the client asked for.
fn write_request(stream: &FinishedStream<'_>, record: &mut Record<'_>) {
    for (name, field) in [("method", FieldName::Method), ("authority", FieldName::Authority)] {
        record.octets(name, stream.request.received(&field).as_deref().unwrap_or_default());
    }
    record.octets("path", path(stream.request.received(&FieldName::Path).as_deref().unwrap_or_default()));
    record.text("sni", stream.stream.server_name);
}

/// What was decided, and by which rule.
fn write_decision(stream: &FinishedStream<'_>, record: &mut Record<'_>) {
    let info = stream.info;
    record.text("decision", outcome(stream.kind, info).as_str());
    match (info.denied.as_ref().or(info.rule.as_ref()), stream.origin) {
        (Some(rule), _) => record.text("rule", rule),
        (None, Some(origin)) => record.text("rule", &origin.to_string()),
        (None, None) => {}
    }
    record.put_operator("reason", &Operator::Fact(Fact::ResponseCodeDetails), stream);
    write_would_deny(stream, record);
}

/// What came of it.
fn write_result(stream: &FinishedStream<'_>, record: &mut Record<'_>) {
    let info = stream.info;
    record.text("failure", &info.transport_failure);
    if info.flags != Flags::NONE {
        record.text("flags", info.flags.text().as_str());
    }
    record.text("cluster", stream.stream.cluster);
    if let Some(resolution) = &info.resolution {
        write_resolution(resolution, record);
    }
    record.put_operator("endpoint", &Operator::Address(AddressOf::Upstream, AddressPart::Whole), stream);
    record.number("status", info.status.into());
    record.number("attempts", info.attempts.into());
    record.number("received", info.received);
    record.number("sent", info.sent);
    let time = stream.ended.saturating_duration_since(info.started);
    record.number("ms", u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    record.octets("request_id", stream.request.id().unwrap_or_default());
}

/// What is not enforced and would have denied it: policies that are a dry run, and the allow-list of a forward proxy that allows all destinations.
fn write_would_deny(stream: &FinishedStream<'_>, record: &mut Record<'_>) {
    let policies = stream.info.policies.iter().flat_map(|policies| policies.dry_run_denials());
    let is_listed = stream.stream.cluster != ClusterId::PASSTHROUGH;
    record.list("would_deny", policies.chain((!is_listed).then(|| NOT_LISTED.to_owned())));
}

/// What DNS answered: addresses, those that are refused with their class, and for how many seconds.
fn write_resolution(resolution: &Resolution, record: &mut Record<'_>) {
    let text = |(address, class): &(IpAddr, Option<AddressClass>)| match class {
        None => address.to_string(),
        Some(class) => format!("{address} ({class})"),
    };
    record.list("resolved", resolution.addresses.iter().map(text));
    // What is left of a second that has begun counts.
    record.number("ttl", u64::try_from(resolution.ttl.as_millis().div_ceil(1000)).unwrap_or(u64::MAX));
}

fn outcome(kind: StreamKind, info: &StreamInfo) -> Outcome {
    if info.is_denied {
        return Outcome::Denied;
    }
    match kind {
        StreamKind::Handshake(_) => Outcome::Failed,
        StreamKind::Request { .. } if info.status == 0 || info.flags.is_failure() => Outcome::Failed,
        StreamKind::Connection if info.flags.is_failure() => Outcome::Failed,
        StreamKind::Request { .. } | StreamKind::Connection => Outcome::Allowed,
    }
}

/// The path of a target: a proxy is asked with a whole URL, and for a tunnel without a path.
fn path(target: &[u8]) -> &[u8] {
    let whole = match memchr::memmem::find(target, b"://") {
        Some(at) if !target.starts_with(b"/") => {
            let rest = target.get(at + 3..).unwrap_or_default();
            rest.get(memchr::memchr(b'/', rest).unwrap_or(rest.len())..).unwrap_or_default()
        }
        _ if target.starts_with(b"/") || target == b"*" => target,
        _ => b"",
    };
    // Queries hold secrets.
    whole.split(|byte| *byte == b'?').next().unwrap_or_default()
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

    fn list(&mut self, name: &str, values: impl IntoIterator<Item: AsRef<str>>) {
        let mut before = b'[';
        for value in values {
            if before == b'[' {
                self.name(name);
            }
            self.out.push(before);
            write_json_string(value.as_ref().as_bytes(), self.out);
            before = b',';
        }
        if before == b',' {
            self.out.push(b']');
        }
    }

    fn number(&mut self, name: &str, value: u64) {
        if value > 0 {
            self.name(name);
            self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(is_denied: bool, flags: Flags, status: u16) -> Outcome {
        let info = StreamInfo { is_denied, flags, status, ..StreamInfo::new() };
        outcome(StreamKind::Request { http2: false }, &info)
    }

    #[test]
    fn what_is_forbidden_is_denied_and_what_breaks_is_failed() {
        assert_eq!(of(true, Flags::NR, 404), Outcome::Denied);
        assert_eq!(of(true, Flags::UH, 0), Outcome::Denied);
        assert_eq!(of(false, Flags::NONE, 403), Outcome::Allowed);
        assert_eq!(of(false, Flags::DI, 200), Outcome::Allowed);
        assert_eq!(of(false, Flags::UH, 502), Outcome::Failed);
        assert_eq!(of(false, Flags::NONE, 0), Outcome::Failed);
    }

    #[test]
    fn paths_have_no_query_and_no_authority() {
        for (target, expected) in [
            ("/a/b?token=1", "/a/b"),
            ("http://a.test/x?y=/z", "/x"),
            ("http://a.test", ""),
            ("a.test:443", ""),
            ("*", "*"),
            ("/a://b/c", "/a://b/c"),
        ] {
            assert_eq!(path(target.as_bytes()), expected.as_bytes(), "{target}");
        }
    }
}
