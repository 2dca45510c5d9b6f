//! Changes to a head: an ordered list that is applied once, while the head is written.
//!
//! Lists borrow from route tables and from the exchange, so that the common request allocates nothing. The meaning is that
//! of applying the edits one after the other to the list of header lines; how that is computed is the writer's business.

use smallvec::SmallVec;
use std::borrow::Cow;

/// One change of the header lines. Names are lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldEdit<'a> {
    /// Takes away every line of the name.
    Remove(Cow<'a, str>),
    /// Takes away every line of the name and adds one at the end.
    Set(Cow<'a, str>, Cow<'a, [u8]>),
    /// Adds a line at the end.
    Append(Cow<'a, str>, Cow<'a, [u8]>),
}

impl FieldEdit<'_> {
    /// The name that is changed.
    pub fn name(&self) -> &str {
        match self {
            Self::Remove(name) | Self::Set(name, _) | Self::Append(name, _) => name,
        }
    }
}

/// All changes of one head.
#[derive(Debug, Clone, Default)]
pub struct Edits<'a> {
    /// A new request target (path and query); ignored for responses.
    pub target: Option<Cow<'a, [u8]>>,
    /// A new `Host`; ignored for responses.
    pub authority: Option<Cow<'a, [u8]>>,
    /// Header changes in the order in which they were made.
    pub fields: SmallVec<[FieldEdit<'a>; 12]>,
}

impl<'a> Edits<'a> {
    /// Adds a removal.
    pub fn remove(&mut self, name: impl Into<Cow<'a, str>>) {
        self.fields.push(FieldEdit::Remove(name.into()));
    }

    /// Adds an overwrite.
    pub fn set(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, [u8]>>) {
        self.fields.push(FieldEdit::Set(name.into(), value.into()));
    }

    /// Adds an addition.
    pub fn append(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, [u8]>>) {
        self.fields.push(FieldEdit::Append(name.into(), value.into()));
    }
}
