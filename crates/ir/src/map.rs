//! The map that the rest of this crate is built from.

/// An ordered persistent map: clones share structure, so that a snapshot costs what changed in it.
pub type Map<K, V> = rpds::RedBlackTreeMapSync<K, V>;
