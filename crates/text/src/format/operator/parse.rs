//! Operators from their names and arguments.

use super::display::{ADDRESSES, NAMESPACES};
use super::fact::FACTS;
use super::names::ABSENT;
use super::{
    AddressPart, Clock, DurationUnit, Fact, FieldChoice, FieldName, GrpcStatusFormat, MetadataKey, Operator, Span,
};
use crate::HeaderName;
use crate::format::time_format::TimeFormat;
use std::sync::Arc;

/// Why there is no such operator.
pub(in crate::format) enum InvalidOperator {
    Unknown,
    /// What the operator takes.
    Argument(&'static str),
}

const NO_ARGUMENT: InvalidOperator = InvalidOperator::Argument("takes no argument");

impl Operator {
    /// From a name and an argument.
    pub(in crate::format) fn parse(name: &str, argument: Option<&str>) -> Result<Self, InvalidOperator> {
        use InvalidOperator::Argument;
        const HEADER: InvalidOperator = Argument("takes the name of a header");
        let alone = |operator| if argument.is_none() { Ok(operator) } else { Err(NO_ARGUMENT) };
        if let Some((_, fact)) = FACTS.iter().find(|(fact, _)| *fact == name) {
            // `ALLOW_WHITESPACES`, and where the name is looked for, change nothing here.
            let may_have_one = matches!(fact, Fact::ResponseCodeDetails | Fact::RequestedServerName);
            return if may_have_one { Ok(Self::Fact(*fact)) } else { alone(Self::Fact(*fact)) };
        }
        if let Some(address) = address(name) {
            return alone(address);
        }
        let whole = |from, to| alone(Self::Duration(Span { from, to, unit: DurationUnit::Milliseconds }));
        match name {
            "REQ" => Ok(Self::Request(field(argument).ok_or(HEADER)?)),
            "RESP" => Ok(Self::Response(field(argument).ok_or(HEADER)?)),
            "TRAILER" => Ok(Self::Trailer(field(argument).ok_or(HEADER)?)),
            "GRPC_STATUS" => grpc_status(argument),
            "GRPC_STATUS_NUMBER" => alone(Self::GrpcStatus(GrpcStatusFormat::Number)),
            "DYNAMIC_METADATA" => metadata(argument),
            "ENVIRONMENT" => match argument {
                Some(variable) if !variable.is_empty() => Ok(Self::Environment(variable.into())),
                _ => Err(Argument("takes the name of an environment variable")),
            },
            "STREAM_ID" | "REQUEST_ID" => {
                let id = field(Some("x-request-id")).ok_or(InvalidOperator::Unknown)?;
                alone(Self::Request(id))
            }
            "QUERY_PARAM" => match argument {
                Some(parameter) if !parameter.is_empty() => Ok(Self::Query(parameter.into())),
                _ => Err(Argument("takes the name of a query parameter")),
            },
            "PATH" => match argument.unwrap_or_default().split(':').next().unwrap_or_default() {
                "" | "WQ" => Ok(Self::Path { query: true }),
                "NQ" => Ok(Self::Path { query: false }),
                _ => Err(Argument("takes `WQ` or `NQ`")),
            },
            "START_TIME" => Ok(Self::StartTime(time(argument)?)),
            "EMIT_TIME" => Ok(Self::EmitTime(time(argument)?)),
            "DURATION" => whole(Clock::RequestBegin, Clock::ResponseEnd),
            "REQUEST_DURATION" => whole(Clock::RequestBegin, Clock::RequestEnd),
            "RESPONSE_DURATION" => whole(Clock::RequestBegin, Clock::ResponseBegin),
            "RESPONSE_TX_DURATION" => whole(Clock::ResponseBegin, Clock::ResponseEnd),
            "COMMON_DURATION" => duration(argument.unwrap_or_default()),
            absent if ABSENT.contains(&absent) => Ok(Self::Absent(absent.into())),
            _ => Err(InvalidOperator::Unknown),
        }
    }
}

/// `DOWNSTREAM_REMOTE_ADDRESS`, `…_WITHOUT_PORT` and `DOWNSTREAM_REMOTE_PORT`, and so on.
fn address(name: &str) -> Option<Operator> {
    let (stem, part) = if let Some(stem) = name.strip_suffix("_ADDRESS_WITHOUT_PORT") {
        (stem, AddressPart::Ip)
    } else if let Some(stem) = name.strip_suffix("_ADDRESS") {
        (stem, AddressPart::Whole)
    } else if name == "UPSTREAM_HOST" {
        ("UPSTREAM_REMOTE", AddressPart::Whole)
    } else {
        (name.strip_suffix("_PORT")?, AddressPart::Port)
    };
    let (_, of) = ADDRESSES.iter().find(|(known, _)| *known == stem)?;
    Some(Operator::Address(*of, part))
}

fn grpc_status(argument: Option<&str>) -> Result<Operator, InvalidOperator> {
    Ok(Operator::GrpcStatus(match argument.unwrap_or_default() {
        "" | "CAMEL_STRING" => GrpcStatusFormat::CamelCase,
        "SNAKE_STRING" => GrpcStatusFormat::SnakeCase,
        "NUMBER" => GrpcStatusFormat::Number,
        _ => return Err(InvalidOperator::Argument("takes `CAMEL_STRING`, `SNAKE_STRING` or `NUMBER`")),
    }))
}

/// `namespace:key`, or with further names behind the key. A filter of another name, and a filter without a key, makes the operator absent.
fn metadata(argument: Option<&str>) -> Result<Operator, InvalidOperator> {
    let invalid =
        InvalidOperator::Argument("takes the name of a filter and a key, as in `envoy.filters.http.rbac:KEY`");
    let Some(argument) = argument.filter(|argument| !argument.is_empty()) else { return Err(invalid) };
    let mut names = argument.split(':');
    let filter = names.next().and_then(|name| NAMESPACES.iter().find(|(known, _)| *known == name));
    let path: Box<[Arc<str>]> = names.map(Arc::from).collect();
    Ok(match filter {
        Some((_, namespace)) if !path.is_empty() => Operator::Metadata(MetadataKey { namespace: *namespace, path }),
        _ => Operator::Absent(format!("DYNAMIC_METADATA({argument})").into()),
    })
}

fn time(argument: Option<&str>) -> Result<TimeFormat, InvalidOperator> {
    let invalid = InvalidOperator::Argument("takes a valid `strftime` format");
    match argument.filter(|text| !text.is_empty()) {
        None => Ok(TimeFormat::default()),
        Some(text) => TimeFormat::parse(text).ok_or(invalid),
    }
}

/// `begin:end` or `begin:end:unit`. Events whose time is not known make the operator absent.
fn duration(argument: &str) -> Result<Operator, InvalidOperator> {
    const POINTS: [&str; 12] = [
        "DS_RX_BEG",
        "DS_RX_END",
        "US_CX_BEG",
        "US_CX_END",
        "US_HS_END",
        "US_TX_BEG",
        "US_TX_END",
        "US_RX_BEG",
        "US_RX_BODY_BEG",
        "US_RX_END",
        "DS_TX_BEG",
        "DS_TX_END",
    ];
    let invalid = || InvalidOperator::Argument("takes two points of time and a unit, as in `DS_RX_BEG:DS_TX_END:ms`");
    let mut pieces = argument.split(':');
    let (Some(from), Some(to)) = (pieces.next(), pieces.next()) else { return Err(invalid()) };
    let unit = match pieces.next() {
        None | Some("ms") => DurationUnit::Milliseconds,
        Some("us") => DurationUnit::Microseconds,
        Some("ns") => DurationUnit::Nanoseconds,
        Some(_) => return Err(invalid()),
    };
    if pieces.next().is_some() || !POINTS.contains(&from) || !POINTS.contains(&to) {
        return Err(invalid());
    }
    Ok(match (clock(from), clock(to)) {
        (Some(from), Some(to)) => Operator::Duration(Span { from, to, unit }),
        _ => Operator::Absent(format!("COMMON_DURATION({argument})").into()),
    })
}

fn clock(point: &str) -> Option<Clock> {
    Some(match point {
        "DS_RX_BEG" => Clock::RequestBegin,
        "DS_RX_END" => Clock::RequestEnd,
        "US_RX_BEG" => Clock::ResponseBegin,
        "DS_TX_END" => Clock::ResponseEnd,
        _ => return None,
    })
}

/// `name` or `name?other`.
fn field(argument: Option<&str>) -> Option<FieldChoice> {
    let argument = argument?;
    let (first, other) = argument.split_once('?').map_or((argument, None), |(first, other)| (first, Some(other)));
    let other = match other {
        Some(other) => Some(field_name(other)?),
        None => None,
    };
    Some(FieldChoice { first: field_name(first)?, other })
}

fn field_name(name: &str) -> Option<FieldName> {
    Some(match name.to_ascii_lowercase().as_str() {
        ":method" => FieldName::Method,
        ":path" => FieldName::Path,
        ":authority" | "host" => FieldName::Authority,
        ":scheme" => FieldName::Scheme,
        ":status" => FieldName::Status,
        name => FieldName::Header(HeaderName::parse(name).ok()?),
    })
}
