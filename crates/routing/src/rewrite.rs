//! Paths that are rewritten, and the `Location` of redirects (VS-35, VS-37).
//!
//! What is written comes from configuration and is put into a head: bytes that may not stand there are escaped.

use ir::{MatchPath, PathRewrite, Redirect, RedirectPort, StringMatch};
use wire::view::RequestView;

/// The path after a rewrite, without the query.
pub fn path(rewrite: &PathRewrite, matched: &MatchPath, path: &[u8]) -> Vec<u8> {
    let new = match rewrite {
        PathRewrite::Full(full) => full.as_bytes().to_vec(),
        PathRewrite::Regex { pattern, substitution } => {
            pattern.replace_all(path, substitution).unwrap_or_else(|| path.to_vec())
        }
        PathRewrite::Prefix(prefix) => {
            let behind = path.get(matched_length(matched)..).unwrap_or_default();
            [prefix.as_bytes(), behind].concat()
        }
    };
    escape(new)
}

/// How much of a path the route's prefix took.
fn matched_length(matched: &MatchPath) -> usize {
    match matched {
        MatchPath::Text { text: StringMatch::Prefix(prefix), .. } => prefix.len(),
        MatchPath::Text { text: StringMatch::Exact(exact), .. } => exact.len(),
        MatchPath::Text { text: StringMatch::Regex(_), .. } | MatchPath::Any => 0,
    }
}

/// Blanks and control characters as `%XX`: in a request line or a `Location` they would end it, or begin another.
fn escape(text: Vec<u8>) -> Vec<u8> {
    let plain = |byte: u8| byte > 0x20 && byte != 0x7f;
    if text.iter().all(|byte| plain(*byte)) {
        return text;
    }
    let mut out = Vec::with_capacity(text.len() + 16);
    for byte in text {
        if plain(byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

/// A path with the client's query behind it.
pub fn with_query(mut path: Vec<u8>, query: Option<&[u8]>) -> Vec<u8> {
    if let Some(query) = query {
        path.push(b'?');
        path.extend_from_slice(query);
    }
    path
}

/// Where a redirect leads; what it does not name stays as the client sent it.
pub fn location(redirect: &Redirect, matched: &MatchPath, view: &RequestView<'_>) -> Vec<u8> {
    let scheme = redirect.scheme.as_deref().unwrap_or(view.scheme);
    let port = written_port(redirect.port, scheme);
    let mut out = format!("{scheme}://").into_bytes();
    match &redirect.authority {
        Some(authority) => out.extend(escape(authority.as_bytes().to_vec())),
        None => out.extend_from_slice(authority(view, scheme, port)),
    }
    if let Some(port) = port {
        out.extend_from_slice(format!(":{port}").as_bytes());
    }
    out.extend(new_path(redirect, matched, view));
    out
}

/// Where a request is sent that has to come by HTTPS: the same authority, as Envoy has it, path and query.
pub fn https_location(view: &RequestView<'_>) -> Vec<u8> {
    let mut out = b"https://".to_vec();
    out.extend_from_slice(view.authority);
    out.extend(with_query(view.path.to_vec(), view.query));
    out
}

/// The port that is written. Istio takes the default port of a scheme for none, and `FROM_PROTOCOL_DEFAULT` too; Envoy then leaves
/// alone what the client's `Host` has.
fn written_port(port: RedirectPort, scheme: &str) -> Option<u16> {
    match port {
        RedirectPort::Keep | RedirectPort::ProtocolDefault => None,
        RedirectPort::Number(port) | RedirectPort::RequestPort(port) => {
            Some(port).filter(|port| !matches!((scheme, port), ("http", 80) | ("https", 443)))
        }
    }
}

/// The client's authority; without its port when another one is written, or when it is the default of a scheme that changes.
fn authority<'a>(view: &RequestView<'a>, scheme: &str, written: Option<u16>) -> &'a [u8] {
    let (host, port) = split_port(view.authority);
    let default = matches!((view.scheme, port), ("http", Some(b"80")) | ("https", Some(b"443")));
    if written.is_some() || (scheme != view.scheme && default) { host } else { view.authority }
}

fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memrchr(b':', authority) {
        // A colon inside of brackets belongs to an IPv6 address.
        Some(at) if !authority.get(at..).unwrap_or_default().contains(&b']') => {
            let (host, port) = authority.split_at(at);
            (host, port.get(1..))
        }
        _ => (authority, None),
    }
}

/// A whole path that has a query of its own keeps that alone; otherwise the client's query stays.
fn new_path(redirect: &Redirect, matched: &MatchPath, view: &RequestView<'_>) -> Vec<u8> {
    match &redirect.path {
        None => with_query(view.path.to_vec(), view.query),
        Some(rewrite @ PathRewrite::Full(full)) if full.contains('?') => path(rewrite, matched, view.path),
        Some(rewrite) => with_query(path(rewrite, matched, view.path), view.query),
    }
}

#[cfg(test)]
mod tests;
