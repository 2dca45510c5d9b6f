//! The object that a plan was made from.

use crate::order::Age;
use resources::key::ObjectRef;
use resources::set::Object;
use resources::spec::Spec;
use resources::spec::metadata::CreationTime;
use std::cmp::Ordering;

/// An object and its age, by which objects take precedence over each other (S-10, VS-04).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) object: ObjectRef,
    /// When an API server created it; objects without are the oldest.
    pub(crate) created: Option<CreationTime>,
}

impl Owner {
    pub(crate) fn of<T: Spec>(object: &Object<T>) -> Self {
        Self { object: ObjectRef { kind: T::KIND, key: object.key.clone() }, created: object.meta.created }
    }

    /// Oldest first, then by name, then by namespace, then by kind.
    pub(crate) fn by_age(&self, other: &Self) -> Ordering {
        Age::new(self.created, &self.object.key)
            .cmp(&Age::new(other.created, &other.object.key))
            .then_with(|| self.object.kind.cmp(&other.object.kind))
    }
}
