//! Paths that are rewritten, and the `Location` of redirects (VS-35, VS-37).
//!
//! What comes out is a type of the crate `text`: octets that a head may not have are escaped there. A path begins with `/`, whatever was
//! configured.

use ir::{MatchPath, PathRewrite, Redirect, RedirectPort, Scheme, StringMatch};
use text::{Authority, FieldValue, Target};
use wire::path::{InvalidPath, has_dot_segment, has_invalid_escape};
use wire::view::RequestView;

/// The target that is sent instead of the client's, with its query; `None` where the client's stays, since the pattern leaves nothing of the
/// path, as in Envoy.
///
/// It begins with `/` and has neither blanks nor control characters (RFC 9112 §3.2.1). It is an error where the rewrite makes a dot segment
/// or a `%` that starts no escape: the backend would read another path than the one that was matched. So is a pattern that takes more steps
/// on this path than it may: sent as it is, the path would not be the one that the rule has in mind.
pub fn target(
    rewrite: &PathRewrite,
    matched: &MatchPath,
    view: &RequestView<'_>,
) -> Result<Option<Target<'static>>, InvalidPath> {
    let new = path(rewrite, matched, view.path).ok_or(InvalidPath)?;
    if new.is_empty() {
        return Ok(None);
    }
    let mut out = Vec::with_capacity(new.len() + 1 + view.query.map_or(0, |query| query.len() + 1));
    push_path(&mut out, &new);
    let target = Target::escaped(out, view.query);
    let (sent, _) = wire::path::split(&target);
    let configured = match rewrite {
        PathRewrite::Full(text) | PathRewrite::Prefix(text) => text,
        PathRewrite::Regex { substitution, .. } => substitution,
    };
    // A `%` at the end of what is configured would form an escape with what the client sent.
    let (configured, _) = wire::path::split(configured.as_bytes());
    if has_invalid_escape(configured)
        || has_invalid_escape(sent)
        || (has_dot_segment(sent) && !has_dot_segment(view.path))
    {
        return Err(InvalidPath);
    }
    Ok(Some(target))
}

/// The path after a rewrite, as it is written, without the client's query. `None` where the pattern takes too many steps.
fn path(rewrite: &PathRewrite, matched: &MatchPath, path: &[u8]) -> Option<Vec<u8>> {
    Some(match rewrite {
        PathRewrite::Full(full) => full.as_bytes().to_vec(),
        PathRewrite::Regex { pattern, substitution } => pattern.replace_all(path, substitution)?,
        PathRewrite::Prefix(prefix) => {
            let behind = path.get(matched_length(matched)..).unwrap_or_default();
            [prefix.as_bytes(), behind].concat()
        }
    })
}

/// How much of a path the route's prefix took.
fn matched_length(matched: &MatchPath) -> usize {
    match matched {
        MatchPath::Text { text: StringMatch::Prefix(prefix), .. } => prefix.len(),
        MatchPath::Text { text: StringMatch::Exact(exact), .. } => exact.len(),
        MatchPath::Text { text: StringMatch::Regex(_), .. } | MatchPath::Any => 0,
    }
}

/// Appends a path that begins with `/`, whatever it began with: behind an authority it could be taken for a part of the host, and in a
/// request line for another form of a target.
fn push_path(out: &mut Vec<u8>, path: &[u8]) {
    if path.first() != Some(&b'/') {
        out.push(b'/');
    }
    out.extend_from_slice(path);
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
pub fn location(redirect: &Redirect, matched: &MatchPath, view: &RequestView<'_>) -> FieldValue<'static> {
    let scheme = redirect.scheme.map_or(view.scheme, Scheme::as_str);
    let mut out = format!("{scheme}://").into_bytes();
    out.extend_from_slice(authority(redirect, scheme, view));
    if let Some(port) = written_port(redirect.port, scheme) {
        out.extend_from_slice(format!(":{port}").as_bytes());
    }
    push_new_path(&mut out, redirect, matched, view);
    FieldValue::location(out)
}

/// Where a request is sent that has to come by HTTPS: the same authority, as Envoy has it, path and query.
pub fn https_location(view: &RequestView<'_>) -> FieldValue<'static> {
    let mut out = b"https://".to_vec();
    out.extend_from_slice(view.authority);
    push_path(&mut out, view.path);
    FieldValue::location(with_query(out, view.query))
}

/// The port that is written: the one that is asked for, but for the default of the scheme.
fn written_port(port: RedirectPort, scheme: &str) -> Option<u16> {
    match port {
        RedirectPort::Keep | RedirectPort::ProtocolDefault => None,
        RedirectPort::Number(port) | RedirectPort::RequestPort(port) => {
            Some(port).filter(|port| !matches!((scheme, port), ("http", 80) | ("https", 443)))
        }
    }
}

/// The authority that is written before the port: without one of its own where the redirect says something of the port (VS-35), and where
/// the client's is the default of a scheme that changes.
fn authority<'a>(redirect: &'a Redirect, scheme: &str, view: &RequestView<'a>) -> &'a [u8] {
    let whole = redirect.authority.as_ref().map_or(view.authority, Authority::as_bytes);
    let (host, port) = split_port(whole);
    if redirect.port != RedirectPort::Keep {
        return host;
    }
    let default = matches!((view.scheme, port), ("http", Some(b"80")) | ("https", Some(b"443")));
    if redirect.authority.is_none() && scheme != view.scheme && default { host } else { whole }
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
fn push_new_path(out: &mut Vec<u8>, redirect: &Redirect, matched: &MatchPath, view: &RequestView<'_>) {
    let new = redirect.path.as_ref().and_then(|rewrite| path(rewrite, matched, view.path));
    push_path(out, new.as_deref().unwrap_or(view.path));
    let has_query = matches!(&redirect.path, Some(PathRewrite::Full(full)) if full.contains('?'));
    if let Some(query) = view.query.filter(|_| !has_query) {
        out.push(b'?');
        out.extend_from_slice(query);
    }
}

#[cfg(test)]
mod tests;
