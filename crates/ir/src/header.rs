//! Changes of headers, whose names and values were parsed, so that writing them can never produce a malformed head.

use serde::Serialize;
use std::ops::Deref;
use text::HeaderName;
use text::format::HeaderText;

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
