//! `redirect` (VS-35).

use super::by_match;
use crate::code;
use crate::report::Notes;
use ir::{MatchPath, PathRewrite, Redirect, RedirectPort};
use resources::spec::virtual_service::{DerivePort, HttpRedirect};
use std::sync::Arc;

/// Compiles a redirect; `field` is its path.
pub(super) fn compile(
    written: &HttpRedirect,
    path: &MatchPath,
    server_port: u16,
    field: &str,
    notes: &mut Notes,
) -> Option<Redirect> {
    let Some(status) = status(written.redirect_code) else {
        let message = format!("{} is no status that a redirect may have", written.redirect_code);
        let help = "it is one of 301, 302, 303, 307 and 308";
        notes.add_with_help(code::BAD_REWRITE, format!("{field}.redirectCode"), message, help);
        return None;
    };
    Some(Redirect {
        status,
        scheme: text(&written.scheme),
        authority: text(&written.authority),
        port: port(written, server_port),
        path: new_path(written, path),
    })
}

fn status(code: u32) -> Option<u16> {
    match code {
        0 => Some(301),
        301 | 302 | 303 | 307 | 308 => u16::try_from(code).ok(),
        _ => None,
    }
}

fn text(written: &str) -> Option<Arc<str>> {
    (!written.is_empty()).then(|| written.into())
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

fn new_path(written: &HttpRedirect, path: &MatchPath) -> Option<PathRewrite> {
    if !written.uri.is_empty() {
        return Some(PathRewrite::Full((*written.uri).into()));
    }
    (!written.prefix_rewrite.is_empty()).then(|| by_match(&written.prefix_rewrite, path))
}
