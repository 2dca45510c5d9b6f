//! Paths that are rewritten, and the `Location` of redirects (VS-35, VS-37).

use ir::{MatchPath, PathRewrite, Redirect, RedirectPort, StringMatch};
use wire::view::RequestView;

/// The path after a rewrite, without the query.
pub fn path(rewrite: &PathRewrite, matched: &MatchPath, path: &[u8]) -> Vec<u8> {
    match rewrite {
        PathRewrite::Full(full) => full.as_bytes().to_vec(),
        PathRewrite::Regex { pattern, substitution } => pattern.replace_all(path, substitution),
        PathRewrite::Prefix(prefix) => {
            let behind = path.get(matched_length(matched)..).unwrap_or_default();
            [prefix.as_bytes(), behind].concat()
        }
    }
}

/// How much of a path the route's prefix took.
fn matched_length(matched: &MatchPath) -> usize {
    match matched {
        MatchPath::Text { text: StringMatch::Prefix(prefix), .. } => prefix.len(),
        MatchPath::Text { text: StringMatch::Exact(exact), .. } => exact.len(),
        MatchPath::Text { text: StringMatch::Regex(_), .. } | MatchPath::Any => 0,
    }
}

/// Where a redirect leads; what it does not name stays as the client sent it.
pub fn location(redirect: &Redirect, matched: &MatchPath, view: &RequestView<'_>) -> Vec<u8> {
    let scheme = redirect.scheme.as_deref().unwrap_or(view.scheme);
    let mut out = format!("{scheme}://").into_bytes();
    match &redirect.authority {
        Some(authority) => out.extend_from_slice(authority.as_bytes()),
        None => out.extend_from_slice(authority(redirect, scheme, view)),
    }
    if let RedirectPort::Number(port) | RedirectPort::RequestPort(port) = redirect.port
        && !is_default(scheme, port)
    {
        out.extend_from_slice(format!(":{port}").as_bytes());
    }
    match &redirect.path {
        Some(rewrite) => {
            let new = path(rewrite, matched, view.path);
            let has_query = new.contains(&b'?');
            out.extend_from_slice(&new);
            if !has_query {
                push_query(&mut out, view.query);
            }
        }
        None => {
            out.extend_from_slice(view.path);
            push_query(&mut out, view.query);
        }
    }
    out
}

fn push_query(out: &mut Vec<u8>, query: Option<&[u8]>) {
    if let Some(query) = query {
        out.push(b'?');
        out.extend_from_slice(query);
    }
}

/// The client's authority; without its port when another one is set, or when it is the default of a scheme that changes.
fn authority<'a>(redirect: &Redirect, scheme: &str, view: &RequestView<'a>) -> &'a [u8] {
    let whole = view.authority;
    let (host, port) = split_port(whole);
    let Some(port) = port else { return whole };
    match redirect.port {
        RedirectPort::Keep if scheme != view.scheme && is_default_text(view.scheme, port) => host,
        RedirectPort::Keep => whole,
        RedirectPort::Number(_) | RedirectPort::RequestPort(_) | RedirectPort::ProtocolDefault => host,
    }
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

fn is_default(scheme: &str, port: u16) -> bool {
    matches!((scheme, port), ("http", 80) | ("https", 443))
}

fn is_default_text(scheme: &str, port: &[u8]) -> bool {
    matches!((scheme, port), ("http", b"80") | ("https", b"443"))
}
