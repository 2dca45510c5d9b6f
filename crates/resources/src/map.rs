//! The map that the rest of this crate is built from.

/// An ordered persistent map: clones share structure.
pub type Map<K, V> = rpds::RedBlackTreeMapSync<K, V>;
