//! Tokens of requests (RA-02 to RA-04): before the route is picked, a request with a token that is not valid is refused, and the head of the others
//! is changed as if the client had sent it so.

use super::amended::amend;
use crate::conn::{ExchangeBuffers, Worker};
use crate::http::client::ClientConnection;
use crate::http::request_head::{context, peer};
use crate::keys::{CachedVerifier, TokenIssuers};
use ir::HttpSettings;
use routing::authentication::{self, Authenticated};
use routing::{LocalAnswer, decision};
use std::time::{SystemTime, UNIX_EPOCH};

/// Verifies the tokens of the request whose head is the first `head` octets of the connection's input, and keeps its claims. Returns the length of
/// the head, which may be another one now, or the response to the client.
pub(super) fn run(
    worker: &Worker,
    conn: &mut ClientConnection,
    buffers: &mut ExchangeBuffers,
    issuers: &TokenIssuers,
    head: usize,
    settings: HttpSettings,
) -> Result<usize, LocalAnswer> {
    let peer = peer(&conn.client, settings);
    let context = context(conn, &buffers.request, head, settings, &peer);
    // A request that is malformed is refused by what decides next.
    let Ok(view) = decision::prepare(&context, &mut buffers.scratch) else { return Ok(head) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut verifier = CachedVerifier { issuers, cache: &mut worker.tokens.borrow_mut(), now };
    let Authenticated { claims, changes } = authentication::authenticate(&issuers.config, &view, &mut verifier)
        .map_err(|failure| authentication::refused(&view, failure))?;
    let leaves = changes.leaves(&view);
    buffers.claims = claims;
    if leaves {
        return Ok(head);
    }
    let target = buffers.request.target.of(conn.input.filled());
    let (edits, query) = changes.of_head(target);
    amend(conn, buffers, head, &edits.fields, query.as_ref().map(Option::as_deref)).ok_or_else(too_large)
}

/// The response to a request whose head would become too large.
fn too_large() -> LocalAnswer {
    LocalAnswer { status: 431, detail: "request_headers_too_large", ..LocalAnswer::default() }
}
