//! What is known besides the head of a response, once it was received: for the head that the client receives, and for its log line (VS-47).

use crate::http::facts::ResponseFacts;
use crate::http::plan::Plan;
use crate::log::LogDemands;
use crate::stream_info::{OutcomeFacts, StreamFacts};
use ir::FieldName;
use std::time::Duration;
use text::HttpDate;
use wire::view::Fields;

/// What is known besides the head of a response.
pub(super) struct HeadFacts<'a> {
    pub(super) plan: &'a Plan,
    /// Whether the client's connection is closed after the response.
    pub(super) is_last: bool,
    pub(super) date: &'a HttpDate,
    /// From the end of the request to the head of the response.
    pub(super) elapsed: Duration,
    pub(super) stream: StreamFacts<'a>,
    pub(super) outcome: OutcomeFacts<'a>,
    pub(super) captured_headers: &'a [(FieldName, Vec<u8>)],
    /// What the access log demands, if it is on.
    pub(super) log: Option<&'a LogDemands>,
}

impl<'a> HeadFacts<'a> {
    pub(super) fn facts(&self, status: u16, fields: Fields<'a>) -> ResponseFacts<'a> {
        ResponseFacts {
            stream: self.stream,
            outcome: self.outcome,
            captured_headers: self.captured_headers,
            status,
            fields,
        }
    }
}
