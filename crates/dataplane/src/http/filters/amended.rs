//! A head that filters of the gate change before the request is routed.

use crate::http::received_request::ReceivedRequest;
use wire::edit::FieldEdit;

/// The head would become larger than its buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct TooLarge;

/// Changes the head as if the client had sent it so: routing and all else see the result. `query` is the new query, if it is another one.
pub(super) fn amend(
    request: &mut ReceivedRequest<'_>,
    edits: &[FieldEdit<'_>],
    query: Option<Option<&[u8]>>,
) -> Result<(), TooLarge> {
    let input = &mut request.conn.input;
    let (buffer, behind) = input.filled().split_at_checked(request.head).ok_or(TooLarge)?;
    let added = request.buffers.request.amend(buffer, edits, query);
    if !input.fits(added.len()) {
        return Err(TooLarge);
    }
    let behind = behind.to_vec();
    input.truncate(request.head);
    input.put(&added);
    input.put(&behind);
    request.head += added.len();
    Ok(())
}
