//! Paths: what configuration writes into them, and request targets and locations that are made of them at run time.

use crate::octets::escape;
use crate::{Part, TextError};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A path, or a part of one, as configuration has it: no space and no control character. Characters beyond ASCII are
/// percent-encoded when it is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathText(Arc<str>);

/// The target of a request in HTTP: visible ASCII, and no fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a>(Cow<'a, [u8]>);

impl PathText {
    /// Checks a path or a part of one.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        match TextError::first(Part::Path, text, |c| !c.is_ascii() || c.is_ascii_graphic()) {
            Some(error) => Err(error),
            None => Ok(Self(text.into())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its octets.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Target<'static> {
    /// A path with a query, which is not checked yet either: octets that a target may not have become `%XX`. They come from
    /// configuration or from a client whose path is not normalised.
    pub fn escaped(mut path: Vec<u8>, query: Option<&[u8]>) -> Self {
        if let Some(query) = query {
            path.push(b'?');
            path.extend_from_slice(query);
        }
        Self(Cow::Owned(escape(path, |octet| !octet.is_ascii_graphic() || octet == b'#')))
    }
}

/// Escapes every octet that a URI may not have as `%XX`; a fragment stays.
pub fn escape_location(octets: Vec<u8>) -> Vec<u8> {
    escape(octets, |octet| !octet.is_ascii_graphic())
}

impl Deref for PathText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Deref for Target<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for PathText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for PathText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_9112_3_2_a_path_has_no_space_and_no_control_character() {
        for good in ["/a", "a/b", r"/\1/x", "/a%20b?c=d", "/café", ""] {
            assert_eq!(PathText::parse(good).as_deref(), Ok(good));
        }
        for (bad, place) in [("/a b", 3), ("/a\r\n", 3), (" /", 1), ("/\0", 2), ("/a\u{7f}", 3), ("/a\t", 3)] {
            let found = PathText::parse(bad).map_err(|error| match error {
                TextError::Character { position, .. } => position,
                _ => 0,
            });
            assert_eq!(found, Err(place), "{bad:?}");
        }
    }

    #[test]
    fn targets_and_locations_are_visible_ascii_whatever_they_are_made_of() {
        assert_eq!(&*Target::escaped(b"/a b#c".to_vec(), Some(b"x y\r\n")), b"/a%20b%23c?x%20y%0D%0A");
        assert_eq!(&*Target::escaped("/é".as_bytes().to_vec(), None), b"/%C3%A9");
        let all: Vec<u8> = (0..=255).collect();
        assert!(Target::escaped(all.clone(), Some(&all)).iter().all(u8::is_ascii_graphic));
        assert!(escape_location(all).iter().all(u8::is_ascii_graphic));
        assert_eq!(escape_location(b"/a#b c".to_vec()), b"/a#b%20c");
    }
}
