//! Which octets the parts of a head are made of (RFC 9110 §5.5, §5.6.2).

/// Whether octets may be in a header value: visible ASCII, spaces, tabs, and octets beyond ASCII (`obs-text`), which Envoy
/// passes as well. Eight octets are checked at a time, since most headers of every request are checked.
#[inline]
pub fn is_value(octets: &[u8]) -> bool {
    let Some((_, last)) = octets.split_last_chunk::<8>() else {
        return octets.iter().all(|octet| is_value_octet(*octet));
    };
    // The last eight overlap those before them where the length is no multiple of eight.
    let (chunks, _) = octets.as_chunks::<8>();
    let unusual = chunks.iter().chain([last]).fold(0, |unusual, chunk| unusual | unusual_octets(*chunk));
    unusual == 0 || octets.iter().all(|octet| is_value_octet(*octet))
}

/// Not zero if one of the octets is below 0x20, or is 0x7f. Tabs are among them, and have to be checked by themselves.
#[inline]
fn unusual_octets(chunk: [u8; 8]) -> u64 {
    const EACH: u64 = u64::MAX / 255;
    const HIGH: u64 = EACH << 7;
    let octets = u64::from_ne_bytes(chunk);
    // A borrow out of an octet comes from one that is itself below, so that no other octet causes a result but zero.
    let below = octets.wrapping_sub(EACH * 0x20) & !octets;
    let delete = octets ^ (EACH * 0x7f);
    (below | delete.wrapping_sub(EACH) & !delete) & HIGH
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
        // At each place of values of each length, beside octets that are near a bound.
        for around in [b'a', b' ', b'\t', 0x7e, 0x80, 0xff] {
            for length in 1..=20 {
                for at in 0..length {
                    for octet in 0..=255 {
                        let mut value = vec![around; length];
                        value[at] = octet;
                        assert_eq!(is_value(&value), is_value_octet(octet), "{octet:#x} at {at} of {value:?}");
                    }
                }
            }
        }
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
