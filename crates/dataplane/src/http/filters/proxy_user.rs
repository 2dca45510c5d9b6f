//! Users of a forward proxy: a request without the credentials of one is answered 407, unless the client is known by its certificate or a token.

use crate::conn::{ExchangeBuffers, TableVersion};
use crate::http::client::ClientConnection;
use routing::{AllowList, LocalAnswer, forward};

/// Finds out who the user is, whose identity the request has from now on; the response if there is none.
pub(super) fn run(
    conn: &ClientConnection,
    buffers: &mut ExchangeBuffers,
    head: usize,
    version: &TableVersion,
) -> Option<LocalAnswer> {
    let users = version.table.forward().and_then(AllowList::users)?;
    let fields = buffers.request.fields(conn.input.filled().get(..head).unwrap_or_default());
    let has_certificate = !conn.client.access().identity.is_empty();
    let is_known = has_certificate || !buffers.claims.is_empty();
    match forward::authenticate(users, fields, is_known) {
        Ok(None) => None,
        Ok(Some(claims)) => {
            buffers.claims = claims;
            None
        }
        Err(answer) => Some(answer),
    }
}
