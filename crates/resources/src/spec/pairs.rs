//! A map of few entries as one sorted list: what labels, ports and conditions on headers are. A tree would take ten times the
//! room for one entry, and a hundred thousand objects have them.

use super::scalar::Text;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// Values by name, sorted by name; each name is there once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pairs<V>(Box<[(Text, V)]>);

type Entry<'a, V> = fn(&'a (Text, V)) -> (&'a Text, &'a V);

/// Goes over the names and their values, in the order of the names.
pub type Iter<'a, V> = std::iter::Map<std::slice::Iter<'a, (Text, V)>, Entry<'a, V>>;

impl<V> Pairs<V> {
    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&V> {
        let at = self.0.binary_search_by(|(other, _)| (**other).cmp(name)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// Whether there is a value of the name.
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All of them.
    pub fn iter(&self) -> Iter<'_, V> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// The names.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Text> {
        self.0.iter().map(|(name, _)| name)
    }

    /// The values, in the order of their names.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<V> Default for Pairs<V> {
    fn default() -> Self {
        Self(Box::default())
    }
}

/// Of several values of one name the last one counts.
impl<V> FromIterator<(Text, V)> for Pairs<V> {
    fn from_iter<I: IntoIterator<Item = (Text, V)>>(entries: I) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        if !entries.is_sorted_by(|(one, _), (other, _)| one < other) {
            entries = entries.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect();
        }
        Self(entries.into_boxed_slice())
    }
}

impl<V, const N: usize> From<[(Text, V); N]> for Pairs<V> {
    fn from(entries: [(Text, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<V> Extend<(Text, V)> for Pairs<V> {
    fn extend<I: IntoIterator<Item = (Text, V)>>(&mut self, entries: I) {
        *self = std::mem::take(self).0.into_iter().chain(entries).collect();
    }
}

impl<'a, V> IntoIterator for &'a Pairs<V> {
    type Item = (&'a Text, &'a V);
    type IntoIter = Iter<'a, V>;

    fn into_iter(self) -> Iter<'a, V> {
        self.iter()
    }
}

impl<V: fmt::Debug> fmt::Debug for Pairs<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<V: Serialize> Serialize for Pairs<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Pairs<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read<V>(std::marker::PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Read<V> {
            type Value = Pairs<V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<V>, A::Error> {
                let mut entries = Vec::with_capacity(map.size_hint().unwrap_or(0).min(1024));
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(entries.into_iter().collect())
            }
        }
        deserializer.deserialize_map(Read(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_the_last_value_counts() {
        let pairs: Pairs<u32> = serde_json::from_str(r#"{"b": 1, "a": 2, "b": 3}"#).unwrap();
        assert_eq!(pairs.iter().map(|(name, value)| (&**name, *value)).collect::<Vec<_>>(), [("a", 2), ("b", 3)]);
        assert_eq!((pairs.get("b"), pairs.get("c"), pairs.len()), (Some(&3), None, 2));
        assert_eq!(serde_json::to_string(&pairs).unwrap(), r#"{"a":2,"b":3}"#);
    }

    #[test]
    fn more_can_be_put_in() {
        let mut pairs = Pairs::from([("b".into(), 1)]);
        pairs.extend([("a".into(), 2), ("b".into(), 3)]);
        assert_eq!(pairs, Pairs::from([("a".into(), 2), ("b".into(), 3)]));
        assert!(pairs.contains_key("a") && !Pairs::<u32>::default().contains_key("a"));
    }
}
