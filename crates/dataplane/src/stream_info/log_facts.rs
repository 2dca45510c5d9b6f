//! The values of operators in a line of the access log (TE-05).

use super::facts::StreamFacts;
use super::info::StreamInfo;
use ir::{AddressOf, AddressPart, Clock, DurationUnit, Fact, FieldName, Operator, Span};
use routing::Facts;
use std::borrow::Cow;
use std::io::Write as _;
use std::time::Instant;
use wire::view::Fields;

/// What a line of the access log is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogKind {
    /// A request, which an endpoint of HTTP/2 or of HTTP/1.1 received.
    Request {
        /// Whether the endpoint speaks HTTP/2.
        http2: bool,
    },
    /// A connection that was passed through.
    Connection,
    /// A connection that ended before its protocol began.
    Listener,
}

/// All facts of a stream that has ended.
pub(crate) struct LogFacts<'a> {
    pub(crate) kind: LogKind,
    pub(crate) stream: StreamFacts<'a>,
    pub(crate) info: &'a StreamInfo,
    pub(crate) ended: Instant,
    /// A header of the request as it was sent to the endpoint.
    pub(crate) request: &'a dyn Fn(&FieldName) -> Option<Cow<'a, [u8]>>,
}

impl Facts for LogFacts<'_> {
    fn request(&self, name: &FieldName) -> Option<Cow<'_, [u8]>> {
        (self.request)(name)
    }

    /// Headers of the response are asked for in [`Facts::put`].
    fn response(&self) -> Option<(u16, Fields<'_>)> {
        None
    }

    fn put(&self, operator: &Operator, out: &mut Vec<u8>) {
        let info = self.info;
        match operator {
            Operator::Response(choice) => {
                let value = |name: &FieldName| info.response_headers.iter().find(|(known, _)| known == name);
                let found = value(&choice.first).or_else(|| choice.other.as_ref().and_then(value));
                out.extend_from_slice(found.map_or(&[], |(_, value)| value.as_slice()));
            }
            Operator::Fact(Fact::ResponseCode) => put_number(info.status.into(), out),
            Operator::Fact(Fact::BytesReceived) => put_number(info.received.into(), out),
            Operator::Fact(Fact::BytesSent) => put_number(info.sent.into(), out),
            Operator::Fact(Fact::UpstreamAttempts) if info.attempts > 0 => put_number(info.attempts.into(), out),
            Operator::Fact(Fact::UpstreamProtocol) if info.endpoint.is_some() => {
                out.extend_from_slice(match self.kind {
                    LogKind::Request { http2: true } => b"HTTP/2",
                    LogKind::Request { http2: false } => b"HTTP/1.1",
                    LogKind::Connection | LogKind::Listener => b"",
                })
            }
            Operator::Fact(Fact::AccessLogType) => out.extend_from_slice(match self.kind {
                LogKind::Request { .. } => b"DownstreamEnd",
                LogKind::Connection => b"TcpConnectionEnd",
                LogKind::Listener => b"NotSet",
            }),
            Operator::Fact(Fact::ConnectionTerminationDetails) if self.kind == LogKind::Connection => {
                out.extend_from_slice(info.denied.as_deref().unwrap_or_default().as_bytes());
            }
            Operator::Duration(span) => self.put_duration(*span, out),
            // An endpoint may have an address that is no IP.
            Operator::Address(AddressOf::Upstream, AddressPart::Whole) => {
                if let Some(endpoint) = &info.endpoint {
                    let _ = write!(out, "{}", endpoint.address);
                }
            }
            other => {
                if !info.outcome(&|| info.upstream_local).put(other, out) {
                    self.stream.put(other, out);
                }
            }
        }
    }
}

impl LogFacts<'_> {
    fn put_duration(&self, span: Span, out: &mut Vec<u8>) {
        let time = |clock| match clock {
            Clock::RequestBegin => Some(self.info.started),
            Clock::RequestEnd => self.info.request_end,
            Clock::ResponseBegin => self.info.response_begin,
            Clock::ResponseEnd => Some(self.ended),
        };
        let (Some(from), Some(to)) = (time(span.from), time(span.to)) else { return };
        let Some(time) = to.checked_duration_since(from) else { return };
        put_number(
            match span.unit {
                DurationUnit::Milliseconds => time.as_millis(),
                DurationUnit::Microseconds => time.as_micros(),
                DurationUnit::Nanoseconds => time.as_nanos(),
            },
            out,
        );
    }
}

fn put_number(number: u128, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}
