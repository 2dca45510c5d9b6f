//! The format of a point of time in `START_TIME` and `EMIT_TIME`.

use jiff::Timestamp;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// A `strftime` format, checked; UTC. The default is Envoy's, with milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TimeFormat(Option<Arc<Formats>>);

#[derive(Debug, PartialEq, Eq)]
struct Formats {
    written: Box<str>,
    /// With the specifiers of the library in place of Envoy's.
    read: Box<str>,
}

/// Envoy's default.
const DEFAULT: &str = "%Y-%m-%dT%H:%M:%S.%3fZ";

impl TimeFormat {
    /// Checks a format: the specifiers of `strftime`, `%f` to `%9f` for digits of the second (nine where none are named), and `%E3S`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == DEFAULT {
            return Some(Self(None));
        }
        let mut read = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('%') {
            read.push_str(before);
            rest = if let Some(behind) = behind.strip_prefix('%') {
                read.push_str("%%");
                behind
            } else if let Some(behind) = behind.strip_prefix('f') {
                read.push_str("%9f");
                behind
            } else if let Some((digit, behind)) = behind.strip_prefix('E').and_then(|tail| tail.split_once('S'))
                && let Ok(digit @ 1..=9) = digit.parse::<u8>()
            {
                read.push_str(&format!("%S.%{digit}f"));
                behind
            } else {
                read.push('%');
                behind
            };
        }
        read.push_str(rest);
        jiff::fmt::strtime::format(&read, Timestamp::UNIX_EPOCH).ok()?;
        Some(Self(Some(Arc::new(Formats { written: text.into(), read: read.into() }))))
    }

    /// Whether it is the default, `2024-02-29T12:34:56.123Z`.
    pub fn is_default(&self) -> bool {
        self.0.is_none()
    }

    /// Appends a point of time; nothing where the calendar does not have it.
    pub fn write(&self, time: SystemTime, out: &mut Vec<u8>) {
        let format = self.0.as_ref().map_or(DEFAULT, |formats| &formats.read);
        let text = Timestamp::try_from(time).ok().and_then(|time| jiff::fmt::strtime::format(format, time).ok());
        out.extend_from_slice(text.unwrap_or_default().as_bytes());
    }
}

impl fmt::Display for TimeFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_ref().map_or(DEFAULT, |formats| &formats.written))
    }
}
