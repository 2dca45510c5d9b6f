//! Order among objects and among routes (VS-04, S-60 to S-62).

use ir::Route;
use resources::key::Key;
use resources::set::Object;
use resources::spec::metadata::CreationTime;
use std::cmp::Ordering;
use std::sync::Arc;

/// Oldest first, then by name, then by namespace; objects without a time of creation are the oldest.
pub(crate) fn by_age<T, U>(a: &Object<T>, b: &Object<U>) -> Ordering {
    Age::new(a.meta.created, &a.key).cmp(&Age::new(b.meta.created, &b.key))
}

/// What the same order compares, in the order of the fields.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Age<'a> {
    created: Option<CreationTime>,
    name: &'a str,
    namespace: &'a str,
}

impl<'a> Age<'a> {
    pub(crate) fn new(created: Option<CreationTime>, key: &'a Key) -> Self {
        Self { created, name: &key.name, namespace: &key.namespace }
    }
}

/// Moves routes that take everything behind the others, and changes nothing else (S-62). Equal slices stay shared.
pub(crate) fn catch_alls_last(parts: &[&Arc<[Arc<Route>]>]) -> Arc<[Arc<Route>]> {
    let all = || parts.iter().flat_map(|part| part.iter());
    let in_order = all().map(|route| route.matches.is_catch_all()).is_sorted();
    match parts {
        [one] if in_order => Arc::clone(one),
        _ => {
            let (last, first): (Vec<_>, Vec<_>) = all().cloned().partition(|route| route.matches.is_catch_all());
            first.into_iter().chain(last).collect()
        }
    }
}
