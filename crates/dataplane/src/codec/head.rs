//! Heads of responses that are encoded before they are sent.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use wire::edit::Edits;
use wire::h1::{ResponseParts, Style, write_response_in};

/// The head of a response, in the version of its client.
#[derive(Debug)]
pub(crate) enum EncodedHead {
    /// Lines, without the empty line at the end.
    Lines(Vec<u8>),
    /// The fields of a frame.
    Frame(Response<()>),
}

impl EncodedHead {
    pub(super) fn lines(parts: &ResponseParts<'_>, edits: &Edits<'_>, style: Style) -> Self {
        let mut lines = Vec::with_capacity(512);
        write_response_in(&mut lines, parts, edits, style);
        lines.truncate(lines.len().saturating_sub(2));
        Self::Lines(lines)
    }

    pub(super) fn frame(parts: &ResponseParts<'_>, edits: &Edits<'_>) -> Self {
        Self::Frame(wire::h2::response(parts, edits))
    }

    /// Adds a field, if its value is valid.
    pub(super) fn insert(&mut self, name: &'static str, value: String) {
        match self {
            Self::Lines(lines) => lines.extend_from_slice(format!("{name}: {value}\r\n").as_bytes()),
            Self::Frame(head) => {
                if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(value)) {
                    head.headers_mut().insert(HeaderName::from_static(name), value);
                }
            }
        }
    }
}
