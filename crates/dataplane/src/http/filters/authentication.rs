//! Tokens of requests (RA-02 to RA-04): before the route is picked, a request with a token that is not valid is refused, and the head of the others
//! is changed as if the client had sent it so.

use super::amended::{TooLarge, amend};
use crate::http::received_request::ReceivedRequest;
use crate::keys::{CachedVerifier, TokenIssuers};
use ir::HttpSettings;
use routing::LocalAnswer;
use routing::authentication::{self, Authenticated};
use std::time::{SystemTime, UNIX_EPOCH};

/// Verifies the tokens of a request, keeps its claims, and changes its head. The error is the response to the client.
pub(super) fn run(
    request: &mut ReceivedRequest<'_>,
    issuers: &TokenIssuers,
    settings: HttpSettings,
) -> Result<(), LocalAnswer> {
    let authenticated = request.prepare(settings, |request| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut verifier = CachedVerifier { issuers, cache: &mut request.worker.tokens.borrow_mut(), now };
        let authenticated = authentication::authenticate(&issuers.config, request.view, &mut verifier);
        let Authenticated { claims, changes } =
            authenticated.map_err(|failure| authentication::refused(request.view, failure))?;
        let changes = Some(changes).filter(|changes| !changes.leaves(request.view));
        Ok((claims, changes))
    });
    // A request that is malformed is refused by what decides next.
    let Ok(authenticated) = authenticated else { return Ok(()) };
    let (claims, changes) = authenticated?;
    request.buffers.claims = claims;
    let Some(changes) = changes else { return Ok(()) };
    let (edits, query) = changes.of_head(request.target());
    amend(request, &edits.fields, query.as_ref().map(Option::as_deref)).map_err(|TooLarge| too_large())
}

/// The response to a request whose head would become too large.
fn too_large() -> LocalAnswer {
    LocalAnswer { status: 431, detail: "request_headers_too_large", ..LocalAnswer::default() }
}
