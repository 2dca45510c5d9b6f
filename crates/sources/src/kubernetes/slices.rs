//! The EndpointSlices that are kept, by their Services: which of them go with the last reference to a Service.

use resources::key::Key;
use std::collections::HashMap;
use std::sync::Arc;

/// Names of EndpointSlices by Service, and the other way round; both are in one namespace.
#[derive(Debug, Default)]
pub(super) struct Slices {
    by_service: HashMap<Key, Vec<Arc<str>>>,
    services: HashMap<Key, Arc<str>>,
}

impl Slices {
    /// The slice is kept, and is one of this Service.
    pub(super) fn insert(&mut self, slice: &Key, service: &Key) {
        if self.services.get(slice) == Some(&service.name) {
            return;
        }
        self.remove(slice);
        // Nearly all Services have one.
        let of_service = self.by_service.entry(service.clone()).or_insert_with(|| Vec::with_capacity(1));
        of_service.push(Arc::clone(&slice.name));
        self.services.insert(slice.clone(), Arc::clone(&service.name));
    }

    /// The slice is not kept any more.
    pub(super) fn remove(&mut self, slice: &Key) {
        let Some(name) = self.services.remove(slice) else { return };
        let service = Key::new(Arc::clone(&slice.namespace), name);
        if let Some(slices) = self.by_service.get_mut(&service) {
            slices.retain(|one| *one != slice.name);
            if slices.is_empty() {
                self.by_service.remove(&service);
            }
        }
    }

    /// The slices of a Service, sorted.
    pub(super) fn of(&self, service: &Key) -> Vec<Key> {
        let slices = self.by_service.get(service).into_iter().flatten();
        let mut found: Vec<Key> =
            slices.map(|name| Key::new(Arc::clone(&service.namespace), Arc::clone(name))).collect();
        found.sort_unstable();
        found
    }

    /// All Services that have any, sorted.
    pub(super) fn services(&self) -> Vec<Key> {
        let mut all: Vec<Key> = self.by_service.keys().cloned().collect();
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("a", name)
    }

    #[test]
    fn a_slice_belongs_to_one_service_at_a_time() {
        let mut slices = Slices::default();
        slices.insert(&key("b-2"), &key("b"));
        slices.insert(&key("b-1"), &key("b"));
        slices.insert(&key("b-1"), &key("b"));
        assert_eq!(slices.of(&key("b")), [key("b-1"), key("b-2")]);
        slices.insert(&key("b-1"), &key("c"));
        assert_eq!((slices.of(&key("b")), slices.of(&key("c"))), (vec![key("b-2")], vec![key("b-1")]));
        assert_eq!(slices.services(), [key("b"), key("c")]);
        slices.remove(&key("b-1"));
        slices.remove(&key("b-2"));
        assert!(slices.by_service.is_empty() && slices.services.is_empty());
    }
}
