//! The result of a successful attempt.

/// The result of a successful attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Finished {
    /// Both sides switched protocols.
    Tunnel,
    /// The response is complete.
    Answered {
        /// Whether nothing of the exchange is left on the backend's connection, which may stay open.
        is_clean: bool,
        /// Whether the response has `Connection: close`.
        close: bool,
    },
}
