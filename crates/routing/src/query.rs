//! The parameters of a query, as filters find and remove them.

use std::borrow::Cow;

/// One parameter of a query, as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parameter<'a> {
    /// The name and the value, with what is between them.
    pub(crate) whole: &'a [u8],
    /// The name.
    pub(crate) name: &'a [u8],
    /// The value; empty without a `=`.
    pub(crate) value: &'a [u8],
}

/// The parameters of a query, in their order.
pub(crate) fn parameters(query: &[u8]) -> impl Iterator<Item = Parameter<'_>> {
    query.split(|octet| *octet == b'&').map(|whole| {
        let at = memchr::memchr(b'=', whole).unwrap_or(whole.len());
        let (name, rest) = whole.split_at(at);
        Parameter { whole, name, value: rest.get(1..).unwrap_or_default() }
    })
}

/// A text with its percent-encoded octets decoded; what is not such an octet stays.
pub(crate) fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', text).is_none() {
        return Cow::Borrowed(text);
    }
    let digit = |at: usize| text.get(at).and_then(|octet| char::from(*octet).to_digit(16));
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(octet) = text.get(at) {
        match (octet, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.extend(u8::try_from(high * 16 + low));
                at += 3;
            }
            _ => {
                decoded.push(*octet);
                at += 1;
            }
        }
    }
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_cut_at_the_first_equals_sign_and_stay_as_they_were_sent() {
        let all = |query: &'static str| {
            let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
            let parameters = parameters(query.as_bytes());
            parameters.map(|one| [one.whole, one.name, one.value].map(text).join("|")).collect::<Vec<_>>()
        };
        assert_eq!(all("a=1&b&c=%3D=2"), ["a=1|a|1", "b|b|", "c=%3D=2|c|%3D=2"]);
        assert_eq!(all(""), ["||"]);
    }

    #[test]
    fn escapes_that_are_none_stay() {
        for (text, expected) in [("a%62c", "abc"), ("%4", "%4"), ("%zz%41", "%zzA"), ("%%41", "%A"), ("a+b", "a+b")] {
            assert_eq!(decoded(text.as_bytes()), expected.as_bytes(), "{text}");
        }
    }
}
