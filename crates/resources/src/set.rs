//! The set of all objects at one moment, and which of them changed since the moment before.

use crate::Map;
use crate::diagnostic::SourceLocation;
use crate::file_contents::FileContents;
use crate::key::{Key, Kind, ObjectRef};
use crate::shown::Aside;
use crate::spec::Spec;
use crate::spec::core::{ConfigMap, EndpointSlice, Endpoints, Namespace, Node, Secret, Service};
use crate::spec::destination_rule::DestinationRule;
use crate::spec::gateway::Gateway;
use crate::spec::metadata::CreationTime;
use crate::spec::pod::Pod;
use crate::spec::security::{AuthorizationPolicy, PeerAuthentication, RequestAuthentication};
use crate::spec::service_entry::ServiceEntry;
use crate::spec::text_match::Labels;
use crate::spec::virtual_service::VirtualService;
use crate::spec::workload_entry::WorkloadEntry;
use serde::Serialize as _;
use std::sync::Arc;

/// One object.
#[derive(Debug, Clone, PartialEq)]
pub struct Object<T> {
    /// What tells it apart.
    pub key: Key,
    /// Labels and the like.
    pub meta: Meta,
    /// Where it was read from; not part of what it means, so that it moving within its file changes nothing.
    pub source: Option<SourceLocation>,
    /// What it says.
    pub spec: T,
}

impl<T: PartialEq> Object<T> {
    fn means_the_same(&self, other: &Self) -> bool {
        self.key == other.key && self.meta == other.meta && self.spec == other.spec
    }

    fn is_elsewhere(&self, other: &Self) -> bool {
        self.source != other.source
    }
}

impl<T: Spec> Object<T> {
    /// Whether something else is shown of it, which means nothing to what is served.
    fn is_shown_anew(&self, other: &Self) -> bool {
        !self.spec.shows_the_same(&other.spec)
    }
}

/// What a change did to a set.
enum Effect {
    Nothing,
    /// Something else is shown.
    Shown,
    Changed(ObjectRef),
}

/// Labels, annotations and age of an object.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Meta {
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
    /// When an API server made it.
    pub created: Option<CreationTime>,
}

/// Why an object that was written is not in a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absence {
    /// Its document has errors, and there is no version before it.
    Invalid {
        /// The code of the first error.
        code: &'static str,
        /// Which workloads it is for; `None` where that could not be read, so that it may be any.
        selector: Option<Labels>,
    },
    /// The object of this kind and name is of another group, whose kinds are not read.
    OtherGroup(Arc<str>),
}

/// One change of a set.
#[derive(Debug, Clone)]
pub enum Change {
    /// The object is new or different.
    Put(AnyObject),
    /// The object is gone.
    Delete(ObjectRef),
}

macro_rules! kinds {
    ($($kind:ident $field:ident),+ $(,)?) => {
        /// An object of any kind.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs, reason = "the names are the kinds")]
        pub enum AnyObject { $($kind(Arc<Object<$kind>>)),+ }

        impl AnyObject {
            /// Its kind and key.
            pub fn object_ref(&self) -> ObjectRef {
                match self { $(Self::$kind(object) => ObjectRef { kind: Kind::$kind, key: object.key.clone() }),+ }
            }

            /// Has it refer to a key that is equal to its own, so that its name is not kept twice. One that others have, too, stays as it is.
            pub fn share_key(&mut self, key: &Key) {
                match self {
                    $(Self::$kind(object) => if let Some(object) = Arc::get_mut(object).filter(|object| object.key == *key) {
                        object.key = key.clone();
                    }),+
                }
            }

            /// Where it was read from.
            pub fn source(&self) -> Option<&SourceLocation> {
                match self { $(Self::$kind(object) => object.source.as_ref()),+ }
            }

            /// Its labels, annotations and age.
            pub fn meta(&self) -> &Meta {
                match self { $(Self::$kind(object) => &object.meta),+ }
            }

            /// Writes what it says; the values of Secrets are left out.
            pub fn write_spec<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(Self::$kind(object) => object.spec.serialize(serializer)),+ }
            }

            /// What is kept of what it has beside that.
            pub fn aside(&self) -> Aside {
                match self { $(Self::$kind(object) => object.spec.aside()),+ }
            }
        }

        /// All objects at one moment. Clones share structure.
        #[derive(Debug, Clone, Default)]
        pub struct ResourceSet {
            /// One more than that of the set before.
            pub generation: u64,
            /// What differs from the set before, sorted; empty in the first that is read.
            pub changed: Arc<[ObjectRef]>,
            /// The files that objects name.
            pub files: FileContents,
            /// Files that differ from the set before, sorted; those that came and went among them.
            pub changed_files: Arc<[Arc<str>]>,
            /// Objects that somebody wrote and that are not there all the same, with the reason.
            pub absent: Map<ObjectRef, Absence>,
            $(
                /// Objects of this kind.
                pub $field: Map<Key, Arc<Object<$kind>>>,
            )+
        }

        impl ResourceSet {
            fn apply(&mut self, change: Change) -> Effect {
                match change {
                    $(Change::Put(AnyObject::$kind(object)) => {
                        let before = self.$field.get(&object.key).filter(|before| before.means_the_same(&object));
                        // Readers keep the objects of before: one that is the same in all takes no room twice.
                        let is_elsewhere = before.is_none_or(|before| before.is_elsewhere(&object));
                        let effect = match before {
                            None => Effect::Changed(ObjectRef { kind: Kind::$kind, key: object.key.clone() }),
                            Some(before) if before.is_shown_anew(&object) => Effect::Shown,
                            Some(_) => Effect::Nothing,
                        };
                        if is_elsewhere || !matches!(effect, Effect::Nothing) {
                            self.$field.insert_mut(object.key.clone(), object);
                        }
                        effect
                    })+
                    Change::Delete(object) => {
                        let there = match object.kind { $(Kind::$kind => self.$field.remove_mut(&object.key)),+ };
                        if there { Effect::Changed(object) } else { Effect::Nothing }
                    }
                }
            }

            /// Where an object was read from.
            pub fn source(&self, object: &ObjectRef) -> Option<&SourceLocation> {
                match object.kind { $(Kind::$kind => self.$field.get(&object.key)?.source.as_ref()),+ }
            }

            /// An object.
            pub fn get(&self, object: &ObjectRef) -> Option<AnyObject> {
                match object.kind {
                    $(Kind::$kind => self.$field.get(&object.key).cloned().map(AnyObject::$kind)),+
                }
            }

            /// Whether there is such an object.
            pub fn contains(&self, object: &ObjectRef) -> bool {
                match object.kind { $(Kind::$kind => self.$field.contains_key(&object.key)),+ }
            }

            /// The kind and key of every object.
            pub fn objects(&self) -> impl Iterator<Item = ObjectRef> + '_ {
                std::iter::empty()$(.chain(
                    self.$field.keys().map(|key| ObjectRef { kind: Kind::$kind, key: key.clone() })
                ))+
            }

            /// How many objects there are.
            pub fn len(&self) -> usize {
                0 $(+ self.$field.size())+
            }
        }
    };
}

kinds! {
    Gateway gateways,
    VirtualService virtual_services,
    DestinationRule destination_rules,
    ServiceEntry service_entries,
    WorkloadEntry workload_entries,
    Service services,
    Endpoints endpoints,
    EndpointSlice endpoint_slices,
    Secret secrets,
    Namespace namespaces,
    ConfigMap config_maps,
    Pod pods,
    Node nodes,
    RequestAuthentication request_authentications,
    AuthorizationPolicy authorization_policies,
    PeerAuthentication peer_authentications,
}

impl ResourceSet {
    /// The set after some changes. Changes without effect do not count as changed.
    pub fn with(&self, changes: impl IntoIterator<Item = Change>) -> Self {
        self.with_and_shown(changes).0
    }

    /// The same, and whether something else is shown of an object that has not changed.
    pub fn with_and_shown(&self, changes: impl IntoIterator<Item = Change>) -> (Self, bool) {
        let mut next = self.clone();
        let (mut changed, mut is_shown_anew) = (Vec::new(), false);
        for change in changes {
            match next.apply(change) {
                Effect::Nothing => {}
                Effect::Shown => is_shown_anew = true,
                Effect::Changed(object) => changed.push(object),
            }
        }
        changed.sort_unstable();
        changed.dedup();
        next.generation += 1;
        next.changed = changed.into();
        next.changed_files = Arc::default();
        (next, is_shown_anew)
    }

    /// The set with these files in place of those that it has. Belongs to the same generation.
    pub fn with_files(mut self, files: FileContents) -> Self {
        self.changed_files = self.files.differing(&files).into();
        self.files = files;
        self
    }

    /// The set with these reasons in place of those that it has. Belongs to the same generation; objects whose reason is another count as
    /// changed.
    pub fn with_absent(mut self, absent: Map<ObjectRef, Absence>) -> Self {
        let mut changed: Vec<ObjectRef> = self.changed.to_vec();
        for (here, there) in [(&self.absent, &absent), (&absent, &self.absent)] {
            changed
                .extend(here.iter().filter(|(object, why)| there.get(*object) != Some(*why)).map(|(o, _)| o.clone()));
        }
        changed.sort_unstable();
        changed.dedup();
        (self.absent, self.changed) = (absent, changed.into());
        self
    }

    /// The set as part of the generation of `before`, which no reader has seen: what differs in `before` differs in this set as well.
    pub fn gathered_with(mut self, before: &Self) -> Self {
        self.generation = before.generation;
        self.changed = union(&self.changed, &before.changed);
        self.changed_files = union(&self.changed_files, &before.changed_files);
        self
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Two sorted lists as one.
fn union<T: Ord + Clone>(one: &Arc<[T]>, other: &Arc<[T]>) -> Arc<[T]> {
    if one.is_empty() || other.is_empty() {
        return Arc::clone(if one.is_empty() { other } else { one });
    }
    let mut all: Vec<T> = one.iter().chain(other.iter()).cloned().collect();
    all.sort_unstable();
    all.dedup();
    all.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(address: &str) -> AnyObject {
        let key = Key::new("default", "a");
        let spec = WorkloadEntry { address: address.into(), ..WorkloadEntry::default() };
        AnyObject::WorkloadEntry(Arc::new(Object { key, meta: Meta::default(), source: None, spec }))
    }

    /// A Service with a load balancer at this address, and a port of the nodes.
    fn service(ip: &str, node_port: u16) -> AnyObject {
        let value = serde_json::json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "default"},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80, "nodePort": node_port}], "externalIPs": ["9.9.9.9"]},
            "status": {"loadBalancer": {"ingress": [{"ip": ip}]}},
        });
        crate::read::read_value(value).objects.remove(0)
    }

    #[test]
    fn what_is_only_shown_is_replaced_and_counts_as_no_change() {
        let (mut set, is_shown) = ResourceSet::default().with_and_shown([Change::Put(service("1.1.1.1", 30000))]);
        assert_eq!((set.changed.len(), is_shown), (1, false));
        for (ip, node_port, expected) in [("1.1.1.1", 30000, false), ("2.2.2.2", 30000, true), ("2.2.2.2", 30001, true)]
        {
            let (next, is_shown) = set.with_and_shown([Change::Put(service(ip, node_port))]);
            assert_eq!((next.changed.len(), is_shown), (0, expected), "{ip} {node_port}");
            set = next;
            let spec = &set.services.values().next().unwrap().spec;
            assert_eq!((&*spec.ingress()[0].ip, spec.ports[0].node_port.0), (ip, node_port));
            assert_eq!(&*spec.outside.0.as_ref().unwrap().external_ips[0], "9.9.9.9");
        }
    }

    #[test]
    fn only_what_means_something_else_counts_as_changed() {
        let one = ResourceSet::default().with([Change::Put(entry("1.1.1.1"))]);
        assert_eq!((one.generation, one.changed.len(), one.len()), (1, 1, 1));
        let same = one.with([Change::Put(entry("1.1.1.1"))]);
        assert_eq!((same.generation, same.changed.len()), (2, 0));
        let entries = [&one, &same].map(|set| set.workload_entries.values().next().unwrap());
        assert!(Arc::ptr_eq(entries[0], entries[1]), "it is not kept twice");
        let gone = same.with([Change::Delete(entry("1.1.1.1").object_ref()), Change::Delete(entry("").object_ref())]);
        assert_eq!((gone.changed.len(), gone.is_empty()), (1, true));
        assert_eq!(one.len(), 1, "the sets before stay as they were");
    }
}
