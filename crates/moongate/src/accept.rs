//! The `Accept` header of a request to a page for operators: how much the client wants a media type (RFC 9110 §12.5.1).

use axum::http::{HeaderMap, header};

/// A media type that can be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MediaType {
    /// Such as `text`.
    pub(crate) main: &'static str,
    /// Such as `plain`.
    pub(crate) sub: &'static str,
    /// The parameter `version`. A range with another version does not match; its other parameters do not matter.
    pub(crate) version: Option<&'static str>,
}

/// How much a client wants a media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Preference {
    /// The quality in thousandths; 0 when the client does not accept the type.
    pub(crate) quality: u16,
    /// Whether the client named the type, and not only a wildcard that covers it.
    pub(crate) named: bool,
}

/// A range of media types, as far as it matters here.
struct Range<'a> {
    main: &'a str,
    sub: &'a str,
    version: Option<&'a str>,
    quality: u16,
}

/// What the headers of a request say of a media type. Without `Accept` every type is as good as another.
pub(crate) fn preference(headers: &HeaderMap, of: MediaType) -> Preference {
    if !headers.contains_key(header::ACCEPT) {
        return Preference { quality: 1000, named: false };
    }
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let ranges = lines.flat_map(|line| line.split(',')).filter_map(Range::parse);
    // The most specific range decides, whatever its quality is.
    let best = ranges.filter_map(|range| Some((range.matches(of)?, range.quality))).max();
    best.map_or(Preference { quality: 0, named: false }, |(specificity, quality)| Preference {
        quality,
        named: specificity >= Specificity::Type,
    })
}

/// How closely a range describes a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Specificity {
    /// `*/*`
    Any,
    /// `text/*`
    Main,
    /// `text/plain`
    Type,
    /// `text/plain;version=0.0.4`
    Version,
}

impl<'a> Range<'a> {
    /// `None` for what is no range: it matches nothing.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (main, sub) = parts.next()?.split_once('/')?;
        let mut range = Self { main, sub, version: None, quality: 1000 };
        for parameter in parts.filter(|part| !part.is_empty()) {
            let (name, value) = parameter.split_once('=')?;
            let value = value.trim_matches('"');
            if name.eq_ignore_ascii_case("q") {
                range.quality = quality(value)?;
            } else if name.eq_ignore_ascii_case("version") {
                range.version = Some(value);
            }
        }
        Some(range)
    }

    fn matches(&self, of: MediaType) -> Option<Specificity> {
        if self.main == "*" {
            return (self.sub == "*").then_some(Specificity::Any);
        }
        if !self.main.eq_ignore_ascii_case(of.main) {
            return None;
        }
        if self.sub == "*" {
            return Some(Specificity::Main);
        }
        if !self.sub.eq_ignore_ascii_case(of.sub) {
            return None;
        }
        match self.version {
            None => Some(Specificity::Type),
            version => (version == of.version).then_some(Specificity::Version),
        }
    }
}

/// `0.5` in thousandths.
fn quality(text: &str) -> Option<u16> {
    let value: f32 = text.parse().ok()?;
    (0.0..=1.0).contains(&value).then_some((value * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const TEXT: MediaType = MediaType { main: "text", sub: "plain", version: Some("0.0.4") };

    fn of(lines: &[&'static str]) -> (u16, bool) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::ACCEPT, HeaderValue::from_static(line));
        }
        let preference = preference(&headers, TEXT);
        (preference.quality, preference.named)
    }

    #[test]
    fn the_most_specific_range_decides() {
        assert_eq!(of(&[]), (1000, false));
        assert_eq!(of(&["*/*"]), (1000, false));
        assert_eq!(of(&["text/*;q=0.25, */*"]), (250, false));
        assert_eq!(of(&["text/plain;q=0.5,*/*;q=0.8"]), (500, true));
        assert_eq!(of(&["TEXT/Plain; Version=\"0.0.4\"; charset=utf-8; Q=0.125 , text/plain"]), (125, true));
        assert_eq!(of(&["text/plain;version=1.0.0"]), (0, false));
        assert_eq!(of(&["application/json", "text/plain;q=0.3"]), (300, true));
        assert_eq!(of(&["*/*, text/plain;q=0"]), (0, true));
        assert_eq!(of(&["text/plain;q=2, text, ;, */*;q=0.1"]), (100, false));
        assert_eq!(of(&["*/plain"]), (0, false));
    }
}
