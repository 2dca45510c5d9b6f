//! The host that routing goes by, out of what a client sent as its authority.

/// An authority that is no host with an optional port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host is not valid")]
pub struct InvalidHost;

/// The host of an authority, without its port (S-117), written in lower case into `scratch` when it has to be.
///
/// Refused are user information, blanks, and characters that no host has; an empty authority gives an empty host.
pub fn host_of<'a>(authority: &'a [u8], scratch: &'a mut String) -> Result<&'a str, InvalidHost> {
    let text = std::str::from_utf8(authority).map_err(|_| InvalidHost)?;
    let host = match text.strip_prefix('[') {
        Some(rest) => {
            let (inner, behind) = rest.split_once(']').ok_or(InvalidHost)?;
            let address = inner.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
            if !address || inner.is_empty() {
                return Err(InvalidHost);
            }
            check_port(behind)?;
            text.get(..inner.len() + 2).ok_or(InvalidHost)?
        }
        None => {
            let (host, port) = match text.find(':') {
                Some(at) => text.split_at(at),
                None => (text, ""),
            };
            check_port(port)?;
            host
        }
    };
    let mut upper = false;
    for byte in host.bytes() {
        match byte {
            b'A'..=b'Z' => upper = true,
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'[' | b']' | b':' => {}
            // Sub-delimiters and percent escapes are allowed in a registered name (RFC 3986 §3.2.2).
            b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b'%' => {}
            _ => return Err(InvalidHost),
        }
    }
    if !upper {
        return Ok(host);
    }
    scratch.clear();
    scratch.push_str(host);
    scratch.make_ascii_lowercase();
    Ok(scratch)
}

/// Nothing, or `:` and digits.
fn check_port(text: &str) -> Result<(), InvalidHost> {
    match text.strip_prefix(':') {
        None if text.is_empty() => Ok(()),
        Some(digits) if digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit()) => Ok(()),
        _ => Err(InvalidHost),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(authority: &str) -> Result<String, InvalidHost> {
        host_of(authority.as_bytes(), &mut String::new()).map(str::to_owned)
    }

    #[test]
    fn s_117_the_port_is_no_part_of_the_host() {
        assert_eq!(host("Example.com:8443").as_deref(), Ok("example.com"));
        assert_eq!(host("[::1]:80").as_deref(), Ok("[::1]"));
        assert_eq!(host("").as_deref(), Ok(""));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for bad in
            ["user@a.com", "a.com:80:80", "a.com:x", "a b", "a/b", "[::1", "[x]", "a.com:999999", "a\\b", "a#b", "a?b"]
        {
            assert_eq!(host(bad), Err(InvalidHost), "{bad}");
        }
    }
}
