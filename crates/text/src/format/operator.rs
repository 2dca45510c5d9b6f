//! Operators: what each one stands for.

mod display;
mod fact;
mod names;
pub(super) mod parse;

pub use fact::{Fact, PeerFact};
#[cfg(test)]
pub(super) use names::every;
pub(super) use names::nearest;

use super::time_format::TimeFormat;
use crate::HeaderName;
use std::sync::Arc;

/// What an operator stands for. Where that is not known (the endpoint in a request, a client certificate without one), the value is empty in a
/// header, `-` in a line of text and `null` in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// A header of the request (`REQ(name?other)`): in a header, as it is before the change; in a log, as it was sent to the endpoint.
    Request(FieldChoice),
    /// A header of the response (`RESP(name?other)`).
    Response(FieldChoice),
    /// A trailer of the response (`TRAILER(name?other)`).
    Trailer(FieldChoice),
    /// The gRPC status of the response to a gRPC request (`GRPC_STATUS(format)`, `GRPC_STATUS_NUMBER`).
    GrpcStatus(GrpcStatusFormat),
    /// A value that a filter has recorded (`DYNAMIC_METADATA(namespace:key)`).
    Metadata(MetadataKey),
    /// A variable of the process's environment (`ENVIRONMENT(name)`).
    Environment(Arc<str>),
    /// The first value of a query parameter (`QUERY_PARAM(name)`).
    Query(Arc<str>),
    /// The path of the request, with its query or without (`PATH(WQ)`, `PATH(NQ)`).
    Path {
        /// Whether the query belongs to it.
        query: bool,
    },
    /// An address (`UPSTREAM_HOST`, `DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT`, `DOWNSTREAM_LOCAL_PORT`).
    Address(AddressOf, AddressPart),
    /// When the request began (`START_TIME(format)`).
    StartTime(TimeFormat),
    /// When the line is written (`EMIT_TIME(format)`).
    EmitTime(TimeFormat),
    /// The time between two events (`DURATION`, `COMMON_DURATION(begin:end:unit)`).
    Duration(Span),
    /// A fact whose operator has no argument.
    Fact(Fact),
    /// An operator of Envoy that tells of something that the gateway does not have. It has no value.
    Absent(Box<str>),
}

/// A header, or the one that is taken where the first is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChoice {
    /// The first choice.
    pub first: FieldName,
    /// The other.
    pub other: Option<FieldName>,
}

/// A header or what HTTP/2 has in place of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldName {
    /// A header.
    Header(HeaderName),
    /// `:method`
    Method,
    /// `:path`, with the query
    Path,
    /// `:authority`
    Authority,
    /// `:scheme`
    Scheme,
    /// `:status`
    Status,
}

/// How a gRPC status is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrpcStatusFormat {
    /// `InvalidArgument`
    CamelCase,
    /// `INVALID_ARGUMENT`
    SnakeCase,
    /// `3`
    Number,
}

/// Where a recorded value is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataKey {
    /// The filter that records it.
    pub namespace: MetadataNamespace,
    /// Its key, and the names within the value of the key; never empty.
    pub path: Box<[Arc<str>]>,
}

/// The filters whose recorded values are known, by Envoy's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataNamespace {
    /// Authorization of requests.
    HttpAuthorization,
    /// Authorization of connections.
    TcpAuthorization,
    /// Verified tokens.
    Authentication,
    /// What filters of several kinds record.
    Common,
}

/// Whose address it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressOf {
    /// The client's, as far as proxies in front of the gateway are trusted.
    Client,
    /// The peer's of the connection.
    Peer,
    /// The gateway's towards the client.
    Local,
    /// The endpoint's.
    Upstream,
    /// The gateway's towards the endpoint.
    UpstreamLocal,
}

/// What of an address is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressPart {
    /// IP and port.
    Whole,
    /// The IP.
    Ip,
    /// The port.
    Port,
}

/// A time between two events, in whole units; without a value where one of them did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first event.
    pub from: Clock,
    /// The second event.
    pub to: Clock,
    /// The unit.
    pub unit: DurationUnit,
}

/// An event of an exchange whose time is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The head of the request was received (`DS_RX_BEG`).
    RequestBegin,
    /// The end of the request was received (`DS_RX_END`).
    RequestEnd,
    /// The head of the endpoint's response was received (`US_RX_BEG`).
    ResponseBegin,
    /// The last octet was sent to the client (`DS_TX_END`).
    ResponseEnd,
}

/// The unit of a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurationUnit {
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

impl Operator {
    /// Whether only the access log has a value: it is known when the stream has ended.
    pub fn is_for_log(&self) -> bool {
        matches!(self, Self::Trailer(_) | Self::GrpcStatus(_) | Self::Metadata(_))
    }

    /// Whether its value is a number, which JSON writes without quotes.
    pub fn is_number(&self) -> bool {
        match self {
            Self::Duration(_) | Self::Address(_, AddressPart::Port) => true,
            Self::GrpcStatus(format) => *format == GrpcStatusFormat::Number,
            Self::Fact(fact) => fact.is_number(),
            _ => false,
        }
    }
}
