//! Why a text may not be part of a message head, in a sentence for the person who wrote it.

use std::fmt;

/// A part of a message head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The name of a header.
    HeaderName,
    /// The value of a header.
    HeaderValue,
    /// A host with an optional port.
    Authority,
    /// A path.
    Path,
    /// The name of a cookie.
    CookieName,
    /// The path of a cookie, or the name or value of one of its attributes.
    Cookie,
}

/// Why a text may not be part of a message head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// It is empty.
    #[error("{0} may not be empty")]
    Empty(Part),
    /// It has a character that the part does not allow.
    #[error("character {position} ({}) is not allowed in {part}", Shown(*character))]
    Character {
        /// The part.
        part: Part,
        /// The first character that is not allowed.
        character: char,
        /// Its place, counted in characters from 1.
        position: usize,
    },
    /// Its characters are allowed, their order is not.
    #[error("{part} {problem}")]
    Shape {
        /// The part.
        part: Part,
        /// What is wrong, as the end of a sentence.
        problem: &'static str,
    },
}

impl TextError {
    /// The error of the first character of `text` that `allows` refuses; `None` when it refuses none.
    pub(crate) fn first(part: Part, text: &str, allows: impl Fn(char) -> bool) -> Option<Self> {
        let (at, character) = text.chars().enumerate().find(|(_, character)| !allows(*character))?;
        Some(Self::Character { part, character, position: at + 1 })
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        let part = match self {
            Self::Empty(part) | Self::Character { part, .. } | Self::Shape { part, .. } => part,
        };
        match part {
            Part::HeaderName => "use letters, digits and hyphens",
            Part::HeaderValue => "write the value on one line, without control characters",
            Part::Authority => "use a host name or an IP address, with `:port` behind it where needed",
            Part::Path => "percent-encode the character, for example `%20` for a space",
            Part::CookieName => "use visible ASCII characters, without `;`, `,`, `=` and spaces",
            Part::Cookie => "use visible ASCII characters, without `;`",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HeaderName => "a header name",
            Self::HeaderValue => "a header value",
            Self::Authority => "an authority",
            Self::Path => "a path",
            Self::CookieName => "a cookie name",
            Self::Cookie => "a cookie",
        })
    }
}

/// A character as it is shown in a message: escaped where a terminal would act on it, or where it could not be seen.
struct Shown(char);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ' ' => f.write_str("a space"),
            '\u{7f}' => f.write_str("`\\u{7f}`"),
            other => write!(f, "`{}`", other.escape_debug()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_character_is_shown_escaped_with_its_place() {
        let error = |text| TextError::first(Part::Path, text, |c| c.is_ascii_graphic()).map(|error| error.to_string());
        assert_eq!(error("/é\r").as_deref(), Some("character 2 (`é`) is not allowed in a path"));
        assert_eq!(error("a\r\n").as_deref(), Some("character 2 (`\\r`) is not allowed in a path"));
        assert_eq!(error("a\0").as_deref(), Some("character 2 (`\\0`) is not allowed in a path"));
        assert_eq!(error("a b").as_deref(), Some("character 2 (a space) is not allowed in a path"));
        assert_eq!(error("\u{7f}").as_deref(), Some("character 1 (`\\u{7f}`) is not allowed in a path"));
        assert_eq!(error("\u{1b}").as_deref(), Some("character 1 (`\\u{1b}`) is not allowed in a path"));
        assert_eq!(error("ab"), None);
    }
}
