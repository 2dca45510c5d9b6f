//! Scalars in their proto-JSON forms: durations, enums by name or number, numbers or names of ports.

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};
use std::fmt;
use std::num::NonZero;
use std::ops::Deref;

/// A short immutable text; a word less than `String`, which counts with a hundred thousand objects.
pub type Text = Box<str>;

/// A text that is nearly always empty, and takes one word then.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RareText(Option<Box<Text>>);

impl Deref for RareText {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.as_deref().map_or("", |text| text)
    }
}

impl From<Text> for RareText {
    fn from(text: Text) -> Self {
        Self((!text.is_empty()).then(|| Box::new(text)))
    }
}

impl Serialize for RareText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for RareText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Text::deserialize(deserializer).map(Self::from)
    }
}

/// A duration as Go writes it (`1.5s`, `1h30m`, `300ms`), which is what the API takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration {
    /// Nanoseconds above the lowest number, which itself is no duration, so that an absent one takes no room of its own.
    shifted: NonZero<u64>,
}

impl Duration {
    /// `None` for the one length that is too short to be written down.
    fn new(nanoseconds: i64) -> Option<Self> {
        NonZero::new((nanoseconds ^ i64::MIN).cast_unsigned()).map(|shifted| Self { shifted })
    }

    /// May be negative, which validation refuses.
    fn nanoseconds(self) -> i64 {
        self.shifted.get().cast_signed() ^ i64::MIN
    }

    /// The length, or `None` when it is negative.
    pub fn get(self) -> Option<std::time::Duration> {
        u64::try_from(self.nanoseconds()).ok().map(std::time::Duration::from_nanos)
    }

    /// Reads Go's syntax: an optional sign, then decimal numbers with a unit each.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Self::new(0);
        }
        if rest.is_empty() {
            return None;
        }
        let mut total = 0_f64;
        let mut whole = 0_i64;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
            let (number, behind) = rest.split_at(end);
            let unit_end = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
            let (unit, next) = behind.split_at(unit_end);
            let scale: i64 = match unit {
                "ns" => 1,
                "us" | "µs" | "μs" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                _ => return None,
            };
            match number.parse::<i64>() {
                Ok(number) => whole = whole.checked_add(number.checked_mul(scale)?)?,
                Err(_) => total += number.parse::<f64>().ok()? * scale as f64,
            }
            rest = next;
        }
        if !(0.0..9e18).contains(&total) {
            return None;
        }
        let nanoseconds = whole.checked_add(total.round() as i64)?;
        Self::new(if negative { -nanoseconds } else { nanoseconds })
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.nanoseconds() as f64 / 1e9)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Duration;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as `5s`, `300ms` or `1h30m`")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
                Duration::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// A share of all requests, 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Percent {
    /// The share.
    pub value: f64,
}

/// A number or a name, as Kubernetes has it for target ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum NumberOrName {
    /// A port number; zero when the document has a number that is none.
    Number(u16),
    /// The name of a port.
    Name(Text),
}

impl<'de> Deserialize<'de> for NumberOrName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = NumberOrName;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port number or the name of a port")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<NumberOrName, E> {
                u16::try_from(number)
                    .map(NumberOrName::Number)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<NumberOrName, E> {
                Ok(text.parse().map_or_else(|_| NumberOrName::Name(text.into()), NumberOrName::Number))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// A field that is known and left unread, whatever is in it; whether it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Unread(pub(crate) bool);

impl<'de> Deserialize<'de> for Unread {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        de::IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}

/// Defines an enum of the API that is read by its name or its number.
macro_rules! api_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $number:literal $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names are those of the API")]
        pub enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// The name as it stands in YAML.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Read;
                impl serde::de::Visitor<'_> for Read {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("one of", $(" `", $text, "`"),+))
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        match text {
                            $($text => Ok($name::$variant),)+
                            _ => Err(E::unknown_variant(text, &[$($text),+])),
                        }
                    }
                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$name, E> {
                        match number {
                            $($number => Ok($name::$variant),)+
                            _ => Err(E::invalid_value(serde::de::Unexpected::Unsigned(number), &self)),
                        }
                    }
                }
                deserializer.deserialize_any(Read)
            }
        }
    };
}
pub(crate) use api_enum;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        let millis = |text: &str| Duration::parse(text).and_then(Duration::get).map(|d| d.as_millis());
        assert_eq!(millis("1.5s"), Some(1500));
        assert_eq!(millis("1h30m"), Some(5_400_000));
        assert_eq!(millis("300ms"), Some(300));
        assert_eq!(millis("0"), Some(0));
        assert_eq!(millis("0s"), Some(0));
        assert_eq!(millis("-1s"), None);
        assert!(Duration::parse("-1s") < Duration::parse("0s") && Duration::parse("1s") < Duration::parse("1m"));
        assert_eq!(Duration::parse("-1.5s").map(|d| d.to_string()).as_deref(), Some("-1.5s"));
        assert_eq!(size_of::<Option<Duration>>(), 8);
        for bad in ["", "5", "s", "5 s", "1.2.3s", "5d", "99999999999h"] {
            assert_eq!(Duration::parse(bad), None, "{bad}");
        }
    }
}
