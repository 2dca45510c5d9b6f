//! The host that routing uses, taken from the authority of a request.

/// The authority is not a host with an optional port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host is not valid")]
pub struct InvalidHost;

/// The host of an authority, without its port (S-117), in lower case; `scratch` holds it if it differs from the authority.
///
/// Rejects what [`text::authority_parts`] rejects. An empty authority gives an empty host.
pub fn host_of<'a>(authority: &'a [u8], scratch: &'a mut String) -> Result<&'a str, InvalidHost> {
    let text = std::str::from_utf8(authority).map_err(|_| InvalidHost)?;
    let parts = text::authority_parts(text).map_err(|_| InvalidHost)?;
    if !parts.has_upper_case {
        return Ok(parts.host);
    }
    scratch.clear();
    scratch.push_str(parts.host);
    scratch.make_ascii_lowercase();
    Ok(scratch)
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
    fn invalid_hosts_are_rejected() {
        for bad in [
            "user@a.com",
            "a.com:80:80",
            "a.com:x",
            "a b",
            "a/b",
            "[::1",
            "[x]",
            "a]b",
            "a.com:999999",
            "a\\b",
            "a#b",
            "a?b",
        ] {
            assert_eq!(host(bad), Err(InvalidHost), "{bad}");
        }
    }
}
