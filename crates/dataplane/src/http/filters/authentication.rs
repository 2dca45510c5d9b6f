//! Tokens of requests (RA-02 to RA-04): before the route is picked, a request with a token that is not valid is refused, and the head of the others
//! is changed as if the client had sent it so.

use crate::conn::{ExchangeBuffers, Worker};
use crate::http::client::ClientConnection;
use crate::http::request_head::peer;
use crate::keys::{CachedVerifier, TokenIssuers};
use routing::authentication::{self, Authenticated, HeadChanges};
use routing::{LocalAnswer, RequestContext, decision};
use std::time::{SystemTime, UNIX_EPOCH};

/// Verifies the tokens of the request whose head is the first `head` octets of the connection's input, and keeps its claims. Returns the length of
/// the head, which may be another one now, or the response to the client.
pub(super) fn run(
    worker: &Worker,
    conn: &mut ClientConnection,
    buffers: &mut ExchangeBuffers,
    issuers: &TokenIssuers,
    head: usize,
) -> Result<usize, LocalAnswer> {
    let settings = conn.table.version().http.settings;
    let peer = peer(&conn.client, settings);
    let buffer = conn.input.filled().get(..head).unwrap_or_default();
    let mesh_settings = &*conn.client.mesh_settings;
    let context = RequestContext { request: &buffers.request, buffer, settings, mesh_settings, peer: &peer };
    // A request that is malformed is refused by what decides next.
    let Ok(view) = decision::prepare(&context, &mut buffers.scratch) else { return Ok(head) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut verifier = CachedVerifier { issuers, cache: &mut worker.tokens.borrow_mut(), now };
    let Authenticated { claims, changes } = authentication::authenticate(&issuers.config, &view, &mut verifier)
        .map_err(|failure| authentication::refused(&view, failure))?;
    let leaves = changes.leaves(&view);
    buffers.claims = claims;
    if leaves { Ok(head) } else { amend(conn, buffers, head, &changes).ok_or_else(too_large) }
}

/// The response to a request whose head would become too large.
fn too_large() -> LocalAnswer {
    LocalAnswer { status: 431, detail: "request_headers_too_large", ..LocalAnswer::default() }
}

/// Changes the head; `None` if it would become too large. Returns its length.
fn amend(
    conn: &mut ClientConnection,
    buffers: &mut ExchangeBuffers,
    head: usize,
    changes: &HeadChanges,
) -> Option<usize> {
    let input = conn.input.filled();
    let (buffer, behind) = input.split_at_checked(head).unwrap_or((input, &[]));
    let (edits, query) = changes.of_head(buffers.request.target.of(buffer));
    let added = buffers.request.amend(buffer, &edits.fields, query.as_ref().map(Option::as_deref));
    if !conn.input.fits(added.len()) {
        return None;
    }
    let behind = behind.to_vec();
    conn.input.truncate(head);
    conn.input.put(&added);
    conn.input.put(&behind);
    Some(head + added.len())
}
