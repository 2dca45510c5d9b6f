//! The keys of issuers (RA-05): those that are written in the configuration, and sets that are fetched off the data path and reach workers by
//! an atomic swap.

mod cache;
mod issuers;
mod remote;

pub(crate) use cache::{CachedVerifier, TokenCache};
pub(crate) use issuers::{KeySets, TokenIssuers};
