//! What has to be known of a stream for the lines of a format, and how it is kept while head and trailers are there. What no line states is not kept.

use crate::stream_info::LoggedResponse;
use ir::{AddressOf, Fact, FieldChoice, FieldName, HeaderName, LogFormat, Operator};
use routing::substitute;
use wire::edit::Edits;
use wire::grpc;
use wire::h1::size::{request_size, response_size};
use wire::h1::{RequestParts, ResponseParts};
use wire::view::RequestView;

/// What has to be known of a stream for the lines of a format.
#[derive(Debug, Default)]
pub(crate) struct LogDemands {
    /// Headers of requests.
    pub(crate) request_fields: Vec<FieldName>,
    /// Headers of responses.
    response_fields: Vec<FieldName>,
    /// Trailers of responses.
    pub(crate) trailers: bool,
    /// The size of heads of requests, and of responses.
    request_size: bool,
    response_size: bool,
    /// The gateway's address towards endpoints, which costs a system call.
    pub(crate) upstream_local: bool,
}

impl LogDemands {
    /// Those of a format.
    pub(super) fn of(format: &LogFormat) -> Self {
        let mut demands = Self::default();
        for operator in format.operators() {
            match operator {
                Operator::Request(choice) => add(&mut demands.request_fields, choice),
                Operator::Response(choice) => add(&mut demands.response_fields, choice),
                Operator::Path { .. } | Operator::Query(_) => demands.request_fields.push(FieldName::Path),
                Operator::Trailer(_) | Operator::Fact(Fact::ResponseTrailersBytes) => demands.trailers = true,
                Operator::GrpcStatus(_) => {
                    demands.trailers = true;
                    demands.request_fields.extend(HeaderName::parse("content-type").map(FieldName::Header));
                    demands.response_fields.extend(HeaderName::parse(grpc::STATUS).map(FieldName::Header));
                }
                Operator::Fact(Fact::RequestHeadersBytes) => demands.request_size = true,
                Operator::Fact(Fact::ResponseHeadersBytes) => demands.response_size = true,
                Operator::Address(AddressOf::UpstreamLocal, _) => demands.upstream_local = true,
                _ => {}
            }
        }
        demands
    }

    /// Captures what lines state of the head of a request as it is sent to an endpoint: changed headers, and the size.
    pub(crate) fn capture_request(
        &self,
        view: &RequestView<'_>,
        parts: &RequestParts<'_>,
        edits: &Edits<'_>,
    ) -> (Vec<(FieldName, Vec<u8>)>, u64) {
        let size = if self.request_size { request_size(parts, view.scheme, edits) } else { 0 };
        (substitute::capture_edited(&self.request_fields, view, edits), size)
    }

    /// What lines state of the head of a response; `parts` and `edits` are those that the client receives.
    pub(crate) fn capture_response(&self, parts: &ResponseParts<'_>, edits: &Edits<'_>) -> LoggedResponse {
        LoggedResponse {
            headers: substitute::capture_response(&self.response_fields, parts.status, parts.fields, &edits.fields),
            head_bytes: if self.response_size { response_size(parts, edits) } else { 0 },
            trailers: None,
        }
    }
}

fn add(fields: &mut Vec<FieldName>, choice: &FieldChoice) {
    for name in [Some(&choice.first), choice.other.as_ref()].into_iter().flatten() {
        if !fields.contains(name) {
            fields.push(name.clone());
        }
    }
}
