//! The keys of conditions of an AuthorizationPolicy (AP-10).

/// An attribute of a connection or request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenKey<'a> {
    /// `request.headers[NAME]`.
    Header(&'a str),
    /// `request.experimental.inline.headers[NAME]`: the elements of a header that is a list.
    InlineHeader(&'a str),
    /// `source.ip`.
    SourceIp,
    /// `remote.ip`.
    RemoteIp,
    /// `source.namespace`.
    SourceNamespace,
    /// `source.serviceAccount`.
    SourceServiceAccount,
    /// `source.principal`.
    SourcePrincipal,
    /// `request.auth.principal`.
    RequestPrincipal,
    /// `request.auth.audiences`.
    RequestAudiences,
    /// `request.auth.presenter`.
    RequestPresenter,
    /// `request.auth.claims[NAME]`, or with more names in brackets; the brackets are part of the text.
    RequestClaim(&'a str),
    /// `destination.ip`.
    DestinationIp,
    /// `destination.port`.
    DestinationPort,
    /// `connection.sni`.
    ServerName,
    /// `experimental.envoy.filters.FILTER[NAME]`, without the beginning.
    EnvoyFilter(&'a str),
}

/// The names of keys that have no brackets.
const PLAIN: &[(&str, WhenKey<'static>)] = &[
    ("source.ip", WhenKey::SourceIp),
    ("remote.ip", WhenKey::RemoteIp),
    ("source.namespace", WhenKey::SourceNamespace),
    ("source.serviceAccount", WhenKey::SourceServiceAccount),
    ("source.principal", WhenKey::SourcePrincipal),
    ("request.auth.principal", WhenKey::RequestPrincipal),
    ("request.auth.audiences", WhenKey::RequestAudiences),
    ("request.auth.presenter", WhenKey::RequestPresenter),
    ("destination.ip", WhenKey::DestinationIp),
    ("destination.port", WhenKey::DestinationPort),
    ("connection.sni", WhenKey::ServerName),
];

impl<'a> WhenKey<'a> {
    /// The attribute of a key; `None` for one that Istio does not know, or whose brackets are wrong.
    pub fn parse(key: &'a str) -> Option<Self> {
        if let Some((_, plain)) = PLAIN.iter().find(|(name, _)| *name == key) {
            return Some(*plain);
        }
        let bracketed = |name: &str| key.strip_prefix(name).filter(|rest| is_bracketed(rest));
        let inner = |rest: &'a str| rest.strip_prefix('[')?.strip_suffix(']');
        if let Some(rest) = bracketed("request.headers") {
            return inner(rest).map(Self::Header);
        }
        if let Some(rest) = bracketed("request.experimental.inline.headers") {
            return inner(rest).map(Self::InlineHeader);
        }
        if let Some(rest) = bracketed("request.auth.claims") {
            return Some(Self::RequestClaim(rest));
        }
        let filter = key.strip_prefix("experimental.envoy.filters.")?;
        let (name, rest) = filter.split_at(filter.find('[')?);
        (!name.is_empty() && is_bracketed(rest)).then_some(Self::EnvoyFilter(filter))
    }
}

/// Whether a text is `[…]` with something inside.
fn is_bracketed(text: &str) -> bool {
    text.len() > 2 && text.starts_with('[') && text.ends_with(']')
}

/// The names in `[a][b]`; where the brackets are not one behind another, all between the first and the last is one name.
pub fn nested_names(brackets: &str) -> Vec<&str> {
    let inner = brackets.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(brackets);
    let names: Vec<&str> = inner.split("][").collect();
    let plain = |name: &&str| !name.contains(['[', ']']);
    if names.iter().all(plain) { names } else { vec![inner] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ap_10_keys_are_known_by_name() {
        for (key, parsed) in [
            ("source.ip", Some(WhenKey::SourceIp)),
            ("request.headers[x-a]", Some(WhenKey::Header("x-a"))),
            ("request.headers", None),
            ("request.headers[]", None),
            ("request.headersx[a]", None),
            ("request.auth.claims[a][b]", Some(WhenKey::RequestClaim("[a][b]"))),
            ("experimental.envoy.filters.a.b[c]", Some(WhenKey::EnvoyFilter("a.b[c]"))),
            ("experimental.envoy.filters.[c]", None),
            ("destination.labels[a]", None),
            ("", None),
        ] {
            assert_eq!(WhenKey::parse(key), parsed, "{key}");
        }
    }

    #[test]
    fn ap_10_claims_may_be_nested() {
        for (brackets, names) in [
            ("[a]", &["a"][..]),
            ("[a][b][c]", &["a", "b", "c"]),
            ("[a.b]", &["a.b"]),
            ("[a[b]]", &["a[b]"]),
            ("[a]b[c]", &["a]b[c"]),
        ] {
            assert_eq!(nested_names(brackets), names, "{brackets}");
        }
    }
}
