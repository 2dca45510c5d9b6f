//! Istio and Kubernetes kinds as plain structs, YAML with positions, each kind's own validation, and diagnostics.
//!
//! `sources` fills a [`ResourceSet`] with what this crate read; `compiler` turns it into what the gateway must do.
//! Nothing here knows of listeners, sockets or a Kubernetes client.

pub mod diagnostic;
pub mod key;

/// An ordered persistent map: clones share structure.
pub type Map<K, V> = rpds::RedBlackTreeMapSync<K, V>;
