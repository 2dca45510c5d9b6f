//! What the index holds of one host. There may be a hundred thousand of these, most of them with one of each, so that one is
//! kept in place.

use ir::ClusterId;
use resources::key::{Key, ObjectRef};
use std::sync::Arc;

/// Everything that goes by one host.
#[derive(Debug, Default)]
pub(crate) struct HostEntry {
    /// ServiceEntries that have it.
    pub(crate) entries: Sorted<Key>,
    /// DestinationRules for just this host.
    rules: Option<Box<Sorted<Key>>>,
    /// Objects with routes to it.
    pub(crate) users: Sorted<ObjectRef>,
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
        self.rules.as_deref().map_or(&[], Sorted::as_slice)
    }

    pub(crate) fn set_rule(&mut self, key: &Key, present: bool) {
        let rules = self.rules.get_or_insert_default();
        rules.set(key, present);
        if rules.is_empty() {
            self.rules = None;
        }
    }

    /// Whether some route goes to it, and not only clients of a forward proxy.
    pub(crate) fn has_routed_clusters(&self) -> bool {
        self.clusters.iter().any(|used| !used.id.is_forward())
    }

    /// Whether some route goes to it, or clients of a forward proxy may.
    pub(crate) fn has_clusters(&self) -> bool {
        !self.clusters.is_empty()
    }

    /// Whether some route goes to the cluster.
    pub(crate) fn has_cluster(&self, id: &ClusterId) -> bool {
        self.clusters.iter().any(|used| used.id == *id)
    }

    /// The cluster that routes have for a port and subset; those of forward proxies are others.
    pub(crate) fn cluster(&self, port: u16, subset: &str) -> Option<&ClusterUse> {
        let mut clusters = self.clusters.iter().filter(|used| !used.id.is_forward());
        clusters.find(|used| used.port == port && &*used.subset == subset)
    }
}

/// Values in their order, without repetition; the only one stands in place.
#[derive(Debug)]
pub(crate) enum Sorted<T> {
    One(T),
    /// None, or at least two.
    Others(Vec<T>),
}

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self::Others(Vec::new())
    }
}

impl<T: Ord + Clone> Sorted<T> {
    pub(crate) fn as_slice(&self) -> &[T] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Others(values) => values,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    pub(crate) fn insert(&mut self, value: &T) {
        match self {
            Self::One(only) if only == value => {}
            Self::One(only) => {
                let (first, last) = if *only < *value { (&*only, value) } else { (value, &*only) };
                *self = Self::Others(vec![first.clone(), last.clone()]);
            }
            Self::Others(values) if values.is_empty() => *self = Self::One(value.clone()),
            Self::Others(values) => {
                if let Err(at) = values.binary_search(value) {
                    values.insert(at, value.clone());
                }
            }
        }
    }

    pub(crate) fn remove(&mut self, value: &T) {
        match self {
            Self::One(only) if only == value => *self = Self::default(),
            Self::One(_) => {}
            Self::Others(values) => {
                if let Ok(at) = values.binary_search(value) {
                    values.remove(at);
                }
                if let [only] = &values[..] {
                    *self = Self::One(only.clone());
                }
            }
        }
    }

    pub(crate) fn set(&mut self, value: &T, present: bool) {
        if present { self.insert(value) } else { self.remove(value) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_the_only_one_takes_no_list() {
        let key = |name: &str| Key { namespace: "a".into(), name: name.into() };
        let mut keys = Sorted::default();
        for name in ["c", "a", "b", "a"] {
            keys.insert(&key(name));
        }
        assert_eq!(keys.as_slice(), [key("a"), key("b"), key("c")]);
        keys.remove(&key("b"));
        keys.remove(&key("x"));
        keys.remove(&key("a"));
        assert!(matches!(&keys, Sorted::One(only) if *only == key("c")));
        keys.remove(&key("c"));
        assert!(keys.is_empty());
        assert_eq!(size_of::<Sorted<Key>>(), size_of::<Key>());
    }
}
