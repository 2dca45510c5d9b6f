//! Changes to a head: an ordered list that is applied once, while the head is written.
//!
//! Lists borrow from route tables and from the exchange, so that the common request allocates nothing. The result is that of applying the
//! edits in order to the list of header lines; the writer may compute it in another way. Names, values, targets and authorities are types
//! that are checked when they are created (crate `text`): no edit can end a line.

use smallvec::SmallVec;
use std::borrow::Cow;
use text::{Authority, FieldName, FieldValue, Target};

/// One change of the header lines. Names are lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldEdit<'a> {
    /// Removes every line of the name.
    Remove(FieldName<'a>),
    /// Removes every line of the name, and adds one at the end.
    Set(FieldName<'a>, FieldValue<'a>),
    /// Adds a line at the end.
    Append(FieldName<'a>, FieldValue<'a>),
}

impl<'a> FieldEdit<'a> {
    /// The name that is changed.
    pub fn name(&self) -> &'a str {
        match self {
            Self::Remove(name) | Self::Set(name, _) | Self::Append(name, _) => name.as_str(),
        }
    }
}

/// Whether one of the edits removes the lines of a name, which may be in any case.
pub fn is_replaced(name: &[u8], edits: &[FieldEdit<'_>]) -> bool {
    edits.iter().any(|edit| match edit {
        FieldEdit::Remove(other) | FieldEdit::Set(other, _) => name.eq_ignore_ascii_case(other.as_str().as_bytes()),
        FieldEdit::Append(..) => false,
    })
}

/// The lengths of the names in a list of edits. Most lines of a head have another length, and are not compared with the names.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NameLengths {
    /// Bits of the lengths, modulo 64.
    any: u64,
    /// Those that several edits have.
    several: u64,
}

impl NameLengths {
    pub(crate) fn of(edits: &[FieldEdit<'_>]) -> Self {
        edits.iter().fold(Self::default(), |Self { any, several }, edit| {
            let bit = length_bit(edit.name().as_bytes());
            Self { any: any | bit, several: several | (any & bit) }
        })
    }

    /// Whether an edit may have this name.
    pub(crate) fn may_have(self, name: &[u8]) -> bool {
        self.any & length_bit(name) != 0
    }

    /// Whether another edit may have the name of an edit.
    pub(crate) fn may_repeat(self, name: &[u8]) -> bool {
        self.several & length_bit(name) != 0
    }
}

fn length_bit(name: &[u8]) -> u64 {
    1 << (name.len() % 64)
}

/// All changes of one head.
#[derive(Debug, Clone, Default)]
pub struct Edits<'a> {
    /// A new request target (path and query); ignored for responses.
    pub target: Option<Target<'a>>,
    /// A new `Host`; ignored for responses.
    pub authority: Option<&'a Authority>,
    /// Header changes, in order.
    pub fields: SmallVec<[FieldEdit<'a>; 12]>,
}

impl<'a> Edits<'a> {
    /// Adds a removal.
    pub fn remove(&mut self, name: impl Into<FieldName<'a>>) {
        self.fields.push(FieldEdit::Remove(name.into()));
    }

    /// Adds an overwrite.
    pub fn set(&mut self, name: impl Into<FieldName<'a>>, value: impl Into<FieldValue<'a>>) {
        self.fields.push(FieldEdit::Set(name.into(), value.into()));
    }

    /// Adds an overwrite with a value that is made at run time. An invalid value only removes the header, so that the value of the message is
    /// not mistaken for the gateway's.
    pub fn set_checked(&mut self, name: impl Into<FieldName<'a>>, value: impl Into<Cow<'a, [u8]>>) {
        let name = name.into();
        self.fields.push(match FieldValue::checked(value) {
            Some(value) => FieldEdit::Set(name, value),
            None => FieldEdit::Remove(name),
        });
    }

    /// Adds an addition.
    pub fn append(&mut self, name: impl Into<FieldName<'a>>, value: impl Into<FieldValue<'a>>) {
        self.fields.push(FieldEdit::Append(name.into(), value.into()));
    }
}
