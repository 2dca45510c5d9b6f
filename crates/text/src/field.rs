//! Names and values of header lines as an edit of a head takes them: borrowed where that is possible, checked when they are made.
//!
//! `wire::edit` accepts nothing else, so that a text from configuration or from a peer cannot reach a head unchecked.

use crate::octets::{is_value, is_value_octet, trim};
use crate::path::escape_location;
use crate::{Authority, HeaderName, HeaderValue};
use std::borrow::Cow;
use std::ops::Deref;

/// The name of a header line, in lower case: one of this program's own, or a parsed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldName<'a>(&'a str);

/// The value of a header line: no control octet but tabs, no blanks around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldValue<'a>(Cow<'a, [u8]>);

impl From<&'static str> for FieldName<'_> {
    /// A name of this program's own.
    fn from(name: &'static str) -> Self {
        Self(name)
    }
}

impl<'a> From<&'a HeaderName> for FieldName<'a> {
    fn from(name: &'a HeaderName) -> Self {
        Self(name.as_str())
    }
}

impl<'a> FieldName<'a> {
    /// The name.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

impl<'a> FieldValue<'a> {
    /// Checks octets, and removes the blanks around them; `None` when a header value may not have one of them. The caller leaves
    /// the header out, or rejects the message.
    #[inline]
    pub fn checked(octets: impl Into<Cow<'a, [u8]>>) -> Option<Self> {
        match octets.into() {
            octets if !is_value(&octets) => None,
            Cow::Borrowed(octets) => Some(Self(Cow::Borrowed(trim(octets)))),
            Cow::Owned(octets) => Some(Self(Cow::Owned(trimmed(octets)))),
        }
    }

    /// Replaces every octet that a header value may not have by `?`, as Envoy does in values that are made of variables.
    pub fn cleaned(mut octets: Vec<u8>) -> Self {
        octets.iter_mut().filter(|octet| !is_value_octet(**octet)).for_each(|octet| *octet = b'?');
        Self(Cow::Owned(trimmed(octets)))
    }

    /// Escapes every octet that a URI may not have as `%XX`.
    pub fn location(octets: Vec<u8>) -> Self {
        Self(Cow::Owned(escape_location(octets)))
    }

    /// The same, independent of what it borrows.
    pub fn into_owned(self) -> FieldValue<'static> {
        FieldValue(Cow::Owned(self.0.into_owned()))
    }

    /// The octets.
    pub fn into_octets(self) -> Cow<'a, [u8]> {
        self.0
    }

    /// A value that this program made, as [`crate::MadeText`] holds it.
    pub(crate) fn of_made(octets: Cow<'a, [u8]>) -> Self {
        debug_assert!(is_value(&octets));
        Self(octets)
    }

    /// A value that borrows this one.
    pub fn by_ref(&self) -> FieldValue<'_> {
        FieldValue(Cow::Borrowed(&self.0))
    }
}

fn trimmed(octets: Vec<u8>) -> Vec<u8> {
    let inner = trim(&octets);
    if inner.len() == octets.len() { octets } else { inner.to_vec() }
}

impl Deref for FieldValue<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&'static str> for FieldValue<'_> {
    /// A value of this program's own.
    fn from(value: &'static str) -> Self {
        debug_assert!(is_value(value.as_bytes()));
        Self(Cow::Borrowed(value.as_bytes()))
    }
}

impl<'a> From<&'a HeaderValue> for FieldValue<'a> {
    fn from(value: &'a HeaderValue) -> Self {
        Self(Cow::Borrowed(value.as_bytes()))
    }
}

impl<'a> From<&'a Authority> for FieldValue<'a> {
    fn from(authority: &'a Authority) -> Self {
        Self(Cow::Borrowed(authority.as_bytes()))
    }
}

impl From<u64> for FieldValue<'_> {
    fn from(number: u64) -> Self {
        Self(Cow::Owned(number.to_string().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_checked_or_cleaned_and_trimmed() {
        let checked = |octets: &'static [u8]| FieldValue::checked(octets).map(|value| value.to_vec());
        assert_eq!(checked(b" a\tb\xe9 ").as_deref(), Some(&b"a\tb\xe9"[..]));
        assert_eq!(FieldValue::checked(b" x ".to_vec()).as_deref(), Some(&b"x"[..]));
        for bad in [&b"a\r\nb"[..], b"\0", b"\x7f", b"\n", b"\x1f"] {
            assert_eq!(checked(bad), None, "{bad:?}");
        }
        assert_eq!(&*FieldValue::cleaned(b" a\r\nb\0\x7f\t".to_vec()), b"a??b??");
        assert_eq!(&*FieldValue::location(b"http://a/b c\r\n\xe9".to_vec()), b"http://a/b%20c%0D%0A%E9");
        assert_eq!(&*FieldValue::from(42), b"42");
    }
}
