//! A stream that has ended, as its sinks receive it, and the values of operators in its line of the access log (TE-05).

use super::facts::StreamFacts;
use super::info::StreamInfo;
use crate::reasons::HandshakeFailure;
use ir::{AddressOf, AddressPart, Clock, DurationUnit, Fact, FieldName, Operator, Span};
use routing::Facts;
use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use wire::view::Fields;

/// What a stream was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamKind {
    /// A request, which an endpoint of HTTP/2 or of HTTP/1.1 received.
    Request {
        /// Whether the endpoint speaks HTTP/2.
        http2: bool,
    },
    /// A connection whose bytes were passed through.
    Connection,
    /// A connection whose TLS handshake failed.
    Handshake(HandshakeFailure),
}

/// A stream that has ended.
pub(crate) struct FinishedStream<'a> {
    pub(crate) kind: StreamKind,
    pub(crate) stream: StreamFacts<'a>,
    /// The host of the cluster, if the stream has one.
    pub(crate) destination: Option<&'a str>,
    /// The `statPrefix` of the route.
    pub(crate) stat_prefix: Option<&'a Arc<str>>,
    pub(crate) info: &'a StreamInfo,
    pub(crate) ended: Instant,
    /// The request; only the access log reads it.
    pub(crate) request: &'a dyn FinishedRequest,
}

/// A receiver of finished streams: the metrics, the access log.
pub(crate) trait StreamSink {
    /// Receives a stream when it has ended. The request path calls it once for each stream and never waits in it.
    fn record(&self, stream: &FinishedStream<'_>);
}

/// The request of a finished stream.
pub(crate) trait FinishedRequest {
    /// A header of the request as it was sent to the endpoint.
    fn header(&self, name: &FieldName) -> Option<Cow<'_, [u8]>>;

    /// The client's address as trusted proxies name it, if it is not that of the connection.
    fn client(&self) -> Option<IpAddr>;
}

/// A stream without a request, or without a valid one.
pub(crate) struct NoRequest;

impl FinishedRequest for NoRequest {
    fn header(&self, _: &FieldName) -> Option<Cow<'_, [u8]>> {
        None
    }

    fn client(&self) -> Option<IpAddr> {
        None
    }
}

impl Facts for FinishedStream<'_> {
    fn request(&self, name: &FieldName) -> Option<Cow<'_, [u8]>> {
        self.request.header(name)
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
                    StreamKind::Request { http2: true } => b"HTTP/2",
                    StreamKind::Request { http2: false } => b"HTTP/1.1",
                    StreamKind::Connection | StreamKind::Handshake(_) => b"",
                })
            }
            Operator::Fact(Fact::AccessLogType) => out.extend_from_slice(match self.kind {
                StreamKind::Request { .. } => b"DownstreamEnd",
                StreamKind::Connection => b"TcpConnectionEnd",
                StreamKind::Handshake(_) => b"NotSet",
            }),
            Operator::Fact(Fact::ConnectionTerminationDetails) if self.kind == StreamKind::Connection => {
                out.extend_from_slice(info.denied.as_deref().unwrap_or_default().as_bytes());
            }
            Operator::Duration(span) => self.put_duration(*span, out),
            Operator::Address(AddressOf::Client, _) => {
                StreamFacts { client: self.request.client(), ..self.stream }.put(operator, out);
            }
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

impl FinishedStream<'_> {
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
