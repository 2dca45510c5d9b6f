//! What the rules of a VirtualService are for, where it decides what is allowed in them.

/// What a rule's VirtualService is.
#[derive(Clone, Copy)]
pub(in crate::validate) struct Around {
    /// Its rules are put into those of others (VS-48).
    pub(in crate::validate) delegate: bool,
    /// It is for gateways, and not for the mesh as well (VS-22).
    pub(in crate::validate) gateways_alone: bool,
}
