//! Local responses, and how they are written.

use crate::reasons::Reject;
use bytes::Bytes;
use http::Response;
use ir::MeshConnectionSettings;
use std::sync::Arc;
use text::{FieldValue, HttpDate};
use wire::edit::Edits;
use wire::grpc::Dialect;
use wire::h1::{OutFraming, ResponseParts, Style, write_response_in};
use wire::view::Fields;

/// The header with the reason of a local response.
pub(crate) const REASON: &str = "x-moongate-reason";

/// Bodies up to this size are copied for each stream.
const MAX_COPIED: usize = 2 << 10;

/// A local response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalReply<'a> {
    pub(crate) status: u16,
    pub(crate) location: Option<&'a FieldValue<'static>>,
    pub(crate) body: &'a [u8],
    /// The body if it is part of the configuration: streams share it.
    pub(crate) shared: Option<&'a Arc<[u8]>>,
    pub(crate) date: &'a HttpDate,
    pub(crate) mesh_settings: &'a MeshConnectionSettings,
    pub(crate) head_only: bool,
    pub(crate) close: bool,
    /// Whether the client speaks HTTP/1.0.
    pub(crate) http10: bool,
    /// The client's dialect of gRPC and the gRPC status, if it speaks gRPC: the head has the status, and there is no body.
    pub(crate) grpc: Option<(Dialect, u8)>,
    /// The value of `x-moongate-reason`, if it is sent.
    pub(crate) reason: Option<&'a str>,
}

impl<'a> LocalReply<'a> {
    /// The response in the table of causes.
    pub(crate) fn refusal(
        reject: Reject,
        date: &'a HttpDate,
        mesh_settings: &'a MeshConnectionSettings,
        head_only: bool,
        close: bool,
    ) -> Self {
        let reason = reject.reason();
        Self {
            status: reason.status,
            location: None,
            body: reason.body.as_bytes(),
            shared: None,
            date,
            mesh_settings,
            head_only,
            close,
            http10: false,
            grpc: None,
            reason: None,
        }
    }
}

/// Appends a local response with its headers. Returns the octets of body written.
pub(crate) fn write(out: &mut Vec<u8>, local: &LocalReply<'_>, headers: &Edits<'_>) -> u64 {
    write_response_in(out, &local.parts(), headers, Style { keep_case: false, http10: local.http10 });
    let body = local.sent_body();
    out.extend_from_slice(body);
    body.len() as u64
}

/// The same for an HTTP/2 stream: head and body, which may be empty.
pub(crate) fn message(local: &LocalReply<'_>, headers: &Edits<'_>) -> (Response<()>, Bytes) {
    let body = match (local.sent_body(), local.shared) {
        // A shared body costs no memory while the client does not read.
        (body, Some(shared)) if body.len() > MAX_COPIED && body.len() == shared.len() => {
            Bytes::from_owner(Arc::clone(shared))
        }
        (body, _) => Bytes::copy_from_slice(body),
    };
    (wire::h2::response(&local.parts(), headers), body)
}

/// The headers of a local response; `edits` are those of the route.
pub(crate) fn headers<'a>(local: &LocalReply<'a>, mut edits: Edits<'a>) -> Edits<'a> {
    let mut own = Edits::default();
    if let Some(location) = local.location {
        own.set("location", location.by_ref());
    }
    if let Some((dialect, status)) = local.grpc {
        own.set("content-type", dialect.content_type());
        own.set("grpc-status", u64::from(status));
        if !local.body.is_empty() {
            own.set_checked("grpc-message", wire::grpc::message(local.body).into_bytes());
        }
    } else if !local.body.is_empty() {
        own.set("content-type", "text/plain");
    }
    own.set("date", local.date);
    if let Some(server) = &local.mesh_settings.headers.server {
        own.set("server", server);
    }
    // The route's edits come last, so that they override.
    own.fields.append(&mut edits.fields);
    if let Some(reason) = local.reason {
        own.set_checked(REASON, reason.as_bytes());
    }
    own
}

impl<'a> LocalReply<'a> {
    /// The HTTP status that the client receives; it differs for gRPC.
    pub(crate) fn sent_status(&self) -> u16 {
        self.grpc.map_or(self.status, |(dialect, _)| dialect.status(self.status))
    }

    fn is_bodiless(&self) -> bool {
        matches!(self.sent_status(), 204 | 304)
    }

    fn sent_body(&self) -> &'a [u8] {
        if self.head_only || self.is_bodiless() || self.grpc.is_some() { &[] } else { self.body }
    }

    /// The parts of its head.
    pub(crate) fn parts(&self) -> ResponseParts<'static> {
        let length = OutFraming::Length(if self.grpc.is_some() { 0 } else { self.body.len() as u64 });
        ResponseParts {
            status: self.sent_status(),
            fields: Fields::new(&[], &[]),
            nominates: false,
            framing: if self.is_bodiless() { OutFraming::None } else { length },
            upgrade: None,
            close: self.close,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s_126_bodies_are_plain_text_and_told_only_where_there_is_one() {
        let date = crate::date::http_date(0);
        let mesh_settings = MeshConnectionSettings::default();
        let written = |reject: Reject, head_only| {
            let mut out = Vec::new();
            let local = LocalReply::refusal(reject, &date, &mesh_settings, head_only, false);
            let length = write(&mut out, &local, &headers(&local, Edits::default()));
            (String::from_utf8(out).unwrap(), length)
        };
        let (text, length) = written(Reject::NoEndpoint, false);
        assert!(
            text.ends_with("\r\n\r\nno healthy upstream") && text.contains("content-type: text/plain\r\n"),
            "{text}"
        );
        assert_eq!(length, 19);
        let (text, length) = written(Reject::NoEndpoint, true);
        assert!(text.ends_with("\r\n\r\n") && text.contains("content-length: 19\r\n"), "{text}");
        assert_eq!(length, 0);
        assert!(!written(Reject::NoRoute, false).0.contains("content-type"));
    }
}
