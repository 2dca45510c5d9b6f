//! The EndpointSlices that are kept, by their Services: which of them go with the last reference to a Service.

use resources::few::Sorted;
use resources::key::Key;
use std::collections::HashMap;

/// EndpointSlices by Service, and the other way round.
#[derive(Debug, Default)]
pub(super) struct Slices {
    by_service: HashMap<Key, Sorted<Key>>,
    services: HashMap<Key, Key>,
}

impl Slices {
    /// The slice is kept, and is one of this Service.
    pub(super) fn insert(&mut self, slice: &Key, service: Key) {
        if self.services.get(slice) == Some(&service) {
            return;
        }
        self.remove(slice);
        self.by_service.entry(service.clone()).or_default().insert(slice);
        self.services.insert(slice.clone(), service);
    }

    /// The slice is not kept any more.
    pub(super) fn remove(&mut self, slice: &Key) {
        let Some(service) = self.services.remove(slice) else { return };
        if let Some(slices) = self.by_service.get_mut(&service) {
            slices.remove(slice);
            if slices.is_empty() {
                self.by_service.remove(&service);
            }
        }
    }

    /// The slices of a Service, sorted.
    pub(super) fn of(&self, service: &Key) -> Vec<Key> {
        self.by_service.get(service).map(|slices| slices.as_slice().to_vec()).unwrap_or_default()
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
        slices.insert(&key("b-2"), key("b"));
        slices.insert(&key("b-1"), key("b"));
        slices.insert(&key("b-1"), key("b"));
        assert_eq!(slices.of(&key("b")), [key("b-1"), key("b-2")]);
        slices.insert(&key("b-1"), key("c"));
        assert_eq!((slices.of(&key("b")), slices.of(&key("c"))), (vec![key("b-2")], vec![key("b-1")]));
        assert_eq!(slices.services(), [key("b"), key("c")]);
        slices.remove(&key("b-1"));
        slices.remove(&key("b-2"));
        assert!(slices.by_service.is_empty() && slices.services.is_empty());
    }
}
