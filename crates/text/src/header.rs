//! Names and values of headers that configuration writes: parsed once, kept for as long as they serve.

use crate::octets::{is_token_octet, is_value_octet};
use crate::{Part, TextError};
use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// A lower-case header name of token characters (RFC 9110 §5.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderName(Arc<str>);

/// A header value without control characters, and without blanks around it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderValue(Arc<str>);

impl HeaderName {
    /// Checks and lower-cases a name. Pseudo headers (`:path`) are refused.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        if text.is_empty() {
            return Err(TextError::Empty(Part::HeaderName));
        }
        let allows = |c: char| u8::try_from(c).is_ok_and(is_token_octet);
        match TextError::first(Part::HeaderName, text, allows) {
            Some(error) => Err(error),
            None => Ok(Self(text.to_ascii_lowercase().into())),
        }
    }

    /// The lower-case name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl HeaderValue {
    /// Checks a value and removes the blanks around it.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        Self::check(text)?;
        Ok(Self(text.trim_matches([' ', '\t']).into()))
    }

    /// Checks a part of a value, whose blanks stay.
    pub fn parse_part(text: &str) -> Result<Self, TextError> {
        Self::check(text)?;
        Ok(Self(text.into()))
    }

    fn check(text: &str) -> Result<(), TextError> {
        // Characters beyond ASCII are octets that a value may have.
        let allows = |c: char| u8::try_from(c).map_or(true, |octet| !c.is_ascii() || is_value_octet(octet));
        match TextError::first(Part::HeaderValue, text, allows) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// The value as it is written into a head.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The value as a text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HeaderValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for HeaderName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Serialize for HeaderValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_9110_5_1_names_are_tokens_in_lower_case() {
        assert_eq!(HeaderName::parse("X-A").unwrap().as_str(), "x-a");
        for bad in ["", ":path", "x y", "x\r\ny", "x\0", "é", "x:"] {
            assert!(HeaderName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn rfc_9110_5_5_values_are_trimmed_and_have_no_control_characters() {
        assert_eq!(HeaderValue::parse(" a\tb é ").unwrap().as_str(), "a\tb é");
        assert_eq!(HeaderValue::parse_part(" a ").unwrap().as_str(), " a ");
        for bad in ["a\r", "a\n", "a\r\nb: c", "\0", "\u{7f}", "\u{1b}[0m", "\n"] {
            assert!(HeaderValue::parse(bad).is_err() && HeaderValue::parse_part(bad).is_err(), "{bad:?}");
        }
    }
}
