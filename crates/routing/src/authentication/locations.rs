//! Where tokens are in a request, as Envoy looks for them.

use ir::HeaderName;
use ir::policy::Provider;
use std::borrow::Cow;
use std::sync::Arc;
use wire::view::RequestView;

/// A text that is to be a token.
pub(super) struct Found<'a> {
    pub(super) token: Cow<'a, str>,
    pub(super) location: Location<'a>,
}

/// Where it was.
pub(super) enum Location<'a> {
    Header(&'a HeaderName),
    Param(&'a Arc<str>),
    Cookie,
}

/// All texts in the locations of a provider: headers, parameters, cookies, in this order. Headers that `skips` holds for are passed over.
pub(super) fn find<'a>(
    provider: &'a Provider,
    view: &RequestView<'a>,
    skips: impl Fn(&HeaderName) -> bool,
) -> Vec<Found<'a>> {
    let mut found = Vec::new();
    for header in provider.from_headers.iter().filter(|header| !skips(&header.name)) {
        let mut put = |token: Option<Cow<'a, str>>| {
            found.extend(token.map(|token| Found { token, location: Location::Header(&header.name) }));
        };
        let mut values = view.values(header.name.as_str());
        match (values.next(), values.next()) {
            // Envoy keeps these lines as one, so that several tokens are none (VS-15).
            (Some(first), Some(second)) if header.name.as_str() == "authorization" => {
                let joined = [first, second].into_iter().chain(values).collect::<Vec<_>>().join(&b","[..]);
                let token = behind(&joined, header.prefix.as_bytes());
                put(token.map(|token| String::from_utf8_lossy(token).into_owned().into()));
            }
            (first, second) => {
                for value in first.into_iter().chain(second).chain(values) {
                    put(behind(value, header.prefix.as_bytes()).map(String::from_utf8_lossy));
                }
            }
        }
    }
    for name in &provider.from_params {
        let mut params = params(view.query.unwrap_or_default());
        if let Some((_, _, value)) = params.find(|(_, param, _)| decoded(param) == name.as_bytes()) {
            let token = String::from_utf8_lossy(&decoded(value)).into_owned().into();
            found.push(Found { token, location: Location::Param(name) });
        }
    }
    for name in &provider.from_cookies {
        if let Some(value) = cookie(view, name.as_bytes()) {
            found.push(Found { token: String::from_utf8_lossy(value), location: Location::Cookie });
        }
    }
    found
}

/// The text behind a prefix, wherever in the value that stands, from the first octet on that a token may have. A value without such an octet
/// is the text as a whole, so that it is refused.
fn behind<'a>(value: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    if prefix.is_empty() {
        return Some(value);
    }
    let at = memchr::memmem::find(value, prefix)?;
    let rest = value.get(at + prefix.len()..)?;
    let is_token = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.');
    let start = rest.iter().position(is_token);
    Some(start.and_then(|start| rest.get(start..)).unwrap_or(value))
}

/// Each parameter of a query: the whole of it, its name and its value.
fn params(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8], &[u8])> {
    query.split(|octet| *octet == b'&').map(|param| {
        let at = memchr::memchr(b'=', param).unwrap_or(param.len());
        let (name, rest) = param.split_at(at);
        (param, name, rest.get(1..).unwrap_or_default())
    })
}

/// A query without the parameters of these names.
pub(super) fn without_params(query: &[u8], names: &[Arc<str>]) -> Vec<u8> {
    let stays = |name: &[u8]| !names.iter().any(|removed| decoded(name) == removed.as_bytes());
    let kept: Vec<&[u8]> = params(query).filter(|(_, name, _)| stays(name)).map(|(param, ..)| param).collect();
    kept.join(&b'&')
}

/// A text with its percent-encoded octets decoded; what is not such an octet stays.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
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

/// The first value of a cookie, without the quotes around it.
fn cookie<'a>(view: &RequestView<'a>, name: &[u8]) -> Option<&'a [u8]> {
    let pairs = view.fields.all("cookie").flat_map(|line| line.split(|octet| *octet == b';'));
    let value = pairs.map(<[u8]>::trim_ascii).find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))?;
    Some(value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value))
}
