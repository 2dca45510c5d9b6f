//! The facts that edits of a response and its log line use besides its head (VS-47).

use crate::http::facts::ResponseFacts;
use crate::stream_info::{OutcomeFacts, StreamFacts};
use ir::FieldName;
use wire::view::Fields;

/// The facts that edits of a response and its log line use besides its head.
pub(super) struct ResponseContext<'a> {
    pub(super) stream: StreamFacts<'a>,
    pub(super) outcome: OutcomeFacts<'a>,
    pub(super) captured_headers: &'a [(FieldName, Vec<u8>)],
    /// Headers of the response that the access log has.
    pub(super) logged: &'a [FieldName],
}

impl<'a> ResponseContext<'a> {
    pub(super) fn of(&self, status: u16, fields: Fields<'a>) -> ResponseFacts<'a> {
        ResponseFacts {
            stream: self.stream,
            outcome: self.outcome,
            captured_headers: self.captured_headers,
            status,
            fields,
        }
    }
}
