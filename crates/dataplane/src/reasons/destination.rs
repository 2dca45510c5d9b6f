//! Why a destination that a client names is not connected to: the table for names that are resolved when they are asked for (SE-09).

use super::flags::Flags;
use upstream::DestinationError;

/// What is reported for a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DestinationReason {
    pub(crate) status: u16,
    pub(crate) flags: Flags,
    pub(crate) detail: &'static str,
    pub(crate) is_denial: bool,
}

const fn row(status: u16, flags: Flags, detail: &'static str, is_denial: bool) -> DestinationReason {
    DestinationReason { status, flags, detail, is_denial }
}

impl DestinationReason {
    /// The row of a cause.
    pub(crate) fn of(error: &DestinationError) -> Self {
        match error {
            DestinationError::NotCovered(..) => row(403, Flags::NONE, "egress_denied{not_covered}", true),
            DestinationError::Blocked(..) => row(403, Flags::NONE, "egress_denied{address}", true),
            DestinationError::Unresolved(..) => row(502, Flags::UH, "egress_unresolved", false),
            DestinationError::Timeout(..) => row(504, Flags::UT, "egress_resolve_timeout", false),
        }
    }
}
