//! The keys of issuers (RA-05): those that are written in the configuration, and sets that are fetched off the data path and reach workers by
//! an atomic swap.

mod issuers;
mod remote;
mod verifier;

pub(crate) use issuers::{KeySets, TokenIssuers};
pub use remote::KeysUnavailable;
pub(crate) use verifier::CachedVerifier;
