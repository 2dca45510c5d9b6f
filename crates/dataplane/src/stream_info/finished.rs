//! A stream that has ended, as its sinks receive it, and the values of operators in its line of the access log (TE-05).

use super::facts::StreamFacts;
use super::info::StreamInfo;
use crate::reasons::HandshakeFailure;
use ir::{
    AddressOf, AddressPart, Clock, DurationUnit, Fact, FieldName, GrpcStatusFormat, HeaderName, MetadataKey,
    MetadataNamespace, Operator, Origin, Span,
};
use routing::{Claims, Facts};
use serde_json::Value;
use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use wire::grpc;
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
    /// The rule that routed it.
    pub(crate) origin: Option<&'a Origin>,
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

    /// The claims of its verified token.
    fn claims(&self) -> Option<&Claims>;

    /// The octets of the names and values of its head, as it was sent to the endpoint; 0 where the log does not state them.
    fn head_bytes(&self) -> u64;

    /// The client's address as trusted proxies name it, if it is not that of the connection.
    fn client(&self) -> Option<IpAddr>;

    /// A property of the request as it was received: the method, the target or the authority.
    fn received(&self, name: &FieldName) -> Option<Cow<'_, [u8]>>;

    /// Its id, if it has one.
    fn id(&self) -> Option<&[u8]>;
}

/// A stream without a request, or without a valid one.
pub(crate) struct NoRequest;

impl FinishedRequest for NoRequest {
    fn header(&self, _: &FieldName) -> Option<Cow<'_, [u8]>> {
        None
    }

    fn claims(&self) -> Option<&Claims> {
        None
    }

    fn head_bytes(&self) -> u64 {
        0
    }

    fn client(&self) -> Option<IpAddr> {
        None
    }

    fn received(&self, _: &FieldName) -> Option<Cow<'_, [u8]>> {
        None
    }

    fn id(&self) -> Option<&[u8]> {
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
                let value = |name: &FieldName| info.response.headers.iter().find(|(known, _)| known == name);
                let found = value(&choice.first).or_else(|| choice.other.as_ref().and_then(value));
                out.extend_from_slice(found.map_or(&[], |(_, value)| value.as_slice()));
            }
            Operator::Fact(Fact::ResponseCode) => put_number(info.status.into(), out),
            Operator::Trailer(choice) => {
                let value = |name: &FieldName| info.response.trailer(name);
                let found = value(&choice.first).or_else(|| value(choice.other.as_ref()?));
                out.extend_from_slice(found.unwrap_or_default());
            }
            Operator::Metadata(key) => self.put_metadata(key, out),
            Operator::GrpcStatus(format) => self.put_grpc_status(*format, out),
            Operator::Fact(Fact::RequestHeadersBytes) => put_number(self.request.head_bytes().into(), out),
            Operator::Fact(Fact::ResponseHeadersBytes) => put_number(info.response.head_bytes.into(), out),
            Operator::Fact(Fact::ResponseTrailersBytes) => put_number(info.response.trailer_bytes().into(), out),
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
    /// What the filter of this name records in Envoy.
    fn put_metadata(&self, key: &MetadataKey, out: &mut Vec<u8>) {
        let policies = self.info.policies.as_ref();
        let is_connection = self.kind == StreamKind::Connection;
        let text = match key.namespace {
            MetadataNamespace::HttpAuthorization if !is_connection => policies.and_then(|result| result.dry_run(key)),
            MetadataNamespace::TcpAuthorization if is_connection => policies.and_then(|result| result.dry_run(key)),
            MetadataNamespace::Common => policies.and_then(|result| result.audit(key)),
            MetadataNamespace::Authentication => return self.put_claim(key, out),
            MetadataNamespace::HttpAuthorization | MetadataNamespace::TcpAuthorization => None,
        };
        out.extend_from_slice(text.unwrap_or_default().as_bytes());
    }

    /// A claim of the verified token, which Istio records below `payload`; what is not a text is JSON.
    fn put_claim(&self, key: &MetadataKey, out: &mut Vec<u8>) {
        let Some(("payload", path)) = key.path.split_first().map(|(first, path)| (&**first, path)) else { return };
        match self.request.claims().and_then(|claims| claims.value(path.iter().map(|name| &**name))) {
            Some(Value::String(text)) => out.extend_from_slice(text.as_bytes()),
            Some(value) => out.extend_from_slice(value.to_string().as_bytes()),
            None => {}
        }
    }

    /// As in Envoy, a request that is not gRPC has no value. The trailers come before the head, and the HTTP status is the last resort.
    fn put_grpc_status(&self, format: GrpcStatusFormat, out: &mut Vec<u8>) {
        let content_type = HeaderName::parse("content-type").ok().map(FieldName::Header);
        let content_type = content_type.and_then(|name| self.request.header(&name));
        if !content_type.is_some_and(|value| grpc::is_grpc(&value)) || self.info.status == 0 {
            return;
        }
        let response = &self.info.response;
        let Ok(name) = HeaderName::parse(grpc::STATUS).map(FieldName::Header) else { return };
        let head = || response.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_slice());
        let value = response.trailer(&name).or_else(head);
        out.extend_from_slice(grpc::status_text(value, self.info.status, format).as_bytes());
    }

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
