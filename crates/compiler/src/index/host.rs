//! What the index holds of one host. There may be a hundred thousand of these, most of them with one of each, so that one is
//! kept in place.

use ir::ClusterId;
use resources::key::Key;
use std::sync::Arc;

/// Everything that goes by one host.
#[derive(Debug, Default)]
pub(crate) struct HostEntry {
    /// ServiceEntries that have it.
    pub(crate) entries: SortedKeys,
    /// DestinationRules for just this host.
    rules: Option<Box<SortedKeys>>,
    /// VirtualServices with routes to it.
    pub(crate) users: SortedKeys,
    /// Clusters of it that routes go to.
    pub(crate) clusters: Vec<ClusterUse>,
}

/// A cluster and how many compiled routes go to it.
#[derive(Debug)]
pub(crate) struct ClusterUse {
    pub(crate) port: u16,
    pub(crate) subset: Arc<str>,
    pub(crate) id: ClusterId,
    pub(crate) uses: u32,
}

impl HostEntry {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.rules().is_empty() && self.users.is_empty() && self.clusters.is_empty()
    }

    /// DestinationRules for just this host.
    pub(crate) fn rules(&self) -> &[Key] {
        self.rules.as_deref().map_or(&[], SortedKeys::as_slice)
    }

    pub(crate) fn set_rule(&mut self, key: &Key, present: bool) {
        let rules = self.rules.get_or_insert_default();
        rules.set(key, present);
        if rules.is_empty() {
            self.rules = None;
        }
    }

    /// Whether some route goes to it.
    pub(crate) fn has_clusters(&self) -> bool {
        !self.clusters.is_empty()
    }

    /// The cluster of a port and subset.
    pub(crate) fn cluster(&self, port: u16, subset: &str) -> Option<&ClusterUse> {
        self.clusters.iter().find(|used| used.port == port && &*used.subset == subset)
    }
}

/// Keys in their order, without repetition; the only one stands in place.
#[derive(Debug)]
pub(crate) enum SortedKeys {
    One(Key),
    /// None, or at least two.
    Others(Vec<Key>),
}

impl Default for SortedKeys {
    fn default() -> Self {
        Self::Others(Vec::new())
    }
}

impl SortedKeys {
    pub(crate) fn as_slice(&self) -> &[Key] {
        match self {
            Self::One(key) => std::slice::from_ref(key),
            Self::Others(keys) => keys,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    pub(crate) fn insert(&mut self, key: &Key) {
        match self {
            Self::One(only) if only == key => {}
            Self::One(only) => {
                let (first, last) = if *only < *key { (&*only, key) } else { (key, &*only) };
                *self = Self::Others(vec![first.clone(), last.clone()]);
            }
            Self::Others(keys) if keys.is_empty() => *self = Self::One(key.clone()),
            Self::Others(keys) => {
                if let Err(at) = keys.binary_search(key) {
                    keys.insert(at, key.clone());
                }
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &Key) {
        match self {
            Self::One(only) if only == key => *self = Self::default(),
            Self::One(_) => {}
            Self::Others(keys) => {
                if let Ok(at) = keys.binary_search(key) {
                    keys.remove(at);
                }
                if let [only] = &keys[..] {
                    *self = Self::One(only.clone());
                }
            }
        }
    }

    pub(crate) fn set(&mut self, key: &Key, present: bool) {
        if present { self.insert(key) } else { self.remove(key) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_the_only_one_takes_no_list() {
        let key = |name: &str| Key { namespace: "a".into(), name: name.into() };
        let mut keys = SortedKeys::default();
        for name in ["c", "a", "b", "a"] {
            keys.insert(&key(name));
        }
        assert_eq!(keys.as_slice(), [key("a"), key("b"), key("c")]);
        keys.remove(&key("b"));
        keys.remove(&key("x"));
        keys.remove(&key("a"));
        assert!(matches!(&keys, SortedKeys::One(only) if *only == key("c")));
        keys.remove(&key("c"));
        assert!(keys.is_empty());
        assert_eq!(size_of::<SortedKeys>(), size_of::<Key>());
    }
}
