//! One line of the access log: Istio's default text, or JSON with its keys (TE-05).

use super::date::push_time;
use crate::reasons::Flags;
use std::time::{Duration, SystemTime};

/// What a line tells. Empty texts are written as `-`.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) start: SystemTime,
    pub(crate) method: &'a [u8],
    pub(crate) path: &'a [u8],
    /// As clients name it: `HTTP/1.1`, `HTTP/2`.
    pub(crate) protocol: &'static str,
    /// The name that the client's TLS asked for.
    pub(crate) server_name: &'a str,
    pub(crate) status: u16,
    pub(crate) flags: Flags,
    pub(crate) details: &'a str,
    pub(crate) transport_failure: &'a str,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) duration: Duration,
    pub(crate) upstream_time: Option<Duration>,
    pub(crate) forwarded_for: &'a [u8],
    pub(crate) user_agent: &'a [u8],
    pub(crate) request_id: &'a [u8],
    pub(crate) authority: &'a [u8],
    pub(crate) upstream_host: &'a str,
    pub(crate) cluster: &'a str,
    pub(crate) upstream_local: &'a str,
    pub(crate) downstream_local: &'a str,
    pub(crate) downstream_remote: &'a str,
    pub(crate) route_name: &'a str,
}

impl Record<'_> {
    /// A line that tells nothing yet.
    pub(crate) fn empty() -> Self {
        Self {
            start: SystemTime::UNIX_EPOCH,
            method: b"",
            path: b"",
            protocol: "",
            server_name: "",
            status: 0,
            flags: Flags::NONE,
            details: "",
            transport_failure: "",
            received: 0,
            sent: 0,
            duration: Duration::ZERO,
            upstream_time: None,
            forwarded_for: b"",
            user_agent: b"",
            request_id: b"",
            authority: b"",
            upstream_host: "",
            cluster: "",
            upstream_local: "",
            downstream_local: "",
            downstream_remote: "",
            route_name: "",
        }
    }

    /// Appends the line as text.
    pub(super) fn write_text(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        push_time(out, self.start);
        out.extend_from_slice(b"] \"");
        push_escaped(out, self.method);
        out.push(b' ');
        push_escaped(out, self.path);
        out.push(b' ');
        out.extend_from_slice(if self.protocol.is_empty() { b"-" } else { self.protocol.as_bytes() });
        out.extend_from_slice(b"\" ");
        push_number(out, u64::from(self.status));
        push_word(out, self.flags.text().as_str());
        push_word(out, self.details);
        out.extend_from_slice(b" -");
        push_quoted(out, self.transport_failure.as_bytes());
        for number in [self.received, self.sent, millis(self.duration)] {
            out.push(b' ');
            push_number(out, number);
        }
        match self.upstream_time {
            Some(time) => {
                out.push(b' ');
                push_number(out, millis(time));
            }
            None => out.extend_from_slice(b" -"),
        }
        for text in
            [self.forwarded_for, self.user_agent, self.request_id, self.authority, self.upstream_host.as_bytes()]
        {
            push_quoted(out, text);
        }
        for word in [
            self.cluster,
            self.upstream_local,
            self.downstream_local,
            self.downstream_remote,
            self.server_name,
            self.route_name,
        ] {
            push_word(out, word);
        }
        out.push(b'\n');
    }

    /// Appends the line as JSON.
    pub(super) fn write_json(&self, out: &mut Vec<u8>) {
        let mut time = Vec::with_capacity(24);
        push_time(&mut time, self.start);
        let mut upstream_time = Vec::with_capacity(20);
        if let Some(time) = self.upstream_time {
            push_number(&mut upstream_time, millis(time));
        }
        let flags = self.flags.text();
        out.push(b'{');
        for (key, text) in [
            ("start_time", time.as_slice()),
            ("method", self.method),
            ("path", self.path),
            ("protocol", self.protocol.as_bytes()),
            ("response_flags", flags.as_str().as_bytes()),
            ("response_code_details", self.details.as_bytes()),
            ("connection_termination_details", b""),
            ("upstream_transport_failure_reason", self.transport_failure.as_bytes()),
            ("upstream_service_time", &upstream_time),
            ("x_forwarded_for", self.forwarded_for),
            ("user_agent", self.user_agent),
            ("request_id", self.request_id),
            ("authority", self.authority),
            ("upstream_host", self.upstream_host.as_bytes()),
            ("upstream_cluster", self.cluster.as_bytes()),
            ("upstream_local_address", self.upstream_local.as_bytes()),
            ("downstream_local_address", self.downstream_local.as_bytes()),
            ("downstream_remote_address", self.downstream_remote.as_bytes()),
            ("requested_server_name", self.server_name.as_bytes()),
            ("route_name", self.route_name.as_bytes()),
        ] {
            push_key(out, key);
            push_json(out, text);
            out.push(b',');
        }
        for (at, (key, number)) in [
            ("response_code", u64::from(self.status)),
            ("bytes_received", self.received),
            ("bytes_sent", self.sent),
            ("duration", millis(self.duration)),
        ]
        .into_iter()
        .enumerate()
        {
            if at > 0 {
                out.push(b',');
            }
            push_key(out, key);
            push_number(out, number);
        }
        out.extend_from_slice(b"}\n");
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A blank, and words of our own.
fn push_word(out: &mut Vec<u8>, word: &str) {
    out.push(b' ');
    out.extend_from_slice(if word.is_empty() { b"-" } else { word.as_bytes() });
}

/// A blank, and a peer's words inside of quotes.
fn push_quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(b" \"");
    push_escaped(out, text);
    out.push(b'"');
}

/// What could end the quotes or the line is escaped.
fn push_escaped(out: &mut Vec<u8>, text: &[u8]) {
    if text.is_empty() {
        out.push(b'-');
    }
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..=0x1f | 0x7f => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
            _ => out.push(byte),
        }
    }
}

fn push_key(out: &mut Vec<u8>, key: &str) {
    out.push(b'"');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

fn push_json(out: &mut Vec<u8>, text: &[u8]) {
    // Writing to memory does not fail.
    let written = match text {
        [] => serde_json::to_writer(&mut *out, &()),
        _ => serde_json::to_writer(&mut *out, &String::from_utf8_lossy(text)),
    };
    debug_assert!(written.is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn record() -> Record<'static> {
        Record {
            start: UNIX_EPOCH + Duration::from_millis(1_709_210_096_123),
            method: b"GET",
            path: b"/a\"b",
            protocol: "HTTP/1.1",
            server_name: "",
            status: 503,
            flags: Flags::UF,
            details: "upstream_reset_before_response_started{connection_failure}",
            transport_failure: "",
            received: 1,
            sent: 2,
            duration: Duration::from_millis(3),
            upstream_time: None,
            forwarded_for: b"1.2.3.4",
            user_agent: b"",
            request_id: b"id",
            authority: b"a.test",
            upstream_host: "127.0.0.1:9001",
            cluster: "outbound|80||a.test",
            upstream_local: "",
            downstream_local: "127.0.0.1:80",
            downstream_remote: "127.0.0.1:5000",
            route_name: "r",
        }
    }

    fn text(record: &Record<'_>) -> String {
        let mut out = Vec::new();
        record.write_text(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_a_peer_says_cannot_end_a_line() {
        let line = text(&Record { path: b"/a\nb", user_agent: b"x\" y\x7f", ..record() });
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.contains(r#""GET /a\x0ab HTTP/1.1""#) && line.contains(r#""x\" y\x7f""#), "{line}");
    }

    #[test]
    fn te_05_the_text_is_istios() {
        assert_eq!(
            text(&record()),
            "[2024-02-29T12:34:56.123Z] \"GET /a\\\"b HTTP/1.1\" 503 UF upstream_reset_before_response_started{connection_failure} - \"-\" 1 2 3 - \
             \"1.2.3.4\" \"-\" \"id\" \"a.test\" \"127.0.0.1:9001\" outbound|80||a.test - 127.0.0.1:80 127.0.0.1:5000 - r\n"
        );
    }

    #[test]
    fn te_05_json_has_istios_keys() {
        let mut json = Vec::new();
        record().write_json(&mut json);
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(value["response_flags"], "UF");
        assert_eq!(value["user_agent"], serde_json::Value::Null);
        assert_eq!(value.as_object().unwrap().len(), 24);
    }
}
