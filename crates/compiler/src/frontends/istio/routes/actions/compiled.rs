//! What a rule's action is compiled to.

use ir::{Action, HeaderChanges};

/// A rule's action with the header changes of the route itself.
pub(crate) struct Compiled {
    pub(crate) action: Action,
    pub(crate) request_headers: HeaderChanges,
    pub(crate) response_headers: HeaderChanges,
}
