//! Users of a forward proxy: a request without the credentials of one is answered 407, unless the client is known by its certificate or a token.

use crate::conn::TableVersion;
use crate::http::received_request::ReceivedRequest;
use routing::{AllowList, LocalAnswer, forward};

/// Finds out who the user is, whose identity the request has from now on; the response if there is none.
pub(super) fn run(request: &mut ReceivedRequest<'_>, version: &TableVersion) -> Option<LocalAnswer> {
    let users = version.table.forward().and_then(AllowList::users)?;
    let has_certificate = !request.conn.client.access().identity.is_empty();
    let is_known = has_certificate || !request.buffers.claims.is_empty();
    match forward::authenticate(users, request.fields(), is_known) {
        Ok(None) => None,
        Ok(Some(claims)) => {
            request.buffers.claims = claims;
            None
        }
        Err(answer) => Some(answer),
    }
}
