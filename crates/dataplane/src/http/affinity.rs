//! The hash of a request for consistent hashing (DR-11), as Envoy computes it; and the cookie for a client that has none.

use crate::conn::Client;
use ir::{HashCookie, HashKey};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;
use text::HeaderValue;
use upstream::xxhash64;
use wire::edit::{Edits, FieldEdit};
use wire::forwarded::{self, Peer};
use wire::view::RequestView;

/// The affinity of a request to an endpoint.
#[derive(Debug, Default)]
pub(super) struct Affinity {
    /// The hash of its key; `None` without a key.
    pub(super) hash: Option<u64>,
    /// The `Set-Cookie` of the response, which leads the next request to the same endpoint.
    pub(super) set_cookie: Option<HeaderValue>,
}

/// The request before the edits of its route.
pub(super) struct HashInput<'a, 'b> {
    pub(super) view: &'a RequestView<'a>,
    pub(super) edits: &'a Edits<'b>,
    pub(super) peer: &'a Peer<'a>,
    pub(super) client: &'a Client,
}

impl Affinity {
    /// By a key.
    pub(super) fn of(key: &HashKey, input: &HashInput<'_, '_>) -> Self {
        let hash = match key {
            HashKey::Header(name) => header(name, input),
            HashKey::SourceIp => Some(source(forwarded::client(input.peer, input.view.fields))),
            HashKey::QueryParameter(name) => parameter(input.view.query.unwrap_or_default(), name.as_bytes()).map(hash),
            HashKey::Cookie(cookie) => return by_cookie(cookie, input),
        };
        Self { hash, set_cookie: None }
    }
}

fn hash(bytes: &[u8]) -> u64 {
    xxhash64(bytes, 0)
}

/// The hash of an address as text, in its plain form.
fn source(address: &str) -> u64 {
    match address.parse::<IpAddr>() {
        Ok(address) => hash(address.to_canonical().to_string().as_bytes()),
        Err(_) => hash(address.as_bytes()),
    }
}

/// All values of a header, whatever their order.
fn header(name: &str, input: &HashInput<'_, '_>) -> Option<u64> {
    let view = input.view;
    match name {
        ":authority" | "host" => return Some(hash(view.authority)),
        ":method" => return Some(hash(view.method)),
        ":scheme" => return Some(hash(view.scheme.as_bytes())),
        ":path" => return Some(hash(&view.target())),
        _ => {}
    }
    let mut values: Vec<&[u8]> = view.fields.all(name).collect();
    for edit in input.edits.fields.iter().filter(|edit| edit.name() == name) {
        if !matches!(edit, FieldEdit::Append(..)) {
            values.clear();
        }
        if let FieldEdit::Set(_, value) | FieldEdit::Append(_, value) = edit {
            values.push(value);
        }
    }
    values.sort_unstable();
    let values = values.into_iter();
    values.fold(None, |seed, value| Some(xxhash64(value, seed.unwrap_or(0))))
}

/// The first value of a query parameter, as it was sent.
fn parameter<'a>(query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let query = query.split(|byte| *byte == b'#').next().unwrap_or_default();
    query.split(|byte| *byte == b'&').find_map(|pair| {
        let (key, value) = match memchr::memchr(b'=', pair) {
            Some(at) => (pair.get(..at)?, pair.get(at + 1..)?),
            None => (pair, &[][..]),
        };
        (key == name && !pair.is_empty()).then_some(value)
    })
}

fn by_cookie(cookie: &HashCookie, input: &HashInput<'_, '_>) -> Affinity {
    let own = input.view.fields.cookie(cookie.name.as_str().as_bytes());
    match own.filter(|value| !value.is_empty()) {
        Some(value) => Affinity { hash: Some(hash(value)), set_cookie: None },
        None if cookie.ttl.is_some() => {
            let made = format!("{:016x}", of_connection(input.client));
            let hash = hash(made.as_bytes());
            Affinity { hash: Some(hash), set_cookie: HeaderValue::parse(&set_cookie(cookie, &made)).ok() }
        }
        None => Affinity::default(),
    }
}

/// The same for all requests of a connection, so that those that are under way at once get one cookie.
fn of_connection(client: &Client) -> u64 {
    hash(format!("{}{}", client.remote, client.listener.id.address).as_bytes())
}

/// As Envoy writes it.
fn set_cookie(cookie: &HashCookie, value: &str) -> String {
    let mut out = format!("{}=\"{value}\"", cookie.name);
    let seconds = cookie.ttl.map_or(0, |ttl| ttl.as_secs());
    if seconds > 0 {
        let _ = write!(out, "; Max-Age={seconds}");
    }
    if !cookie.path.as_str().is_empty() {
        let _ = write!(out, "; Path={}", cookie.path);
    }
    for (name, value) in &*cookie.attributes {
        let value = if value.as_str().is_empty() { Cow::Borrowed("") } else { Cow::Owned(format!("={value}")) };
        let _ = write!(out, "; {name}{value}");
    }
    out.push_str("; HttpOnly");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use text::{CookieName, CookieText};

    #[test]
    fn dr_11_parameters_are_hashed_as_they_were_sent() {
        let of = |query: &'static [u8]| parameter(query, b"user");
        assert_eq!(of(b"a=b&user=x%20y&user=z"), Some(&b"x%20y"[..]));
        assert_eq!(of(b"user"), Some(&b""[..]));
        assert_eq!(of(b"username=x&user=#fragment"), Some(&b""[..]));
        assert_eq!((of(b""), of(b"USER=x")), (None, None));
    }

    #[test]
    fn dr_11_cookies_are_made_as_envoy_does() {
        let name = |text: &str| CookieName::parse(text).unwrap();
        let text = |text: &str| CookieText::parse(text).unwrap();
        let attributes = [(name("SameSite"), text("Lax")), (name("Secure"), text(""))];
        let mut cookie = HashCookie {
            name: name("c"),
            path: text("/p"),
            ttl: Some(Duration::from_secs(60)),
            attributes: attributes.into(),
        };
        assert_eq!(set_cookie(&cookie, "f"), "c=\"f\"; Max-Age=60; Path=/p; SameSite=Lax; Secure; HttpOnly");
        (cookie.ttl, cookie.path, cookie.attributes) = (Some(Duration::ZERO), text(""), [].into());
        assert_eq!(set_cookie(&cookie, "f"), "c=\"f\"; HttpOnly");
    }

    #[test]
    fn dr_11_an_address_is_hashed_in_its_plain_form() {
        assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
        assert_eq!(source("2001:DB8::0:1"), source("2001:db8::1"));
        assert_eq!(source("10.0.0.1"), xxhash64(b"10.0.0.1", 0));
    }
}
