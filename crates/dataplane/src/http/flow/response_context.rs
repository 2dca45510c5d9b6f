//! The values that edits of a response may use besides its head (VS-47).

use crate::http::facts::{Common, OfResponse};
use crate::reasons::Flags;
use ir::FieldName;
use std::net::SocketAddr;
use std::time::Instant;
use wire::view::Fields;

/// The values that edits of a response may use besides its head.
pub(super) struct ResponseContext<'a> {
    pub(super) common: Common<'a>,
    pub(super) captured_headers: &'a [(FieldName, Vec<u8>)],
    pub(super) flags: Flags,
    pub(super) begun: Instant,
    pub(super) upstream: Option<SocketAddr>,
    pub(super) upstream_local: &'a dyn Fn() -> Option<SocketAddr>,
}

impl<'a> ResponseContext<'a> {
    pub(super) fn of(&self, status: u16, fields: Fields<'a>) -> OfResponse<'a> {
        OfResponse {
            common: self.common,
            captured_headers: self.captured_headers,
            status,
            fields,
            flags: self.flags,
            detail: "via_upstream",
            begun: self.begun,
            upstream: self.upstream,
            upstream_local: self.upstream_local,
            transport_failure: "",
        }
    }
}
