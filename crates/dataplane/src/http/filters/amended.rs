//! A head that filters of the gate change before the request is routed.

use crate::conn::ExchangeBuffers;
use crate::http::client::ClientConnection;
use wire::edit::FieldEdit;

/// Changes the head, which is the first `head` octets of the connection's input, as if the client had sent it so: routing and all else see the
/// result. `query` is the new query, if it is another one. Returns the length of the head; `None` if it would become too large.
pub(super) fn amend(
    conn: &mut ClientConnection,
    buffers: &mut ExchangeBuffers,
    head: usize,
    edits: &[FieldEdit<'_>],
    query: Option<Option<&[u8]>>,
) -> Option<usize> {
    let input = conn.input.filled();
    let (buffer, behind) = input.split_at_checked(head)?;
    let added = buffers.request.amend(buffer, edits, query);
    if !conn.input.fits(added.len()) {
        return None;
    }
    let behind = behind.to_vec();
    conn.input.truncate(head);
    conn.input.put(&added);
    conn.input.put(&behind);
    Some(head + added.len())
}
