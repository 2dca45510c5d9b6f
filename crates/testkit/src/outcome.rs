//! What came of a request, in the terms in which expectations are written: Istio's recorded answers and the cases alike.

use crate::backend::Seen;
use crate::client::{self, Answer, Ends, NoAnswer, Request};
use crate::secured::{Certificates, Hello};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Headers that differ from run to run or between gateways by design: ids, times, counts and Envoy's internals.
const LEFT_OUT: &[&str] = &[
    "x-request-id",
    "x-id",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-attempt-count",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "traceparent",
    "tracestate",
    "x-envoy-decorator-operation",
    "x-envoy-peer-metadata",
    "x-envoy-peer-metadata-id",
    "connection",
    "x-envoy-internal",
    "content-length",
    "transfer-encoding",
    "user-agent",
    "accept-encoding",
    "x-envoy-original-host",
];

/// One request of a recording or a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The server's port, as the configuration names it.
    pub port: u16,
    /// The method.
    pub method: String,
    /// The request target.
    pub target: String,
    /// Header lines, `Host` among them.
    pub headers: Vec<(String, String)>,
    /// The body; empty is none.
    pub body: String,
    /// How often it is sent.
    pub repeat: Option<u32>,
    /// How it comes by TLS, if it does.
    pub tls: Option<Hello>,
    /// Whether a part of an answer's body is enough.
    pub part: bool,
    /// A PROXY line that stands in front of it, without its end.
    pub proxied: Option<String>,
    /// Whether the client ends its half of the connection behind the request.
    pub ends: bool,
    /// The version that it is sent as, where that is not 1.1.
    pub version: Option<String>,
    /// The client's own address, one of 127.0.0.0/8, where that matters.
    pub from: Option<IpAddr>,
    /// Whether no answer is expected, so that the client does not wait long for one.
    pub unanswered: bool,
}

/// How long a client waits for an answer that is not expected.
const UNANSWERED: Duration = Duration::from_millis(500);

impl Question {
    /// Sends it as often as it says, and gives what came of it.
    pub fn ask(&self, address: SocketAddr, certificates: &Certificates) -> Value {
        let outcomes: Vec<Map<String, Value>> =
            (0..self.repeat.unwrap_or(1)).map(|_| self.ask_once(address, certificates)).collect();
        let mut first = outcomes.first().cloned().unwrap_or_default();
        if self.repeat.is_some() {
            // One name for each kind of outcome: a status, or why there was none.
            let status = |outcome: &Map<String, Value>| outcome.get("status").or(outcome.get("error")).cloned();
            let by_name: BTreeMap<String, Value> =
                outcomes.iter().filter_map(status).map(|s| (s.to_string(), s)).collect();
            let backends: std::collections::BTreeSet<u64> =
                outcomes.iter().filter_map(|o| o.get("backend")).filter_map(Value::as_u64).collect();
            first.insert("statuses".into(), Value::Array(by_name.into_values().collect()));
            first.insert("distinct".into(), json!(backends.len()));
            first.insert("backends".into(), json!(backends));
            first.remove("backend");
        }
        Value::Object(first)
    }

    fn ask_once(&self, address: SocketAddr, certificates: &Certificates) -> Map<String, Value> {
        let request =
            Request { method: &self.method, target: &self.target, headers: &self.headers, body: self.body.as_bytes() };
        let head_only = self.method == "HEAD";
        let mut ends = Ends { from: self.from, ..Ends::from(address) };
        if self.unanswered {
            ends.timeout = UNANSWERED;
        }
        let answered = match &self.tls {
            None if self.proxied.is_some() => {
                let before = self.proxied.iter().flat_map(|line| [line.as_bytes(), b"\r\n"]);
                let bytes = before.chain([&request.to_bytes()[..]]).collect::<Vec<_>>().concat();
                let answered = client::exchange(ends, &bytes).and_then(|raw| client::parse(&raw, head_only));
                answered.map(|answer| (None, answer))
            }
            None if self.part => client::send_and_take_part(ends, &request).map(|answer| (None, answer)),
            None if self.version.is_some() => {
                let text = String::from_utf8_lossy(&request.to_bytes()).into_owned();
                let version = format!(" HTTP/{}\r\n", self.version.as_deref().unwrap_or_default());
                let bytes = text.replacen(" HTTP/1.1\r\n", &version, 1).into_bytes();
                let answered = client::exchange(ends, &bytes).and_then(|raw| client::parse(&raw, head_only));
                answered.map(|answer| (None, answer))
            }
            None if self.ends => client::send_and_end(ends, &request).map(|answer| (None, answer)),
            None => client::send(ends, &request).map(|answer| (None, answer)),
            Some(hello) => certificates
                .exchange(ends, hello, &request.to_bytes())
                .and_then(|(shown, raw)| Ok((Some(shown), client::parse(&raw, head_only)?))),
        };
        match answered {
            Ok((shown, answer)) => {
                let mut outcome = outcome(&answer, head_only);
                outcome.extend(shown.map(|name| ("cert".to_owned(), json!(name))));
                outcome
            }
            Err(error) => {
                let name = match error {
                    NoAnswer::Refused => "refused",
                    NoAnswer::Tls => "tls",
                    NoAnswer::Closed => "closed",
                    NoAnswer::Timeout => "timeout",
                    NoAnswer::Malformed(_) => "malformed",
                };
                Map::from_iter([("error".to_owned(), json!(name))])
            }
        }
    }
}

/// The answer in the terms of an expectation.
fn outcome(answer: &Answer, head_only: bool) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("status".into(), json!(answer.status));
    if let Some(location) = answer.headers.iter().find(|(name, _)| name == "location") {
        out.insert("location".into(), json!(location.1));
    }
    let echoed = answer.header("x-from-backend").is_some() || answer.body.starts_with(b"{\"backend\"");
    if echoed {
        if let Ok(seen) = serde_json::from_slice::<Seen>(&answer.body) {
            insert_seen(&mut out, &seen);
        }
    } else if answer.status != 404 && !head_only {
        out.insert("body".into(), json!(latin1(&answer.body)));
    }
    let told = |name: &str| name.starts_with("access-control-") || ["vary", "set-cookie", "server"].contains(&name);
    out.insert("headers".into(), joined(answer.headers.iter().filter(|(name, _)| told(name))));
    let shown = |name: &str| name.starts_with("x-") && !name.starts_with("x-envoy");
    out.insert("downstream".into(), joined(answer.headers.iter().filter(|(name, _)| shown(name))));
    out
}

fn insert_seen(out: &mut Map<String, Value>, seen: &Seen) {
    out.insert("backend".into(), json!(seen.backend));
    out.insert("path".into(), json!(seen.path));
    out.insert("method".into(), json!(seen.method));
    out.extend(seen.sni.as_ref().map(|sni| ("sni".to_owned(), json!(sni))));
    out.extend(seen.origin.as_ref().map(|origin| ("origin".to_owned(), json!(origin))));
    if !seen.alpn.is_empty() {
        out.insert("alpn".into(), json!(seen.alpn));
    }
    out.insert(
        "host".into(),
        seen.headers.iter().find(|(name, _)| name == "host").map_or(Value::Null, |(_, v)| json!(v)),
    );
    out.insert("upstream".into(), joined(seen.headers.iter().filter(|(name, _)| name != "host")));
}

/// Values by name, several joined by `,`.
fn joined<'a>(headers: impl Iterator<Item = &'a (String, String)>) -> Value {
    let mut out: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in headers.filter(|(name, _)| !LEFT_OUT.contains(&name.as_str())) {
        out.entry(name).and_modify(|all| *all = format!("{all},{value}")).or_insert_with(|| value.clone());
    }
    json!(out)
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}
