//! Which octets the parts of a head are made of (RFC 9110 §5.5, §5.6.2).

/// Whether octets may stand in a header value: visible ASCII, spaces, tabs, and octets beyond ASCII (`obs-text`), which Envoy
/// passes as well. Written without a branch for each octet: it is asked for most headers of every request.
#[inline]
pub fn is_value(octets: &[u8]) -> bool {
    let refused = octets.iter().fold(false, |refused, octet| refused | !is_value_octet(*octet));
    !refused
}

/// Whether a header value may have this octet.
#[inline]
pub(crate) fn is_value_octet(octet: u8) -> bool {
    (octet >= 0x20) & (octet != 0x7f) | (octet == b'\t')
}

/// Whether octets are a token, as names of headers and methods are.
pub fn is_token(octets: &[u8]) -> bool {
    !octets.is_empty() && octets.iter().all(|octet| is_token_octet(*octet))
}

pub(crate) fn is_token_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet)
}

/// Octets without the spaces and tabs around them.
#[inline]
pub(crate) fn trim(mut octets: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = octets {
        octets = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = octets {
        octets = rest;
    }
    octets
}

/// Replaces every octet that `escapes` names by `%XX`.
pub(crate) fn escape(octets: Vec<u8>, escapes: impl Fn(u8) -> bool) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if !octets.iter().any(|octet| escapes(*octet)) {
        return octets;
    }
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or(b'0');
    let mut out = Vec::with_capacity(octets.len() + 32);
    for octet in octets {
        if escapes(octet) {
            out.extend([b'%', digit(octet >> 4), digit(octet & 15)]);
        } else {
            out.push(octet);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_9110_5_5_a_value_has_no_control_octet_but_tab() {
        let refused: Vec<u8> = (0..=255).filter(|octet| !is_value(&[b'a', *octet, b'b'])).collect();
        assert_eq!(refused, (0..0x20).filter(|octet| *octet != b'\t').chain([0x7f]).collect::<Vec<u8>>());
        assert!(is_value(b""));
    }

    #[test]
    fn rfc_9110_5_6_2_tokens() {
        assert!(
            is_token(b"x-a_b.c")
                && !is_token(b"")
                && !is_token(b"x y")
                && !is_token(b"x:")
                && !is_token("é".as_bytes())
        );
    }

    #[test]
    fn octets_are_escaped_and_blanks_are_trimmed() {
        assert_eq!(escape(b"a b\r".to_vec(), |octet| octet <= 0x20), b"a%20b%0D");
        assert_eq!(trim(b" \ta b\t"), b"a b");
        assert_eq!(trim(b" \t"), b"");
    }
}
