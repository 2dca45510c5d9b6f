//! Lists that nearly always have one value. There may be a hundred thousand of them, so that the only value is kept in place, and a list
//! takes no more room than the value and a pointer.

/// A list of values.
#[derive(Debug, Clone, PartialEq)]
pub struct Few<T>(Values<T>);

#[derive(Debug, Clone, PartialEq)]
enum Values<T> {
    One(T),
    /// None, or at least two.
    #[expect(clippy::box_collection, reason = "a list of one value would take the room of a vector for nothing")]
    Others(Option<Box<Vec<T>>>),
}

/// Values in their order, without repetition.
#[derive(Debug)]
pub struct Sorted<T>(Few<T>);

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(Values::Others(None))
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(mut values: Vec<T>) -> Self {
        if values.len() > 1 {
            return Self(Values::Others(Some(Box::new(values))));
        }
        values.pop().map_or_else(Self::default, |only| Self(Values::One(only)))
    }
}

impl<T> Few<T> {
    /// The values.
    pub fn as_slice(&self) -> &[T] {
        match &self.0 {
            Values::One(value) => std::slice::from_ref(value),
            Values::Others(values) => values.as_deref().map_or(&[], Vec::as_slice),
        }
    }

    /// The values, to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        match &mut self.0 {
            Values::One(value) => std::slice::from_mut(value),
            Values::Others(values) => values.as_deref_mut().map_or(&mut [], Vec::as_mut_slice),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Values::Others(None))
    }

    /// Puts a value before that at `at`, or last.
    pub fn insert(&mut self, at: usize, value: T) {
        let mut values = match std::mem::take(self).0 {
            Values::One(only) => Box::new(vec![only]),
            Values::Others(Some(values)) => values,
            Values::Others(None) => {
                *self = Self(Values::One(value));
                return;
            }
        };
        values.insert(at.min(values.len()), value);
        *self = Self(Values::Others(Some(values)));
    }

    /// Removes the value at `at`, if there is one.
    pub fn remove(&mut self, at: usize) {
        match &mut self.0 {
            Values::One(_) if at == 0 => *self = Self::default(),
            Values::Others(Some(values)) if at < values.len() => {
                values.remove(at);
                if values.len() == 1 {
                    *self = std::mem::take(&mut **values).into();
                }
            }
            Values::One(_) | Values::Others(_) => {}
        }
    }
}

impl<T: Ord> FromIterator<T> for Sorted<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut values: Vec<T> = values.into_iter().collect();
        values.sort_unstable();
        values.dedup();
        Self(values.into())
    }
}

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self(Few::default())
    }
}

impl<T: Ord + Clone> Sorted<T> {
    /// The values, sorted.
    pub fn as_slice(&self) -> &[T] {
        self.0.as_slice()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts a value in its place, unless it is there.
    pub fn insert(&mut self, value: &T) {
        if let Err(at) = self.as_slice().binary_search(value) {
            self.0.insert(at, value.clone());
        }
    }

    /// Removes a value, if it is there.
    pub fn remove(&mut self, value: &T) {
        if let Ok(at) = self.as_slice().binary_search(value) {
            self.0.remove(at);
        }
    }

    /// Whether a value is there.
    pub fn contains(&self, value: &T) -> bool {
        self.as_slice().binary_search(value).is_ok()
    }

    /// Puts a value there, or takes it away.
    pub fn set(&mut self, value: &T, present: bool) {
        if present { self.insert(value) } else { self.remove(value) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn values_are_sorted_and_the_only_one_takes_no_list() {
        let mut values: Sorted<Arc<str>> = Sorted::default();
        for value in ["c", "a", "b", "a"] {
            values.insert(&value.into());
        }
        assert_eq!(values.as_slice(), ["a".into(), "b".into(), "c".into()]);
        for value in ["b", "x", "a"] {
            values.remove(&value.into());
        }
        assert!(matches!(&values.0.0, Values::One(only) if **only == *"c"));
        values.remove(&"x".into());
        assert_eq!(values.as_slice(), ["c".into()]);
        values.remove(&"c".into());
        assert!(values.is_empty());
        assert!(values.as_slice().is_empty());
    }

    #[test]
    fn a_list_keeps_the_order_in_which_values_were_put() {
        for count in 0..4 {
            let values: Vec<usize> = (0..count).collect();
            let mut few = Few::from(values.clone());
            assert_eq!((few.as_slice(), few.is_empty()), (&values[..], count == 0));
            assert_eq!(few.as_mut_slice(), values);
            few.remove(count);
            few.insert(usize::MAX, 9);
            assert_eq!(few.as_slice(), [values.clone(), vec![9]].concat());
            few.insert(0, 8);
            few.remove(count + 1);
            assert_eq!(few.as_slice(), [vec![8], values].concat());
        }
    }

    #[test]
    fn a_list_takes_little_room() {
        assert_eq!(size_of::<Few<Arc<usize>>>(), 2 * size_of::<usize>());
        assert_eq!(size_of::<Sorted<crate::key::Key>>(), 2 * size_of::<usize>());
    }
}
