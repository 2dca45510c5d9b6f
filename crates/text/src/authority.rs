//! A host with an optional port: `Host`, `:authority`, the target of CONNECT, and the authority of a redirect (RFC 3986 §3.2).

use crate::{Part, TextError};
use serde::{Serialize, Serializer};
use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

/// A host, and a port behind `:` where there is one. There is no user information, and the host is not empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Authority(Arc<str>);

/// An authority in its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthorityParts<'a> {
    /// The host as it is written, with the brackets of an IPv6 address; empty when the authority is.
    pub host: &'a str,
    /// The digits behind `:`; empty when there are none.
    pub port: &'a str,
    /// Whether the host has capital letters.
    pub has_upper_case: bool,
}

impl Authority {
    /// Checks an authority that is sent. Its port is one that exists.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let parts = authority_parts(text)?;
        if parts.host.is_empty() {
            return Err(TextError::Empty(Part::Authority));
        }
        let has_colon = text.len() > parts.host.len();
        if has_colon && !parts.port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(shape("has a port that is not a number from 1 to 65535"));
        }
        Ok(Self(text.into()))
    }

    /// The authority as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its octets.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Authority {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

fn shape(problem: &'static str) -> TextError {
    TextError::Shape { part: Part::Authority, problem }
}

/// The parts of an authority that a peer sent, or that somebody configured. It may be empty, and so may its port.
///
/// Refused are user information, blanks, characters beyond ASCII, and all others that no host has.
pub fn authority_parts(text: &str) -> Result<AuthorityParts<'_>, TextError> {
    let (host, behind) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inner, _) = rest.split_once(']').ok_or_else(|| shape("has `[` without `]`"))?;
            if inner.parse::<Ipv6Addr>().is_err() {
                return Err(not_allowed(text).unwrap_or_else(|| shape("has brackets around what is no IPv6 address")));
            }
            text.split_at(inner.len() + 2)
        }
        None => text.split_at(memchr::memchr(b':', text.as_bytes()).unwrap_or(text.len())),
    };
    let classes = host.bytes().fold(0, |classes, octet| classes | class(octet));
    if classes & OTHER != 0 && !host.starts_with('[') {
        return Err(not_allowed(text).unwrap_or_else(|| shape("has brackets within a name")));
    }
    let has_upper_case = classes & UPPER_CASE != 0;
    let port = match behind.strip_prefix(':') {
        None if behind.is_empty() => "",
        Some(digits) if digits.len() <= 5 && digits.bytes().all(|octet| octet.is_ascii_digit()) => digits,
        _ => return Err(not_allowed(text).unwrap_or_else(|| shape("has a port that is not a number from 1 to 65535"))),
    };
    Ok(AuthorityParts { host, port, has_upper_case })
}

/// The first character that no authority has anywhere.
fn not_allowed(text: &str) -> Option<TextError> {
    TextError::first(Part::Authority, text, |c| {
        u8::try_from(c).is_ok_and(|octet| octet.is_ascii_uppercase() || is_host_octet(octet) || b":[]".contains(&octet))
    })
}

/// Bits of the classes of octets.
const UPPER_CASE: u8 = 1;
const OTHER: u8 = 2;

/// The class of an octet of a host; none is that of most.
#[inline]
fn class(octet: u8) -> u8 {
    const CLASSES: [u8; 256] = {
        let mut classes = [OTHER; 256];
        let mut octet = 0_u8;
        loop {
            classes[octet as usize] = match octet {
                b'A'..=b'Z' => UPPER_CASE,
                _ if is_host_octet(octet) => 0,
                _ => OTHER,
            };
            if octet == u8::MAX {
                break classes;
            }
            octet += 1;
        }
    };
    CLASSES.get(usize::from(octet)).copied().unwrap_or(OTHER)
}

/// Letters, digits, and what RFC 3986 §3.2.2 allows in a registered name: `-._~`, sub-delimiters and percent escapes.
const fn is_host_octet(octet: u8) -> bool {
    matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~')
        || matches!(octet, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b'%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3986_3_2_an_authority_is_a_host_and_a_port() {
        for good in
            ["a.test", "a.test:8080", "A-b_c.test", "10.0.0.1:80", "[::1]", "[2001:db8::1]:443", "a!$&'()*+,;=~%41"]
        {
            assert_eq!(Authority::parse(good).map(|authority| authority.to_string()).as_deref(), Ok(good));
        }
        for (bad, message) in [
            ("", "an authority may not be empty"),
            (":80", "an authority may not be empty"),
            ("e\r\n\r\nGET /SMUG HTTP/1.1\r\nhost: y", "character 2 (`\\r`) is not allowed in an authority"),
            ("a b", "character 2 (a space) is not allowed in an authority"),
            (" a", "character 1 (a space) is not allowed in an authority"),
            ("a:80 ", "character 5 (a space) is not allowed in an authority"),
            ("a\0", "character 2 (`\\0`) is not allowed in an authority"),
            ("a/b", "character 2 (`/`) is not allowed in an authority"),
            ("a?b", "character 2 (`?`) is not allowed in an authority"),
            ("a#b", "character 2 (`#`) is not allowed in an authority"),
            ("a\\b", "character 2 (`\\\\`) is not allowed in an authority"),
            ("user@a", "character 5 (`@`) is not allowed in an authority"),
            ("user:x@a", "character 7 (`@`) is not allowed in an authority"),
            ("é.test", "character 1 (`é`) is not allowed in an authority"),
            ("a:", "an authority has a port that is not a number from 1 to 65535"),
            ("a:0", "an authority has a port that is not a number from 1 to 65535"),
            ("a:65536", "an authority has a port that is not a number from 1 to 65535"),
            ("a:80:80", "an authority has a port that is not a number from 1 to 65535"),
            ("[::1", "an authority has `[` without `]`"),
            ("[x]", "an authority has brackets around what is no IPv6 address"),
            ("[::1]x", "an authority has a port that is not a number from 1 to 65535"),
            ("[::1\r\n]", "character 5 (`\\r`) is not allowed in an authority"),
            ("a]b", "an authority has brackets within a name"),
        ] {
            assert_eq!(Authority::parse(bad).map_err(|error| error.to_string()), Err(message.to_owned()), "{bad:?}");
        }
    }

    #[test]
    fn what_peers_send_may_be_empty_and_may_lack_a_port() {
        let parts = |text| authority_parts(text).map(|parts| (parts.host, parts.port, parts.has_upper_case));
        assert_eq!(parts(""), Ok(("", "", false)));
        assert_eq!(parts("A.test:"), Ok(("A.test", "", true)));
        assert_eq!(parts("[::A]:80"), Ok(("[::A]", "80", true)));
    }

    #[test]
    fn no_octet_of_an_authority_ends_a_line_or_a_target() {
        for octet in 0..=127_u8 {
            let text = format!("a{}b", char::from(octet));
            if Authority::parse(&text).is_ok() {
                assert!(octet.is_ascii_graphic() && !b"/?#@\\\"<>[]^`{|}:".contains(&octet), "{octet}");
            }
        }
    }
}
