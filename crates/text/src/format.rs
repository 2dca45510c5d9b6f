//! Texts with Envoy's command operators (`%NAME(ARGUMENT):LENGTH%`), for values of headers and lines of the access log. A text is parsed
//! once, when the configuration is read; `routing` evaluates it for each exchange.

mod header_text;
mod log_format;
mod operator;
mod parse;
mod time_format;

pub use header_text::{HeaderText, InvalidText};
pub use log_format::{JsonNode, LogFormat};
pub use operator::{
    AddressOf, AddressPart, Clock, DurationUnit, Fact, FieldChoice, FieldName, GrpcStatusFormat, MetadataKey,
    MetadataNamespace, Operator, PeerFact, Span,
};
pub use parse::{Format, InvalidFormat, Part};
pub use time_format::TimeFormat;

#[cfg(test)]
mod tests;
