//! What is written into a header: a fixed value, or one that is made for each request (VS-47).

use super::parse::{Format, InvalidFormat, Part};
use crate::{HeaderValue, TextError};
use serde::{Serialize, Serializer};
use std::fmt;

/// What is written into a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderText {
    /// Always the same.
    Fixed(HeaderValue),
    /// Made for each request; the header is left out where the result is empty. Its texts may be part of a value.
    Made(Format),
}

/// Why a text cannot be written into a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// A text outside the operators.
    #[error(transparent)]
    Text(#[from] TextError),
    /// An operator.
    #[error(transparent)]
    Format(#[from] InvalidFormat),
}

impl HeaderText {
    /// Parses a text; `%%` is a percent sign.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        if !text.contains('%') {
            return Ok(Self::Fixed(HeaderValue::parse(text)?));
        }
        let format = Format::parse(text)?;
        if let [Part::Text(text)] = format.parts() {
            return Ok(Self::Fixed(HeaderValue::parse(text)?));
        }
        for part in format.parts() {
            if let Part::Text(text) = part {
                HeaderValue::parse_part(text)?;
            }
        }
        Ok(Self::Made(format))
    }

    /// Whether it is an empty text.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Fixed(value) if value.is_empty())
    }
}

impl fmt::Display for HeaderText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(value) => value.fmt(f),
            Self::Made(format) => format.fmt(f),
        }
    }
}

impl Serialize for HeaderText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
