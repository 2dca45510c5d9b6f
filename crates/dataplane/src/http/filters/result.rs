//! The result of a filter.

use crate::http::plan::Reply;

/// What a filter decides.
pub(super) enum FilterResult {
    /// The request goes on to the next filter.
    Continue,
    /// The gateway responds.
    Reply(Reply),
    /// The client has reset its connection or stream meanwhile.
    Abandon,
}
