//! The one read-only view of a head that routing, policies, `explain` and the access log share.
//!
//! It borrows from the codec's read buffer and from the buffers of the exchange (normalised values), and never copies. Changes are in
//! [`crate::edit`].

use crate::destination::DestinationHost;
use std::borrow::Cow;

/// A byte range of the buffer that a head was read into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes of this range; empty if it is not within `buffer`.
    pub fn of(self, buffer: &[u8]) -> &[u8] {
        buffer.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// The positions of a header line's name and value, without the white space around the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Field {
    /// The name as it was sent.
    pub name: Span,
    /// The value.
    pub value: Span,
}

impl Field {
    /// The whole line, if it is `name: value` and CR LF.
    fn line_of(self, buffer: &[u8]) -> Option<&[u8]> {
        if self.value.start != self.name.end + 2 {
            return None;
        }
        let (start, end) = (self.name.start as usize, self.value.end as usize + 2);
        let line = buffer.get(start..end)?;
        let is_written_so = line.get((self.name.end - self.name.start) as usize..)?.starts_with(b": ");
        (is_written_so && line.ends_with(b"\r\n")).then_some(line)
    }
}

/// The header lines of a head, in their order.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    buffer: &'a [u8],
    index: &'a [Field],
}

impl<'a> Fields<'a> {
    /// The lines of `buffer` at the positions of `index`.
    pub fn new(buffer: &'a [u8], index: &'a [Field]) -> Self {
        Self { buffer, index }
    }

    /// The number of lines.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Name and value of every line; names in the case in which they were received.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let buffer = self.buffer;
        self.index.iter().map(move |field| (field.name.of(buffer), field.value.of(buffer)))
    }

    /// Name and value of every line, and the whole line if it is `name: value` and CR LF in the buffer.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8], Option<&'a [u8]>)> + use<'a> {
        let buffer = self.buffer;
        self.index.iter().map(move |field| (field.name.of(buffer), field.value.of(buffer), field.line_of(buffer)))
    }

    /// The values of all lines of a name, compared without regard to case.
    pub fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// What `Connection` names: headers of one hop, and `close`, `keep-alive` or `upgrade` (RFC 9110 §7.6.1).
    pub fn connection_options(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.all("connection").flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
    }

    /// The first value of a cookie, without the quotes around it, as Envoy reads cookies.
    pub fn cookie(&self, name: &[u8]) -> Option<&'a [u8]> {
        let mut pairs = self.all("cookie").flat_map(|line| line.split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
        let value = pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))?;
        Some(value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value))
    }

    /// The first value of a name.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }
}

/// Whether a text is `lower`, in any case. The length is known when this is compiled, so that the octets are compared together.
#[inline]
pub(crate) fn equals_ignoring_case<const N: usize>(text: &[u8], lower: &[u8; N]) -> bool {
    let Ok(text) = <&[u8; N]>::try_from(text) else { return false };
    text.iter().zip(lower).fold(0, |differing, (octet, lower)| differing | (octet.to_ascii_lowercase() ^ lower)) == 0
}

/// A request as every decision sees it, normalised once, at the start of the exchange.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a> {
    /// `GET`, `POST`, …
    pub method: &'a [u8],
    /// `http` or `https`, as the client used it to the outermost trusted proxy (`X-Forwarded-Proto` if trusted).
    pub scheme: &'static str,
    /// The host and port as the client sent them (Envoy's `:authority`).
    pub authority: &'a [u8],
    /// The host without port, in lower case: the key of route tables (S-33, S-117).
    pub host: &'a str,
    /// The normalised path (S-116), without query and fragment; begins with `/`, or is `*` (OPTIONS) or empty (CONNECT).
    pub path: &'a [u8],
    /// The part after the `?`.
    pub query: Option<&'a [u8]>,
    /// The header lines.
    pub fields: Fields<'a>,
    /// The destination that a client of a forward proxy asks for, parsed strictly; a name is in lower case, and the port is there.
    pub destination: Option<(DestinationHost<'a>, u16)>,
}

impl<'a> RequestView<'a> {
    /// The path with its query.
    pub fn target(&self) -> Cow<'a, [u8]> {
        match self.query {
            None => Cow::Borrowed(self.path),
            Some(query) => Cow::Owned([self.path, b"?", query].concat()),
        }
    }

    /// The values of a header that conditions are evaluated on: one for each line; for `host` the authority alone, also if it came from the
    /// target.
    pub fn values<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let is_host = name.eq_ignore_ascii_case("host");
        let authority = is_host.then_some(self.authority);
        authority.into_iter().chain(self.fields.all(name).filter(move |_| !is_host))
    }
}

#[cfg(test)]
mod tests {
    use crate::h1::{HeadLimits, RequestHead};

    fn cookie(lines: &str, name: &str) -> Option<String> {
        let text = format!("GET / HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n");
        let mut head = RequestHead::default();
        head.parse(text.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
        let value = head.fields(text.as_bytes()).cookie(name.as_bytes())?;
        Some(String::from_utf8(value.to_vec()).unwrap())
    }

    #[test]
    fn dr_11_ra_03_cookies_are_read_as_envoy_does() {
        let lines = "Cookie: aa=1; b=\"c=d\";e=f\r\ncookie:  g=\" ; e=second; h=\r\n";
        for (name, value) in [
            ("aa", Some("1")),
            ("b", Some("c=d")),
            ("e", Some("f")),
            ("g", Some("\"")),
            ("h", Some("")),
            ("a", None),
            ("E", None),
        ] {
            assert_eq!(cookie(lines, name).as_deref(), value, "{name}");
        }
    }
}
