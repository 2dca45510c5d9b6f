//! The metadata that every object has.

use super::scalar::Text;
use super::text_match::Labels;
use serde::Deserialize;

/// `metadata`, as far as a gateway looks at it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// The name.
    pub name: Text,
    /// The namespace; `default` when empty.
    pub namespace: Text,
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
    /// When the API server made it; order among objects is by this (VS-04).
    pub creation_timestamp: Option<jiff::Timestamp>,
    /// When it was asked to end.
    pub deletion_timestamp: Option<jiff::Timestamp>,
}
