//! `redirect` (VS-35).

use super::rewrite::{by_match, sent};
use crate::code;
use crate::report::Notes;
use ir::{Authority, MatchPath, PathRewrite, PathText, Redirect, RedirectPort, Scheme};
use resources::spec::virtual_service::{DerivePort, HttpRedirect};

/// Compiles a redirect; `field` is its path.
pub(super) fn compile(
    written: &HttpRedirect,
    path: &MatchPath,
    server_port: u16,
    field: &str,
    notes: &mut Notes,
) -> Option<Redirect> {
    let Some(status) = status(written.redirect_code) else {
        let message = format!("{} is not a redirect status", written.redirect_code);
        let help = "it is one of 301, 302, 303, 307 and 308";
        notes.add_with_help(code::BAD_REWRITE, format!("{field}.redirectCode"), message, help);
        return None;
    };
    Some(Redirect {
        status,
        scheme: scheme(&written.scheme),
        authority: match &*written.authority {
            "" => None,
            text => Some(sent(Authority::parse(text), format!("{field}.authority"), notes)?),
        },
        port: port(written, server_port),
        path: new_path(written, path, field, notes)?,
    })
}

fn status(code: u32) -> Option<u16> {
    match code {
        0 => Some(301),
        301 | 302 | 303 | 307 | 308 => u16::try_from(code).ok(),
        _ => None,
    }
}

/// Validation refuses all others.
fn scheme(written: &str) -> Option<Scheme> {
    match written {
        "http" => Some(Scheme::Http),
        "https" => Some(Scheme::Https),
        _ => None,
    }
}

fn port(written: &HttpRedirect, server_port: u16) -> RedirectPort {
    // As in Istio, 0 is none.
    match (written.port.filter(|port| *port != 0), written.derive_port) {
        (Some(number), _) => u16::try_from(number).map_or(RedirectPort::Keep, RedirectPort::Number),
        (None, Some(DerivePort::FromRequestPort)) => RedirectPort::RequestPort(server_port),
        (None, Some(DerivePort::FromProtocolDefault)) => RedirectPort::ProtocolDefault,
        (None, None) => RedirectPort::Keep,
    }
}

/// `None` for a text that cannot be sent.
fn new_path(written: &HttpRedirect, path: &MatchPath, field: &str, notes: &mut Notes) -> Option<Option<PathRewrite>> {
    Some(match (&*written.uri, &*written.prefix_rewrite) {
        ("", "") => None,
        ("", prefix) => {
            let prefix = sent(PathText::parse(prefix), format!("{field}.prefixRewrite"), notes)?;
            Some(by_match(prefix, path))
        }
        (uri, _) => Some(PathRewrite::Full(sent(PathText::parse(uri), format!("{field}.uri"), notes)?)),
    })
}
