//! Operators as Envoy writes them.

use super::{
    AddressOf, AddressPart, Clock, DurationUnit, FieldChoice, FieldName, GrpcStatusFormat, MetadataKey,
    MetadataNamespace, Operator, Span,
};
use std::fmt;

/// The names of addresses, without the part that is meant.
pub(super) const ADDRESSES: &[(&str, AddressOf)] = &[
    ("DOWNSTREAM_REMOTE", AddressOf::Client),
    ("DOWNSTREAM_DIRECT_REMOTE", AddressOf::Peer),
    ("DOWNSTREAM_LOCAL", AddressOf::Local),
    ("DOWNSTREAM_DIRECT_LOCAL", AddressOf::Local),
    ("UPSTREAM_REMOTE", AddressOf::Upstream),
    ("UPSTREAM_LOCAL", AddressOf::UpstreamLocal),
];

/// The names of filters.
pub(super) const NAMESPACES: &[(&str, MetadataNamespace)] = &[
    ("envoy.filters.http.rbac", MetadataNamespace::HttpAuthorization),
    ("envoy.filters.network.rbac", MetadataNamespace::TcpAuthorization),
    ("envoy.filters.http.jwt_authn", MetadataNamespace::Authentication),
    ("envoy.common", MetadataNamespace::Common),
];

/// As Envoy writes it, without the `%` around it.
impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = |f: &mut fmt::Formatter<'_>, name: &str, choice: &FieldChoice| match &choice.other {
            None => write!(f, "{name}({})", choice.first),
            Some(other) => write!(f, "{name}({}?{other})", choice.first),
        };
        match self {
            Self::Request(choice) => call(f, "REQ", choice),
            Self::Response(choice) => call(f, "RESP", choice),
            Self::Trailer(choice) => call(f, "TRAILER", choice),
            Self::GrpcStatus(format) => f.write_str(match format {
                GrpcStatusFormat::CamelCase => "GRPC_STATUS",
                GrpcStatusFormat::SnakeCase => "GRPC_STATUS(SNAKE_STRING)",
                GrpcStatusFormat::Number => "GRPC_STATUS_NUMBER",
            }),
            Self::Metadata(key) => write!(f, "DYNAMIC_METADATA({key})"),
            Self::Environment(name) => write!(f, "ENVIRONMENT({name})"),
            Self::Query(name) => write!(f, "QUERY_PARAM({name})"),
            Self::Path { query } => f.write_str(if *query { "PATH(WQ)" } else { "PATH(NQ)" }),
            Self::Address(of, part) => {
                let of = ADDRESSES.iter().find(|(_, known)| known == of).map_or("", |(name, _)| name);
                let part = match part {
                    AddressPart::Whole => "ADDRESS",
                    AddressPart::Ip => "ADDRESS_WITHOUT_PORT",
                    AddressPart::Port => "PORT",
                };
                write!(f, "{of}_{part}")
            }
            Self::StartTime(format) => write!(f, "START_TIME({format})"),
            Self::EmitTime(format) => write!(f, "EMIT_TIME({format})"),
            Self::Duration(span) => write!(f, "COMMON_DURATION({span})"),
            Self::Fact(fact) => f.write_str(fact.name()),
            Self::Absent(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for MetadataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMESPACES.iter().find(|(_, known)| *known == self.namespace).map_or("", |(name, _)| name))?;
        self.path.iter().try_for_each(|name| write!(f, ":{name}"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |clock| match clock {
            Clock::RequestBegin => "DS_RX_BEG",
            Clock::RequestEnd => "DS_RX_END",
            Clock::ResponseBegin => "US_RX_BEG",
            Clock::ResponseEnd => "DS_TX_END",
        };
        let unit = match self.unit {
            DurationUnit::Milliseconds => "ms",
            DurationUnit::Microseconds => "us",
            DurationUnit::Nanoseconds => "ns",
        };
        write!(f, "{}:{}:{unit}", name(self.from), name(self.to))
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => name.fmt(f),
            Self::Method => f.write_str(":method"),
            Self::Path => f.write_str(":path"),
            Self::Authority => f.write_str(":authority"),
            Self::Scheme => f.write_str(":scheme"),
            Self::Status => f.write_str(":status"),
        }
    }
}
