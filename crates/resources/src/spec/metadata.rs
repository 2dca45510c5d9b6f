//! The metadata that every object has.

use super::scalar::Text;
use super::text_match::Labels;
use jiff::Timestamp;
use serde::Deserialize;
use std::fmt;
use std::num::NonZero;

/// `metadata`, as far as a gateway looks at it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// The name.
    pub name: Text,
    /// The namespace; `default` when empty.
    pub namespace: Text,
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
    /// When the API server made it; order among objects is by this (VS-04).
    pub creation_timestamp: Option<Timestamp>,
    /// When it was asked to end.
    pub deletion_timestamp: Option<Timestamp>,
}

/// When an API server made an object, in microseconds. Takes a third of the room of an `Option<Timestamp>`, which counts with a hundred
/// thousand objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CreationTime {
    /// Microseconds above the lowest number, which itself is no time, so that an absent one takes no room of its own.
    shifted: NonZero<u64>,
}

impl From<Timestamp> for CreationTime {
    fn from(time: Timestamp) -> Self {
        // The lowest number is far below all timestamps.
        Self {
            shifted: NonZero::new((time.as_microsecond() ^ i64::MIN).cast_unsigned()).unwrap_or(NonZero::<u64>::MIN),
        }
    }
}

impl fmt::Display for CreationTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = Timestamp::from_microsecond(self.shifted.get().cast_signed() ^ i64::MIN);
        fmt::Display::fmt(&time.unwrap_or(Timestamp::UNIX_EPOCH), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_creation_keep_their_order_and_take_one_word() {
        let texts =
            ["1969-12-31T23:59:59.5Z", "1970-01-01T00:00:00Z", "2024-02-29T12:00:00.000001Z", "9999-12-30T22:00:00Z"];
        let times = texts.map(|text| CreationTime::from(text.parse::<Timestamp>().unwrap()));
        assert!(times.is_sorted());
        assert_eq!(times.map(|time| time.to_string()), texts);
        assert_eq!(size_of::<Option<CreationTime>>(), 8);
    }
}
