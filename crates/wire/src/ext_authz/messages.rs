//! The messages, with the field numbers of Envoy's public definition (`envoy/service/auth/v3`).

use prost::Message;
use std::collections::BTreeMap;

/// Whether a request may pass.
#[derive(Clone, PartialEq, Message)]
pub struct CheckRequest {
    /// The request.
    #[prost(message, optional, tag = "1")]
    pub attributes: Option<AttributeContext>,
}

/// A request and its connection.
#[derive(Clone, PartialEq, Message)]
pub struct AttributeContext {
    /// The client.
    #[prost(message, optional, tag = "1")]
    pub source: Option<Peer>,
    /// The gateway.
    #[prost(message, optional, tag = "2")]
    pub destination: Option<Peer>,
    /// The request.
    #[prost(message, optional, tag = "4")]
    pub request: Option<RequestAttributes>,
    /// Settings of routes; always empty.
    #[prost(btree_map = "string, string", tag = "10")]
    pub context_extensions: BTreeMap<String, String>,
    /// The TLS session of the client.
    #[prost(message, optional, tag = "12")]
    pub tls_session: Option<TlsSession>,
}

/// One side of a connection.
#[derive(Clone, PartialEq, Message)]
pub struct Peer {
    /// Its address.
    #[prost(message, optional, tag = "1")]
    pub address: Option<Address>,
    /// The name of its service.
    #[prost(string, tag = "2")]
    pub service: String,
    /// Its identity, as its certificate has it.
    #[prost(string, tag = "4")]
    pub principal: String,
}

/// An address.
#[derive(Clone, PartialEq, Message)]
pub struct Address {
    /// An address of IP.
    #[prost(message, optional, tag = "1")]
    pub socket_address: Option<SocketAddress>,
}

/// An address of TCP.
#[derive(Clone, PartialEq, Message)]
pub struct SocketAddress {
    /// The IP address.
    #[prost(string, tag = "2")]
    pub address: String,
    /// The port.
    #[prost(uint32, tag = "3")]
    pub port_value: u32,
}

/// A request and its time.
#[derive(Clone, PartialEq, Message)]
pub struct RequestAttributes {
    /// When its first octet was received.
    #[prost(message, optional, tag = "1")]
    pub time: Option<Timestamp>,
    /// The request.
    #[prost(message, optional, tag = "2")]
    pub http: Option<HttpRequest>,
}

/// A time.
#[derive(Clone, PartialEq, Message)]
pub struct Timestamp {
    /// Seconds since 1970.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// And nanoseconds.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// A request.
#[derive(Clone, PartialEq, Message)]
pub struct HttpRequest {
    /// The id of the request.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The method.
    #[prost(string, tag = "2")]
    pub method: String,
    /// The headers, by names in lower case; several lines of a name are joined.
    #[prost(btree_map = "string, string", tag = "3")]
    pub headers: BTreeMap<String, String>,
    /// The path with the query.
    #[prost(string, tag = "4")]
    pub path: String,
    /// The host, with the port that the client wrote.
    #[prost(string, tag = "5")]
    pub host: String,
    /// `http` or `https`.
    #[prost(string, tag = "6")]
    pub scheme: String,
    /// The size of the body in octets; -1 if it is not known.
    #[prost(int64, tag = "9")]
    pub size: i64,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    #[prost(string, tag = "10")]
    pub protocol: String,
    /// The body as text.
    #[prost(string, tag = "11")]
    pub body: String,
    /// The body.
    #[prost(bytes = "vec", tag = "12")]
    pub raw_body: Vec<u8>,
}

/// A TLS session.
#[derive(Clone, PartialEq, Message)]
pub struct TlsSession {
    /// The name that the client asked for.
    #[prost(string, tag = "1")]
    pub sni: String,
}

/// The decision.
#[derive(Clone, PartialEq, Message)]
pub struct CheckResponse {
    /// Whether the request may pass.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// Which response the client gets.
    #[prost(oneof = "HttpResponse", tags = "2, 3, 5")]
    pub http_response: Option<HttpResponse>,
}

/// What becomes of the request.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum HttpResponse {
    /// It is denied.
    #[prost(message, tag = "2")]
    Denied(DeniedResponse),
    /// It is allowed.
    #[prost(message, tag = "3")]
    Ok(OkResponse),
    /// The service has no decision.
    #[prost(message, tag = "5")]
    Error(DeniedResponse),
}

/// A status of gRPC.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// The code; 0 is OK.
    #[prost(int32, tag = "1")]
    pub code: i32,
}

/// A response to the client.
#[derive(Clone, PartialEq, Message)]
pub struct DeniedResponse {
    /// The status.
    #[prost(message, optional, tag = "1")]
    pub status: Option<HttpStatus>,
    /// Headers.
    #[prost(message, repeated, tag = "2")]
    pub headers: Vec<HeaderValueOption>,
    /// The body.
    #[prost(string, tag = "3")]
    pub body: String,
}

/// A status of HTTP.
#[derive(Clone, PartialEq, Message)]
pub struct HttpStatus {
    /// The number.
    #[prost(int32, tag = "1")]
    pub code: i32,
}

/// Changes to a request that is allowed, and to its response.
#[derive(Clone, PartialEq, Message)]
pub struct OkResponse {
    /// Headers of the request.
    #[prost(message, repeated, tag = "2")]
    pub headers: Vec<HeaderValueOption>,
    /// Headers that are removed from the request.
    #[prost(string, repeated, tag = "5")]
    pub headers_to_remove: Vec<String>,
    /// Headers of the response.
    #[prost(message, repeated, tag = "6")]
    pub response_headers_to_add: Vec<HeaderValueOption>,
    /// Parameters of the query that are set.
    #[prost(message, repeated, tag = "7")]
    pub query_parameters_to_set: Vec<QueryParameter>,
    /// Parameters of the query that are removed.
    #[prost(string, repeated, tag = "8")]
    pub query_parameters_to_remove: Vec<String>,
}

/// A header, and what becomes of those that are there.
#[derive(Clone, PartialEq, Message)]
pub struct HeaderValueOption {
    /// The header.
    #[prost(message, optional, tag = "1")]
    pub header: Option<HeaderValue>,
    /// The older form of the action: whether the header is added.
    #[prost(message, optional, tag = "2")]
    pub append: Option<bool>,
    /// The number of the action.
    #[prost(int32, tag = "3")]
    pub append_action: i32,
}

/// A name and a value.
#[derive(Clone, PartialEq, Message)]
pub struct HeaderValue {
    /// The name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value.
    #[prost(string, tag = "2")]
    pub value: String,
    /// The value, where it is not text.
    #[prost(bytes = "vec", tag = "3")]
    pub raw_value: Vec<u8>,
}

/// A parameter of a query.
#[derive(Clone, PartialEq, Message)]
pub struct QueryParameter {
    /// The name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value.
    #[prost(string, tag = "2")]
    pub value: String,
}
