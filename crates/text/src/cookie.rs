//! Cookies that a gateway makes (DR-11): each of their texts stays within its own part of `Set-Cookie` (RFC 6265 §4.1.1).

use crate::{Part, TextError};
use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// The name of a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieName(Arc<str>);

/// The path of a cookie, or the name or value of one of its attributes; may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieText(Arc<str>);

impl CookieName {
    /// Checks a name.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        if text.is_empty() {
            return Err(TextError::Empty(Part::CookieName));
        }
        match TextError::first(Part::CookieName, text, |c| c.is_ascii_graphic() && !matches!(c, ';' | '=' | ',')) {
            Some(error) => Err(error),
            None => Ok(Self(text.into())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl CookieText {
    /// Checks a text, whose blanks stay.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        match TextError::first(Part::Cookie, text, |c| matches!(c, ' '..='~') && c != ';') {
            Some(error) => Err(error),
            None => Ok(Self(text.into())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! shown {
    ($($name:ident)+) => {
        $(
            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&self.0)
                }
            }

            impl Serialize for $name {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.serialize_str(&self.0)
                }
            }
        )+
    };
}

shown! { CookieName CookieText }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_6265_4_1_1_texts_stay_in_their_part() {
        assert!(
            CookieName::parse("user[id]").is_ok() && CookieText::parse("/a b").is_ok() && CookieText::parse("").is_ok()
        );
        for bad in ["", "a;b", "a=b", "a,b", "a b", "a\r\nb", "é", "a\0"] {
            assert!(CookieName::parse(bad).is_err(), "{bad:?}");
        }
        for bad in ["/;Domain=x", "/\r\n", "/\0", "/é", "\t"] {
            assert!(CookieText::parse(bad).is_err(), "{bad:?}");
        }
    }
}
