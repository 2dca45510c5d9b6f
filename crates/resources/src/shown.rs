//! State of objects that is shown and means nothing to what is served: statuses, ports of nodes. A change of it is no change of the
//! configuration, so that nothing is compiled for it; `set` replaces the object all the same, and `moongate get` shows it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A field that is shown alone: any two are equal. [`Shown::shows`] tells them apart.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shown<T>(pub T);

impl<T> PartialEq for Shown<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T: PartialEq> Shown<T> {
    /// Whether both show the same.
    pub fn shows(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

/// What an object has beside its metadata and what it says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Aside {
    /// When it was asked to end: `metadata.deletionTimestamp`.
    pub ends: Option<Timestamp>,
    /// `status`, of kinds that have a `spec` beside it.
    pub status: Option<Value>,
}
