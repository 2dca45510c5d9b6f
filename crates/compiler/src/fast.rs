//! Hash maps and sets without random state: the same input takes the same steps, and no peer chooses the keys.

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash};

/// A hash map.
pub(crate) type FastMap<K, V> = HashMap<K, V, FixedState>;
/// A hash set.
pub(crate) type FastSet<K> = HashSet<K, FixedState>;

/// The hash of a value.
pub(crate) fn hash_of(value: &impl Hash) -> u64 {
    FixedState::default().hash_one(value)
}
