//! Order among objects and among routes (VS-04, S-60 to S-62).

use ir::Route;
use jiff::Timestamp;
use resources::key::Key;
use resources::set::Object;
use std::cmp::Ordering;
use std::sync::Arc;

/// Oldest first, then by name, then by namespace; objects without a time of creation are the oldest.
pub(crate) fn by_age<T, U>(a: &Object<T>, b: &Object<U>) -> Ordering {
    age((a.meta.created, &a.key), (b.meta.created, &b.key))
}

/// The same order of two times of creation with their keys.
pub(crate) fn age(a: (Option<Timestamp>, &Key), b: (Option<Timestamp>, &Key)) -> Ordering {
    let name = || a.1.name.cmp(&b.1.name).then_with(|| a.1.namespace.cmp(&b.1.namespace));
    a.0.cmp(&b.0).then_with(name)
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
