//! The result of a successful attempt.

use crate::codec::Upstream;
use upstream::Connection;

/// The result of a successful attempt.
pub(in crate::http) enum Finished {
    /// Both sides switched protocols.
    Tunnel(Upstream),
    /// The response is complete.
    Answered {
        /// The backend's connection, if it is reusable.
        up: Option<Connection>,
        /// Whether the response has `Connection: close`.
        close: bool,
    },
}
