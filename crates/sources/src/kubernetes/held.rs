//! Which objects are kept because of which references.

use super::references::Wanted;
use resources::key::ObjectRef;
use std::collections::{HashMap, HashSet};

/// Objects by reference, and the other way round.
#[derive(Debug, Default)]
pub(super) struct Held {
    objects: HashMap<Wanted, HashSet<ObjectRef>>,
    reasons: HashMap<ObjectRef, HashSet<Wanted>>,
}

impl Held {
    /// The object is kept for these reasons, and for no others any more.
    pub(super) fn set(&mut self, object: &ObjectRef, reasons: HashSet<Wanted>) {
        self.remove(object);
        if reasons.is_empty() {
            return;
        }
        for wanted in &reasons {
            self.objects.entry(wanted.clone()).or_default().insert(object.clone());
        }
        self.reasons.insert(object.clone(), reasons);
    }

    /// The object is gone.
    pub(super) fn remove(&mut self, object: &ObjectRef) {
        for wanted in self.reasons.remove(object).unwrap_or_default() {
            if let Some(objects) = self.objects.get_mut(&wanted) {
                objects.remove(object);
                if objects.is_empty() {
                    self.objects.remove(&wanted);
                }
            }
        }
    }

    /// Nothing refers to it any more: the objects that are kept for no other reason.
    pub(super) fn release(&mut self, wanted: &Wanted) -> Vec<ObjectRef> {
        let objects = self.objects.remove(wanted).unwrap_or_default();
        let mut released = Vec::new();
        for object in objects {
            let Some(reasons) = self.reasons.get_mut(&object) else { continue };
            reasons.remove(wanted);
            if reasons.is_empty() {
                self.reasons.remove(&object);
                released.push(object);
            }
        }
        released.sort_unstable();
        released
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resources::key::{Key, Kind};

    #[test]
    fn an_object_is_released_with_its_last_reason() {
        let key = Key { namespace: "a".into(), name: "b".into() };
        let object = ObjectRef { kind: Kind::EndpointSlice, key: key.clone() };
        let mut held = Held::default();
        held.set(&object, [Wanted::Slices(key.clone()), Wanted::AllSlices].into());
        assert!(held.release(&Wanted::AllSlices).is_empty());
        assert_eq!(held.release(&Wanted::Slices(key.clone())), std::slice::from_ref(&object));
        held.set(&object, [Wanted::Slices(key.clone())].into());
        held.set(&object, [Wanted::AllSlices].into());
        assert!(held.release(&Wanted::Slices(key)).is_empty(), "it belongs to another Service now");
        held.remove(&object);
        assert!(held.release(&Wanted::AllSlices).is_empty() && held.objects.is_empty() && held.reasons.is_empty());
    }
}
