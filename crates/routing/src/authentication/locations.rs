//! Where tokens are in a request, as Envoy looks for them.

use crate::query::{Parameter, decoded, parameters};
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
        let mut parameters = parameters(view.query.unwrap_or_default());
        if let Some(parameter) = parameters.find(|parameter| decoded(parameter.name) == name.as_bytes()) {
            let token = String::from_utf8_lossy(&decoded(parameter.value)).into_owned().into();
            found.push(Found { token, location: Location::Param(name) });
        }
    }
    for name in &provider.from_cookies {
        if let Some(value) = view.fields.cookie(name.as_bytes()) {
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

/// A query without the parameters of these names.
pub(super) fn without_params(query: &[u8], names: &[Arc<str>]) -> Vec<u8> {
    let stays = |one: &Parameter<'_>| !names.iter().any(|removed| decoded(one.name) == removed.as_bytes());
    let kept: Vec<&[u8]> = parameters(query).filter(stays).map(|parameter| parameter.whole).collect();
    kept.join(&b'&')
}
