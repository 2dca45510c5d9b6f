//! Header names and values that were checked once, so that writing them can never produce a malformed head.

use crate::HeaderText;
use serde::{Serialize, Serializer};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A lower-case header name of token characters (RFC 9110 §5.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderName(Arc<str>);

/// A header value without CR, LF or NUL, trimmed of blanks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderValue(Arc<[u8]>);

/// Why a name or value may not stand in a head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeader {
    /// The name has characters that no header name may have.
    #[error("{0:?} is not a header name")]
    Name(String),
    /// The value has a control character.
    #[error("{0:?} has a control character, which a header value may not have")]
    Value(String),
}

impl HeaderName {
    /// Checks and lower-cases a name. Pseudo headers (`:path`) are refused.
    pub fn parse(text: &str) -> Result<Self, InvalidHeader> {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if text.is_empty() || !text.bytes().all(token) {
            return Err(InvalidHeader::Name(text.to_owned()));
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// The lower-case name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl HeaderValue {
    /// Checks a value and takes off the blanks around it.
    pub fn parse(text: &str) -> Result<Self, InvalidHeader> {
        let trimmed = text.trim_matches([' ', '\t']);
        if trimmed.bytes().any(|b| (b < 0x20 && b != b'\t') || b == 0x7f) {
            return Err(InvalidHeader::Value(text.to_owned()));
        }
        Ok(Self(trimmed.as_bytes().into()))
    }

    /// Checks a part of a value, whose blanks stay.
    pub fn parse_part(text: &str) -> Result<Self, InvalidHeader> {
        Self::parse(text)?;
        Ok(Self(text.as_bytes().into()))
    }

    /// The value as it is written into a head.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HeaderValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl Serialize for HeaderName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Serialize for HeaderValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whether a written header replaces those of its name or joins them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum HeaderAppend {
    /// `add`: a further header line of that name.
    Append,
    /// `set`: all headers of that name are replaced by this one.
    Overwrite,
}

/// The changes of one `headers.request` or `headers.response` block (VS-47), in the order Envoy applies them:
/// removals come first, then additions and overwrites in their order here. They are read as if they were fields: they stand
/// behind a pointer, since most routes have none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HeaderChanges(Option<Box<HeaderLists>>);

/// What is changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HeaderLists {
    /// Names whose headers are removed.
    pub remove: Vec<HeaderName>,
    /// Headers that are written.
    pub write: Vec<(HeaderName, HeaderText, HeaderAppend)>,
}

static NO_CHANGES: HeaderLists = HeaderLists { remove: Vec::new(), write: Vec::new() };

impl HeaderChanges {
    /// Removals, and then what is written.
    pub fn new(remove: Vec<HeaderName>, write: Vec<(HeaderName, HeaderText, HeaderAppend)>) -> Self {
        let nothing = remove.is_empty() && write.is_empty();
        Self((!nothing).then(|| Box::new(HeaderLists { remove, write })))
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl Deref for HeaderChanges {
    type Target = HeaderLists;

    fn deref(&self) -> &HeaderLists {
        self.0.as_deref().unwrap_or(&NO_CHANGES)
    }
}
